package sched

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// randomSpec is a specification of either grammar, and an anchor in some zone, often near
// a change of the clocks.
func randomSpec(t *testing.T, random *rand.Rand) (string, time.Time) {
	t.Helper()
	zone := loadZone(t, zones[random.IntN(len(zones))])
	anchor := someChange(random, zone).Add(time.Duration(random.IntN(200)-100) * time.Hour / 4).Truncate(time.Minute).In(zone)
	if random.IntN(3) == 0 {
		anchor = anchor.Add(time.Duration(random.IntN(60)) * time.Second)
	}
	switch random.IntN(4) {
	case 0:
		return randomCron(random), anchor
	case 1:
		return randomAt(random), anchor
	case 2:
		units := []string{"minutes", "minutes", "hours", "days", "weeks", "months", "years"}
		return fmt.Sprintf("+ %d %s", 1+random.IntN(60), units[random.IntN(len(units))]), anchor
	}
	return fmt.Sprintf("%d:%02d", random.IntN(4), random.IntN(60)), anchor // in the night
}

// TestSlotLaws holds what a scheduler relies on: Next ascends and is after its argument
// and the anchor, Prev is its inverse, and nothing lies between two slots.
func TestSlotLaws(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 8))
	tried := 0
	for range 1200 {
		text, anchor := randomSpec(t, random)
		s, err := Parse(text, anchor)
		if err != nil {
			continue
		}
		tried++
		if slot, ok := s.Prev(anchor); ok {
			t.Errorf("%q from %v: Prev of the anchor is %v, want none", text, anchor, slot)
		}
		last := anchor
		for range 12 {
			next, ok := s.Next(last)
			if !ok {
				t.Errorf("%q from %v: no slot after %v", text, anchor, last)
				break
			}
			checkSlot(t, random, s, last, next)
			last = next
		}
	}
	if tried < 600 {
		t.Errorf("only %d specifications were tried", tried)
	}
}

func checkSlot(t *testing.T, random *rand.Rand, s *Spec, last, next time.Time) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%q from %v: after %v comes %v; %s", s.Text, s.Anchor, last, next, fmt.Sprintf(format, args...))
	}
	if !next.After(last) || next.Second() != 0 || next.Nanosecond() != 0 {
		fail("want a later whole minute")
	}
	if next.Location() != s.Anchor.Location() {
		fail("want it in %v", s.Anchor.Location())
	}
	between := last.Add(time.Duration(random.Int64N(int64(next.Sub(last)))))
	if got, ok := s.Next(between); !ok || !got.Equal(next) {
		fail("Next(%v) is %v, %v", between, got, ok)
	}
	if got, ok := s.Prev(between); ok != last.After(s.Anchor) || (ok && !got.Equal(last)) {
		fail("Prev(%v) is %v, %v", between, got, ok)
	}
	if got, ok := s.Prev(next); !ok || !got.Equal(next) {
		fail("Prev of it is %v, %v", got, ok)
	}
}

// TestEveryDayOfAYear: a daily slot is neither lost nor doubled when the clocks change.
func TestEveryDayOfAYear(t *testing.T) {
	t.Parallel()
	for _, name := range zones {
		for _, year := range []int{2011, 2028} {
			zone := loadZone(t, name)
			from := time.Date(year, time.January, 1, 0, 0, 0, 0, zone).Add(-time.Nanosecond)
			to := time.Date(year+1, time.January, 1, 0, 0, 0, 0, zone)
			days := daysIn(year, time.February) + 365 - 28
			for _, at := range []int{0, 1, 90, 119, 120, 150, 180, 23*60 + 59} {
				hour, minute := at/60, at%60
				for _, text := range []string{fmt.Sprintf("%d:%02d", hour, minute), fmt.Sprintf("%d %d * * *", minute, hour)} {
					s := mustSpec(t, text, from.AddDate(0, 0, -3))
					got := 0
					for slot, _ := s.Next(from); slot.Before(to); slot, _ = s.Next(slot) {
						got++
					}
					// Apia had no 30 December 2011: its slot meets the midnight that follows.
					want := days
					if name == "Pacific/Apia" && year == 2011 && hour == 0 && minute == 0 {
						want--
					}
					if got != want {
						t.Errorf("%q in %s: %d slots in %d, want %d", text, name, got, year, want)
					}
				}
			}
		}
	}
}

