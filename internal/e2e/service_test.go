//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// edit replaces text in a file as an editor does: by a new file of that name.
func edit(t *testing.T, path, old, text string) {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s has no %q:\n%s", path, old, data)
	}
	check(t, os.WriteFile(path+".new", []byte(strings.Replace(string(data), old, text, 1)), 0o600))
	check(t, os.Rename(path+".new", path))
}

// stopped makes sure that a test's service does not outlive it.
func stopped(t *testing.T, p *program) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(p.dir(), "state", "service.log"))
			t.Logf("the service's log:\n%s", log)
		}
		_ = p.command("stop", "--now").Run()
	})
}

// TestService lets the built-in scheduler run a job hour by hour, while the job
// is changed and others come and go.
func TestService(t *testing.T) {
	t.Parallel()
	c := hourly()
	p := newProgram(t).on(c)
	stopped(t, p)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")

	o := p.exits(t, 0, "install", "--scheduler", "service", "--time", "30 * * * *", "--keep", "2", source, dest)
	files, err := filepath.Glob(filepath.Join(p.dir(), "jobs", "*.ini"))
	check(t, err)
	if len(files) != 1 {
		t.Fatalf("jobs after install: %q", files)
	}
	job := strings.TrimSuffix(filepath.Base(files[0]), ".ini")
	if !strings.Contains(o.stdout+o.stderr, "tinybackup start") {
		t.Errorf("install says nothing of tinybackup start:\n%s%s", o.stdout, o.stderr)
	}
	p.exits(t, 5, "statusof", job) // nobody would run it; of others' jobs it is not asked
	p.exits(t, 0, "start")
	p.exits(t, 4, "start")
	p.exits(t, 0, "statusof", job)

	slots(t, c, dest, 30, 4)
	eachHour(t, p, job)
	var in installed
	second := mkdir(t, dir, "more")
	p.json(t, &in, "install", "--scheduler", "service", "--time", "0 * * * *", "--name", "later", source, second)
	waitFor(t, c.lasts(3*time.Hour)+20*time.Second, "an archive of a job installed later", func() bool { return len(archives(t, second)) > 0 })
	edit(t, in.Jobs[0].Path, "name = later", "name = renamed")
	edit(t, in.Jobs[0].Path, "0 * * * *", "15 * * * *")
	waitFor(t, c.lasts(3*time.Hour)+20*time.Second, "an archive under the job's new name", func() bool {
		return strings.HasPrefix(filepath.Base(newest(t, second)), "renamed-")
	})
	if got := timeOf(t, filepath.Base(newest(t, second))).Minute(); got < 15 || got > 55 {
		t.Errorf("archive after the change to a quarter past: got it at minute %d", got)
	}
	p.exits(t, 0, "uninstall", in.Jobs[0].ID)

	p.exits(t, 0, "stop")
	if got := processes(t, p, "start"); len(got) != 0 {
		t.Errorf("processes after stop: %v", got)
	}
	last := strings.Join(archives(t, dest), " ")
	time.Sleep(c.lasts(70 * time.Minute))
	if got := strings.Join(archives(t, dest), " "); got != last {
		t.Errorf("archives an hour after stop: got %q, want %q", got, last)
	}
	if got := archives(t, dest); len(got) != 2 {
		t.Errorf("archives under --keep 2: got %q", got)
	}

	// What it missed while it was off is made up for, once. Not just before a slot: what
	// comes up to half a minute too early waits for it, in real time.
	for c.now().Minute() < 35 || c.now().Minute() > 45 {
		time.Sleep(c.lasts(time.Minute))
	}
	n := len(archives(t, dest))
	was := newest(t, dest)
	p.exits(t, 0, "start")
	waitFor(t, 20*time.Second, "the missed run", func() bool { return newest(t, dest) != was })
	if got := len(archives(t, dest)); got > n+1 {
		t.Errorf("archives after the missed runs: got %d more, want one", got-n)
	}
	p.exits(t, 0, "stop")
	p.exits(t, 0, "uninstall", "--all")
	if left, err := os.ReadDir(filepath.Join(p.dir(), "jobs")); err != nil || anyINI(left) {
		t.Errorf("jobs after uninstall --all: got %v (%v), want none", left, err)
	}
}

