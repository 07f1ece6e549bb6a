package sched

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// ownAt is a copy of at without its setuid bit, so that faketime can give it a clock.
const ownAt = "/run/at"

// askAt is the time at which at(1) would run a job of the specification, in UTC; false if it refuses.
func askAt(t *testing.T, text string, now time.Time) (time.Time, bool) {
	t.Helper()
	cmd := exec.Command("faketime", append([]string{"-f", now.Format("2006-01-02 15:04:05"), ownAt, "-q", "t", "--"}, strings.Fields(text)...)...)
	cmd.Dir, cmd.Env = "/", []string{"TZ=UTC", "LC_ALL=C", "PATH=/usr/bin:/bin"}
	cmd.Stdin = strings.NewReader("true\n")
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		var number int
		if n, scanErr := fmt.Sscanf(line, "job %d at", &number); n == 1 && scanErr == nil {
			_, date, _ := strings.Cut(strings.TrimSpace(line), " at ")
			when, err := time.ParseInLocation("Mon Jan _2 15:04:05 2006", date, time.UTC)
			if err != nil {
				t.Fatalf("at %s: %v", text, err)
			}
			return when, true
		}
	}
	if err == nil {
		t.Fatalf("at %s: no time in %s", text, out)
	}
	return time.Time{}, false
}

func prepareAt(t *testing.T) bool {
	t.Helper()
	if !inNamespace(t, "at", "faketime") {
		return false
	}
	if out, err := exec.Command("install", "-m", "755", "/usr/bin/at", ownAt).CombinedOutput(); err != nil {
		t.Fatalf("copy at: %v: %s", err, out)
	}
	return true
}

// TestRealAtAgrees asks at(1) itself when a job would run.
func TestRealAtAgrees(t *testing.T) {
	if !prepareAt(t) {
		return
	}
	random := rand.New(rand.NewPCG(3, 4))
	anchors := []string{saturday, "2026-12-31 23:59:00", "2027-02-28 12:00:00", "2028-02-29 00:00:00", "2027-10-31 02:30:00", "2026-11-23 09:00:00"}
	asked := 0
	for range 800 {
		text := randomAt(random)
		anchor := at(t, "UTC", anchors[random.IntN(len(anchors))])
		if anchor.Day() > 28 && regexp.MustCompile(`month|year`).MatchString(strings.ToLower(text)) {
			continue // see TestRealAtDiffers
		}
		want, ok := askAt(t, text, anchor)
		s, err := ParseOnce(text, anchor)
		if err != nil {
			if ok {
				t.Errorf("at %s: %v, but at answers %v (now %v)", text, err, want, anchor)
			}
			continue
		}
		got, _ := s.Next(anchor)
		if !ok {
			// at refuses today's date if its time has passed; ours is next year's.
			if !got.After(anchor.AddDate(0, 11, 0)) {
				t.Errorf("at %s: at refuses it, and we answer %v (now %v)", text, got, anchor)
			}
			continue
		}
		if !got.Equal(want) {
			// What is due at once is due at the next minute.
			if want.Equal(anchor) && got.Equal(anchor.Add(time.Minute)) {
				continue
			}
			t.Errorf("at %s: got %v, at answers %v (now %v)", text, got, want, anchor)
		}
		asked++
	}
	if asked < 500 {
		t.Errorf("only %d specifications were compared", asked)
	}
}