// TestCronIsTheSame holds Cron's promise: what it returns has the slots of the Spec, for
// five years, from the anchor on.
func TestCronIsTheSame(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(9, 10))
	same, refused := 0, 0
	for range often(150, 1000) {
		text, anchor := randomSpec(t, random)
		if random.IntN(4) == 0 {
			text = fmt.Sprintf("+ %d minutes", []int{5, 10, 12, 15, 20, 30, 60, 120, 360, 1440}[random.IntN(10)])
		}
		s, err := Parse(text, anchor)
		if err != nil {
			continue
		}
		fields, err := s.Cron()
		if err != nil {
			var cronErr *Error
			if !errors.As(err, &cronErr) || !strings.Contains(cronErr.Hint(), "--scheduler at or --scheduler service") || !strings.Contains(err.Error(), "cron cannot express it: ") {
				t.Errorf("Cron of %q: got %v, want an *Error that says who can", text, err)
			}
			refused++
			continue
		}
		same++
		if _, ok := s.rhythm.(pattern); ok {
			continue // TestPatternAgainstAClock has them
		}
		for _, window := range windows(s) {
			a, b := slotsBetween(s, window), slotsBetween(mustSpec(t, fields, anchor), window)
			if !slices.EqualFunc(a, b, time.Time.Equal) {
				t.Errorf("%q from %v is %q for cron: %s", text, anchor, fields, firstDifference(b, a))
			}
		}
	}
	if same < 60 || refused < 30 {
		t.Errorf("cron could express %d and not %d: too few of one", same, refused)
	}
}

// often is how often something random is tried: long with TINYBACKUP_TORTURE=1.
func often(short, long int) int {
	if os.Getenv("TINYBACKUP_TORTURE") != "" {
		return long
	}
	return short
}

// windows are the five years from the anchor on; of what comes often only the beginning,
// the end and the days around changes of the clocks.
func windows(s *Spec) [][2]time.Time {
	first, _ := s.Next(s.Anchor)
	second, _ := s.Next(first)
	end := s.Anchor.AddDate(5, 0, 0)
	if second.Sub(first) > 6*24*time.Hour {
		return [][2]time.Time{{s.Anchor, end}}
	}
	const around = 26 * time.Hour
	found := [][2]time.Time{{s.Anchor, s.Anchor.Add(3 * around)}, {end.Add(-around), end}}
	for change, ok := nextChange(s.Anchor); ok && change.Before(end); change, ok = nextChange(change) {
		found = append(found, [2]time.Time{change.Add(-around), change.Add(around)})
	}
	return found
}

func slotsBetween(s *Spec, window [2]time.Time) []time.Time {
	var found []time.Time
	for slot, ok := s.Next(window[0]); ok && slot.Before(window[1]); slot, ok = s.Next(slot) {
		found = append(found, slot)
	}
	return found
}

