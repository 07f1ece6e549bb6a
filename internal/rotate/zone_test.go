package rotate

import (
	"slices"
	"testing"
	"time"
)

// Days on which clocks change have 23, 25 or other numbers of hours. Archives every ten minutes
// over such days must give one daily for each date, the last of it, and one hourly for each hour.
func TestPlanClockChanges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		zone, day string
		hours     int
	}{
		{"UTC", "2026-03-29", 24},
		{"Europe/Berlin", "2026-03-28", 24},
		{"Europe/Berlin", "2026-03-29", 23},
		{"Europe/Berlin", "2026-10-25", 25},
		{"America/New_York", "2026-03-08", 23},
		{"America/New_York", "2026-11-01", 25},
		{"Australia/Lord_Howe", "2026-04-05", 25}, // 01:30 to 02:00 twice: hours 1 at +11:00 and 1 at +10:30
		{"Australia/Lord_Howe", "2026-10-04", 24}, // hour 2 has its second half only
		{"Atlantic/Azores", "2026-03-29", 23},     // there is no hour 0
		{"Atlantic/Azores", "2026-10-25", 25},     // hour 0 twice
		{"America/Santiago", "2026-04-04", 25},    // hour 23 twice
		{"America/Santiago", "2026-09-06", 23},    // there is no hour 0
		{"America/St_Johns", "2010-11-06", 25},    // at 00:01 of the 7th back to 23:01 of the 6th
		{"America/St_Johns", "2010-11-07", 25},    // so its hour 0 begins twice
		{"Pacific/Apia", "2011-12-29", 24},        // the 30th was left out
		{"Pacific/Apia", "2011-12-30", 0},
	} {
		loc := zone(t, tc.zone)
		day, err := time.Parse("2006-01-02", tc.day)
		if err != nil {
			t.Fatal(err)
		}
		var items []Item
		last := map[string]time.Time{} // the newest of each date
		for at10 := day.AddDate(0, 0, -2); at10.Before(day.AddDate(0, 0, 3)); at10 = at10.Add(10 * time.Minute) {
			items = append(items, at(at10))
			last[at10.In(loc).Format("2006-01-02")] = at10
		}
		o := PlanOptions{Zone: loc, Now: now, AllowMany: true}

		// The oldest is kept besides, as it is of any rule that has not used up its count.
		oldest := items[0].Name.Time
		got := map[string][]time.Time{}
		for it := range kept(Plan(items, policy(t, "daily=all"), o)) {
			if at := it.Name.Time; !at.Equal(oldest) {
				date := at.In(loc).Format("2006-01-02")
				got[date] = append(got[date], at)
			}
		}
		for date, want := range last {
			if len(got[date]) != 1 || !got[date][0].Equal(want) {
				t.Errorf("%s: daily of %s: got %v, want %v", tc.zone, date, got[date], want)
			}
		}

		hours := 0
		for it := range kept(Plan(items, policy(t, "hourly=all"), o)) {
			if it.Name.Time.In(loc).Format("2006-01-02") == tc.day {
				hours++
			}
		}
		if hours != tc.hours {
			t.Errorf("%s: hours of %s: got %d, want %d", tc.zone, tc.day, hours, tc.hours)
		}
	}
}

