package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// zones change their clocks at midnight (Azores, Santiago, Havana), by half an hour
// (Lord_Howe), by 24 hours once (Apia, 2011), as most do (Berlin, New_York), during
// Ramadan (Casablanca), by two hours (Troll) or not at all (Kathmandu, UTC).
var zones = []string{
	"Atlantic/Azores", "America/Santiago", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia", "Europe/Berlin",
	"America/New_York", "Africa/Casablanca", "Antarctica/Troll", "Asia/Kathmandu", "UTC",
}

// vixie is a cron expression read as cron(8) of Paul Vixie does (entry.c, find_jobs),
// written without a look at ours, and only for expressions that are valid.
type vixie struct {
	minute, hour, day, month, weekday map[int]bool
	dayStar, weekdayStar              bool
}

func newVixie(expr string) vixie {
	f := strings.Fields(strings.ToLower(expr))
	return vixie{
		vixieField(f[0], 0, 59, ""), vixieField(f[1], 0, 23, ""), vixieField(f[2], 1, 31, ""),
		vixieField(f[3], 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"), vixieField(f[4], 0, 7, "sun mon tue wed thu fri sat"),
		f[2][0] == '*', f[4][0] == '*',
	}
}

func vixieField(text string, low, high int, names string) map[int]bool {
	number := func(s string) int {
		if i := slices.Index(strings.Fields(names), s); i >= 0 {
			return i + low
		}
		n, _ := strconv.Atoi(s)
		return n
	}
	found := map[int]bool{}
	for _, element := range strings.Split(text, ",") {
		body, step := element, 1
		if b, s, ok := strings.Cut(element, "/"); ok {
			body, step = b, number(s)
		}
		from, to := low, high
		if a, b, ok := strings.Cut(body, "-"); ok {
			from, to = number(a), number(b)
		} else if body != "*" {
			from, to = number(body), number(body)
		}
		for i := from; i <= to; i += step {
			found[i] = true
		}
	}
	if high == 7 && (found[0] || found[7]) {
		found[0], found[7] = true, true
	}
	return found
}

func (v vixie) due(t time.Time) bool {
	if !v.minute[t.Minute()] || !v.hour[t.Hour()] || !v.month[int(t.Month())] {
		return false
	}
	day, weekday := v.day[t.Day()], v.weekday[int(t.Weekday())]
	if v.dayStar || v.weekdayStar {
		return day && weekday
	}
	return day || weekday
}

// slots are the slots in (from, to], found by watching a clock in the zone minute by
// minute. This is the meaning of the package comment's rules, without any arithmetic.
func (v vixie) slots(from, to time.Time, zone *time.Location) []time.Time {
	var found []time.Time
	everyHour := len(v.hour) == 24
	shown := wallOf(from.Add(-48*time.Hour), zone) // the latest time the clock has shown
	for t := from.Add(-48 * time.Hour).Add(time.Minute); !t.After(to); t = t.Add(time.Minute) {
		wall := wallOf(t, zone)
		due := false
		if everyHour {
			due = v.due(wall)
		} else {
			for ; shown.Before(wall); shown = shown.Add(time.Minute) {
				due = due || v.due(shown.Add(time.Minute))
			}
		}
		if due && t.After(from) {
			found = append(found, t)
		}
	}
	return found
}

// randomCron is a valid expression, often with times in the night when clocks change.
func randomCron(random *rand.Rand) string {
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	number := func(low, high int) string { return strconv.Itoa(low + random.IntN(high-low+1)) }
	span := func(low, high int) string {
		from := low + random.IntN(high-low)
		return fmt.Sprintf("%d-%d", from, from+1+random.IntN(high-from))
	}
	var columns []string
	for _, c := range []struct {
		low, high int
		names     string
	}{{0, 59, ""}, {0, 23, ""}, {1, 31, ""}, {1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"}, {0, 7, "sun mon tue wed thu fri sat"}} {
		var elements []string
		for range 1 + random.IntN(3)/2 {
			star := "*/" + strconv.Itoa(1+random.IntN(min(c.high-c.low, 6)))
			element := pick("*", "*", number(c.low, c.high), number(c.low, c.high), span(c.low, c.high), star, fmt.Sprintf("%d-%d/%d", c.low, c.high, 1+random.IntN(5)))
			if c.names != "" && random.IntN(3) == 0 {
				element = pick(strings.Fields(c.names)...)
			}
			if c.high == 23 && random.IntN(2) == 0 {
				element = pick("0", "1", "2", "3", "0-2", "*")
			}
			elements = append(elements, element)
		}
		columns = append(columns, strings.Join(elements, ","))
	}
	return strings.Join(columns, " ")
}

// TestPatternAgainstAClock compares Next and Prev of random expressions with the clock
// itself, over weeks around every change of the clocks in 2010-2011 and 2026-2028.
func TestPatternAgainstAClock(t *testing.T) {
	t.Parallel()
	for n, name := range zones {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, uint64(n)))
			zone := loadZone(t, name)
			compared, tries := 0, often(25, 200)
			for range tries {
				expr := randomCron(random)
				from := someChange(random, zone).Add(-time.Duration(random.IntN(72)) * time.Hour).Truncate(time.Minute)
				if compareWithClock(t, expr, from, from.AddDate(0, 0, 4), zone) {
					compared++
				}
			}
			if compared < tries/2 {
				t.Errorf("only %d expressions were possible", compared)
			}
		})
	}
}