func TestCron(t *testing.T) {
	t.Parallel()
	const berlin, kathmandu, utc, lordHowe = "Europe/Berlin", "Asia/Kathmandu", "UTC", "Australia/Lord_Howe"
	for _, test := range []struct{ zone, anchor, text, want string }{
		{berlin, saturday, "2:30", "30 2 * * *"},
		{berlin, saturday, "9:00 monday", "0 9 * * 1"},
		{berlin, saturday, "9:00 sunday", "0 9 * * 0"},
		{berlin, saturday, "3:00pm 27.04.2027", "0 15 27 4 *"},
		{berlin, saturday, "noon feb 29", "0 12 29 2 *"},
		{berlin, "2026-11-21 02:30", "+ 1 day", "30 2 * * *"},
		{berlin, "2026-11-21 02:30", "+ 7 days", "30 2 * * 6"},
		{berlin, "2026-11-21 02:30", "+ 1 week", "30 2 * * 6"},
		{berlin, "2026-11-21 02:30", "+ 1 month", "30 2 21 * *"},
		{berlin, "2026-11-21 02:30", "+ 3 months", "30 2 21 2,5,8,11 *"},
		{berlin, "2026-01-31 02:30", "+ 6 months", "30 2 31 1,7 *"},
		{berlin, "2026-11-21 02:30", "+ 1 year", "30 2 21 11 *"},
		{berlin, "2026-11-21 09:03", "+ 10 minutes", "3,13,23,33,43,53 * * * *"},
		{berlin, "2026-11-21 09:00", "+ 10 minutes", "*/10 * * * *"},
		{berlin, "2026-11-21 09:03", "+ 1 minute", "* * * * *"},
		{berlin, "2026-11-21 09:03", "+ 1 hour", "3 * * * *"},
		{berlin, "2026-11-21 09:03", "+ 60 minutes", "3 * * * *"},
		{lordHowe, "2026-11-21 09:03", "+ 15 minutes", "3,18,33,48 * * * *"},
		{kathmandu, "2026-11-21 09:03", "+ 6 hours", "3 3,9,15,21 * * *"},
		{utc, "2026-11-21 09:03", "+ 24 hours", "3 9 * * *"},
		{utc, "2026-11-21 09:03", "2:30 utc", "30 2 * * *"},
		{berlin, saturday, "*/15 2 * * mon", "0,15,30,45 2 * * 1"},
		// what cron cannot express
		{berlin, saturday, "+ 7 minutes", ""},
		{berlin, saturday, "+ 90 minutes", ""},
		{berlin, saturday, "+ 61 minutes", ""},
		{berlin, saturday, "+ 2 hours", ""},
		{kathmandu, saturday, "+ 5 hours", ""},
		{kathmandu, saturday, "+ 48 hours", ""},
		{lordHowe, saturday, "+ 1 hour", ""},
		{lordHowe, saturday, "+ 20 minutes", ""},
		{berlin, saturday, "+ 24 hours", ""},
		{berlin, saturday, "+ 2 days", ""},
		{berlin, saturday, "+ 2 weeks", ""},
		{berlin, saturday, "+ 5 months", ""},
		{berlin, saturday, "+ 2 years", ""},
		{berlin, "2026-10-31 09:00", "+ 1 month", ""},
		{berlin, "2026-10-29 09:00", "+ 4 months", ""},
		{berlin, "2028-02-29 09:00", "+ 1 year", ""},
		{berlin, saturday, "2:30 utc", ""},
		{berlin, saturday, "9:00 tomorrow", ""}, // it would run today
		{berlin, saturday, "9:00 saturday", ""},
		{berlin, saturday, "27.04.2028", ""},
		{berlin, "2026-11-21 02:30:01", "+ 1 day", ""}, // it would run at 02:31
	} {
		s := mustSpec(t, test.text, at(t, test.zone, test.anchor))
		got, err := s.Cron()
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("Cron of %q in %s: got %q, %v, want %q", test.text, test.zone, got, err, test.want)
		}
		if err == nil {
			s.Once = true
			if got, err := s.Cron(); err == nil {
				t.Errorf("Cron of %q, once: got %q, want an error", test.text, got)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"30 2 * * *", "*/15 2,3 1-7 jan-mar sun", "@daily", "0 0 31 2 *", "14h30", "2:00am monday + 2 weeks", "teatime tomorrow", "now",
		"3:00pm 27.04.2027", "feb 29", "12/31/27", "112126", "next week + 3 days", "+7min", "9:00 - 1 day", "2:30 utc", "0 0 */2 * 1", "0 0 1,15 * */3,1",
		"\x00", "½", "+ 99999999999999999999 years", "0 0 * * 7", "5/10 * * * *",
	} {
		f.Add(text, int64(1795246980))
	}
	berlin := loadZone(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		const century = 100 * 366 * 24 * 3600
		anchor := time.Unix(floorMod(unix, century), 0).In(berlin)
		s, err := Parse(text, anchor)
		if err != nil {
			var parseErr *Error
			if !errors.As(err, &parseErr) {
				t.Fatalf("Parse(%q): got %T, want an *Error", text, err)
			}
			checkError(t, text, parseErr)
			return
		}
		again, err := Parse(s.Text, anchor)
		if err != nil || again.Text != s.Text || slotsOf(again, 3) != slotsOf(s, 3) {
			t.Fatalf("Parse(%q) has the text %q, which is parsed as %+v, %v", text, s.Text, again, err)
		}
		last := anchor
		for range 3 {
			next, ok := s.Next(last)
			if prev, found := s.Prev(next); !ok || !next.After(last) || next.Unix()%60 != 0 || !found || !prev.Equal(next) {
				t.Fatalf("%q from %v: after %v comes %v, %v, and Prev of that is %v", text, anchor, last, next, ok, prev)
			}
			last = next
		}
		if s.Describe() == "" || strings.ContainsAny(strings.Join(append(s.Notes(anchor), s.Describe()), ""), "\n%") {
			t.Fatalf("%q: %q, %q", text, s.Describe(), s.Notes(anchor))
		}
		if fields, err := s.Cron(); err == nil && !sameSlots(mustSpec(t, fields, anchor), s) {
			t.Fatalf("%q from %v: cron's %q has other slots", text, anchor, fields)
		}
	})
}

func sameSlots(a, b *Spec) bool { return slotsOf(a, 50) == slotsOf(b, 50) }
