package sched

import "time"

const minuteFormat = "2006-01-02 15:04"

// A rhythm is an endless row of slots, whole minutes in ascending order.
type rhythm interface {
	// next is the first slot strictly after after; false if none is found.
	next(after time.Time) (time.Time, bool)
	// prev is the last slot at or before before; false if the row had not begun.
	prev(before time.Time) (time.Time, bool)
	// walls are the wall-clock times, as UTC, that the row plans in [from, to);
	// none for one that does not keep to the clock.
	walls(from, to time.Time) []time.Time
}

// wallOf is what a clock in zone shows at t, written down as a UTC time. All calendar
// arithmetic is done on such times: there gronx meets no change of clocks, where its
// search fails in zones that change at midnight (Azores, Havana, Santiago).
func wallOf(t time.Time, zone *time.Location) time.Time {
	return time.Unix(t.Unix()+int64(offset(t.In(zone))/time.Second), 0).UTC()
}

// instant is when a clock in zone shows wall for the first time, or, if it never does,
// the first instant after the gap. It never decreases when wall grows.
func instant(wall time.Time, zone *time.Location) time.Time {
	// time.Date does not say which of two times it takes; the first is by the clock of
	// the day before. A day and an hour is more than any zone was ever put forward
	// (Apia, by a day).
	const around = 25 * time.Hour
	near := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, zone)
	for _, side := range []time.Time{near.Add(-around), near} {
		if t := wall.Add(-offset(side)).In(zone); wallOf(t, zone).Equal(wall) {
			return t
		}
	}
	change, _ := nextChange(near.Add(-around))
	return change
}

// nextChange is the first instant after t at which the clocks of t's zone are changed;
// false if that is not known to happen any more.
func nextChange(t time.Time) (time.Time, bool) {
	before := offset(t)
	for {
		_, end := t.ZoneBounds()
		if end.IsZero() {
			return end, false
		}
		// Beyond its table Go ends every zone after 365 days of a year, even on the
		// last day of a leap year, and there for ever (time/zoneinfo.go, tzset).
		if !end.After(t) {
			end, _ = t.Add(24 * time.Hour).ZoneBounds()
		}
		if offset(end) != before {
			return end, true
		}
		t = end
	}
}

// lastChange is the last change of the clocks at or before t.
func lastChange(t time.Time) (time.Time, bool) {
	for {
		start, _ := t.ZoneBounds()
		if start.IsZero() {
			return start, false
		}
		if before := start.Add(-time.Second); offset(before) != offset(t) {
			return start, true
		}
		t = start.Add(-time.Second)
	}
}

func offset(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}

// ceilMinute is the first whole minute not before t.
func ceilMinute(t time.Time) time.Time {
	if floor := floorMinute(t); floor.Before(t) {
		return floor.Add(time.Minute)
	}
	return t
}

func floorMinute(t time.Time) time.Time {
	return time.Unix(t.Unix()-floorMod(t.Unix(), 60), 0).In(t.Location())
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - b*floorDiv(a, b) }
