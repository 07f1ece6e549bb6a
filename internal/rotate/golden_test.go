package rotate

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// goldenPolicies are tried on each series of TestPlanGolden.
var goldenPolicies = []string{
	"",
	"last=1", "last=14", "last=all",
	"hourly=1", "hourly=24", "hourly=all",
	"daily=1", "daily=7", "daily=30", "daily=all",
	"weekly=1", "weekly=5", "weekly=60",
	"monthly=1", "monthly=6", "monthly=all",
	"yearly=1", "yearly=2", "yearly=10",
	"within=1h", "within=36h", "within=1d", "within=2w", "within=1m", "within=1y2m3w4d5h", "within=20y",
	"daily=3 weekly=3 monthly=3 yearly=3",
	"last=5 daily=7 weekly=4 monthly=12 yearly=all",
	"hourly=24 daily=7 weekly=4",
	"last=3 within=1w",
	"last=2 hourly=2 daily=2 weekly=2 monthly=2 yearly=2 within=2d",
}

// TestPlanGolden compares whole decisions, reason by reason, with the files in testdata; -update
// writes these, and then a reader has to judge them.
func TestPlanGolden(t *testing.T) {
	t.Parallel()
	berlin := zone(t, "Europe/Berlin")
	local := func(y int, mo time.Month, d, h, mi int) time.Time { return time.Date(y, mo, d, h, mi, 0, 0, berlin) }
	series := map[string][]Item{}

	// Every night at 02:30, for two and a half years, with a summer in which the machine was off.
	for n := range 916 { // to 2026-11-21
		day := local(2024, 5, 20+n, 2, 30)
		if day.Year() != 2025 || day.Month() < time.July || day.Month() > time.August {
			series["nightly"] = append(series["nightly"], at(day))
		}
	}
	// Every 30 minutes over the night that has the hour from 02:00 to 03:00 twice.
	for half := local(2026, 10, 24, 18, 0); half.Before(local(2026, 10, 25, 9, 0)); half = half.Add(30 * time.Minute) {
		series["halfhourly"] = append(series["halfhourly"], at(half))
	}
	// By hand, whenever somebody thought of it; some held, some incomplete, over the turns of years.
	for text, mark := range map[string]func(Item) Item{
		"2020-12-27 23:59": nil, "2020-12-28 00:00": nil, "2020-12-31 23:30": held, "2021-01-01 00:30": nil, "2021-01-03 12:00": nil,
		"2021-01-03 23:59": incomplete, "2021-01-04 00:01": nil, "2021-06-15 10:00": nil, "2021-06-15 10:20": nil, "2021-06-15 10:59": nil,
		"2021-06-15 11:00": incomplete, "2024-02-29 08:00": nil, "2024-12-29 22:00": nil, "2024-12-30 22:00": nil, "2024-12-31 22:00": incomplete,
		"2025-01-05 22:00": nil, "2025-01-06 06:00": incomplete, "2026-03-28 02:30": nil, "2026-03-29 03:30": nil, "2026-03-31 23:59": nil,
		"2026-10-25 01:59": nil, "2026-10-25 03:00": nil, "2026-11-20 09:00": incomplete, "2026-11-20 17:00": nil, "2026-11-21 09:00": incomplete,
	} {
		when, err := time.ParseInLocation("2006-01-02 15:04", text, berlin)
		if err != nil {
			t.Fatal(err)
		}
		it := at(when)
		if mark != nil {
			it = mark(it)
		}
		series["irregular"] = append(series["irregular"], it)
	}

	for name, items := range series {
		var b strings.Builder
		for _, text := range goldenPolicies {
			writeDecision(&b, items, policy(t, text), PlanOptions{Zone: berlin, Now: local(2026, 11, 21, 12, 0)})
		}
		path := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, want := strings.Split(b.String(), "\n"), strings.Split(string(data), "\n")
		if b.String() == string(data) {
			continue
		}
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("%s:%d:\n got %s\nwant %s", path, i+1, got[i], want[i])
				break
			}
		}
		t.Errorf("%s: got %d lines, want %d, see above for the first that differs", path, len(got), len(want))
	}
}

// writeDecision writes what Plan says: the archives kept with their reasons (in full runs longer
// than forty, only the first and last), and how many go.
func writeDecision(b *strings.Builder, items []Item, p Policy, o PlanOptions) {
	d := Plan(items, p, o)
	fmt.Fprintf(b, "policy: %s\n", p)
	var keep []string
	for _, v := range d.Verdicts {
		if v.Keep {
			keep = append(keep, fmt.Sprintf("\t%s  %s\n", v.Item.Name.Time.In(o.Zone).Format("Mon 2006-01-02 15:04 MST"), strings.Join(v.Reasons, ", ")))
		}
	}
	if len(keep) > 40 {
		keep = append(append(keep[:10:10], fmt.Sprintf("\t(%d more)\n", len(keep)-20)), keep[len(keep)-10:]...)
	}
	b.WriteString(strings.Join(keep, ""))
	if d.Refused != "" {
		fmt.Fprintf(b, "refused: %s\n", d.Refused)
		o.AllowMany = true
		d = Plan(items, p, o)
	}
	gone := d.Remove()
	fmt.Fprintf(b, "removes %d of %d", len(gone), len(items))
	if len(gone) > 0 {
		const day = "2006-01-02 15:04 MST"
		fmt.Fprintf(b, ", from %s to %s", gone[0].Name.Time.In(o.Zone).Format(day), gone[len(gone)-1].Name.Time.In(o.Zone).Format(day))
	}
	b.WriteString("\n\n")
}