// atWork is a service with a run of its own stopped in the middle.
func atWork(t *testing.T) (p *program, dest string, run int) {
	t.Helper()
	c := newClock(time.Now().Truncate(time.Hour).Add(29*time.Minute), 60)
	p, source, dest := slow(t)
	p = p.on(c)
	stopped(t, p)
	p.exits(t, 0, "install", "--scheduler", "service", "--time", "30 * * * *", "--compress", "xz:9", source, dest)
	p.exits(t, 0, "start")
	waitFor(t, 40*time.Second, "a partial archive", func() bool { return len(partials(t, dest)) > 0 })
	pids := processes(t, p, "run")
	if len(pids) != 1 {
		t.Fatalf("processes of runs: got %v, want one", pids)
	}
	check(t, syscall.Kill(pids[0], syscall.SIGSTOP))
	return p, dest, pids[0]
}

// TestServiceStop lets the backup that is going on finish.
func TestServiceStop(t *testing.T) {
	inside(t) // other processes of the same name might be about
	t.Parallel()
	p, dest, run := atWork(t)
	stop := begin(t, p.command("stop"))
	time.Sleep(time.Second)
	if got := processes(t, p, "stop"); len(got) == 0 {
		t.Error("stop did not wait for the run")
	}
	check(t, syscall.Kill(run, syscall.SIGCONT))
	if o := stop.wait(t); o.code != 0 {
		t.Errorf("stop: got exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if got := archives(t, dest); len(got) != 1 {
		t.Errorf("archives: got %q, want one", got)
	}
	p.exits(t, 0, "verify", dest)
	if got := processes(t, p, "start"); len(got) != 0 {
		t.Errorf("processes after stop: %v", got)
	}
}

// TestServiceStopNow ends the backup that is going on, and nothing of it is left.
func TestServiceStopNow(t *testing.T) {
	inside(t)
	t.Parallel()
	p, dest, run := atWork(t)
	stop := begin(t, p.command("stop", "--now"))
	time.Sleep(200 * time.Millisecond)
	check(t, syscall.Kill(run, syscall.SIGCONT))
	if o := stop.wait(t); o.code != 0 {
		t.Errorf("stop --now: got exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if got := append(archives(t, dest), partials(t, dest)...); len(got) != 0 {
		t.Errorf("left in the destination: %q", got)
	}
	if got := append(processes(t, p, "start"), processes(t, p, "run")...); len(got) != 0 {
		t.Errorf("processes after stop --now: %v", got)
	}
}

// TestServiceForeground is how a container or an init system runs the service.
func TestServiceForeground(t *testing.T) {
	t.Parallel()
	c := hourly()
	p := newProgram(t).on(c)
	stopped(t, p)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")
	r := begin(t, p.command("start", "--foreground"))
	p.exits(t, 0, "install", "--scheduler", "service", "--time", "30 * * * *", source, dest)
	slots(t, c, dest, 30, 1)
	r.signal(t, syscall.SIGTERM)
	if o := r.wait(t); o.code != 0 && o.code != 143 {
		t.Errorf("exit: got %d, want 0 or 143\n%s", o.code, o.stderr)
	}
	// Killed, it leaves no lock that stands in its own way.
	r = begin(t, p.command("start", "--foreground"))
	waitFor(t, hangs, "the service runs", func() bool {
		log, err := os.ReadFile(filepath.Join(p.dir(), "state", "service.log"))
		check(t, err)
		return strings.Contains(string(log), fmt.Sprintf("msg=\"service started\" process=%d ", r.cmd.Process.Pid))
	})
	r.signal(t, syscall.SIGKILL)
	r.wait(t)
	p.exits(t, 0, "start")
	p.exits(t, 0, "stop")
}
