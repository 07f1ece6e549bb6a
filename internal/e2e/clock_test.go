//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A clock runs faster than the real one, for the daemons by faketime(1) and for
// the program by its build tag testclock.
type clock struct {
	base time.Time // what it showed at real
	real time.Time
	rate int
}

// newClock is a clock that shows start now.
func newClock(start time.Time, rate int) clock {
	return clock{base: start.UTC().Truncate(time.Second), real: time.Now(), rate: rate}
}

// hourly is a clock for jobs at half past every hour, ten minutes before the first
// one. An hour takes 15 seconds: so late a run may be, on a busy machine, and is
// still taken for that of its slot.
func hourly() clock {
	return newClock(time.Now().Truncate(time.Hour).Add(20*time.Minute), 240)
}

// now is what the clock shows.
func (c clock) now() time.Time {
	return c.base.Add(time.Since(c.real) * time.Duration(c.rate))
}

// env is the variable that the program reads the clock from.
func (c clock) env() string {
	return fmt.Sprintf("TINYBACKUP_TEST_CLOCK=%s %d %d", c.base.Format(time.RFC3339), c.real.UnixNano(), c.rate)
}

// lasts is how long something takes in real time.
func (c clock) lasts(d time.Duration) time.Duration { return d / time.Duration(c.rate) }

// daemon starts a scheduler's daemon on this clock until the test ends. It starts
// after the clock, so it is never ahead of it: a job never sees a time before its slot.
func (c clock) daemon(t *testing.T, pidFile, name string, args ...string) {
	t.Helper()
	at := "@" + c.now().Format("2006-01-02 15:04:05") + " x" + strconv.Itoa(c.rate)
	cmd := exec.Command("faketime", append([]string{"-f", at, name}, args...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C"}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	t.Cleanup(func() {
		// Faketime is the parent of the daemon, and passes no signals on.
		if pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(pidFile)
		if t.Failed() {
			t.Logf("%s said: %s", name, out.String())
		}
	})
	waitFor(t, 10*time.Second, name+" starts", func() bool {
		text, err := os.ReadFile(pidFile)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil && syscall.Kill(pid, 0) == nil
	})
}

// status is the exit status of a command as a shell has it.
func status(cmd *exec.Cmd) int {
	ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

// stamp finds the time in the name of an archive.
var stamp = regexp.MustCompile(`^(.+)-(\d{8}T\d{6}Z)((?:\.tar|\.img)?(?:\.zst|\.xz|\.gz)?(?:\.age)?)$`)

// timeOf is the time in the name of an archive.
func timeOf(t *testing.T, name string) time.Time {
	t.Helper()
	parts := stamp.FindStringSubmatch(name)
	if parts == nil {
		t.Fatalf("%q is not the name of an archive", name)
	}
	when, err := time.Parse("20060102T150405Z", parts[2])
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// slots gathers the archives that appear in a destination until there were n of
// them, and tells for each the hourly slot it is of: the last time, minute past
// the hour, before it. Rotation may take them away meanwhile.
func slots(t *testing.T, c clock, dest string, minute, n int) []time.Time {
	t.Helper()
	seen := make(map[string]bool)
	var found []time.Time
	waitFor(t, c.lasts(time.Duration(n+2)*time.Hour)+30*time.Second, fmt.Sprintf("%d archives appear in %s", n, dest), func() bool {
		for _, name := range archives(t, dest) {
			if !seen[name] {
				seen[name] = true
				shift := time.Duration(minute) * time.Minute
				found = append(found, timeOf(t, name).Add(-shift).Truncate(time.Hour).Add(shift))
			}
		}
		return len(found) >= n
	})
	return found
}

// eachHour says that a job's runs serve its slots hour by hour, none twice; and that
// those which a busy machine left out, at this clock's pace, are reported.
func eachHour(t *testing.T, p *program, id string) {
	t.Helper()
	all := runs(t, p, id)
	served := 0
	var last time.Time
	for _, r := range all {
		if r.Result == "skipped" {
			continue
		}
		first := r.Slot.Add(-time.Duration(max(r.Missed, 1)-1) * time.Hour)
		if !last.IsZero() && first.Sub(last) != time.Hour {
			t.Errorf("after the slot %s comes %s: %s", last.Format("15:04"), first.Format("15:04"), words(all))
		}
		last = r.Slot
		if r.Result == "ok" {
			served++
		}
	}
	if served < 3 {
		t.Errorf("slots that were served: %s", words(all))
	}
}

// nextSecond waits until the real clock shows another second: the names of
// archives have whole ones.
func nextSecond() {
	now := time.Now()
	time.Sleep(now.Truncate(time.Second).Add(time.Second + time.Millisecond).Sub(now))
}
