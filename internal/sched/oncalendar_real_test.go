package sched

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// calendarElapses asks systemd when the events elapse after base: the first n times of their union.
func calendarElapses(t *testing.T, events []string, base time.Time, n int) []time.Time {
	t.Helper()
	args := append([]string{"calendar", fmt.Sprintf("--iterations=%d", n), "--base-time=" + calendarTime(base)}, events...)
	cmd := exec.Command("systemd-analyze", args...)
	cmd.Env = []string{"TZ=UTC", "LC_ALL=C", "SYSTEMD_PAGER="}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze %q: %v\n%s", args, err, out)
	}
	var all []time.Time
	for line := range strings.Lines(string(out)) {
		what, when, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if what != "Next elapse" && !strings.HasPrefix(what, "Iter. #") {
			continue
		}
		if when == "never" {
			continue
		}
		at, err := time.Parse("Mon 2006-01-02 15:04:05 MST", when)
		if err != nil {
			t.Fatalf("systemd-analyze %q: %v", args, err)
		}
		all = append(all, at)
	}
	slices.SortFunc(all, time.Time.Compare)
	all = slices.CompactFunc(all, time.Time.Equal)
	return all[:min(n, len(all))]
}

// systemd's own calculator finds the slots of the Spec, and no others, also when the clocks change.
func TestRealOnCalendar(t *testing.T) {
	if _, err := lookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze")
	}
	t.Parallel()
	random := rand.New(rand.NewPCG(9, 10))
	const tries, slots = 300, 20
	compared := 0
	for range tries {
		text, anchor := randomSpec(t, random)
		spec, err := Parse(text, anchor)
		if err != nil {
			continue // a day that no month has
		}
		events, err := spec.OnCalendar()
		if err != nil {
			continue // TestOnCalendar has these
		}
		// From just before one of the next changes of the clocks, or from anywhere.
		base := anchor
		for range random.IntN(6) {
			if change, ok := nextChange(base); ok {
				base = change
			}
		}
		if base = base.Add(-time.Duration(random.IntN(30*60)) * time.Minute); base.Before(anchor) {
			base = anchor
		}
		compared++
		var want []time.Time
		for at, ok := spec.Next(base); ok && len(want) < slots; at, ok = spec.Next(at) {
			want = append(want, at)
		}
		got := calendarElapses(t, events, base, slots)
		if i := firstDifferent(got, want); i >= 0 {
			t.Errorf("%q in %s from %s: %q differ at slot %d: systemd has %s, want %s", text, anchor.Location(), base.UTC().Format(time.RFC3339),
				events, i, timeAt(got, i, anchor), timeAt(want, i, anchor))
		}
	}
	if compared < 100 {
		t.Errorf("only %d schedules were compared", compared)
	}
}

// firstDifferent is the index of the first time that is not the same, or -1.
func firstDifferent(a, b []time.Time) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || !a[i].Equal(b[i]) {
			return i
		}
	}
	return -1
}

func timeAt(list []time.Time, i int, anchor time.Time) string {
	if i >= len(list) {
		return "none"
	}
	return list[i].In(anchor.Location()).Format(time.RFC3339)
}
