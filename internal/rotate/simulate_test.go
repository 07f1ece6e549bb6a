package rotate

import (
	"slices"
	"testing"
	"time"
)

// destination is what rotation after rotation leaves.
type destination struct {
	items  []Item
	policy Policy
	zone   *time.Location
	most   int // the largest number of archives after a rotation
}

// run adds an archive and rotates, as a run does. No such rotation may be refused.
func (d *destination) run(t *testing.T, it Item) {
	t.Helper()
	d.items = append(d.items, it)
	plan := Plan(d.items, d.policy, PlanOptions{Zone: d.zone, Now: it.Name.Time.Add(time.Minute)})
	if plan.Refused != "" {
		t.Fatalf("run of %s: refused: %s", it.Name, plan.Refused)
	}
	for _, gone := range plan.Remove() {
		d.items = slices.DeleteFunc(d.items, func(it Item) bool { return it == gone })
	}
	d.most = max(d.most, len(d.items))
}

// dates returns the local dates of the archives left, newest first.
func (d *destination) dates(layout string) []string {
	var out []string
	for _, v := range Plan(d.items, Policy{}, PlanOptions{Zone: d.zone}).Verdicts {
		out = append(out, v.Item.Name.Time.In(d.zone).Format(layout))
	}
	return out
}

func wantDates(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("archives left:\n got %q\nwant %q", got, want)
	}
}

// Three years of nights, the clock changes among them.
func TestSimulateNightly(t *testing.T) {
	t.Parallel()
	berlin := zone(t, "Europe/Berlin")
	d := &destination{policy: policy(t, "daily=7 weekly=4 monthly=12 yearly=all"), zone: berlin}
	for night := time.Date(2024, 1, 1, 2, 30, 0, 0, berlin); night.Year() < 2027; night = time.Date(night.Year(), night.Month(), night.Day()+1, 2, 30, 0, 0, berlin) {
		d.run(t, at(night))
	}
	wantDates(t, d.dates("Mon 2006-01-02"),
		"Thu 2026-12-31", "Wed 2026-12-30", "Tue 2026-12-29", "Mon 2026-12-28", "Sun 2026-12-27", "Sat 2026-12-26", "Fri 2026-12-25",
		"Sun 2026-12-20", "Sun 2026-12-13",
		"Mon 2026-11-30", "Sat 2026-10-31", "Wed 2026-09-30", "Mon 2026-08-31", "Fri 2026-07-31", "Tue 2026-06-30",
		"Sun 2026-05-31", "Thu 2026-04-30", "Tue 2026-03-31", "Sat 2026-02-28", "Sat 2026-01-31",
		"Wed 2025-12-31", "Tue 2024-12-31",
		"Mon 2024-01-01", // the oldest of all, as "yearly" has no end
	)
	if d.most > 26 {
		t.Errorf("got up to %d archives, want at most 7+4+12+2 and the oldest", d.most)
	}
}

// The default policy, on a source of which something cannot be read every third night, and
// nothing but such nights for the last two months.
func TestSimulateIncomplete(t *testing.T) {
	t.Parallel()
	d := &destination{policy: policy(t, "last=14"), zone: time.UTC}
	var complete, rest []string
	for day := range 3 * 365 {
		it := at(date(2024, 1, 1, 2, 30, 0).AddDate(0, 0, day))
		it.Incomplete = day%3 == 0 || day > 3*365-60
		d.run(t, it)
		if name := it.Name.Time.Format("2006-01-02"); it.Incomplete {
			rest = append(rest, name)
		} else {
			complete = append(complete, name)
		}
	}
	want := append(complete[len(complete)-14:], rest[len(rest)-14:]...)
	slices.Sort(want)
	slices.Reverse(want)
	wantDates(t, d.dates("2006-01-02"), want...)
	if d.most != 28 {
		t.Errorf("got up to %d archives, want 28", d.most)
	}
}

// Three years by the hour in a zone whose clocks change by half an hour.
func TestSimulateHourly(t *testing.T) {
	t.Parallel()
	howe := zone(t, "Australia/Lord_Howe")
	d := &destination{policy: policy(t, "hourly=6 daily=3 monthly=2"), zone: howe}
	end := date(2026, 4, 4, 17, 0, 0) // 03:30 at +10:30, after 01:30 to 02:00 came twice
	for hour := end.AddDate(-3, 0, 0); !hour.After(end); hour = hour.Add(30 * time.Minute) {
		d.run(t, at(hour))
	}
	wantDates(t, d.dates("2006-01-02 15:04 -0700"),
		"2026-04-05 03:30 +1030", "2026-04-05 02:30 +1030", "2026-04-05 01:30 +1030",
		"2026-04-05 01:30 +1100", "2026-04-05 00:30 +1100", "2026-04-04 23:30 +1100",
		"2026-04-03 23:30 +1100", "2026-03-31 23:30 +1100",
	)
	if d.most > 6+3+2+1 {
		t.Errorf("got up to %d archives, want at most 12", d.most)
	}
}

// A notebook that is off at weekends and for the whole of each August: counts are of the days
// that have a backup, so nothing is lost by being away.
func TestSimulateGaps(t *testing.T) {
	t.Parallel()
	d := &destination{policy: policy(t, "daily=5 monthly=4 yearly=2"), zone: time.UTC}
	for day := date(2024, 1, 1, 20, 0, 0); day.Before(date(2026, 9, 3, 0, 0, 0)); day = day.AddDate(0, 0, 1) {
		if day.Weekday() != time.Saturday && day.Weekday() != time.Sunday && day.Month() != time.August {
			d.run(t, at(day))
		}
	}
	wantDates(t, d.dates("Mon 2006-01-02"),
		"Wed 2026-09-02", "Tue 2026-09-01", "Fri 2026-07-31", "Thu 2026-07-30", "Wed 2026-07-29",
		"Tue 2026-06-30", "Fri 2026-05-29", "Wed 2025-12-31",
	)
}

// Rotating after each run leaves what one rotation keeps of the whole history: nothing that is
// wanted later is removed before.
func TestSimulateEqualsOnce(t *testing.T) {
	t.Parallel()
	p := policy(t, "last=3 daily=7 weekly=5 monthly=6 within=10d")
	d := &destination{policy: p, zone: time.UTC}
	var all []Item
	for day := range 400 {
		it := at(date(2025, 1, 1, 2, 30, 0).AddDate(0, 0, day))
		all = append(all, it)
		d.run(t, it)
	}
	once := &destination{zone: time.UTC}
	for it := range kept(Plan(all, p, PlanOptions{Now: now})) {
		once.items = append(once.items, it)
	}
	wantDates(t, d.dates("2006-01-02"), once.dates("2006-01-02")...)
}

// After a gap longer than the span, "within" covers the new archive alone. The old ones stay for
// as long as they outnumber the new.
func TestSimulateWithinAfterGap(t *testing.T) {
	t.Parallel()
	d := &destination{items: nightly(20), policy: policy(t, "within=30d"), zone: time.UTC}
	back := nov21.AddDate(0, 3, 0)
	for day := range 25 {
		it := at(back.AddDate(0, 0, day))
		d.items = append(d.items, it)
		plan := Plan(d.items, d.policy, PlanOptions{Now: it.Name.Time})
		want := 0
		if day >= 19 {
			want = 20
		}
		if got := len(plan.Remove()); got != want || (plan.Refused != "") != (want == 0) {
			t.Fatalf("day %d: got %d to remove (%q), want %d", day+1, got, plan.Refused, want)
		}
	}
}
