package sched

import "time"

// compileAt compiles the grammar of at(1).
func (s *Spec) compileAt(text string) *Error {
	m, err := parseMoment(text)
	if err != nil {
		return err
	}
	const farthest = 100 // years; beyond is a slip like 2927
	if m.date == fullDate && m.year > s.Anchor.Year()+farthest {
		return wrong("type a year up to "+s.Anchor.AddDate(farthest, 0, 0).Format("2006"), "the year %d is too far away", m.year)
	}
	zone := s.Anchor.Location()
	if m.utc {
		zone = time.UTC
	}
	s.Text = m.String()
	b := m.base(s.Anchor, zone)
	s.rhythm = m.rhythm(b)
	s.single = m.single(b, s.rhythm, s.Anchor).In(s.Anchor.Location())
	if !s.single.After(s.Anchor) {
		s.single = time.Time{}
	}
	return nil
}

// base is what an increment is added to, and what a repetition counts from.
type base struct {
	wall    time.Time // as UTC
	instant time.Time // of wall, but in a repeated hour the one that is meant by now
	zone    *time.Location
}

func newBase(wall time.Time, zone *time.Location) base {
	return base{wall: wall, instant: instant(wall, zone), zone: zone}
}

// base is the moment without its increment. It may be in the past.
func (m moment) base(anchor time.Time, zone *time.Location) base {
	from := anchor
	if m.clock == nil {
		from = ceilMinute(anchor) // counted from the next whole minute
	}
	wall := wallOf(from, zone)
	if m.clock == nil && (m.date == noDate || m.date == today) {
		return m.shiftNext(base{wall: wall, instant: from, zone: zone})
	}
	if m.clock != nil {
		year, month, day := wall.Date()
		wall = time.Date(year, month, day, m.clock.hour, m.clock.minute, 0, 0, time.UTC)
	}
	b := newBase(m.on(wall, wall.Year()), zone)
	if m.date == monthDay && m.endsBefore(wall, b) {
		b = newBase(m.on(wall, wall.Year()+1), zone)
	}
	return m.shiftNext(b)
}

// endsBefore tells whether the day that m ends on is over, so that its next year is meant.
// As in at, the increment counts: on the 21st, "20 nov + 2 days" is tomorrow.
func (m moment) endsBefore(now time.Time, b base) bool {
	if m.increment > 0 {
		b = b.add(m.increment, m.incrementIn)
	}
	return b.wall.Truncate(24 * time.Hour).Before(now.Truncate(24 * time.Hour))
}

// on moves wall, today's, to the day that is meant; one without a year is not before year.
func (m moment) on(wall time.Time, year int) time.Time {
	switch m.date {
	case tomorrow:
		return wall.AddDate(0, 0, 1)
	case aWeekday: // 1 to 7 days ahead: at never means today by it
		return wall.AddDate(0, 0, int(6+m.weekday-wall.Weekday())%7+1)
	case fullDate:
		return onDay(wall, m.year, m.month, m.day)
	case monthDay:
		for m.day > daysIn(year, m.month) { // 29 February
			year++
		}
		return onDay(wall, year, m.month, m.day)
	}
	return wall
}

func onDay(wall time.Time, year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, wall.Hour(), wall.Minute(), 0, 0, time.UTC)
}

// shiftNext adds the unit of "next week".
func (m moment) shiftNext(b base) base {
	if m.next == nil || m.increment == 0 { // alone it is an increment itself
		return b
	}
	return b.add(1, *m.next)
}

// add moves by n units: minutes and hours by elapsed time, the rest by the calendar.
func (b base) add(n int, in unit) base {
	switch in {
	case minutes, hours:
		t := b.instant.Add(time.Duration(n) * elapsedUnit(in))
		return base{wall: wallOf(t, b.zone), instant: t, zone: b.zone}
	case days, weeks:
		return newBase(b.wall.AddDate(0, 0, n*calendarUnit(in)), b.zone)
	}
	return newBase(addMonths(b.wall, int64(n*calendarUnit(in))), b.zone)
}

func elapsedUnit(in unit) time.Duration {
	if in == hours {
		return time.Hour
	}
	return time.Minute
}

// calendarUnit is the number of days of a week, of months of a year, else 1.
func calendarUnit(in unit) int {
	switch in {
	case weeks:
		return 7
	case years:
		return 12
	}
	return 1
}

// every is the row of base and all that follow it n units apart, from the first-th.
func (b base) every(n int, in unit, first int64) rhythm {
	switch in {
	case minutes, hours:
		return elapsed{base: b.instant, step: int64(n) * int64(elapsedUnit(in)/time.Second), first: first}
	case days, weeks:
		return calendar{base: b.wall, zone: b.zone, n: int64(n * calendarUnit(in)), unit: days, first: first}
	}
	return calendar{base: b.wall, zone: b.zone, n: int64(n * calendarUnit(in)), unit: months, first: first}
}

// rhythm is the repetition; nil for now and now - N, which have none.
func (m moment) rhythm(b base) rhythm {
	n, in := m.increment, m.incrementIn
	if n == 0 && m.next != nil {
		n, in = 1, *m.next
	}
	if n > 0 {
		return b.every(n, in, 1)
	}
	if n < 0 {
		b = b.back(-n, in)
	}
	switch {
	case m.next != nil:
		return b.every(1, *m.next, 0)
	case m.date == aWeekday:
		return b.every(1, weeks, 0)
	case m.date == monthDay, m.date == fullDate:
		// Moved back to a 29 February, it means the last day of that month.
		return calendar{base: b.wall, zone: b.zone, n: 12, unit: months, exact: n == 0}
	case m.clock != nil, m.date != noDate:
		return b.every(1, days, 0)
	}
	return nil
}

// back moves back, by the clock on the wall: 9:00 - 30 minutes is 8:30 on every day.
func (b base) back(n int, in unit) base {
	switch in {
	case minutes, hours:
		return newBase(b.wall.Add(-time.Duration(n)*elapsedUnit(in)), b.zone)
	}
	return b.add(-n, in)
}

// single is the slot of a specification that is due once. It may be in the past.
func (m moment) single(b base, row rhythm, anchor time.Time) time.Time {
	justTime := m.clock != nil && m.date == noDate && m.next == nil
	n, in := m.increment, m.incrementIn
	if n == 0 && m.next != nil {
		n, in = 1, *m.next
	}
	switch {
	case n > 0:
		t := b.add(n, in)
		for justTime && !t.instant.After(anchor) { // as at does: the same time, another day
			t = t.add(1, days)
		}
		return t.instant
	case n == 0 && m.clock == nil && b.instant.Equal(anchor): // "now", on the minute
		return b.instant.Add(time.Minute)
	case justTime, m.date == monthDay: // past, they come again
		t, _ := row.next(anchor)
		return t
	case n < 0:
		return b.back(-n, in).instant
	}
	return b.instant
}
