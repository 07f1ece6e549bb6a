package sched

import (
	"fmt"
	"strings"
	"time"
)

// exceptionYears is for how many years after the anchor [Spec.OnCalendar] lists what a change of the clocks brings.
const exceptionYears = 10

// OnCalendar is the schedule as calendar events of systemd.time(7), each the value of one OnCalendar= line; the timer elapses
// at every time of any of them. They name the job's zone, so the zone of the machine does not matter. The error, an *Error,
// says what systemd cannot express, and its hint who can.
//
// systemd skips a time that the clocks skip, and takes a repeated hour once (measured with 252). The slots that it would
// leave out are listed by their date, for ten years from the Anchor.
func (s *Spec) OnCalendar() ([]string, error) {
	if s.Once || s.rhythm == nil {
		slot, ok := s.Next(s.Anchor)
		if !ok {
			return nil, wrong("type a time after "+s.Anchor.Format(minuteFormat), "is in the past").of(s, "")
		}
		return []string{calendarTime(slot)}, nil
	}
	fields, err := s.cronFields()
	if err != nil {
		return nil, err.of(s, "systemd cannot express it: ")
	}
	events := fields.events(calendarZone(s.Anchor.Location()))
	return append(events, s.exceptions(fields)...), nil
}

// calendarTime is one instant. In UTC it is never twice or not at all.
func calendarTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// calendarZone is a zone as the end of a calendar event. One without a name is the machine's, which goes without saying.
func calendarZone(zone *time.Location) string {
	if zone == time.Local || zone.String() == "Local" {
		return ""
	}
	return " " + zone.String()
}

// events are the fields as calendar events: two if it is either the day of the month or the weekday, else one.
func (c cronFields) events(zone string) []string {
	date := func(day string) string { return "*-" + c.calendarField(monthColumn) + "-" + day }
	clock := " " + c.calendarField(hourColumn) + ":" + c.calendarField(minuteColumn) + ":00" + zone
	days, weekdays := c.calendarField(dayColumn), c.calendarWeekdays()
	if c.both {
		return []string{weekdays + date(days) + clock}
	}
	return []string{date(days) + clock, weekdays + date("*") + clock}
}

// calendarField is a column as numbers, from..to and from/step. Two digits are what systemd makes of them itself.
func (c cronFields) calendarField(column int) string {
	set, f := c.sets[column], columns[column]
	if set == f.all() {
		return "*"
	}
	if step := everyStep(set, ""); column == minuteColumn && step != "" {
		return "00/" + strings.TrimPrefix(step, "*/")
	}
	return calendarList(set.list(), func(n int) string { return fmt.Sprintf("%02d", n) })
}

// calendarWeekdays is the weekdays, Monday first as in systemd, and a space; or nothing for every day.
func (c cronFields) calendarWeekdays() string {
	set := c.sets[weekdayColumn]
	if set == columns[weekdayColumn].all() {
		return ""
	}
	var list []int
	for day := 1; day <= 7; day++ {
		if set.has(day % 7) {
			list = append(list, day)
		}
	}
	return calendarList(list, func(n int) string { return time.Weekday(n % 7).String()[:3] }) + " "
}

// calendarList joins numbers by commas, and three or more in a row by two dots.
func calendarList(list []int, word func(int) string) string {
	var parts []string
	for i := 0; i < len(list); {
		end := i
		for end+1 < len(list) && list[end+1] == list[end]+1 {
			end++
		}
		if end-i < 2 {
			parts, i = append(parts, word(list[i])), i+1
			continue
		}
		parts, i = append(parts, word(list[i])+".."+word(list[end])), end+1
	}
	return strings.Join(parts, ",")
}

// exceptions are the slots that systemd would leave out when the clocks change, as calendar events, one for each hour that has any.
func (s *Spec) exceptions(fields cronFields) []string {
	var events []string
	end := s.Anchor.AddDate(exceptionYears, 0, 0)
	for change, ok := nextChange(s.Anchor); ok && change.Before(end); change, ok = nextChange(change) {
		shift := offset(change) - offset(change.Add(-time.Second))
		last := change // a gap: what it skips comes at its end
		if shift < 0 {
			last = change.Add(-shift - time.Minute) // a repeated hour
		} else if fields.shown(wallOf(change, s.Anchor.Location())) {
			continue // it is due then anyway
		}
		var hour time.Time
		var minutes []int
		flush := func() {
			if len(minutes) > 0 {
				list := calendarList(minutes, func(n int) string { return fmt.Sprintf("%02d", n) })
				events = append(events, hour.Format("2006-01-02 15:")+list+":00 UTC")
			}
			minutes = nil
		}
		for t, ok := s.Next(change.Add(-time.Minute)); ok && !t.After(last); t, ok = s.Next(t) {
			if utc := t.UTC().Truncate(time.Hour); !utc.Equal(hour) {
				flush()
				hour = utc
			}
			minutes = append(minutes, t.UTC().Minute())
		}
		flush()
	}
	return events
}

// shown tells whether a wall-clock time is one of the pattern's.
func (c cronFields) shown(wall time.Time) bool {
	day, weekday := c.sets[dayColumn].has(wall.Day()), c.sets[weekdayColumn].has(int(wall.Weekday()))
	return c.sets[minuteColumn].has(wall.Minute()) && c.sets[hourColumn].has(wall.Hour()) && c.sets[monthColumn].has(int(wall.Month())) &&
		((day && weekday) || (!c.both && (day || weekday)))
}
