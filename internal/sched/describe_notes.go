package sched

import (
	"fmt"
	"strings"
	"time"
)

// Notes are what a person should know before relying on the schedule: one sentence each,
// about the year that begins with from where the clocks are concerned.
func (s *Spec) Notes(from time.Time) []string {
	if from.Before(s.Anchor) {
		from = s.Anchor
	}
	notes := s.dayNotes()
	return append(notes, s.clockNotes(from.In(s.Anchor.Location()))...)
}

// dayNotes are about days that some months lack, and rules of cron that surprise.
func (s *Spec) dayNotes() []string {
	if s.Once {
		return nil
	}
	switch r := s.rhythm.(type) {
	case pattern:
		return r.fields.notes()
	case calendar:
		if leap := r.base.Month() == time.February && r.base.Day() == 29; r.exact && leap {
			return []string{"29 February comes in leap years only."}
		}
		if r.unit == months && r.n%12 != 0 && r.base.Day() > 28 {
			return []string{fmt.Sprintf("In a month without day %d it runs on the last day.", r.base.Day())}
		}
	}
	return nil
}

func (c cronFields) notes() []string {
	var notes []string
	day, weekday := c.sets[dayColumn], c.sets[weekdayColumn]
	if day != columns[dayColumn].all() && weekday != columns[weekdayColumn].all() {
		days := plural("day", day.list()) + " " + numberList(day)
		if c.both {
			notes = append(notes, fmt.Sprintf("One of day of month and weekday starts with *, so that both must fit: %s of the month, if that is a %s.",
				days, strings.ReplaceAll(weekdayNames(weekday), " and ", " or ")))
		} else {
			notes = append(notes, fmt.Sprintf("Day of month and weekday are either-or: it runs on %s of the month, and also every %s.", days, weekdayNames(weekday)))
		}
	}
	if c.both { // else the weekday makes up for it
		notes = append(notes, c.missingDays()...)
	}
	if n := uneven(c.sets[minuteColumn], 60); n > 0 && c.everyHour() {
		notes = append(notes, fmt.Sprintf("Every hour begins anew at minute 0, %d minutes after the run before; \"+ %d minutes\" is even.", 60-lastOf(c.sets[minuteColumn]), n))
	}
	if n := uneven(c.sets[hourColumn], 24); n > 0 {
		notes = append(notes, fmt.Sprintf("Every day begins anew at hour 0, %d hours after the run before; \"+ %d hours\" is even.", 24-lastOf(c.sets[hourColumn]), n))
	}
	return notes
}

// missingDays is a note if all days are such as some of the months lack.
func (c cronFields) missingDays() []string {
	const commonYear = 2001
	day := c.sets[dayColumn].list()[0]
	var lacking []string
	for _, m := range c.sets[monthColumn].list() {
		if month := time.Month(m); day > daysIn(commonYear, month) {
			lacking = append(lacking, month.String())
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	if day == 29 {
		return []string{"29 February comes in leap years only."}
	}
	return []string{fmt.Sprintf("There is no day %d in %s: no run then.", day, join(lacking))}
}

// uneven is n for a list of every n-th number from 0 if n does not divide size, else 0.
func uneven(set numbers, size int) int {
	for n := 2; n < size/2; n++ {
		if set == span(0, size-1, n) && size%n != 0 {
			return n
		}
	}
	return 0
}

func lastOf(set numbers) int {
	list := set.list()
	return list[len(list)-1]
}

// clockNotes are about changes of the clocks within a year of from.
func (s *Spec) clockNotes(from time.Time) []string {
	var notes []string
	end := from.AddDate(1, 0, 0)
	for t := from; ; {
		change, ok := nextChange(t)
		if !ok || change.After(end) {
			return notes
		}
		before, after := wallOf(change.Add(-time.Minute), from.Location()).Add(time.Minute), wallOf(change, from.Location())
		if note := s.changeNote(before, after, from); note != "" {
			notes = append(notes, note)
		}
		if s.shiftsWithClocks() { // one is enough
			return notes
		}
		t = change
	}
}

// shiftsWithClocks tells whether the local times of the slots move when the clocks change.
func (s *Spec) shiftsWithClocks() bool {
	switch r := s.rhythm.(type) {
	case elapsed:
		return !s.Once && r.step > 3600
	case calendar:
		return !s.Once && r.zone == time.UTC && s.Anchor.Location() != time.UTC
	}
	return false
}

// changeNote is a sentence about one change: clocks that show before go on with after.
func (s *Spec) changeNote(before, after, from time.Time) string {
	day := before.Format("2006-01-02")
	if s.shiftsWithClocks() {
		if _, ok := s.rhythm.(elapsed); ok {
			return fmt.Sprintf("It counts elapsed time: when the clocks change, first on %s, the local times of its runs move.", day)
		}
		return fmt.Sprintf("It keeps to UTC: when the clocks change, first on %s, the local times of its runs move.", day)
	}
	how, from0, to := "forward", before, after
	if after.Before(before) {
		how, from0, to = "back", after, before
	}
	runs := s.wallsAt(from0, to, from)
	if len(runs) == 0 {
		return ""
	}
	text := fmt.Sprintf("On %s the clocks go %s from %s to %s: ", day, how, before.Format("15:04"), after.Format("15:04"))
	which, verb := "the run of "+runs[0].Format("15:04"), "starts"
	if n := len(runs); n > 1 {
		which, verb = fmt.Sprintf("the %d runs of %s to %s", n, runs[0].Format("15:04"), runs[n-1].Format("15:04")), "start"
	}
	switch {
	case how == "back":
		return text + which + " " + verb + " only the first time the clocks show it."
	case len(runs) > 1:
		return text + which + " are one, at " + after.Format("15:04") + "."
	}
	return text + which + " " + verb + " at " + after.Format("15:04") + "."
}

// wallsAt are the planned local times in [from, to) which are slots after since.
func (s *Spec) wallsAt(from, to, since time.Time) []time.Time {
	if s.rhythm == nil {
		return nil
	}
	zone := s.Anchor.Location()
	if r, ok := s.rhythm.(calendar); ok && r.zone != zone {
		return nil // planned in UTC
	}
	var found []time.Time
	for _, wall := range s.rhythm.walls(from, to) {
		t := instant(wall, zone)
		if t.After(since) && (!s.Once || t.Equal(s.single)) {
			found = append(found, wall)
		}
	}
	return found
}