// randomAt is a specification of at's own grammar without the known differences.
func randomAt(random *rand.Rand) string {
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	hour, minute, day := random.IntN(24), random.IntN(60), 1+random.IntN(28)
	month := strings.ToLower(time.Month(1 + random.IntN(12)).String())
	if random.IntN(2) == 0 {
		month = month[:3]
	}
	year := 2029 + random.IntN(5)
	clock := pick(
		fmt.Sprintf("%d:%02d", hour, minute), fmt.Sprintf("%02dh%02d", hour, minute), fmt.Sprintf("%d.%02d", hour, minute),
		fmt.Sprintf("%d'%02d", hour, minute), fmt.Sprintf("%02d,%02d", hour, minute), fmt.Sprintf("%02d%02d", hour, minute),
		fmt.Sprintf("%d:%02dam", hour%12+1, minute), fmt.Sprintf("%d:%02d PM", hour%12+1, minute),
		fmt.Sprintf("%dam", hour%12+1), fmt.Sprintf("%d pm", hour%12+1), "noon", "Midnight", "teatime", "9:00 UTC")
	exact := pick(
		fmt.Sprintf("%s %d %d", month, day, year), fmt.Sprintf("%s %d, %d", month, day, year), fmt.Sprintf("%d %s %d", day, month, year),
		fmt.Sprintf("%d.%d.%d", day, 1+random.IntN(12), year), fmt.Sprintf("%02d.%02d.%02d", day, 1+random.IntN(12), year%100),
		fmt.Sprintf("%d-%d-%d", year, 1+random.IntN(12), day), fmt.Sprintf("%02d-%02d-%02d", year%100, 1+random.IntN(12), day),
		fmt.Sprintf("%d/%d/%d", 1+random.IntN(12), day, year), fmt.Sprintf("%02d/%02d/%02d", 1+random.IntN(12), day, year%100),
		fmt.Sprintf("%02d%02d%02d", 1+random.IntN(12), day, year%100), fmt.Sprintf("%02d%02d%d", 1+random.IntN(12), day, year),
		fmt.Sprintf("%d%02d%02d", 1+random.IntN(9), day, year%100), fmt.Sprintf("%d%02d%d", 1+random.IntN(9), day, year))
	date := pick("today", "tomorrow", "mon", "Tuesday", "wed", "thursday", "fri", "saturday", "SUN", "next monday", "next sat",
		fmt.Sprintf("%s %d", month, day), fmt.Sprintf("%d %s", day, month))
	unit := pick("min", "minute", "minutes", "hour", "hours", "day", "days", "week", "weeks", "month", "months", "year", "years")
	increment := fmt.Sprintf("%s%d%s%s", pick("+", "+ "), 1+random.IntN(40), pick("", " "), unit)
	switch random.IntN(12) {
	case 0:
		return clock
	case 1:
		return exact
	case 2:
		return clock + " " + exact
	case 3:
		return date
	case 4:
		return clock + " " + date
	case 5:
		return pick("now", "now ") + increment
	case 6:
		return clock + " " + increment
	case 7:
		return clock + " " + exact + " " + increment
	case 8:
		return clock + " " + pick("next ", "NEXT ") + pick("minute", "hour", "day", "week", "month", "year")
	case 9:
		return "next " + pick("minute", "hour", "day", "week", "month", "year")
	case 10:
		return clock + " " + exact + " " + strings.Replace(increment, "+", "-", 1)
	}
	return pick("tomorrow", "mon", "sat", date) + " " + increment
}

// TestRealAtDiffers holds the differences that the package comment promises, so that
// none goes unnoticed when at changes or we do.
func TestRealAtDiffers(t *testing.T) {
	if !prepareAt(t) {
		return
	}
	now := at(t, "UTC", "2026-11-21 07:43:20")
	const refused = "refused"
	for _, test := range []struct{ text, at, ours string }{
		{"+1day", refused, "2026-11-22 07:44"},
		{"+1hour", refused, "2026-11-21 08:44"},
		{"9", refused, "2026-11-21 09:00"},
		{"monday 9:00", refused, "2026-11-23 09:00"},
		{"tomorrow noon", refused, "2026-11-22 12:00"},
		{"apr 27,2027", refused, "2027-04-27 07:44"},
		{"02:30 - 1 day", "2027-11-20 02:30", "2026-11-22 02:30"},
		{"31 jan + 1 month", "2027-03-03 07:43", "2027-02-28 07:44"},
		{"feb 29", "2027-03-01 07:43", "2028-02-29 07:44"},
		{"feb 30", "2027-03-02 07:43", refused},
		{"31 nov", "2026-12-01 07:43", refused},
		{"24:00", "2026-11-22 00:00", refused},
		{"9:60", "2026-11-21 10:00", refused},
		{"now + 0 minutes", "2026-11-21 07:43", refused},
		{"7:00 21 nov", refused, "2027-11-21 07:00"},
		{"now", "2026-11-21 07:43", "2026-11-21 07:44"},
		{"now + 1 minute", "2026-11-21 07:44", "2026-11-21 07:45"},
		{"9:00 saturday", "2026-11-28 09:00", "2026-11-28 09:00"}, // the same
		// both refuse
		{"1am 2020-01-01", refused, refused},
		{"25:00", refused, refused},
		{"2h", refused, refused},
		{"now + 1 second", refused, refused},
		{"yesterday", refused, refused},
		{"now + 90 minutes + 1 day", refused, refused},
		{"14:30:15", refused, refused},
	} {
		theirs, ours := refused, refused
		if when, ok := askAt(t, test.text, now); ok {
			theirs = when.Format(minuteFormat)
		}
		if s, err := ParseOnce(test.text, now); err == nil {
			ours = slotsOf(s, 1)
		}
		if theirs != test.at || ours != test.ours {
			t.Errorf("at %s: at answers %s and we %s, want %s and %s", test.text, theirs, ours, test.at, test.ours)
		}
	}
}
