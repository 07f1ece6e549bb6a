package sched

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// told is a verdict in words: "02:30 late retry; missed 1: 21 02:30; settled ...; next ...".
func told(v Verdict, zone *time.Location) string {
	show := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return t.In(zone).Format("2006-01-02 15:04")
	}
	text := "nothing"
	if !v.Slot.IsZero() {
		text = show(v.Slot)
	}
	if v.Late {
		text += " late"
	}
	if v.Retry {
		text += " again"
	}
	if m := v.Missed; m.Count > 0 {
		text += fmt.Sprintf(", missed %d: %s to %s", m.Count, show(m.First), show(m.Last))
	}
	return text + ", settled " + show(v.Settled) + ", next " + show(v.Next)
}

func TestOwed(t *testing.T) {
	const (
		daily  = "30 2 * * *"
		hourly = "0 * * * *"
		once   = "once 2:30"
	)
	for _, test := range []struct {
		name             string
		zone, spec, book string // of the book "settled" or "settled; tried slot, tries, when"
		grace            time.Duration
		now, want        string
		none             bool
	}{
		{name: "before it", spec: daily, book: "11-20 02:30", now: "11-21 02:29:29", want: "nothing, settled 11-20 02:30, next 11-21 02:30"},
		{name: "early by 20 s", spec: daily, book: "11-20 02:30", now: "11-21 02:29:40", want: "11-21 02:30, settled 11-20 02:30, next 11-22 02:30"},
		{name: "on time", spec: daily, book: "11-20 02:30", now: "11-21 02:30", want: "11-21 02:30, settled 11-20 02:30, next 11-22 02:30"},
		{name: "on time, none", spec: daily, book: "11-20 02:30", now: "11-21 02:45", want: "11-21 02:30, settled 11-20 02:30, next 11-22 02:30", none: true},
		{name: "on time, with a short grace", spec: daily, book: "11-20 02:30", now: "11-21 02:45", grace: time.Minute, want: "11-21 02:30, settled 11-20 02:30, next 11-22 02:30"},
		{name: "served", spec: daily, book: "11-21 02:30", now: "11-21 02:31", want: "nothing, settled 11-21 02:30, next 11-22 02:30"},
		{name: "served by hand, since", spec: daily, book: "11-21 09:00", now: "11-21 09:00", want: "nothing, settled 11-21 09:00, next 11-22 02:30"},
		{name: "before the first", spec: daily, book: "01-01 00:00", now: "01-01 01:00", want: "nothing, settled 01-01 00:00, next 01-01 02:30"},
		{name: "before the install", spec: daily, book: "01-01 00:00", now: "2025-12-31 23:59", want: "nothing, settled 01-01 00:00, next 01-01 02:30"},

		{name: "late", spec: daily, book: "11-20 02:30", now: "11-21 02:45:01", want: "11-21 02:30 late, settled 11-20 02:30, next 11-22 02:30"},
		{name: "late, none", spec: daily, book: "11-20 02:30", now: "11-21 02:45:01", none: true,
			want: "nothing late, missed 1: 11-21 02:30 to 11-21 02:30, settled 11-21 02:30, next 11-22 02:30"},
		{name: "within the grace", spec: daily, book: "11-20 02:30", now: "11-21 04:30", grace: 2 * time.Hour, want: "11-21 02:30 late, settled 11-20 02:30, next 11-22 02:30"},
		{name: "after the grace", spec: daily, book: "11-20 02:30", now: "11-21 04:30:01", grace: 2 * time.Hour,
			want: "nothing late, missed 1: 11-21 02:30 to 11-21 02:30, settled 11-21 02:30, next 11-22 02:30"},
		{name: "just before the guard", spec: daily, book: "11-20 02:30", now: "11-22 02:00", want: "11-21 02:30 late, settled 11-20 02:30, next 11-22 02:30"},
		{name: "within the guard", spec: daily, book: "11-20 02:30", now: "11-22 02:00:01",
			want: "nothing late, missed 1: 11-21 02:30 to 11-21 02:30, settled 11-21 02:30, next 11-22 02:30"},
		{name: "every 40 minutes, on time", spec: "+ 40 minutes", book: "01-01 00:00", now: "01-01 00:55", want: "01-01 00:40, settled 01-01 00:00, next 01-01 01:20"},
		{name: "every 40 minutes, just before half", spec: "+ 40 minutes", book: "01-01 00:00", now: "01-01 01:00", want: "01-01 00:40 late, settled 01-01 00:00, next 01-01 01:20"},
		{name: "every 40 minutes, after half", spec: "+ 40 minutes", book: "01-01 00:00", now: "01-01 01:00:01",
			want: "nothing late, missed 1: 01-01 00:40 to 01-01 00:40, settled 01-01 00:40, next 01-01 01:20"},

		{name: "several missed, the newest is made up for", spec: daily, book: "11-17 02:30", now: "11-21 09:00",
			want: "11-21 02:30 late, missed 3: 11-18 02:30 to 11-20 02:30, settled 11-20 02:30, next 11-22 02:30"},
		{name: "several missed, the newest is on time", spec: daily, book: "11-17 02:30", now: "11-21 02:30", none: true,
			want: "11-21 02:30, missed 3: 11-18 02:30 to 11-20 02:30, settled 11-20 02:30, next 11-22 02:30"},
		{name: "several missed, none", spec: daily, book: "11-17 02:30", now: "11-21 09:00", none: true,
			want: "nothing late, missed 4: 11-18 02:30 to 11-21 02:30, settled 11-21 02:30, next 11-22 02:30"},
		{name: "more than are counted", spec: "* * * * *", book: "01-01 00:00", now: "11-21 09:00",
			want: "11-21 09:00, missed 10000: 01-01 00:01 to 11-21 08:59, settled 11-21 08:59, next 11-21 09:01"},

		{name: "failed, too soon to try again", spec: daily, book: "11-20 02:30; 11-21 02:30, 1, 11-21 02:30", now: "11-21 02:34:29", want: "nothing, settled 11-20 02:30, next 11-21 02:35"},
		{name: "failed, the second try", spec: daily, book: "11-20 02:30; 11-21 02:30, 1, 11-21 02:30", now: "11-21 02:35", want: "11-21 02:30 again, settled 11-20 02:30, next 11-22 02:30"},
		{name: "failed, the second try, early by 20 s", spec: daily, book: "11-20 02:30; 11-21 02:30, 1, 11-21 02:30", now: "11-21 02:34:40", want: "11-21 02:30 again, settled 11-20 02:30, next 11-22 02:30"},
		{name: "failed four times", spec: daily, book: "11-20 02:30; 11-21 02:30, 4, 11-21 03:05", now: "11-21 03:44", want: "nothing late, settled 11-20 02:30, next 11-21 03:45"},
		{name: "failed often", spec: daily, book: "11-20 02:30; 11-21 02:30, 20, 11-21 13:00", now: "11-21 19:00", want: "11-21 02:30 late again, settled 11-20 02:30, next 11-22 02:30"},
		{name: "failed, tried again without catching up", spec: daily, book: "11-20 02:30; 11-21 02:30, 3, 11-21 03:05", now: "11-21 04:00", none: true, want: "11-21 02:30 late again, settled 11-20 02:30, next 11-22 02:30"},
		{name: "the last try", spec: daily, book: "11-20 02:30; 11-21 02:30, 8, 11-21 20:00", now: "11-22 02:00", want: "11-21 02:30 late again, settled 11-20 02:30, next 11-22 02:30"},
		{name: "given up: the next try would be in the guard", spec: daily, book: "11-20 02:30; 11-21 02:30, 24, 11-22 01:10", now: "11-22 01:11", want: "nothing late, settled 11-21 02:30, next 11-22 02:30"},
		{name: "given up: the next try would be after the grace", spec: daily, book: "11-20 02:30; 11-21 02:30, 5, 11-21 04:00", now: "11-21 04:01", grace: 2 * time.Hour, want: "nothing late, settled 11-21 02:30, next 11-22 02:30"},
		{name: "given up: off meanwhile", spec: daily, book: "11-20 02:30; 11-21 02:30, 2, 11-21 02:35", now: "11-22 02:10", want: "nothing late, settled 11-21 02:30, next 11-22 02:30"},
		{name: "every ten minutes, a second try", spec: "*/10 * * * *", book: "11-21 08:50; 11-21 09:00, 1, 11-21 09:00", now: "11-21 09:05", want: "11-21 09:00 again, settled 11-21 08:50, next 11-21 09:10"},
		{name: "every five minutes, none", spec: "*/5 * * * *", book: "11-21 08:55; 11-21 09:00, 1, 11-21 09:00", now: "11-21 09:01", want: "nothing, settled 11-21 09:00, next 11-21 09:05"},
		{name: "failed, and the next slot has come", spec: daily, book: "11-20 02:30; 11-21 02:30, 9, 11-21 09:00", now: "11-22 02:30", want: "11-22 02:30, settled 11-21 02:30, next 11-23 02:30"},
		{name: "failed, and several have passed", spec: daily, book: "11-17 02:30; 11-18 02:30, 1, 11-18 02:30", now: "11-21 09:00",
			want: "11-21 02:30 late, missed 2: 11-19 02:30 to 11-20 02:30, settled 11-20 02:30, next 11-22 02:30"},
		{name: "interrupted by a power cut", spec: daily, book: "11-20 02:30; 11-21 02:30, 1, 11-21 02:30", now: "11-21 18:00", want: "11-21 02:30 late again, settled 11-20 02:30, next 11-22 02:30"},
		{name: "a book with tries of a settled slot", spec: daily, book: "11-21 02:30; 11-21 02:30, 3, 11-21 03:00", now: "11-21 09:00", want: "nothing, settled 11-21 02:30, next 11-22 02:30"},
		{name: "a failed slot that the schedule has no more", spec: daily, book: "11-20 02:30; 11-21 05:00, 1, 11-21 05:00", now: "11-21 09:00", want: "11-21 02:30 late, settled 11-20 02:30, next 11-22 02:30"},

		{name: "set back by an hour", spec: hourly, book: "11-21 09:00", now: "11-21 08:01", want: "nothing, settled 11-21 09:00, next 11-21 10:00"},
		{name: "set back by three hours", spec: hourly, book: "11-21 09:00", now: "11-21 06:00", want: "nothing, settled 11-21 09:00, next 11-21 10:00"},
		{name: "set back by more", spec: hourly, book: "11-21 09:00", now: "11-21 05:59", want: "nothing, settled 11-21 05:59, next 11-21 06:00"},
		{name: "set back by more, to a slot", spec: hourly, book: "11-21 09:00", now: "11-21 05:05", want: "11-21 05:00, settled 11-21 04:59, next 11-21 06:00"},
		{name: "a book from the future", spec: daily, book: "2099-06-01 02:30; 2099-06-02 02:30, 3, 2099-06-02 09:00", now: "11-21 09:00", want: "nothing, settled 11-21 09:00, next 11-22 02:30"},
		{name: "a try from the future", spec: daily, book: "11-18 02:30; 2099-06-02 02:30, 3, 2099-06-02 09:00", now: "11-21 09:00",
			want: "11-21 02:30 late, missed 2: 11-19 02:30 to 11-20 02:30, settled 11-20 02:30, next 11-22 02:30"},
		{name: "failed, then set back by an hour", spec: hourly, book: "11-21 07:00; 11-21 09:00, 1, 11-21 09:00", now: "11-21 08:10", want: "nothing, settled 11-21 07:00, next 11-21 09:00"},
		{name: "failed, then set back, and it has come again", spec: hourly, book: "11-21 08:00; 11-21 09:00, 1, 11-21 09:30", now: "11-21 09:00", want: "11-21 09:00 again, settled 11-21 08:00, next 11-21 10:00"},
		{name: "set back to before the install", spec: daily, book: "01-01 00:00", now: "2020-01-01 00:00", want: "nothing, settled 2020-01-01 00:00, next 01-01 02:30"},

		{name: "skipped in spring", zone: "Europe/Berlin", spec: daily, book: "03-28 02:30", now: "03-29 03:00", want: "03-29 03:00, settled 03-28 02:30, next 03-30 02:30"},
		{name: "before it is skipped", zone: "Europe/Berlin", spec: daily, book: "03-28 02:30", now: "03-29 01:58", want: "nothing, settled 03-28 02:30, next 03-29 03:00"},
		{name: "the first of two in autumn", zone: "Europe/Berlin", spec: daily, book: "10-24 02:30", now: "10-25T00:30Z", want: "10-25 02:30, settled 10-24 02:30, next 10-26 02:30"},
		{name: "the second of two in autumn", zone: "Europe/Berlin", spec: daily, book: "10-25T00:30Z", now: "10-25T01:30Z", want: "nothing, settled 10-25 02:30, next 10-26 02:30"},
		{name: "made up for in the repeated hour", zone: "Europe/Berlin", spec: daily, book: "10-24 02:30", now: "10-25T01:30Z", want: "10-25 02:30 late, settled 10-24 02:30, next 10-26 02:30"},
		{name: "hourly in the repeated hour", zone: "Europe/Berlin", spec: hourly, book: "10-25T00:00Z", now: "10-25T01:00Z", want: "10-25 02:00, settled 10-25 02:00, next 10-25 03:00"},

		{name: "once, before", spec: once, book: "01-01 00:00", now: "01-01 02:00", want: "nothing, settled 01-01 00:00, next 01-01 02:30"},
		{name: "once, on time", spec: once, book: "01-01 00:00", now: "01-01 02:30", want: "01-01 02:30, settled 01-01 00:00, next never"},
		{name: "once, months late", spec: once, book: "01-01 00:00", now: "11-21 09:00", want: "01-01 02:30 late, settled 01-01 00:00, next never"},
		{name: "once, months late, none", spec: once, book: "01-01 00:00", now: "11-21 09:00", none: true, want: "nothing late, missed 1: 01-01 02:30 to 01-01 02:30, settled 01-01 02:30, next never"},
		{name: "once, after the grace", spec: once, book: "01-01 00:00", now: "01-01 09:00", grace: time.Hour, want: "nothing late, missed 1: 01-01 02:30 to 01-01 02:30, settled 01-01 02:30, next never"},
		{name: "once, failed", spec: once, book: "01-01 00:00; 01-01 02:30, 2, 01-01 02:35", now: "01-01 02:36", want: "nothing, settled 01-01 00:00, next 01-01 02:45"},
		{name: "once, served", spec: once, book: "01-01 02:30", now: "11-21 09:00", want: "nothing, settled 01-01 02:30, next never"},

		{name: "steps", spec: "+ 5 days", book: "01-01 00:00", now: "01-06 00:00", want: "01-06 00:00, settled 01-01 00:00, next 01-11 00:00"},
		{name: "steps, missed", spec: "+ 5 days", book: "01-01 00:00", now: "01-19 09:00", want: "01-16 00:00 late, missed 2: 01-06 00:00 to 01-11 00:00, settled 01-11 00:00, next 01-21 00:00"},
		{name: "steps, by hand between", spec: "+ 5 days", book: "01-08 12:00", now: "01-11 00:00", want: "01-11 00:00, settled 01-08 12:00, next 01-16 00:00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.zone == "" {
				test.zone = "UTC"
			}
			zone := loadZone(t, test.zone)
			text, isOnce := strings.CutPrefix(test.spec, "once ")
			spec, err := newSpec(text, at(t, test.zone, "2026-01-01 00:00"), isOnce)
			if err != nil {
				t.Fatal(err)
			}
			v := spec.Owed(readBook(t, test.book, zone), CatchUp{Once: !test.none, Grace: test.grace}, someTime(t, test.now, zone))
			if got := strings.ReplaceAll(told(v, zone), "2026-", ""); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// someTime reads a time of 2026 with as much as is needed.
func someTime(t *testing.T, text string, zone *time.Location) time.Time {
	t.Helper()
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04Z07:00"} {
		for _, year := range []string{"2026-", ""} {
			if got, err := time.ParseInLocation(layout, year+text, zone); err == nil {
				return got.In(zone)
			}
		}
	}
	t.Fatalf("%q is no time", text)
	return time.Time{}
}

func readBook(t *testing.T, text string, zone *time.Location) Book {
	t.Helper()
	settled, tries, tried := strings.Cut(text, "; ")
	b := Book{Settled: someTime(t, settled, zone)}
	if tried {
		part := strings.Split(tries, ", ")
		b.Slot, b.Tried = someTime(t, part[0], zone), someTime(t, part[2], zone)
		if _, err := fmt.Sscan(part[1], &b.Tries); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestBackoff(t *testing.T) {
	var got []string
	for _, tries := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 1 << 40} {
		got = append(got, Backoff(tries).String())
	}
	if want := "5m0s 5m0s 10m0s 20m0s 40m0s 1h20m0s 2h40m0s 5h20m0s 6h0m0s 6h0m0s"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestOwedRules holds what is true of any verdict, for random schedules, books and times.
func TestOwedRules(t *testing.T) {
	t.Parallel()
	for n := range uint64(often(40, 600)) {
		if !randomOwed(t, rand.New(rand.NewPCG(7, n)), 40) {
			return
		}
	}
}

// FuzzOwed looks for a verdict that breaks the rules.
func FuzzOwed(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) { randomOwed(t, rand.New(rand.NewPCG(a, b)), 5) })
}

// randomOwed tries a random schedule with so many books.
func randomOwed(t *testing.T, random *rand.Rand, books int) bool {
	t.Helper()
	text, anchor := randomSpec(t, random)
	spec, err := newSpec(text, anchor, random.IntN(8) == 0)
	if err != nil {
		return true
	}
	for range books {
		if b, c, now := randomBook(random, spec); !owedRules(t, spec, b, c, now) {
			return false
		}
	}
	return true
}

// randomBook is one that was written at some time around another, or anything.
func randomBook(random *rand.Rand, spec *Spec) (b Book, c CatchUp, now time.Time) {
	near := func(t time.Time) time.Time {
		span := []time.Duration{time.Minute, time.Hour, 5 * time.Hour, 60 * 24 * time.Hour}[random.IntN(4)]
		return t.Add(time.Duration(random.Int64N(int64(2*span)) - int64(span)))
	}
	slotNear := func(t time.Time) time.Time {
		if slot, ok := spec.Prev(t); ok && random.IntN(5) > 0 {
			return slot
		}
		return t
	}
	now = near(spec.Anchor.Add(time.Duration(random.IntN(100*24)) * time.Hour))
	if slot, ok := spec.Next(now); ok && random.IntN(3) > 0 {
		now = near(slot)
	}
	b.Settled = slotNear(near(now))
	if random.IntN(2) == 0 {
		b.Slot, b.Tries, b.Tried = slotNear(near(now)), random.IntN(12), near(now)
	}
	c.Once = random.IntN(3) > 0
	if random.IntN(3) == 0 {
		c.Grace = time.Duration(1 + random.Int64N(int64(12*time.Hour)))
	}
	return b, c, now
}

func owedRules(t *testing.T, s *Spec, b Book, c CatchUp, now time.Time) bool {
	t.Helper()
	v := s.Owed(b, c, now)
	zone := s.Anchor.Location()
	bad := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%q from %v with %+v, %+v at %v:\n%s\n%s", s.Text, s.Anchor, b, c, now, told(v, zone), fmt.Sprintf(format, args...))
	}
	isSlot := func(at time.Time) bool {
		slot, ok := s.Prev(at)
		return ok && slot.Equal(at)
	}
	wasAhead := b.Settled.After(now.Add(setBack))
	if !v.Slot.IsZero() {
		if !isSlot(v.Slot) || v.Slot.After(now.Add(early)) {
			bad("the slot is none, or has not come")
		}
		if !v.Slot.After(v.Settled) {
			bad("the slot is settled")
		}
		if next, ok := s.Next(v.Slot); ok && !next.After(now.Add(early)) {
			bad("%v is newer", next)
		}
		if v.Late && !c.Once && !v.Retry {
			bad("it is made up for, and must not be")
		}
		if next, ok := s.Next(v.Slot); ok && (v.Late || v.Retry) && next.Sub(now) < min(Guard, next.Sub(v.Slot)/2) {
			bad("it is in the way of %v", next)
		}
		if c.Grace > 0 && (v.Late || v.Retry) && now.Sub(v.Slot) > c.Grace {
			bad("it is after the grace")
		}
		if v.Retry && (!b.Slot.Equal(v.Slot) || b.Tries < 1 || !b.Tried.After(now) && b.Tried.Add(Backoff(b.Tries)).After(now.Add(early))) {
			bad("it is no time to try again")
		}
		if wasAhead && now.Sub(v.Slot) > OnTime {
			bad("an old slot is served after the clock was set back")
		}
	}
	if v.Settled.Before(b.Settled) && !wasAhead {
		bad("what was settled is not any more")
	}
	if v.Settled.After(later(b.Settled, now.Add(early))) {
		bad("the future is settled")
	}
	if m := v.Missed; m.Count > 0 {
		if !isSlot(m.First) || !isSlot(m.Last) || m.Last.Before(m.First) || (m.Count == 1) != m.First.Equal(m.Last) {
			bad("what was missed is not in order")
		}
		if !m.First.After(b.Settled) && !wasAhead || m.Last.After(now.Add(early)) || v.Settled.Before(m.Last) {
			bad("missed are others than those that have passed and are not settled")
		}
		if !v.Slot.IsZero() && !m.Last.Before(v.Slot) {
			bad("a slot is missed and served")
		}
		if b.Tries > 0 && isSlot(b.Slot) && !b.Slot.Before(m.First) && !b.Slot.After(m.Last) && b.Slot.After(b.Settled) {
			bad("a slot was tried and is missed")
		}
	}
	if !v.Next.IsZero() && !v.Next.After(now) {
		bad("next is not to come")
	}
	if next, ok := s.Next(later(now.Add(early), v.Settled)); ok && v.Next.IsZero() {
		bad("there is no next, but %v", next)
	} else if ok && v.Next.After(next) && !b.Slot.After(now) {
		bad("next is after %v", next)
	}

	// Once the verdict is carried out, nothing more is owed, at this time or until Next.
	done := b
	done.Settled = v.Settled
	if !v.Slot.IsZero() {
		done = Book{Settled: v.Slot}
	}
	for _, again := range []time.Time{now, v.Next.Add(-early - time.Second)} {
		if again.Before(now) {
			continue
		}
		if w := s.Owed(done, c, again); !w.Slot.IsZero() || w.Missed.Count > 0 || !w.Settled.Equal(done.Settled) && !w.Settled.Equal(b.Slot) {
			bad("after that, at %v: %s", again, told(w, zone))
		}
	}
	// A try that fails is one more, and is not tried again at once.
	if !v.Slot.IsZero() {
		tries := 1
		if v.Retry {
			tries += b.Tries
		}
		failed := Book{Settled: v.Settled, Slot: v.Slot, Tries: tries, Tried: now}
		if w := s.Owed(failed, c, now.Add(time.Minute)); w.Slot.Equal(v.Slot) || w.Missed.Count > 0 {
			bad("a minute after a failure: %s", told(w, zone))
		}
	}
	return !t.Failed()
}
