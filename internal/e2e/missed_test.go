//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A movable clock can be set while a daemon and the program go by it.
type movable struct {
	clock
	dir     string
	started time.Time // the daemon
}

// newMovable is a clock that shows start now.
func newMovable(t *testing.T, start time.Time, rate int) *movable {
	t.Helper()
	m := &movable{clock: clock{rate: rate}, dir: newDir(t)}
	check(t, os.Chmod(m.dir, 0o755)) // atd is another user at times
	m.set(t, start)
	return m
}

// env is the variable that the program reads the clock from.
func (m *movable) env() string { return "TINYBACKUP_TEST_CLOCK=" + filepath.Join(m.dir, "program") }

// set makes the clock show a time, from one moment to the next.
func (m *movable) set(t *testing.T, start time.Time) {
	t.Helper()
	m.clock = newClock(start, m.rate)
	_, line, _ := strings.Cut(m.clock.env(), "=")
	m.replace(t, "program", line)
	m.tellDaemon(t)
}

// tellDaemon writes the clock for libfaketime, which counts from the daemon's start.
func (m *movable) tellDaemon(t *testing.T) {
	t.Helper()
	zero := m.base.Add(m.started.Sub(m.real) * time.Duration(m.rate))
	if m.started.IsZero() {
		return
	}
	m.replace(t, "daemon", "@"+zero.Format("2006-01-02 15:04:05")+" x"+strconv.Itoa(m.rate)+"\n")
}

// replace writes a file that others read at any moment.
func (m *movable) replace(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(m.dir, name)
	check(t, os.WriteFile(path+".new", []byte(text), 0o644))
	check(t, os.Rename(path+".new", path))
}

// daemon starts a scheduler's daemon on this clock, until stop or the test's end.
func (m *movable) daemon(t *testing.T, pidFile, name string, args ...string) (stop func()) {
	t.Helper()
	libraries, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if err != nil || len(libraries) == 0 {
		t.Fatalf("no libfaketime: %v", err)
	}
	m.started = time.Now()
	m.tellDaemon(t)
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "LANG=C", "LD_PRELOAD=" + libraries[0],
		"FAKETIME_TIMESTAMP_FILE=" + filepath.Join(m.dir, "daemon"), "FAKETIME_NO_CACHE=1",
	}
	check(t, cmd.Start())
	running := true
	stop = func() {
		if !running {
			return
		}
		running = false
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = os.Remove(pidFile)
	}
	t.Cleanup(stop)
	waitFor(t, 10*time.Second, name+" starts", func() bool {
		text, err := os.ReadFile(pidFile)
		return err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(cmd.Process.Pid)
	})
	return stop
}

// A past is a line of a job's history, as far as the tests ask for it.
type past struct {
	Slot           time.Time
	Result, Change string
	Missed         int
}

