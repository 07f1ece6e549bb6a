package sched

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// maxText is far above any specification a person would type; longer ones are refused unread.
const maxText = 300

// Spec is one parsed time specification. Make it with [Parse] or [ParseOnce].
type Spec struct {
	// Text is the normalised specification: parsed again it gives the same Spec, and
	// two ways to type one schedule ("+2day", "now + 2 days") have the same Text.
	Text string
	// Anchor is the time of install; no slot is at or before it. Its Location is the
	// job's zone, and has to be the zone itself: from an offset, as in RFC 3339, no
	// daylight saving can be known. Whole minutes are best: with seconds, what counts
	// from now begins at the next minute, and cron, which cannot wait for the slot after
	// that, cannot express it.
	Anchor time.Time
	// Once limits the schedule to one slot. It may be set after Parse.
	Once bool

	rhythm rhythm    // nil: cannot repeat ("now")
	single time.Time // the one slot with Once; zero: it is past
}

// Error is a time specification that cannot be understood or can never be due.
type Error struct {
	Text string // the specification as typed
	Msg  string // what is wrong, naming the offending token
	hint string
}

// Error is one line: the specification, and what is wrong with it.
func (e *Error) Error() string { return fmt.Sprintf("time %q: %s", clip(e.Text), e.Msg) }

// Hint says what to type instead; it is never empty.
func (e *Error) Hint() string { return e.hint }

func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// Parse compiles a repeating specification. The anchor is the time of install, and its
// Location the zone of the job. All errors are of type *Error.
func Parse(text string, anchor time.Time) (*Spec, error) { return newSpec(text, anchor, false) }

// ParseOnce compiles a specification that is due once: it also takes "now", and refuses
// a time in the past, which Parse rolls forward. All errors are of type *Error.
func ParseOnce(text string, anchor time.Time) (*Spec, error) { return newSpec(text, anchor, true) }

func newSpec(text string, anchor time.Time, once bool) (*Spec, error) {
	s := &Spec{Anchor: anchor.Round(0), Once: once} // Round(0): a monotonic reading would not survive the job file
	if err := s.compile(text); err != nil {
		err.Text = text
		return nil, err
	}
	return s, nil
}

func (s *Spec) compile(text string) *Error {
	if len(text) > maxText {
		return wrong("type for example \"2:00\"", "%d bytes are too long for a time", len(text))
	}
	if !utf8.ValidString(text) {
		return wrong("type for example \"2:00\"", "is not UTF-8")
	}
	for _, r := range text {
		if (r < ' ' && r != '\t') || r == 0x7f {
			return wrong("type it in one line, for example \"30 2 * * *\"", "has the control character %q", r)
		}
	}
	words := strings.Fields(strings.ToLower(text))
	if len(words) == 0 {
		return wrong("type for example \"2:00\", \"monday 9:00\", \"+ 6 hours\" or \"30 2 * * *\"", "is empty")
	}
	var err *Error
	if looksLikeCron(words) {
		err = s.compileCron(words)
	} else {
		err = s.compileAt(strings.Join(words, " "))
	}
	if err != nil {
		return err
	}
	return s.checkFuture()
}

// checkFuture refuses what has no slot left: one for a single run, two for a repetition,
// or else the job would be installed and never heard of again.
func (s *Spec) checkFuture() *Error {
	const hint = "type a day that comes again, for example \"0 2 1 * *\" or \"2:00 monday\""
	if s.Once && s.single.IsZero() {
		return wrong("type a time after "+s.Anchor.Format(minuteFormat), "is in the past")
	}
	if s.Once {
		return nil
	}
	if s.rhythm == nil {
		return wrong("add --once, or say how often: \"now + 1 day\"", "\"now\" does not repeat")
	}
	t, slots := s.Anchor, 2
	if _, is := s.rhythm.(pattern); is {
		slots = 1 // five fields have no year: what comes once comes again
	}
	for range slots {
		next, ok := s.Next(t)
		if !ok {
			return wrong(hint, "never happens")
		}
		t = next
	}
	return nil
}

func wrong(hint, format string, args ...any) *Error {
	return &Error{Msg: fmt.Sprintf(format, args...), hint: hint}
}

// Next is the first slot strictly after after; false when there is none any more.
func (s *Spec) Next(after time.Time) (time.Time, bool) {
	if s.Once || s.rhythm == nil {
		return s.single, !s.single.IsZero() && s.single.After(after)
	}
	if after.Before(s.Anchor) {
		after = s.Anchor
	}
	t, ok := s.rhythm.next(after)
	return t.In(s.Anchor.Location()), ok
}

// Prev is the last slot at or before before; false while there has been none since the Anchor.
func (s *Spec) Prev(before time.Time) (time.Time, bool) {
	if s.Once || s.rhythm == nil {
		return s.single, !s.single.IsZero() && !s.single.After(before)
	}
	t, ok := s.rhythm.prev(before)
	if !ok || !t.After(s.Anchor) {
		return time.Time{}, false
	}
	return t.In(s.Anchor.Location()), true
}
