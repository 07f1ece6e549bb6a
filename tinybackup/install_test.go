package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tinybackup/internal/sched"
)

// A memoryScheduler keeps entries in memory, and fails when it is told to.
type memoryScheduler struct {
	name    string
	entries []sched.Entry
	failAt  int // the entry whose Add fails, counted from 1
	added   int
	broken  error // of List and Remove

	mu sync.Mutex // a Scheduler may be used from several goroutines
}

func (m *memoryScheduler) Name() string                { return m.name }
func (m *memoryScheduler) Check(context.Context) error { return nil }
func (m *memoryScheduler) Express(*sched.Spec) error   { return nil }
func (m *memoryScheduler) Line(e sched.Entry) (string, error) {
	if m.name == "cron" {
		fields, err := e.Spec.Cron()
		return fields + " " + sched.Command(e.Binary, e.Job), err
	}
	return sched.Command(e.Binary, e.Job), nil
}
func (m *memoryScheduler) Add(_ context.Context, e sched.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.added++; m.added == m.failAt {
		return errors.New("no room")
	}
	m.entries = slices.DeleteFunc(m.entries, func(x sched.Entry) bool { return x.Job == e.Job })
	e.Where = "memory"
	m.entries = append(m.entries, e)
	return nil
}

func (m *memoryScheduler) Remove(_ context.Context, job string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.entries)
	m.entries = slices.DeleteFunc(m.entries, func(x sched.Entry) bool { return x.Job == job })
	return before - len(m.entries), m.broken
}

func (m *memoryScheduler) List(context.Context) ([]sched.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.entries), m.broken
}

