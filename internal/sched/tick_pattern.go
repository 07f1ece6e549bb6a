package sched

import (
	"time"

	"github.com/adhocore/gronx"
)

// pattern is a validated, normalised cron expression in a zone. It is the one user of
// gronx, which is only ever asked for ticks in UTC: see [wallOf].
type pattern struct {
	fields cronFields
	zone   *time.Location
}

func (p pattern) next(after time.Time) (time.Time, bool) {
	if p.fields.everyHour() {
		return p.nextOnClock(after)
	}
	// No wall time up to the one shown at after can have its first instant later.
	wall := floorMinute(wallOf(after, p.zone))
	for tick, ok := p.tickAfter(wall); ok; tick, ok = p.tickAfter(tick) {
		// Not later: in the repeated hour, or one of several that meet after a gap.
		if t := instant(tick, p.zone); t.After(after) {
			return t, true
		}
	}
	return time.Time{}, false
}

func (p pattern) prev(before time.Time) (time.Time, bool) {
	if p.fields.everyHour() {
		return p.prevOnClock(before)
	}
	// In a repeated hour the clock has already shown later times.
	wall := floorMinute(wallOf(before, p.zone))
	if change, ok := lastChange(before.In(p.zone)); ok {
		if shown := wallOf(change.Add(-time.Minute), p.zone); shown.After(wall) {
			wall = shown
		}
	}
	for tick, ok := p.tickUpTo(wall); ok; tick, ok = p.tickUpTo(tick.Add(-time.Minute)) {
		if t := instant(tick, p.zone); !t.After(before) {
			return t, true
		}
	}
	return time.Time{}, false
}

// nextOnClock is next for a pattern that is due whenever the clock shows one of its
// times: it looks from one change of the clocks to the next.
func (p pattern) nextOnClock(after time.Time) (time.Time, bool) {
	from := floorMinute(after).Add(time.Minute).In(p.zone)
	for {
		wall := wallOf(from, p.zone)
		tick, ok := p.tickAfter(wall.Add(-time.Minute))
		t := from.Add(tick.Sub(wall))
		change, changes := nextChange(from)
		if !ok || !changes || t.Before(change) {
			return t, ok
		}
		from = change
	}
}

func (p pattern) prevOnClock(before time.Time) (time.Time, bool) {
	to := floorMinute(before).In(p.zone)
	for {
		wall := wallOf(to, p.zone)
		tick, ok := p.tickUpTo(wall)
		t := to.Add(tick.Sub(wall))
		change, changed := lastChange(to)
		if !ok || !changed || !t.Before(change) {
			return t, ok
		}
		to = change.Add(-time.Minute)
	}
}

func (p pattern) walls(from, to time.Time) []time.Time {
	if p.fields.everyHour() {
		return nil
	}
	var found []time.Time
	tick, ok := p.tickAfter(from.Add(-time.Minute))
	for ; ok && tick.Before(to); tick, ok = p.tickAfter(tick) {
		found = append(found, tick)
	}
	return found
}

// tickAfter is the first wall-clock time of the pattern after wall, a whole minute.
func (p pattern) tickAfter(wall time.Time) (time.Time, bool) {
	t, err := gronx.NextTickAfter(p.fields.String(), wall, false)
	return t, err == nil // with an error, t is where the search gave up
}

// tickUpTo is the last one at or before wall.
func (p pattern) tickUpTo(wall time.Time) (time.Time, bool) {
	t, err := gronx.PrevTickBefore(p.fields.String(), wall, true)
	return t, err == nil
}
