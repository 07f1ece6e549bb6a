//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// waiting are the lines of atq for jobs that have not been started.
func waiting(t *testing.T) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(tool(t, "atq")) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[len(fields)-2] != "=" {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// TestAt lets the real atd run a chain of jobs, each of which queues the next.
func TestAt(t *testing.T) {
	inside(t)
	need(t, "at", "atd", "atq", "faketime")
	t.Parallel()
	t.Run("Chain", atChain)
	t.Run("Once", atOnce)
	t.Run("Broken", atBroken)
	t.Run("DaylightSaving", atDaylightSaving)
	t.Run("Missed", atMissed)
}

func atChain(t *testing.T) {
	c := hourly()
	p := newProgram(t).on(c)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")
	c.daemon(t, "/run/atd.pid", "atd", "-f", "-b", "1")
	if got := waiting(t); len(got) != 0 {
		t.Fatalf("queue before install: %q", got)
	}
	var in installed
	p.json(t, &in, "install", "--scheduler", "at", "--time", "30 * * * *", "--keep", "2", source, dest)
	job := in.Jobs[0]
	if got := waiting(t); len(got) != 1 {
		t.Fatalf("queue after install: got %q, want one job", got)
	}

	found := slots(t, c, dest, 30, 4)
	if got, want := found[0], job.Next[0]; !got.Equal(want) {
		t.Errorf("first slot: got %v, want %v", got, want)
	}
	eachHour(t, p, job.ID)
	waitFor(t, 5*time.Second, "one job in the queue", func() bool { return len(waiting(t)) == 1 })

	p.exits(t, 0, "uninstall", source, dest)
	waitFor(t, 5*time.Second, "empty queue", func() bool { return strings.TrimSpace(tool(t, "atq")) == "" })
	if left, err := os.ReadDir(filepath.Join(p.dir(), "jobs")); err != nil || anyINI(left) {
		t.Errorf("jobs after uninstall: got %v (%v), want none", left, err)
	}
	if got := archives(t, dest); len(got) != 2 {
		t.Errorf("archives under --keep 2: got %q", got)
	}
	last := archives(t, dest)
	time.Sleep(c.lasts(70 * time.Minute))
	if got := archives(t, dest); strings.Join(got, " ") != strings.Join(last, " ") {
		t.Errorf("archives an hour after uninstall: got %q, want %q", got, last)
	}
}

// atOnce is a single run: the queue is empty after it.
func atOnce(t *testing.T) {
	c := hourly()
	p := newProgram(t).on(c)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")
	c.daemon(t, "/run/atd.pid", "atd", "-f", "-b", "1")
	p.exits(t, 0, "install", "--scheduler", "at", "--once", "--time", "+1 hour", source, dest)
	waitFor(t, c.lasts(2*time.Hour)+20*time.Second, "the one archive", func() bool { return len(archives(t, dest)) == 1 })
	waitFor(t, 5*time.Second, "empty queue", func() bool { return strings.TrimSpace(tool(t, "atq")) == "" })
}

// atBroken is a job whose backups fail, which must not break the chain: the next
// run is in the queue, and when the source is back, so are the backups.
func atBroken(t *testing.T) {
	c := hourly()
	p := newProgram(t).on(c)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")
	c.daemon(t, "/run/atd.pid", "atd", "-f", "-b", "1")
	var in installed
	p.json(t, &in, "install", "--scheduler", "at", "--time", "30 * * * *", source, dest)
	if err := os.Rename(source, source+".away"); err != nil {
		t.Fatal(err)
	}
	history := filepath.Join(p.dir(), "state", in.Jobs[0].ID, "history.jsonl")
	waitFor(t, c.lasts(4*time.Hour)+20*time.Second, "two failed runs in the history", func() bool {
		text, err := os.ReadFile(history)
		return err == nil && strings.Count(string(text), `"result":"failed"`) >= 2
	})
	if got := archives(t, dest); len(got) != 0 {
		t.Errorf("archives of a source that is away: %q", got)
	}
	if err := os.Rename(source+".away", source); err != nil {
		t.Fatal(err)
	}
	slots(t, c, dest, 30, 1)
	p.exits(t, 0, "uninstall", in.Jobs[0].ID)
}

// atDaylightSaving has a job at a time that the clock skips in one of its nights:
// it runs then, too, once, and at its old time the night after.
func atDaylightSaving(t *testing.T) {
	c := newClock(time.Date(2027, 3, 27, 0, 50, 0, 0, time.UTC), 7200)
	p := newProgram(t).on(c)
	p.env = append(p.env, "TZ=Europe/Berlin")
	dir := newDir(t)
	source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")
	c.daemon(t, "/run/atd.pid", "atd", "-f", "-b", "1")
	var in installed
	p.json(t, &in, "install", "--scheduler", "at", "--time", "2:30am", source, dest)
	for i, want := range []string{"2027-03-27T02:30:00+01:00", "2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"} {
		if got := in.Jobs[0].Next[i].Format(time.RFC3339); got != want {
			t.Errorf("next run %d: got %s, want %s", i, got, want)
		}
	}
	waitFor(t, c.lasts(52*time.Hour)+30*time.Second, "three archives", func() bool { return len(archives(t, dest)) >= 3 })
	p.exits(t, 0, "uninstall", "--all")
	// 02:30 CET; no 02:30, but 03:00 CEST; 02:30 CEST. At this pace a busy machine
	// makes hours late; but each comes before the next one's time.
	want := []string{"2027-03-27T01:30", "2027-03-28T01:00", "2027-03-29T00:30", "2027-03-30T00:30"}
	for i, name := range archives(t, dest) {
		got := timeOf(t, name)
		if at := got.Format("2006-01-02T15:04"); at < want[i] || at >= want[i+1] {
			t.Errorf("archive %d: got %s, want it after %s and before %s", i, at, want[i], want[i+1])
		}
	}
}