// someChange is a change of the zone's clocks, or any day in a zone that has none.
func someChange(random *rand.Rand, zone *time.Location) time.Time {
	t := time.Date(2026, time.Month(1+random.IntN(36)), 1, 0, 0, 0, 0, zone)
	if random.IntN(4) == 0 {
		t = time.Date(2010, time.Month(1+random.IntN(24)), 1, 0, 0, 0, 0, zone)
	}
	if change, ok := nextChange(t); ok {
		return change
	}
	return t
}

func compareWithClock(t *testing.T, expr string, from, to time.Time, zone *time.Location) bool {
	t.Helper()
	s, err := Parse(expr, from.AddDate(-1, 0, 0).In(zone))
	if err != nil {
		if !strings.Contains(err.Error(), "never happens") {
			t.Errorf("Parse(%q): %v", expr, err)
		}
		return false
	}
	want := newVixie(expr).slots(from, to, zone)
	var got []time.Time
	for slot, ok := s.Next(from); ok && !slot.After(to); slot, ok = s.Next(slot) {
		got = append(got, slot)
		if len(got) > len(want)+3 {
			break
		}
	}
	if !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("%q (%s) in %v from %v: got %d slots, want %d: %s", expr, s.Text, zone, from, len(got), len(want), firstDifference(got, want))
		return true
	}
	var back []time.Time
	for slot, ok := s.Prev(to); ok && slot.After(from) && len(back) <= len(want); slot, ok = s.Prev(slot.Add(-time.Nanosecond)) {
		back = append(back, slot)
	}
	slices.Reverse(back)
	if !slices.EqualFunc(back, want, time.Time.Equal) {
		t.Errorf("%q in %v up to %v: Prev got %d slots, want %d: %s", expr, zone, to, len(back), len(want), firstDifference(back, want))
	}
	// From every other time, in a repeated hour too, they find the same.
	for now, passed := from.Add(time.Minute), 0; now.Before(to); now = now.Add(31 * time.Minute) {
		for passed < len(want) && !want[passed].After(now) {
			passed++
		}
		if next, _ := s.Next(now); passed < len(want) && !next.Equal(want[passed]) {
			t.Errorf("%q in %v: Next(%v) is %v, want %v", expr, zone, now, next, want[passed])
		}
		if prev, _ := s.Prev(now); passed > 0 && !prev.Equal(want[passed-1]) {
			t.Errorf("%q in %v: Prev(%v) is %v, want %v", expr, zone, now, prev, want[passed-1])
		}
	}
	// The fields of the crontab mean the same as what was typed.
	fields, cronErr := s.Cron()
	if cronErr != nil {
		t.Errorf("Cron of %q: %v", expr, cronErr)
	} else if again := newVixie(fields).slots(from, to, zone); !slices.EqualFunc(again, want, time.Time.Equal) {
		t.Errorf("%q as %q: %s", expr, fields, firstDifference(again, want))
	}
	return true
}

func firstDifference(got, want []time.Time) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("missing %v", want[i])
		case i >= len(want):
			return fmt.Sprintf("unexpected %v", got[i])
		case !got[i].Equal(want[i]):
			return fmt.Sprintf("got %v, want %v", got[i], want[i])
		}
	}
	return "none"
}

