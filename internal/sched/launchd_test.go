package sched

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var updateGolden = flag.Bool("update", false, "write what the tests get into their golden files")

// golden compares text with testdata/name.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *updateGolden {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, text, want)
	}
}

// launchdEntry is a job whose paths have what XML has to escape.
func launchdEntry(t *testing.T, when string) Entry {
	t.Helper()
	return Entry{Job: `/Users/anna/<a> & "b"/3f2a91c0.ini`, Binary: "/usr/local/bin/tinybackup", Spec: parse(t, when)}
}

func TestLaunchdLine(t *testing.T) {
	t.Parallel()
	l := &Launchd{Dir: "/Users/anna/Library/LaunchAgents", Domain: "gui/501"}
	for name, when := range map[string]string{
		"daily.plist":    "30 2 * * *",
		"either.plist":   "0 6,18 13 * fri", // the 13th, and Fridays
		"weekdays.plist": "15 9 * * mon-fri",
	} {
		e := launchdEntry(t, when)
		e.CatchUp = name == "daily.plist"
		line, err := l.Line(e)
		if err != nil {
			t.Fatal(err)
		}
		head, text, _ := strings.Cut(line, "\n")
		if want := "# /Users/anna/Library/LaunchAgents/tinybackup.3f2a91c0.plist"; head != want {
			t.Errorf("the path: got %q, want %q", head, want)
		}
		golden(t, name, text)
		if binary, job, ok := parsePlist(text); !ok || binary != e.Binary || job != e.Job {
			t.Errorf("%s reads back as %q, %q, %v", name, binary, job, ok)
		}
	}
}

func TestLaunchdExpress(t *testing.T) {
	t.Parallel()
	l := &Launchd{}
	for when, want := range map[string]string{
		"*/15 * * * *":         "",
		"* * * * *":            "",
		"30 2 */2 * fri":       "a day of the month and a weekday at once",
		"*/5 8-18 * * mon-fri": "more than 500 combinations",
		"*/2 1-12 1-15 1-6 *":  "more than 500 combinations",
		"+ 7 minutes":          "launchd cannot express it: every 7 minutes is not",
		"15:00":                "",
	} {
		err := l.Express(parse(t, when))
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", when, err, want)
		}
	}
}

// fakeLaunchctl is launchctl with the services that were bootstrapped.
type fakeLaunchctl struct {
	loaded map[string]bool // DOMAIN/LABEL
	busy   int             // so many times bootstrap is refused
	calls  []string
}

func (f *fakeLaunchctl) exec(_ context.Context, p Program) (Output, error) {
	f.calls = append(f.calls, p.Args[0])
	failed := Output{Stderr: "Could not find service\n", Code: 113}
	switch p.Args[0] {
	case "print":
		if p.Args[1] != "gui/501" && !f.loaded[p.Args[1]] {
			return failed, nil
		}
	case "bootout":
		if !f.loaded[p.Args[1]] {
			return failed, nil
		}
		delete(f.loaded, p.Args[1])
	case "bootstrap":
		if f.busy > 0 {
			f.busy--
			return Output{Stderr: "Bootstrap failed: 5: Input/output error\n", Code: 5}, nil
		}
		f.loaded[p.Args[1]+"/"+strings.TrimSuffix(filepath.Base(p.Args[2]), ".plist")] = true
	}
	return Output{}, nil
}

func TestLaunchdAddListRemove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := &fakeLaunchctl{loaded: map[string]bool{}}
	l := &Launchd{Dir: filepath.Join(dir, "LaunchAgents"), Domain: "gui/501", LockPath: filepath.Join(dir, "lock"), Runner: Runner{Exec: f.exec}}
	ctx := t.Context()
	if entries, err := l.List(ctx); len(entries) != 0 || err != nil {
		t.Errorf("List of none: got %v, %v", entries, err)
	}
	e := launchdEntry(t, "30 2 * * *")
	for range 2 { // launchd takes its time to drop the one that is replaced
		if err := l.Add(ctx, e); err != nil {
			t.Fatal(err)
		}
		f.busy = 2
	}
	want := []string{"print", "bootstrap", "print", "bootout", "bootstrap", "bootstrap", "bootstrap"}
	if !slices.Equal(f.calls, want) {
		t.Errorf("Add twice called %q, want %q", f.calls, want)
	}
	line, err := l.Line(e)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := l.List(ctx)
	if err != nil || len(entries) != 1 || entries[0].Job != e.Job || entries[0].Binary != e.Binary || entries[0].Text != line || entries[0].Fault != nil {
		t.Fatalf("List: got %+v, %v", entries, err)
	}
	delete(f.loaded, "gui/501/tinybackup.3f2a91c0")
	if entries, err := l.List(ctx); err != nil || entries[0].Fault == nil {
		t.Errorf("List of one that is not loaded: got %+v, %v", entries, err)
	}
	if n, err := l.Remove(ctx, ownJob); n != 0 || err != nil {
		t.Errorf("Remove of the same id in another place: got %d, %v", n, err)
	}
	if n, err := l.Remove(ctx, e.Job); n != 1 || err != nil {
		t.Errorf("Remove: got %d, %v", n, err)
	}
	if n, err := l.Remove(ctx, e.Job); n != 0 || err != nil {
		t.Errorf("Remove again: got %d, %v", n, err)
	}
	if err := os.WriteFile(l.path(ownJob), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	var backend *BackendError
	if err := l.Add(ctx, e); !errors.As(err, &backend) || backend.Hint() == "" {
		t.Errorf("Add over a file of somebody else: got %v", err)
	}
	if text, err := os.ReadFile(l.path(ownJob)); err != nil || string(text) != "mine" {
		t.Errorf("the file of somebody else: got %q, %v", text, err)
	}
}

func TestLaunchdCheck(t *testing.T) {
	t.Parallel()
	f := &fakeLaunchctl{}
	l := &Launchd{Domain: "gui/501", Runner: Runner{Exec: f.exec}}
	if err := l.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	l.Domain = "gui/502"
	var backend *BackendError
	if err := l.Check(t.Context()); !errors.As(err, &backend) || !strings.Contains(err.Error(), "Could not find service") {
		t.Errorf("Check of a user who is not logged in: got %v", err)
	}
	l.Runner.Exec = func(context.Context, Program) (Output, error) { return Output{}, exec.ErrNotFound }
	if err := l.Check(t.Context()); !errors.As(err, &backend) || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("Check without launchctl: got %v", err)
	}
}
