package tinybackup

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// A job that waits for power has not failed, says so, and begins when it has some.
func TestWaitsForPower(t *testing.T) {
	t.Parallel()
	env, source, dest := memoryEnv(t, &memoryScheduler{name: "cron"})
	now := env.Now()
	battery := true
	env.Now = func() time.Time { return now }
	env.battery = func() bool { return battery }
	done, err := Install(t.Context(), env, InstallOptions{Scheduler: "cron", Jobs: []NewJob{{Options: Options{Source: source, Dest: dest, OnBattery: "wait"}, Time: "2:30"}}})
	if err != nil {
		t.Fatal(err)
	}
	job, err := LoadJob(env.Dirs, done[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	state := func() JobStatus {
		t.Helper()
		s, err := StatusOf(t.Context(), env, Selection{})
		if err != nil {
			t.Fatal(err)
		}
		return s.Jobs[0]
	}
	const waits = "the run of Sun 2026-11-22 02:30 waits: the machine is on battery"
	for _, at := range []time.Time{time.Date(2026, 11, 22, 2, 30, 0, 0, time.UTC), time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)} {
		now = at
		report, err := RunJob(t.Context(), env, job, RunOnce{})
		if err != nil || report.Nothing != waits || report.Archive != "" {
			t.Errorf("%v: got %+v, %v, want %q", at, report, err, waits)
		}
		if js := state(); !js.OK || js.State != StateDue || js.Why != "its run of Sun 2026-11-22 02:30 waits: the machine is on battery" {
			t.Errorf("%v: status: got %+v", at, js)
		}
	}
	if runs, err := job.History().Last(-1); err != nil || len(runs) > 0 {
		t.Errorf("history: got %+v, %v, want none", runs, err)
	}
	if log, err := os.ReadFile(job.LogFile); err != nil || !strings.Contains(string(log), waits) {
		t.Errorf("log: %v: %s", err, log)
	}
	if report, err := RunJob(t.Context(), env, job, RunOnce{Now: true}); err != nil || report.Archive == "" {
		t.Errorf("by hand: got %+v, %v, want an archive", report, err)
	}
	now = now.AddDate(0, 0, 1)
	battery = false
	if report, err := RunJob(t.Context(), env, job, RunOnce{}); err != nil || report.Archive == "" {
		t.Errorf("with power: got %+v, %v, want an archive", report, err)
	}
	if js := state(); !js.OK || js.State != StateOK {
		t.Errorf("with power: status: got %+v", js)
	}
}

func TestCheckCourtesy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    Options
		good bool
	}{
		"nothing":          {Options{}, true},
		"all":              {Options{Nice: 19, IONice: "none", BWLimit: 1 << 10, OnBattery: "run"}, true},
		"nicer than can":   {Options{Nice: 20}, false},
		"not nice":         {Options{Nice: -1}, false},
		"a class":          {Options{IONice: "real-time"}, false},
		"less than a KiB":  {Options{BWLimit: 1023}, false},
		"no such behavior": {Options{OnBattery: "stop"}, false},
	} {
		c.o.Source, c.o.Dest, c.o.Name = "/a", "/b", "a"
		if err := c.o.checkWords(); (err == nil) != c.good || err != nil && exitStatus(context.Background(), err) != exitUsage {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
