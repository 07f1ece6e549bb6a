package sched

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Describe is the schedule in plain words, without a verb: "every day at 02:00".
func (s *Spec) Describe() string {
	first, ok := s.Next(s.Anchor)
	if s.Once || s.rhythm == nil {
		if !ok {
			return "once, but its time is past"
		}
		return "once, on " + first.Format("Monday 2006-01-02 at 15:04")
	}
	switch r := s.rhythm.(type) {
	case pattern:
		return r.fields.describe()
	case elapsed:
		return "every " + strings.TrimPrefix(r.every(), "1 ") + " from " + first.Format(minuteFormat)
	case calendar:
		text := r.describe()
		if r.zone == time.UTC && s.Anchor.Location() != time.UTC {
			text += " UTC"
		}
		if s.startsLater(r, first) {
			text += " from " + first.Format("2006-01-02")
		}
		return text
	}
	return ""
}

// startsLater tells whether the words of r alone would make one expect an earlier slot,
// or leave open which day they count from.
func (s *Spec) startsLater(r calendar, first time.Time) bool {
	if (r.unit == days && r.n != 1 && r.n != 7) || (r.unit == months && r.n != 12 && r.n != 1) {
		return true
	}
	r.first = -leapYears // the same row, begun earlier
	earlier, ok := r.next(s.Anchor)
	return ok && earlier.Before(first)
}

func (c calendar) describe() string {
	at := " at " + c.base.Format("15:04")
	day := strconv.Itoa(c.base.Day())
	last := ""
	if !c.exact && c.base.Day() > 28 {
		last = " or its last day"
	}
	switch {
	case c.unit == days && c.n == 1:
		return "every day" + at
	case c.unit == days && c.n == 7:
		return "every " + c.base.Weekday().String() + at
	case c.unit == days && c.n%7 == 0:
		return fmt.Sprintf("every %d weeks on %s%s", c.n/7, c.base.Weekday(), at)
	case c.unit == days:
		return fmt.Sprintf("every %d days%s", c.n, at)
	case c.n%12 != 0:
		return "every " + strings.TrimPrefix(count(int(c.n), months), "1 ") + " on day " + day + last + at
	}
	feb29 := c.base.Month() == time.February && c.base.Day() == 29
	switch {
	case feb29 && c.exact:
		return "every leap year on 29 February" + at
	case feb29:
		day = "the last day of"
	}
	return "every " + strings.TrimPrefix(count(int(c.n/12), years), "1 ") + " on " + day + " " + c.base.Month().String() + at
}

// describe puts a cron expression in words.
func (c cronFields) describe() string {
	times, rhythmic := c.describeTimes()
	day := c.describeDays()
	in := c.describeMonths()
	switch {
	case !rhythmic && day == "" && in == "":
		return "every day " + times
	case !rhythmic && day == "":
		return "every day" + in + " " + times
	case !rhythmic:
		return day + in + " " + times
	case day == "":
		return times + in
	}
	return times + " " + day + in
}

// describeTimes also tells whether the times repeat within the hour by themselves.
func (c cronFields) describeTimes() (words string, rhythmic bool) {
	minute, hour := c.sets[minuteColumn].list(), c.sets[hourColumn].list()
	if c.everyHour() {
		step := 60 / len(minute)
		switch {
		case len(minute) == 60:
			return "every minute", true
		case len(minute) > 1 && 60%len(minute) == 0 && c.sets[minuteColumn] == span(0, 59, step):
			return fmt.Sprintf("every %d minutes", step), true
		case len(minute) == 1:
			return "every hour at minute " + strconv.Itoa(minute[0]), true
		}
		return "every hour at minutes " + numberList(c.sets[minuteColumn]), true
	}
	const fewTimes = 6
	if len(minute)*len(hour) > fewTimes {
		return "at " + plural("minute", minute) + " " + columns[minuteColumn].words(c.sets[minuteColumn]) +
			" past " + plural("hour", hour) + " " + numberList(c.sets[hourColumn]), false
	}
	var times []string
	for _, h := range hour {
		for _, m := range minute {
			times = append(times, pad(h)+":"+pad(m))
		}
	}
	return "at " + join(times), false
}

func (c cronFields) describeDays() string {
	day, weekday := c.sets[dayColumn], c.sets[weekdayColumn]
	anyDay, anyWeekday := day == columns[dayColumn].all(), weekday == columns[weekdayColumn].all()
	onDays := "on " + plural("day", day.list()) + " " + numberList(day) + " of the month"
	switch {
	case anyDay && anyWeekday:
		return ""
	case anyWeekday:
		return onDays
	case anyDay:
		return "every " + weekdayNames(weekday)
	case c.both:
		return onDays + " if that is a " + strings.ReplaceAll(weekdayNames(weekday), " and ", " or ")
	}
	return onDays + " and every " + weekdayNames(weekday)
}

func (c cronFields) describeMonths() string {
	set := c.sets[monthColumn]
	if set == columns[monthColumn].all() {
		return ""
	}
	var names []string
	for _, m := range set.list() {
		names = append(names, time.Month(m).String())
	}
	return " in " + join(names)
}

func weekdayNames(set numbers) string {
	switch set {
	case span(1, 5, 1):
		return "Monday to Friday"
	}
	var names []string
	for _, d := range set.list() {
		names = append(names, time.Weekday(d).String())
	}
	return join(names)
}

func plural(noun string, list []int) string {
	if len(list) == 1 {
		return noun
	}
	return noun + "s"
}

// words is a list of numbers, or a range for all of them.
func (f field) words(set numbers) string {
	if set == f.all() {
		return fmt.Sprintf("%d-%d", f.min, f.max)
	}
	return numberList(set)
}

func numberList(set numbers) string {
	return join(strings.Split(columns[minuteColumn].format(set), ","))
}

// join is "a", "a and b", "a, b and c".
func join(parts []string) string {
	n := len(parts)
	if n < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(slices.Concat(parts[:n-2], []string{parts[n-2] + " and " + parts[n-1]}), ", ")
}