// memoryEnv is an environment with directories of its own, in which ids are looked
// up by scheduled runs, and with one scheduler.
func memoryEnv(t *testing.T, m *memoryScheduler) (env Env, source, dest string) {
	t.Helper()
	dirs := testDirs(t)
	dirs.Plain = true
	now := time.Date(2026, 11, 21, 9, 7, 0, 0, time.UTC)
	env = Env{
		Dirs: dirs, Now: func() time.Time { return now }, Zone: time.UTC, machineZone: time.UTC,
		preflight: func(context.Context, sched.Surroundings, string) error { return nil },
		Log:       slog.New(slog.DiscardHandler), schedulers: []sched.Scheduler{m},
		Binary: "/bin/sh", // it must be there: statusof looks. The test binary is one of go test, and refused
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	source, dest = filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	for _, d := range []string{source, dest} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(source, "a"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	return env, source, dest
}

// In the default directories a line has the id alone, and is found again by it.
func TestInstallByID(t *testing.T) {
	t.Parallel()
	m := &memoryScheduler{name: "cron"}
	env, source, dest := memoryEnv(t, m)
	done, err := Install(t.Context(), env, InstallOptions{Scheduler: "auto", Jobs: []NewJob{{Options: Options{Source: source, Dest: dest}, Time: "2:30"}}})
	if err != nil {
		t.Fatal(err)
	}
	id := done[0].ID
	if want := "30 2 * * * '/bin/sh' run --job " + id; done[0].Line != want || len(m.entries) != 1 || m.entries[0].Job != id {
		t.Errorf("line %q, entries %+v, want %q", done[0].Line, m.entries, want)
	}
	s, err := StatusOf(t.Context(), env, Selection{})
	if err != nil || !s.OK || s.Jobs[0].Where != "memory" {
		t.Errorf("status: got %+v, %v", s, err)
	}
	// Two strangers: an id without a file, and a path without one.
	m.entries = append(m.entries, sched.Entry{Job: "ffffffff", Binary: "/bin/sh", Where: "a"}, sched.Entry{Job: dest + "/00000001.ini", Binary: "/bin/sh", Where: "b"})
	s, err = StatusOf(t.Context(), env, Selection{})
	if err != nil || s.OK || len(s.Problems) != 2 {
		t.Errorf("status with orphans: got %+v, %v", s, err)
	}
	// Looked at from other directories, an id is nothing to judge, and a path is.
	other := env
	other.Dirs = testDirs(t)
	s, err = StatusOf(t.Context(), other, Selection{})
	if err != nil || len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Why, "00000001.ini") {
		t.Errorf("status from elsewhere: got %+v, %v", s, err)
	}
	// A copy of the job's file elsewhere must not take the original's line away.
	text, err := os.ReadFile(done[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(filepath.Join(other.Dirs.Jobs, id+".ini"), text); err != nil {
		t.Fatal(err)
	}
	gone, err := Uninstall(t.Context(), other, UninstallOptions{All: true})
	if err != nil || len(gone) != 1 || gone[0].Lines != 0 || len(m.entries) != 3 {
		t.Errorf("uninstall of a copy: got %+v, %v, entries %+v", gone, err, m.entries)
	}
	gone, err = Uninstall(t.Context(), env, UninstallOptions{Which: Selection{Refs: []string{id}}})
	if err != nil || len(gone) != 1 || gone[0].Lines != 1 || len(m.entries) != 2 {
		t.Errorf("uninstall: got %+v, %v, entries %+v", gone, err, m.entries)
	}
	gone, err = Uninstall(t.Context(), env, UninstallOptions{Orphans: true})
	if err != nil || len(gone) != 2 || len(m.entries) != 0 {
		t.Errorf("orphans: got %+v, %v, entries %+v", gone, err, m.entries)
	}
}

// Whichever of the entries fails: all or nothing.
func TestInstallAllOrNothing(t *testing.T) {
	t.Parallel()
	const jobs = 4
	for failAt := 1; failAt <= jobs+1; failAt++ {
		m := &memoryScheduler{name: "cron", failAt: failAt}
		env, source, dest := memoryEnv(t, m)
		var o InstallOptions
		o.Scheduler = "cron"
		for i := range jobs {
			name := fmt.Sprint("job", i)
			o.Jobs = append(o.Jobs, NewJob{Options: Options{Source: source, Dest: dest, Name: name}, Time: fmt.Sprintf("2:%02d", i), Where: name})
		}
		// Not cut short by a signal either.
		ctx, cancel := context.WithCancel(t.Context())
		if failAt == 2 {
			cancel()
		}
		_, err := Install(ctx, env, o)
		cancel()
		files, globErr := filepath.Glob(filepath.Join(env.Dirs.Jobs, "*.ini"))
		if globErr != nil {
			t.Fatal(globErr)
		}
		want := 0
		if failAt > jobs {
			want = jobs
		}
		if (err == nil) != (want > 0) || len(m.entries) != want || len(files) != want {
			t.Errorf("entry %d fails: got %v, %d entries, %d files, want %d", failAt, err, len(m.entries), len(files), want)
		}
	}
}

// Installs of the same job at once make one job.
func TestInstallTwiceAtOnce(t *testing.T) {
	t.Parallel()
	m := &memoryScheduler{name: "cron"}
	env, source, dest := memoryEnv(t, m)
	const tries = 6
	errs := make(chan error)
	for range tries {
		go func() {
			_, err := Install(t.Context(), env, InstallOptions{Scheduler: "cron", Jobs: []NewJob{{Options: Options{Source: source, Dest: dest}, Time: "2:30"}}})
			errs <- err
		}()
	}
	for range tries {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if jobs, _, err := Jobs(env.Dirs); err != nil || len(jobs) != 1 || len(m.entries) != 1 {
		t.Errorf("got %d jobs, %v, %d entries, want 1", len(jobs), err, len(m.entries))
	}
}

// Jobs that share only their name have a log each.
func TestInstallLogs(t *testing.T) {
	t.Parallel()
	m := &memoryScheduler{name: "cron"}
	env, source, dest := memoryEnv(t, m)
	other := t.TempDir()
	for _, d := range []string{dest, other} {
		if _, err := Install(t.Context(), env, InstallOptions{Scheduler: "cron", Jobs: []NewJob{{Options: Options{Source: source, Dest: d}, Time: "2:30"}}}); err != nil {
			t.Fatal(err)
		}
	}
	jobs, _, err := Jobs(env.Dirs)
	if err != nil || len(jobs) != 2 || jobs[0].LogFile == jobs[1].LogFile {
		t.Errorf("got %+v, %v, want two logs", jobs, err)
	}
}

// A job that is uninstalled while its run begins is neither queued again nor run.
func TestRequeueUninstalled(t *testing.T) {
	t.Parallel()
	m := &memoryScheduler{name: "at"}
	env, source, dest := memoryEnv(t, m)
	done, err := Install(t.Context(), env, InstallOptions{Scheduler: "at", Jobs: []NewJob{{Options: Options{Source: source, Dest: dest}, Time: "+1 hour"}}})
	if err != nil {
		t.Fatal(err)
	}
	job, err := LoadJob(env.Dirs, done[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Uninstall(t.Context(), env, UninstallOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := RunJob(t.Context(), env, job, RunOnce{}); err == nil || !strings.Contains(err.Error(), "was uninstalled") {
		t.Errorf("got %v, want that it was uninstalled", err)
	}
	left, err := os.ReadDir(dest)
	if err != nil || len(left) != 0 || len(m.entries) != 0 {
		t.Errorf("got archives %v, %v, entries %v, want none", left, err, m.entries)
	}
}

// A job that is given another schedule while a run of it begins is not put back to
// the old one.
func TestRequeueUpdated(t *testing.T) {
	t.Parallel()
	m := &memoryScheduler{name: "at"}
	env, source, dest := memoryEnv(t, m)
	install := func(time string) Job {
		t.Helper()
		done, err := Install(t.Context(), env, InstallOptions{Scheduler: "at", Jobs: []NewJob{{Options: Options{Source: source, Dest: dest}, Time: time}}})
		if err != nil {
			t.Fatal(err)
		}
		return done[0].job
	}
	old := install("+1 hour")
	spec, err := old.Spec()
	if err != nil {
		t.Fatal(err)
	}
	install("+3 hours")
	want := m.entries[0].Next
	if err := requeue(t.Context(), env, old, spec); err != nil || len(m.entries) != 1 || !m.entries[0].Next.Equal(want) {
		t.Errorf("got %v, %+v, want a run at %s", err, m.entries, want)
	}
}

// What a scheduler says when it cannot be asked is told, and no job is given up.
func TestSchedulerThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	m := &memoryScheduler{name: "cron"}
	env, source, dest := memoryEnv(t, m)
	if _, err := Install(t.Context(), env, InstallOptions{Scheduler: "cron", Jobs: []NewJob{{Options: Options{Source: source, Dest: dest}, Time: "2:30"}}}); err != nil {
		t.Fatal(err)
	}
	m.broken = errors.New("the spool is on fire")
	s, err := StatusOf(t.Context(), env, Selection{})
	if err != nil || s.OK || !strings.Contains(s.Jobs[0].Problems[0].Why, "the spool is on fire") {
		t.Errorf("status: got %+v, %v", s, err)
	}
	for _, o := range []UninstallOptions{{All: true}, {Orphans: true}} {
		_, err := Uninstall(t.Context(), env, o)
		if jobs, _, _ := Jobs(env.Dirs); len(jobs) != 1 {
			t.Errorf("uninstall %+v: %v, and the job is gone", o, err)
		}
		if o.All && err == nil {
			t.Error("uninstall: no error")
		}
	}
}

// Whatever scheduler has a line without a job, it goes, and others' lines stay.
func TestOrphansOfEveryScheduler(t *testing.T) {
	t.Parallel()
	env, source, dest := memoryEnv(t, nil)
	var all []*memoryScheduler
	env.schedulers = nil
	for i, name := range []string{"cron", "at", "systemd", "launchd"} {
		m := &memoryScheduler{name: name}
		all, env.schedulers = append(all, m), append(env.schedulers, m)
		n := NewJob{Options: Options{Source: source, Dest: dest, Name: name}, Time: fmt.Sprintf("%d:00", i)}
		done, err := Install(t.Context(), env, InstallOptions{Scheduler: name, Jobs: []NewJob{n, {Options: Options{Source: source, Dest: dest, Name: name + "2"}, Time: fmt.Sprintf("%d:30", i)}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(done[0].Path); err != nil {
			t.Fatal(err)
		}
	}
	gone, err := Uninstall(t.Context(), env, UninstallOptions{Orphans: true})
	if err != nil || len(gone) != len(all) {
		t.Errorf("got %+v, %v", gone, err)
	}
	for _, m := range all {
		if len(m.entries) != 1 || orphaned(env.Dirs, m.entries[0]) {
			t.Errorf("%s has %+v, want the one that has a job", m.name, m.entries)
		}
	}
}
