package sched

import "time"

// unit of an increment, as in at(1).
type unit int

const (
	minutes unit = iota
	hours
	days
	weeks
	months
	years
)

var unitNames = [...]string{"minute", "hour", "day", "week", "month", "year"}

// elapsed is a slot every step seconds, counted from base: the k-th is base + k*step.
type elapsed struct {
	base  time.Time
	step  int64 // seconds, a multiple of 60
	first int64 // the smallest k
}

func (e elapsed) next(after time.Time) (time.Time, bool) {
	k := floorDiv(after.Unix()-e.base.Unix(), e.step) + 1
	return e.slot(max(k, e.first)), true
}

func (e elapsed) prev(before time.Time) (time.Time, bool) {
	k := floorDiv(before.Unix()-e.base.Unix(), e.step)
	return e.slot(k), k >= e.first
}

func (e elapsed) slot(k int64) time.Time { return time.Unix(e.base.Unix()+k*e.step, 0) }

func (elapsed) walls(time.Time, time.Time) []time.Time { return nil }

// calendar is a slot every n days or n months by the clock on the wall of zone. Every
// one is computed from base, so that a short month shortens no later one.
type calendar struct {
	base  time.Time // wall-clock time, as UTC
	zone  *time.Location
	n     int64
	unit  unit  // days or months
	first int64 // the smallest k
	exact bool  // leave out a month without the day, instead of taking its last
}

// nearby is how many steps an estimate of k may be off: a day for the clocks of a zone
// that skips one (Apia, 2011-12-30), a month for its length, and one to be sure.
const nearby = 3

// leapYears is the longest run of years without a 29 February, around 2100 and 2200.
const leapYears = 8

func (c calendar) next(after time.Time) (time.Time, bool) {
	k := max(c.index(wallOf(after, c.zone))-nearby, c.first)
	for range 2*nearby + leapYears {
		if wall, ok := c.wall(k); ok {
			if t := instant(wall, c.zone); t.After(after) {
				return t, true
			}
		}
		k++
	}
	return time.Time{}, false
}

func (c calendar) prev(before time.Time) (time.Time, bool) {
	k := c.index(wallOf(before, c.zone)) + nearby
	for range 2*nearby + leapYears {
		if k < c.first {
			break
		}
		if wall, ok := c.wall(k); ok {
			if t := instant(wall, c.zone); !t.After(before) {
				return t, true
			}
		}
		k--
	}
	return time.Time{}, false
}

func (c calendar) walls(from, to time.Time) []time.Time {
	var found []time.Time
	for k := max(c.index(from)-nearby, c.first); ; k++ {
		wall, ok := c.wall(k)
		if !wall.Before(to) {
			return found
		}
		if ok && !wall.Before(from) {
			found = append(found, wall)
		}
	}
}

// index is the k whose slot is about at wall.
func (c calendar) index(wall time.Time) int64 {
	if c.unit == days {
		return floorDiv(wall.Unix()-c.base.Unix(), c.n*24*60*60)
	}
	return floorDiv(monthNumber(wall)-monthNumber(c.base), c.n)
}

// wall is the k-th time; false if its month has no such day and it is to be exact.
func (c calendar) wall(k int64) (time.Time, bool) {
	if c.unit == days {
		return c.base.AddDate(0, 0, int(k*c.n)), true
	}
	wall := addMonths(c.base, k*c.n)
	return wall, !c.exact || wall.Day() == c.base.Day()
}

func monthNumber(t time.Time) int64 { return int64(t.Year())*12 + int64(t.Month()) - 1 }

// addMonths keeps the day of the month, or takes the last one of a month too short.
func addMonths(t time.Time, n int64) time.Time {
	number := monthNumber(t) + n
	year, month := int(floorDiv(number, 12)), time.Month(floorMod(number, 12)+1)
	day := min(t.Day(), daysIn(year, month))
	return time.Date(year, month, day, t.Hour(), t.Minute(), 0, 0, time.UTC)
}

func daysIn(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