// runs is the history of a job.
func runs(t *testing.T, p *program, id string) (all []past) {
	t.Helper()
	state := "/var/lib/tinybackup"
	if dir := p.dir(); dir != "" {
		state = filepath.Join(dir, "state")
	}
	text, err := os.ReadFile(filepath.Join(state, id, "history.jsonl"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var r past
		check(t, json.Unmarshal([]byte(line), &r))
		all = append(all, r)
	}
	return all
}

// words are runs in few words: "21 02:30 ok, 2 to 23 02:30 missed".
func words(all []past) string {
	var list []string
	for _, r := range all {
		text := r.Slot.UTC().Format("02 15:04 ") + r.Result
		if r.Missed > 0 {
			text = fmt.Sprintf("%d to %s", r.Missed, text)
		}
		if r.Change != "" {
			text += " (" + r.Change + ")"
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

// job installs a job for half past two of each day.
func (m *movable) job(t *testing.T, scheduler string) (p *program, dest, id string) {
	t.Helper()
	p = newProgram(t).on(m.clock)
	p.env[0] = m.env()
	dir := newDir(t)
	source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")
	var in installed
	p.json(t, &in, "install", "--scheduler", scheduler, "--time", "2:30", "--keep", "30", source, dest)
	return p, dest, in.Jobs[0].ID
}

// finds waits until a history says want, lets two hours go by, and looks whether
// it has stayed so.
func (m *movable) finds(t *testing.T, p *program, id, want string) {
	t.Helper()
	got := ""
	end := time.Now().Add(m.lasts(4*time.Hour) + 20*time.Second)
	for got != want && time.Now().Before(end) {
		time.Sleep(20 * time.Millisecond)
		got = words(runs(t, p, id))
	}
	time.Sleep(m.lasts(2 * time.Hour))
	if got = words(runs(t, p, id)); got != want {
		t.Fatalf("history:\ngot  %s\nwant %s", got, want)
	}
}

// cronMissed has a cron that is off, a clock that is set, a disk that goes and
// comes, and a line that is there twice. Each slot is served once.
func cronMissed(t *testing.T) {
	day := func(d, hour, minute int) time.Time { return time.Date(2026, 12, d, hour, minute, 0, 0, time.UTC) }
	m := newMovable(t, day(1, 3, 0), 1200)
	start := func() (stop func()) {
		stop = m.daemon(t, "/run/crond.pid", "cron", "-f", "-L", "0")
		time.Sleep(1200 * time.Millisecond) // cron compares whole seconds to see that a table has changed
		return stop
	}
	setCrontab(t, m.env()+"\n")
	stop := start()
	p, dest, id := m.job(t, "cron")
	t.Cleanup(func() { setCrontab(t, "") })
	want := ""
	next := func(text string) {
		t.Helper()
		want = strings.TrimPrefix(want+", "+text, ", ")
		m.finds(t, p, id, want)
	}

	// cron is off at the slot.
	stop()
	m.set(t, day(2, 9, 0))
	stop = start()
	next("02 02:30 ok")
	// The clock is put forward over it: by so much that cron replays it, and by more.
	m.set(t, day(3, 1, 50))
	m.set(t, day(3, 4, 0))
	next("03 02:30 ok")
	m.set(t, day(4, 1, 50))
	m.set(t, day(4, 12, 0))
	next("04 02:30 ok")
	// And back, when it was served.
	m.set(t, day(5, 2, 25))
	next("05 02:30 ok")
	m.set(t, day(5, 2, 20))
	m.finds(t, p, id, want)
	// The disk goes and comes.
	m.set(t, day(6, 2, 25))
	check(t, os.Rename(dest, dest+".away"))
	next("06 02:30 failed (failed)")
	check(t, os.Rename(dest+".away", dest))
	next("06 02:30 ok (recovered)")
	// Somebody has copied the line.
	table := crontab(t)
	line := table[strings.Index(table, "30 2 "):]
	line, _, _ = strings.Cut(line, "\n")
	setCrontab(t, table+line+"\n")
	time.Sleep(1200 * time.Millisecond)
	m.set(t, day(7, 2, 25))
	next("07 02:30 ok")
	if got := len(archives(t, dest)); got != 6 {
		t.Errorf("got %d archives, want 6", got)
	}
	stop()
}

// overThree has a scheduler that is off over three slots: one run makes up for the
// newest, the others are missed, and it goes on.
func overThree(t *testing.T, scheduler string, start func(*movable, *program) (stop func())) {
	day := func(d, hour, minute int) time.Time { return time.Date(2026, 12, d, hour, minute, 0, 0, time.UTC) }
	m := newMovable(t, day(1, 1, 0), 1200)
	stop := start(m, nil)
	p, _, id := m.job(t, scheduler)
	if stop == nil {
		stop = start(m, p)
	}
	m.finds(t, p, id, "01 02:30 ok")
	stop()
	m.set(t, day(4, 9, 0))
	stop = start(m, p)
	m.finds(t, p, id, "01 02:30 ok, 2 to 03 02:30 missed, 04 02:30 ok")
	stop()
	m.set(t, day(5, 2, 0))
	stop = start(m, p)
	m.finds(t, p, id, "01 02:30 ok, 2 to 03 02:30 missed, 04 02:30 ok, 05 02:30 ok")
	stop()
	p.exits(t, 0, "uninstall", id)
}

func atMissed(t *testing.T) {
	overThree(t, "at", func(m *movable, _ *program) func() { return m.daemon(t, "/run/atd.pid", "atd", "-f", "-b", "1") })
}

// TestServiceMissed is the same for the service.
func TestServiceMissed(t *testing.T) {
	t.Parallel()
	overThree(t, "service", func(_ *movable, p *program) func() {
		if p == nil {
			return nil
		}
		stopped(t, p)
		p.exits(t, 0, "start")
		return func() { p.exits(t, 0, "stop") }
	})
}
