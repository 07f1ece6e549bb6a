package sched

import (
	"errors"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Spec is one parsed --time, with the moment it counts from.
type Spec struct {
	Text   string    // what was typed, in lower case and single-spaced
	Anchor time.Time // the time of install; no slot is at or before it, and its Location is the job's zone
	Once   bool      // only the first slot counts
	expr   string
}

// Error says what is wrong with a time specification.
type Error struct {
	Text string // the whole specification
	Msg  string // what is wrong, naming the offending token
	hint string
}

func (e *Error) Error() string { return e.Msg }

// Hint says what to type instead.
func (e *Error) Hint() string { return e.hint }

// Parse compiles text; the same text and anchor give the same slots for ever.
func Parse(text string, anchor time.Time) (*Spec, error) {
	expr := strings.Join(strings.Fields(text), " ")
	if strings.Count(expr, " ") != 4 || !gronx.IsValid(expr) {
		return nil, &Error{Text: text, Msg: "not five cron fields: " + expr, hint: `type "30 2 * * *"`}
	}
	return &Spec{Text: expr, Anchor: anchor, expr: expr}, nil
}

// Next is the first slot strictly after after; false when there are no more.
func (s *Spec) Next(after time.Time) (time.Time, bool) {
	if after.Before(s.Anchor) {
		after = s.Anchor
	}
	t, err := gronx.NextTickAfter(s.expr, after.In(s.Anchor.Location()), false)
	return t, err == nil
}

// Prev is the last slot at or before before, and after the Anchor; false when there is none yet.
func (s *Spec) Prev(before time.Time) (time.Time, bool) {
	t, err := gronx.PrevTickBefore(s.expr, before.In(s.Anchor.Location()), true)
	return t, err == nil && t.After(s.Anchor)
}

// Cron is the schedule as five numeric fields, or an error saying what cron cannot express.
func (s *Spec) Cron() (string, error) {
	if s.Once {
		return "", errors.New("cron cannot run a job once; at and service can")
	}
	return s.expr, nil
}

// Describe is the schedule in plain words.
func (s *Spec) Describe() string { return "cron " + s.expr }

// Notes are sentences a person should read before relying on the schedule.
func (s *Spec) Notes(from time.Time) []string { return nil }
