package tinybackup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/sched"
)

// A command that fails is told in its own words, its hint too; one that cannot be
// started in those of the shell.
func TestStartLike(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	around := sched.Surroundings{Env: []string{"PATH=/usr/bin:/bin", "A=b"}, Dir: dir}
	for _, c := range []struct{ line, err, hint string }{
		{"true", "", ""},
		{`test "$A" = b && test -z "$HOME" && test "$PWD" = ` + dir + " && ! read line", "", ""},
		{"echo 'tinybackup: error: it is full' >&2; echo 'tinybackup: hint: buy another' >&2; exit 1", "it is full", "buy another"},
		{"echo 'tinybackup: error: one' >&2; echo 'tinybackup: error: two' >&2; exit 1", "one", ""},
		{"exit 3", "exit status 3", ""},
		{"kill -9 $$", "signal: killed", ""},
		{"'" + plain + "' run", "Permission denied", ""},
		{"'" + dir + "/gone' run", "not found", ""},
	} {
		err := startLike(t.Context(), around, c.line)
		switch {
		case c.err == "" && err != nil:
			t.Errorf("%s: got %v", c.line, err)
		case c.err != "" && (err == nil || !strings.HasSuffix(err.Error(), c.err) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: got %v, want %q", c.line, err, c.err)
		case hintOf(err) != c.hint:
			t.Errorf("%s: got hint %q, want %q", c.line, hintOf(err), c.hint)
		}
	}
	around.Dir = filepath.Join(dir, "gone") // no reason to fail
	if err := startLike(t.Context(), around, "test $PWD = /"); err != nil {
		t.Errorf("without a home: got %v", err)
	}
}

// A signal ends the command, and what it has started.
func TestStartLikeInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	fifo := filepath.Join(t.TempDir(), "started")
	go func() {
		for ; !exists(fifo); time.Sleep(time.Millisecond) {
		}
		cancel(why)
	}()
	err := startLike(ctx, sched.Surroundings{Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/"}, "touch '"+fifo+"'; sleep 600 | sleep 600")
	if !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

// A job that could not run is not installed: the scheduler never hears of it.
func TestPreflightRefuses(t *testing.T) {
	t.Parallel()
	m := &memoryScheduler{name: "cron"}
	env, source, dest := memoryEnv(t, m)
	var line string
	env.preflight = func(_ context.Context, around sched.Surroundings, command string) error {
		line = command
		if len(m.entries) > 0 || len(around.Env) == 0 {
			t.Errorf("the scheduler has %v already, or around is %v", m.entries, around)
		}
		return &HintError{Err: errors.New("it is full"), Hint: "buy another"}
	}
	_, err := Install(t.Context(), env, InstallOptions{Scheduler: "cron", Jobs: []NewJob{{Options: Options{Source: source, Dest: dest}, Time: "2:30"}}})
	if err == nil || err.Error() != "started as cron starts it, the job cannot run: it is full" || hintOf(err) != "buy another" {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
	if !strings.HasPrefix(line, "'/bin/sh' run --job ") || !strings.HasSuffix(line, " --check") {
		t.Errorf("started %q", line)
	}
	if jobs, broken, err := Jobs(env.Dirs); err != nil || len(jobs)+len(broken) > 0 || m.added > 0 {
		t.Errorf("left %v, %v, %v, %d entries were added", jobs, broken, err, m.added)
	}
}

// A person hears that a job could run; a scheduler is told by the exit status.
func TestCheckOnTerminal(t *testing.T) {
	t.Parallel()
	env, source, dest := memoryEnv(t, &memoryScheduler{name: "cron"})
	jobs, err := Install(t.Context(), env, InstallOptions{Scheduler: "auto", Jobs: []NewJob{{Options: Options{Source: source, Dest: dest, Name: "a"}, Time: "2:30"}}})
	if err != nil {
		t.Fatal(err)
	}
	for terminal, want := range map[bool]string{true: "job " + jobs[0].ID + " (a) could run now\n", false: ""} {
		var b strings.Builder
		env.terminal, env.Stdout = terminal, &b
		c := runCommand{Check: true, Job: jobs[0].ID}
		if err := c.checkJob(t.Context(), env, &invocation{}); err != nil || b.String() != want {
			t.Errorf("terminal %v: got %q, %v, want %q", terminal, b.String(), err, want)
		}
	}
}