// TestGronxRegressions are expressions that gronx got wrong in some version, or gives up
// on with "tried so hard" when it is given local times.
func TestGronxRegressions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ zone, expr, from, want string }{
		{"Atlantic/Azores", "0 3 * * 0", "2027-03-01 00:00", "2027-03-07 03:00"},
		{"Atlantic/Azores", "30 2 1 * *", "2027-03-02 00:00", "2027-04-01 02:30"},
		{"Atlantic/Azores", "30 0 28 3 *", "2027-01-01 00:00", "2027-03-28 01:00"}, // in the gap
		{"America/Santiago", "0 3 * * 0", "2026-08-30 12:00", "2026-09-06 03:00"},
		{"America/Santiago", "0 0 6 9 *", "2026-01-01 00:00", "2026-09-06 01:00"}, // midnight is skipped
		{"America/Santiago", "30 2 1 * *", "2026-08-06 12:00", "2026-09-01 02:30"},
		{"America/Havana", "0 3 * * 0", "2027-03-08 12:00", "2027-03-14 03:00"},
		{"America/Havana", "30 2 1 * *", "2027-02-20 00:00", "2027-03-01 02:30"},
		{"America/Havana", "15 0 * * 0", "2027-03-10 00:00", "2027-03-14 01:00"},
		{"Pacific/Apia", "0 12 30 12 *", "2011-01-01 00:00", "2011-12-31 00:00"}, // a day was skipped
		{"Europe/Berlin", "40 2 31 10 *", "2027-01-01 00:00", "2027-10-31 02:40"},
		{"UTC", "0 0 29 2 *", "2027-01-01 00:00", "2028-02-29 00:00"},                 // #55: 4 March
		{"UTC", "0 0 29 2 *", "2097-01-01 00:00", "2104-02-29 00:00"},                 // 2100 is no leap year
		{"UTC", "0 0 29 2 */6", "2026-01-01 00:00", "2032-02-29 00:00"},               // a Sunday
		{"UTC", "0 10 * * 6", "2026-11-21 10:00", "2026-11-28 10:00"},                 // PR #74: Sunday
		{"UTC", "0 0 * * 5-7", "2026-11-21 10:00", "2026-11-22 00:00"},                // a range that ends at 7
		{"UTC", "0 0 31 * *", "2026-08-31 10:00", "2026-10-31 00:00"},                 // across two short months
		{"UTC", "14-53/2 */3 * 9 1-1", "2026-11-21 10:00", "2027-09-06 00:14"},        // the slowest
		{"UTC", "30 4 1,15 * 5", "2026-11-21 10:00", "2026-11-27 04:30"},              // either-or
		{"UTC", "0 0 */10 12 *", "2026-12-31 00:00", "2027-12-01 00:00"},              // #33: steps, and a year on
		{"UTC", "*/20 23 31 12 *", "2026-12-31 23:40", "2027-12-31 23:00"},            // #26
		{"UTC", "59 23 31 12 *", "2026-12-31 23:59", "2027-12-31 23:59"},              // a year on
		{"UTC", "0 0 1 1 *", "2026-01-01 00:00", "2027-01-01 00:00"},                  // #51
		{"Asia/Kathmandu", "*/15 * * * *", "2026-11-21 10:01", "2026-11-21 10:15"},    // +05:45
		{"Australia/Lord_Howe", "15 2 * * *", "2026-10-04 00:00", "2026-10-04 02:30"}, // 02:00 to 02:30 is skipped
	} {
		s := mustSpec(t, test.expr, at(t, test.zone, test.from))
		got, ok := s.Next(s.Anchor)
		if !ok || got.Format(minuteFormat) != test.want {
			t.Errorf("%q in %s after %s: got %v, want %s", test.expr, test.zone, test.from, got, test.want)
		}
		if prev, ok := s.Prev(got); !ok || !prev.Equal(got) {
			t.Errorf("%q in %s: Prev of its slot %v is %v", test.expr, test.zone, got, prev)
		}
	}
}

