package tinybackup

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestProgressFile(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	passed := 0
	env := Env{Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler), Progress: func(Progress) { passed++ }}
	j := Job{StateDir: t.TempDir(), Installed: now}
	pid := os.Getpid()

	run, done := j.noteProgress(env)
	if got := j.progress(pid); got == nil || got.Phase != "starting" || !got.Since.Equal(now) || got.Total != -1 {
		t.Fatalf("at the start: got %+v", got)
	}
	now = now.Add(time.Second)
	run.Progress(Progress{Phase: "reading", Done: 10, Total: 1000}) // a new phase is written at once
	now = now.Add(time.Second)
	run.Progress(Progress{Phase: "reading", Done: 20, Total: 1000}) // too soon
	if got := j.progress(pid); got == nil || got.Phase != "reading" || got.Done != 10 || got.Rate() != 0 || got.Left() != 0 {
		t.Fatalf("too soon: got %+v", got)
	}
	now = now.Add(9 * time.Second)
	run.Progress(Progress{Phase: "reading", Done: 200, Total: 1000})
	got := j.progress(pid)
	if got == nil || got.Done != 200 || got.Total != 1000 || !got.Updated.Equal(now) {
		t.Fatalf("later: got %+v", got)
	}
	if got.Rate() != 20 || got.Left() != 40*time.Second {
		t.Errorf("rate %d, left %v; want 20 bytes a second and 40s", got.Rate(), got.Left())
	}
	if passed != 3 {
		t.Errorf("%d steps were passed on, want 3", passed)
	}
	if got := j.progress(pid + 1); got != nil {
		t.Errorf("what another run has left counts: %+v", got)
	}
	done()
	if _, err := os.Stat(j.progressPath()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("progress after the run: %v, want none", err)
	}
}

// TestProgressOfRun shows that a run of a job has the file while it goes on, and
// leaves none, whether it stores an archive or fails.
func TestProgressOfRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"src", "dst"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "src", "a"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	o := Options{Source: filepath.Join(dir, "src"), Dest: filepath.Join(dir, "dst"), Name: "src"}
	o.fillDefaults()
	j := Job{
		ID: "00000001", Time: "2:30", Scheduler: "service", Installed: now.Add(-time.Hour),
		StateDir: filepath.Join(dir, "state"), LogFile: filepath.Join(dir, "log"), Options: o,
	}
	seen := 0
	env := Env{Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}
	env.Progress = func(Progress) {
		if pid, locked := isLocked(filepath.Join(j.StateDir, "run.lock")); locked && j.progress(pid) != nil {
			seen++
		}
	}
	if _, err := RunJob(context.Background(), env, j, RunOnce{Now: true}); err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("no progress was written")
	}
	j.Options.Source = filepath.Join(dir, "gone")
	if _, err := RunJob(context.Background(), env, j, RunOnce{Now: true}); err == nil {
		t.Fatal("a run without a source succeeded")
	}
	if _, err := os.Stat(j.progressPath()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("progress after the runs: %v, want none", err)
	}
}