// Both passes of the hour that autumn repeats count, the newest of each.
func TestPlanRepeatedHour(t *testing.T) {
	t.Parallel()
	var items []Item
	for m := 0; m < 240; m += 20 { // 01:00 CEST to 03:40 CET
		items = append(items, at(date(2026, time.October, 24, 23, m, 0)))
	}
	d := Plan(items, policy(t, "hourly=3"), PlanOptions{Zone: zone(t, "Europe/Berlin"), Now: now, AllowMany: true})
	var got []string
	for _, v := range d.Verdicts {
		if v.Keep {
			got = append(got, v.Item.Name.Time.In(zone(t, "Europe/Berlin")).Format("15:04 MST"))
		}
	}
	if want := []string{"03:40 CET", "02:40 CET", "02:40 CEST"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The zone decides which archive is the last of a day: the job's, not UTC.
func TestPlanZone(t *testing.T) {
	t.Parallel()
	evening, night, next := at(date(2026, 11, 20, 22, 50, 0)), at(date(2026, 11, 20, 23, 10, 0)), at(date(2026, 11, 21, 22, 50, 0))
	p := policy(t, "daily=2")
	for _, tc := range []struct {
		zone *time.Location
		want []Item
	}{
		{nil, []Item{next, night}},
		{time.UTC, []Item{next, night}},
		{zone(t, "Europe/Berlin"), []Item{next, evening}}, // 23:50 and 00:10 of the next day
		{zone(t, "America/New_York"), []Item{next, night}},
	} {
		d := Plan([]Item{evening, night, next}, p, PlanOptions{Zone: tc.zone, Now: now})
		var got []Item
		for _, v := range d.Verdicts {
			if v.Keep {
				got = append(got, v.Item)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%v: got %v, want %v", tc.zone, got, tc.want)
		}
	}
}

// ISO weeks belong to the year that has their Thursday, so the last days of December may be in
// week 1, and the first of January in week 53.
func TestPlanISOWeeks(t *testing.T) {
	t.Parallel()
	days := func(from time.Time, n int) []Item {
		var items []Item
		for i := range n {
			items = append(items, at(from.AddDate(0, 0, i)))
		}
		return items
	}
	for _, tc := range []struct {
		items []Item
		want  []string
	}{
		{days(date(2020, 12, 28, 2, 30, 0), 8), []string{"2021-01-04", "2021-01-03", "2020-12-28"}}, // 2020-W53 whole
		{days(date(2024, 12, 23, 2, 30, 0), 14), []string{"2025-01-05", "2024-12-29", "2024-12-23"}},
		{days(date(2024, 12, 30, 2, 30, 0), 1), []string{"2024-12-30"}},
		// Both are in a "2024" and a "week 1".
		{[]Item{at(date(2024, 1, 3, 2, 30, 0)), at(date(2024, 12, 30, 2, 30, 0))}, []string{"2024-12-30", "2024-01-03"}},
		{[]Item{at(date(2024, 1, 3, 2, 30, 0)), at(date(2024, 1, 4, 2, 30, 0)), at(date(2024, 12, 30, 2, 30, 0)), at(date(2025, 1, 1, 2, 30, 0))},
			[]string{"2025-01-01", "2024-01-04", "2024-01-03"}},
	} {
		var got []string
		for _, v := range Plan(tc.items, policy(t, "weekly=all"), PlanOptions{Now: now, AllowMany: true}).Verdicts {
			if v.Keep {
				got = append(got, v.Item.Name.Time.Format("2006-01-02"))
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("weekly from %s: got %q, want %q", tc.items[0].Name, got, tc.want)
		}
	}
}

// "A month" and "a day" before the newest are those of the calendar in the zone.
func TestPlanWithinZone(t *testing.T) {
	t.Parallel()
	berlin := zone(t, "Europe/Berlin")
	local := func(mo time.Month, d, h, mi int) Item { return at(time.Date(2026, mo, d, h, mi, 0, 0, berlin)) }
	for _, tc := range []struct {
		within       string
		newest       Item
		inside, gone Item
	}{
		{"1d", local(10, 25, 12, 0), local(10, 24, 12, 1), local(10, 24, 12, 0)}, // 25 hours
		{"1d", local(3, 29, 12, 0), local(3, 28, 12, 1), local(3, 28, 12, 0)},    // 23 hours
		{"24h", local(10, 25, 12, 0), local(10, 24, 13, 1), local(10, 24, 13, 0)},
		{"1m", local(3, 31, 12, 0), local(2, 28, 12, 1), local(2, 28, 12, 0)},
		{"6m", local(11, 21, 3, 30), local(5, 21, 3, 31), local(5, 21, 3, 30)},
	} {
		d := Plan([]Item{tc.newest, tc.inside, tc.gone}, policy(t, "within="+tc.within), PlanOptions{Zone: berlin, Now: now})
		if got, want := d.Remove(), []Item{tc.gone}; !slices.Equal(got, want) {
			t.Errorf("within %s of %s: got %v to remove, want %v", tc.within, tc.newest.Name, got, want)
		}
	}
}
