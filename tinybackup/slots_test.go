package tinybackup

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A run that is killed after it has told of missed slots is told of as well.
func TestInterruptedAfterMissed(t *testing.T) {
	t.Parallel()
	env, source, dest := memoryEnv(t, &memoryScheduler{name: "cron"})
	job := testJob(t, env.Dirs, "0000000a")
	job.Time, job.Options.Source, job.Options.Dest = "2:30", source, dest
	job.StateDir, job.LogFile = filepath.Join(env.Dirs.State, job.ID), filepath.Join(env.Dirs.Log, "a.log")
	if err := os.MkdirAll(job.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	now := job.Installed.AddDate(0, 0, 3)
	env.Now = func() time.Time { return now }
	env.backup = func(context.Context, Env, Options, string) (Report, error) { panic("killed") }
	func() {
		defer func() { _ = recover() }()
		_, _ = RunJob(t.Context(), env, job, RunOnce{})
	}()
	now = now.Add(10 * time.Minute)
	env.backup = func(context.Context, Env, Options, string) (Report, error) { return Report{}, nil }
	if _, err := RunJob(t.Context(), env, job, RunOnce{}); err != nil {
		t.Fatal(err)
	}
	runs, err := job.History().Last(-1)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, run := range runs {
		got = append(got, run.Result)
	}
	if len(got) != 3 || got[0] != ResultMissed || got[1] != ResultFailed || got[2] != ResultOK || !runs[1].Slot.Equal(runs[2].Slot) {
		t.Errorf("got %q, want missed, failed and then ok for one slot", got)
	}
}

// A jitter stays within the time to the next run, the shortest there is.
func TestJitterFits(t *testing.T) {
	t.Parallel()
	at := func(hours ...int) (runs []time.Time) {
		for _, h := range hours {
			runs = append(runs, time.Date(2026, 11, 21, h, 0, 0, 0, time.UTC))
		}
		return runs
	}
	for _, c := range []struct {
		jitter time.Duration
		runs   []time.Time
		fits   bool
	}{
		{0, at(2, 26, 50), true},
		{23 * time.Hour, at(2, 26, 50), true},
		{24 * time.Hour, at(2, 26, 50), false},
		{2 * time.Hour, at(2, 26, 27), false},
		{48 * time.Hour, at(2), true}, // it runs once
	} {
		if err := jitterFits(c.jitter, c.runs); (err == nil) != c.fits {
			t.Errorf("jitter %v, runs %v: got %v", c.jitter, c.runs, err)
		}
	}
}