// TestPrevFarBack: the slot before may be years ago (gronx #53 forgot the year), and none is before the anchor.
func TestPrevFarBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ zone, expr, before, want string }{
		{"UTC", "0 0 1 1 *", "2026-12-31 23:59", "2026-01-01 00:00"},
		{"UTC", "0 0 1 1 *", "2027-01-01 00:00", "2027-01-01 00:00"},
		{"UTC", "0 0 29 2 *", "2027-12-31 00:00", "2024-02-29 00:00"},
		{"UTC", "0 0 31 12 *", "2026-12-30 00:00", "2025-12-31 00:00"},
		{"America/Santiago", "0 3 * * 0", "2026-09-06 02:59", "2026-08-30 03:00"},
		{"America/Santiago", "0 0 6 9 *", "2026-09-06 01:00", "2026-09-06 01:00"}, // midnight is skipped
		{"Atlantic/Azores", "30 2 1 * *", "2027-03-31 00:00", "2027-03-01 02:30"},
		{"Europe/Berlin", "40 2 31 10 *", "2028-10-01 00:00", "2027-10-31 02:40"},
		{"UTC", "0 0 29 2 *", "2024-02-28 00:00", ""},
	} {
		s := mustSpec(t, test.expr, at(t, test.zone, "2023-01-01 12:00"))
		got, ok := s.Prev(at(t, test.zone, test.before))
		text := ""
		if ok {
			text = got.Format(minuteFormat)
		}
		if text != test.want {
			t.Errorf("%q in %s up to %s: got %q, want %q", test.expr, test.zone, test.before, text, test.want)
		}
	}
}

// TestFallBack: in the repeated hour a fixed time is a slot the first time only, and
// every hour is every hour.
func TestFallBack(t *testing.T) {
	t.Parallel()
	const layout = "15:04 MST"
	for _, test := range []struct{ text, want string }{
		{"30 2 * * *", "02:30 CEST"},
		{"2:30", "02:30 CEST"},
		{"*/30 2,3 * * *", "02:00 CEST, 02:30 CEST, 03:00 CET, 03:30 CET"},
		{"30 * * * *", "00:30 CEST, 01:30 CEST, 02:30 CEST, 02:30 CET, 03:30 CET"},
		{"@hourly", "01:00 CEST, 02:00 CEST, 02:00 CET, 03:00 CET"},
		{"0 */2 * * *", "02:00 CEST"},
	} {
		s := mustSpec(t, test.text, at(t, "Europe/Berlin", "2026-11-01 00:00"))
		var got []string
		end := at(t, "Europe/Berlin", "2027-10-31 03:59")
		for slot, ok := s.Next(at(t, "Europe/Berlin", "2027-10-31 00:00")); ok && !slot.After(end); slot, ok = s.Next(slot) {
			got = append(got, slot.Format(layout))
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%q: got %s, want %s", test.text, strings.Join(got, ", "), test.want)
		}
	}
}

// TestInstant compares instant with a clock that is watched minute by minute.
func TestInstant(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	for _, name := range zones {
		zone := loadZone(t, name)
		for range 4 {
			start := someChange(random, zone).Add(-30 * time.Hour).Truncate(time.Minute)
			shown := wallOf(start, zone)
			for now := start; now.Before(start.Add(60 * time.Hour)); now = now.Add(time.Minute) {
				for wall := wallOf(now, zone); shown.Before(wall); {
					shown = shown.Add(time.Minute)
					if got := instant(shown, zone); !got.Equal(now) {
						t.Fatalf("%s: the clock shows %v first, or jumps over it, at %v, got %v", name, shown, now, got)
					}
				}
			}
		}
	}
}

// TestNextChange walks through sixty years: on the last day of leap years Go's ZoneBounds
// ends the zone at its own beginning, which is an endless loop for whoever trusts it.
func TestNextChange(t *testing.T) {
	t.Parallel()
	zone := loadZone(t, "Europe/Berlin")
	count := 0
	for now := at(t, "Europe/Berlin", "2020-01-01 00:00"); now.Year() < 2080; {
		change, ok := nextChange(now)
		if !ok || offset(change) == offset(change.Add(-time.Second)) {
			t.Fatalf("after %v: %v, %v is no change of the clocks", now, change, ok)
		}
		if back, ok := lastChange(change.Add(100 * 24 * time.Hour).In(zone)); !ok || !back.Equal(change) {
			t.Fatalf("a hundred days after %v the last change is %v", change, back)
		}
		now, count = change, count+1
	}
	if count != 2*60+1 {
		t.Errorf("got %d changes in sixty years, want two a year, and the next", count)
	}
	if change, ok := nextChange(at(t, "Asia/Kathmandu", "2026-01-01 00:00")); ok {
		t.Errorf("Kathmandu: got a change at %v", change)
	}
}
