package tinybackup

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/rotate"
)

// A clock that begins at zero, that a 32-bit counter could not hold, or that shows the
// last year of four digits: names, list, rotation and restore go by it all the same.
func TestRunInAllAges(t *testing.T) {
	for _, start := range []time.Time{
		time.Unix(0, 0).UTC(), time.Date(1999, 12, 30, 23, 59, 59, 0, time.UTC), time.Date(2038, 1, 18, 3, 14, 7, 0, time.UTC),
		time.Date(2106, 2, 6, 6, 28, 15, 0, time.UTC), time.Date(2262, 4, 10, 23, 47, 16, 0, time.UTC), time.Date(9999, 12, 28, 23, 59, 0, 0, time.UTC),
	} {
		t.Run(start.Format("2006"), func(t *testing.T) {
			b := newBench(t)
			b.clock = start
			var made []string
			for i := range 3 {
				b.write("todo.txt", strings.Repeat("x", i))
				r := b.good(func(o *Options) { o.Keep, o.KeepYearly, o.KeepWeekly = 2, 1, 1 })
				want := "notes-" + start.AddDate(0, 0, i).Format("20060102T150405Z") + ".tar.zst"
				if r.Archive != want || r.WarningCount != 0 {
					t.Errorf("archive %q, warnings %q; want %q", r.Archive, r.Warnings, want)
				}
				made = append(made, r.Archive)
			}
			l, err := List(t.Context(), b.env, ListOptions{Dest: b.dst})
			if err != nil || len(l.Archives) < 2 || l.Archives[0].Archive != made[2] || l.Foreign != 0 {
				t.Errorf("list: %v, %+v", err, l)
			}
			out := filepath.Join(t.TempDir(), "out")
			r, err := Restore(t.Context(), b.env, RestoreOptions{From: b.dst, Target: out, At: start.AddDate(0, 0, 1).Add(time.Hour)})
			if err != nil || r.Archive != made[1] {
				t.Errorf("restore: %v, %q, want %q", err, r.Archive, made[1])
			}
			b.checkSums(len(b.archives()))
		})
	}
}

// A year of five digits has no place in a name: nothing is stored under a name that
// would not be found again.
func TestRunBeyondNames(t *testing.T) {
	b := newBench(t)
	b.clock = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	if r, err := b.run(nil); err == nil {
		t.Errorf("stored as %q", r.Archive)
	}
	if left := b.archives(); len(left) != 0 {
		t.Errorf("archives %q", left)
	}
}

// A clock that jumps ahead, far or near, and back again: no archive goes that would
// not have gone, and the next run is the newest or says that it is not.
func TestRunClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Minute, 2 * time.Hour, 26 * time.Hour, 400 * 24 * time.Hour, 60 * 366 * 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			b := newBench(t)
			for range 3 {
				b.good(func(o *Options) { o.Keep = 3 })
			}
			before := b.archives()
			b.clock = b.clock.Add(jump)
			ahead := b.good(func(o *Options) { o.Keep = 10 })
			b.clock = b.clock.Add(-jump)
			b.write("todo.txt", "set right again")
			r := b.good(func(o *Options) { o.Keep = 10 })
			for _, name := range append(before, ahead.Archive, r.Archive) {
				if _, err := os.Stat(filepath.Join(b.dst, name)); err != nil {
					t.Errorf("after the clock was set back: %v", err)
				}
			}
			n, ok := rotate.ParseName(r.Archive)
			was, _ := rotate.ParseName(ahead.Archive)
			if told := r.Unrotated != ""; !ok || !n.Time.After(was.Time) && !told {
				t.Errorf("%q is older than %q, and nobody is told: %+v", r.Archive, ahead.Archive, r)
			}
		})
	}
}

// Ten days of a job around each change of the clocks of nine zones, started every
// quarter of an hour as cron does: one backup for each day.
func TestJobOverClockChanges(t *testing.T) {
	for _, zoneName := range []string{
		"Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Gaza",
		"Antarctica/Troll", "Pacific/Chatham", "UTC",
	} {
		t.Run(zoneName, func(t *testing.T) {
			inMemory(t)
			zone, err := time.LoadLocation(zoneName)
			if err != nil {
				t.Fatal(err)
			}
			for _, start := range clockChanges(zone, 2026) {
				m := &memoryScheduler{name: "cron"}
				env, source, dest := memoryEnv(t, m)
				now := start.AddDate(0, 0, -3)
				env.Now, env.Zone, env.machineZone = func() time.Time { return now }, zone, zone
				done, err := Install(t.Context(), env, InstallOptions{Scheduler: "cron", Jobs: []NewJob{{Options: Options{Source: source, Dest: dest}, Time: "2:30"}}})
				if err != nil {
					t.Fatal(err)
				}
				days := map[string]int{}
				env.backup = func(_ context.Context, env Env, _ Options, _ string) (Report, error) {
					days[now.In(zone).Format(time.DateOnly)]++
					return Report{}, nil
				}
				job, err := LoadJob(env.Dirs, done[0].ID)
				if err != nil {
					t.Fatal(err)
				}
				end := now.AddDate(0, 0, 7)
				for ; now.Before(end); now = now.Add(15 * time.Minute) {
					if _, err := RunJob(t.Context(), env, job, RunOnce{}); err != nil {
						t.Fatal(err)
					}
				}
				for day, n := range days {
					if n != 1 {
						t.Errorf("around %v: %d backups on %s", start, n, day)
					}
				}
				if len(days) != 7 {
					t.Errorf("around %v: backups on %d of 7 days: %v", start, len(days), days)
				}
			}
		})
	}
}

// clockChanges are the days at noon on which a zone changes its clocks in a year; without
// any, the turn of the year.
func clockChanges(zone *time.Location, year int) []time.Time {
	var all []time.Time
	day := time.Date(year, 1, 1, 12, 0, 0, 0, zone)
	for ; day.Year() == year; day = day.AddDate(0, 0, 1) {
		_, before := day.AddDate(0, 0, -1).Zone()
		if _, after := day.Zone(); after != before && day.YearDay() > 1 {
			all = append(all, day)
		}
	}
	if len(all) == 0 {
		all = append(all, day)
	}
	return all
}
