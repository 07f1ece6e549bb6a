package sched

import (
	"fmt"
	"time"
)

// Cron is the schedule as five numeric fields that every cron reads alike, in the local
// time of the Anchor's zone. It succeeds only if those fields have the same slots as the
// Spec for ever; the error, an *Error, says what cron cannot express, and its hint who can.
//
// One exception cannot be written away: with both a day of month and a weekday, one of
// them */n, BusyBox's cron fires on the days that satisfy either, not both. Its extra
// runs fall on no slot, and Prev tells so.
func (s *Spec) Cron() (string, error) {
	expr, err := s.cronFields()
	if err != nil {
		return "", err.of(s, "cron cannot express it: ")
	}
	return expr.String(), nil
}

// of is the error about s that begins with who cannot express it.
func (e *Error) of(s *Spec, who string) *Error {
	e.Text, e.Msg = s.Text, who+e.Msg
	return e
}

// cronFields is the schedule as the sets of five fields; the error says what they cannot express, and not yet who would read them.
func (s *Spec) cronFields() (cronFields, *Error) {
	if s.Once {
		return cronFields{}, notInFields("", "it runs once")
	}
	fields, err := s.repeating()
	if err != nil {
		return fields, err
	}
	if _, is := s.rhythm.(pattern); is {
		return fields, nil // it begins at once by itself
	}
	// A crontab line is in force at once, also before a first slot that is later.
	early, ok := (pattern{fields: fields, zone: s.Anchor.Location()}).next(s.Anchor)
	first, _ := s.Next(s.Anchor)
	if ok && early.Before(first) {
		return fields, notInFields(fmt.Sprintf(", or \"%s\", which begins at once", fields), "it would not wait for %s, and run at %s",
			first.Format(minuteFormat), early.In(first.Location()).Format(minuteFormat))
	}
	return fields, nil
}

func notInFields(hint, format string, args ...any) *Error {
	return wrong("type --scheduler at or --scheduler service"+hint, format, args...)
}

func (s *Spec) repeating() (cronFields, *Error) {
	switch r := s.rhythm.(type) {
	case pattern:
		return r.fields, nil
	case calendar:
		return r.cron(s.Anchor)
	case elapsed:
		return r.cron(s.Anchor)
	}
	return cronFields{}, notInFields("", "it runs once")
}

func (c calendar) cron(anchor time.Time) (cronFields, *Error) {
	if c.zone == time.UTC && !alwaysUTC(anchor) {
		return cronFields{}, notInFields("", "it keeps the local time of %s, not UTC", anchor.Location())
	}
	fields := newFields()
	fields.sets[minuteColumn] = span(c.base.Minute(), c.base.Minute(), 1)
	fields.sets[hourColumn] = span(c.base.Hour(), c.base.Hour(), 1)
	switch {
	case c.unit == days && c.n == 1:
	case c.unit == days && c.n == 7:
		weekday := int(c.base.Weekday())
		fields.sets[weekdayColumn] = span(weekday, weekday, 1)
	case c.unit == days:
		return fields, notInFields("", "every %d days are not the same days of every month or week", c.n)
	case 12%c.n != 0:
		return fields, notInFields("", "every %d months are not the same months of every year", c.n)
	default:
		fields.sets[dayColumn] = span(c.base.Day(), c.base.Day(), 1)
		fields.sets[monthColumn] = 0
		for k := int64(0); k < 12/c.n; k++ {
			month := int(floorMod(monthNumber(c.base)+k*c.n, 12)) + 1
			fields.sets[monthColumn] |= span(month, month, 1)
			const commonYear = 2001
			if short := daysIn(commonYear, time.Month(month)); !c.exact && c.base.Day() > short {
				return fields, notInFields("", "it does not take the last day of a month for day %d", c.base.Day())
			}
		}
	}
	return fields.written(), nil
}

func (e elapsed) cron(anchor time.Time) (cronFields, *Error) {
	fields := newFields()
	first := wallOf(e.base, anchor.Location())
	switch step := int(e.step / 60); {
	case 60%step == 0:
		for shift := range shifts(anchor) {
			if int(shift/time.Minute)%step != 0 {
				return fields, notInFields("", "when clocks change by %v, every %d minutes are other minutes of the hour", shift, step)
			}
		}
		fields.sets[minuteColumn] = span(first.Minute()%step, 59, step)
	case step%60 == 0 && 24%(step/60) == 0:
		if len(shifts(anchor)) > 0 {
			return fields, notInFields("; or keep to the clock, as in \"0 */2 * * *\" or \"+ 1 day\"",
				"every %d hours are other hours of the day once the clocks change", step/60)
		}
		fields.sets[minuteColumn] = span(first.Minute(), first.Minute(), 1)
		fields.sets[hourColumn] = span(first.Hour()%(step/60), 23, step/60)
	default:
		return fields, notInFields("", "every %s is not the same minutes of every hour, nor hours of every day", e.every())
	}
	return fields.written(), nil
}

// every is the step in words.
func (e elapsed) every() string {
	if n := int(e.step / 60); n%60 != 0 {
		return count(n, minutes)
	}
	return count(int(e.step/3600), hours)
}

func newFields() cronFields {
	var c cronFields
	for i, f := range columns {
		c.sets[i] = f.all()
	}
	return c
}

// written is c with its text. What is not restricted is a "*"; a schedule of at's
// grammar never restricts both day and weekday.
func (c cronFields) written() cronFields {
	c.normalise([5]string{dayColumn: "*", weekdayColumn: "*"})
	return c
}

// shifts are the changes of the clocks in anchor's zone that are known for the years to
// come, without their sign. Rules of zones go on for ever in Go, so these are all.
func shifts(anchor time.Time) map[time.Duration]bool {
	const ahead = 20
	found := map[time.Duration]bool{}
	for t, end := anchor, anchor.AddDate(ahead, 0, 0); ; {
		change, ok := nextChange(t)
		if !ok || change.After(end) {
			return found
		}
		found[(offset(change) - offset(t)).Abs()] = true
		t = change
	}
}

func alwaysUTC(anchor time.Time) bool { return offset(anchor) == 0 && len(shifts(anchor)) == 0 }
