package rotate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSpan bounds each part of a Span, far from where the arithmetic of time.Time overflows.
const maxSpan = 99999

// Span is a length of time on the calendar, such as 2y6m10d: a month is a month, however many
// days it has, and a day is a day, also when the clocks change. Only Hours are exact.
// Each part is 0 to 99999. The zero Span means there is none.
type Span struct{ Years, Months, Weeks, Days, Hours int }

// part is one number of a Span with its unit.
type part struct {
	unit byte
	n    *int
}

func (s *Span) parts() []part {
	return []part{{'y', &s.Years}, {'m', &s.Months}, {'w', &s.Weeks}, {'d', &s.Days}, {'h', &s.Hours}}
}

// UnmarshalFlag sets s from numbers with the units y, m (months), w, d and h, each at most once:
// "2y6m10d", "8w", "36h". It leaves s alone when it returns an error.
func (s *Span) UnmarshalFlag(text string) error {
	var span Span
	left := span.parts()
	for rest := text; ; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits == len(rest) {
			return fmt.Errorf("span %q: is not made of numbers with a unit, as in 36h, 30d, 8w or 2y6m", text)
		}
		n, err := strconv.ParseUint(rest[:digits], 10, 31)
		if err != nil || n > maxSpan {
			return fmt.Errorf("span %q: %s is more than %d", text, rest[:digits], maxSpan)
		}
		i := slices.IndexFunc(left, func(p part) bool { return p.unit == rest[digits] })
		if i < 0 {
			return fmt.Errorf("span %q: the units are y, m (months), w, d and h, each at most once", text)
		}
		*left[i].n = int(n)
		left = slices.Delete(left, i, i+1)
		if rest = rest[digits+1:]; rest == "" {
			*s = span
			return nil
		}
	}
}

// MarshalFlag returns what UnmarshalFlag reads back as s; an error if a part is out of range.
func (s Span) MarshalFlag() (string, error) {
	return s.String(), s.check()
}

// String returns s in the form of UnmarshalFlag, largest unit first; "0d" if it is zero.
func (s Span) String() string {
	var b strings.Builder
	for _, p := range s.parts() {
		if *p.n != 0 {
			b.WriteString(strconv.Itoa(*p.n))
			b.WriteByte(p.unit)
		}
	}
	if b.Len() == 0 {
		return "0d"
	}
	return b.String()
}

// IsZero reports whether s has no length.
func (s Span) IsZero() bool { return s == Span{} }

// Before returns the time s before t, counted on the calendar and clock of t's location; s must be
// as UnmarshalFlag makes it. A day of the month that the earlier month lacks becomes its last day.
func (s Span) Before(t time.Time) time.Time {
	// Only if asked for: AddDate(0, 0, 0) may land on the other pass of the hour that autumn repeats.
	if s.Years != 0 || s.Months != 0 || s.Weeks != 0 || s.Days != 0 {
		// AddDate alone makes "a month before March 31st" March 3rd, and so later than a month
		// before April 1st: what is kept must not depend on that.
		year, month, day := t.Date()
		first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC).AddDate(-s.Years, -s.Months, 0)
		last := first.AddDate(0, 1, -1).Day()
		days := min(day, last) - 7*s.Weeks - s.Days
		t = time.Date(first.Year(), first.Month(), days, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
	}
	return t.Add(-time.Duration(s.Hours) * time.Hour)
}

func (s Span) check() error {
	for _, p := range s.parts() {
		if *p.n < 0 || *p.n > maxSpan {
			return fmt.Errorf("span %q: %d is not within 0 to %d", s, *p.n, maxSpan)
		}
	}
	return nil
}
