//go:build linux && (amd64 || arm64)

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tinybackup/internal/e2e/faults"
)

// stall is the stall timeout of runs that are to hang: longer than a busy machine
// takes for anything else.
const stall = "4s"

// lastRun is the last line of the history of a lab's job.
func (l *lab) lastRun() (last struct {
	Result, Error, Archive string
	Exit, Warnings         int
}) {
	l.t.Helper()
	text, err := os.ReadFile(filepath.Join(l.p.dir(), "state", l.args[len(l.args)-1], "history.jsonl"))
	check(l.t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	check(l.t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	return last
}

// impatient gives a lab's job the stall timeout, patient takes it away again.
func (l *lab) impatient() { l.edit("$ a stall-timeout = " + stall) }
func (l *lab) patient()   { l.edit("/^stall-timeout/ d") }

func (l *lab) edit(sed string) {
	l.t.Helper()
	tool(l.t, "sed", "-i", sed, filepath.Join(l.p.dir(), "jobs", l.args[len(l.args)-1]+".ini"))
}

// TestHangs has a call of a job's run never come back: the run ends all the same,
// history and log tell of it, nothing is stored, and the next run finds all in order.
func TestHangs(t *testing.T) {
	inside(t)
	t.Parallel()
	for name, c := range map[string]struct {
		call, path string // the path's end; empty: the destination itself
		nth        int
		code       int
		while      string
	}{
		"reading a file":        {"pread64", "new", 1, 1, "reading "},
		"listing the source":    {"getdents64", "notes", 1, 1, ""},
		"writing":               {"write", ".partial", 1, 1, "writing to "},
		"syncing":               {"fsync", ".partial", 1, 1, "writing to "},
		"reading back":          {"read", ".partial", 1, 1, "reading back from "},
		"naming":                {"renameat2", ".partial", 1, 1, "giving the archive its name in "},
		"after naming":          {"fsync", "", 1, 1, "giving the archive its name in "},
		"rotating":              {"unlinkat", ".tar.zst", 1, 3, "removing old archives from "},
		"the manifest":          {"write", ".side.temp", 1, 1, "giving the archive its name in "},
		"looking at the source": {"newfstatat", "notes", 1, 1, "looking at "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := jobRun(t)
			l.reset()
			l.impatient()
			hung := 0
			o := l.trace(func(call faults.Call) faults.Action {
				is := strings.HasSuffix(call.Path, c.path) && strings.HasPrefix(call.Path, l.dir)
				switch c.path {
				case "":
					is = call.Path == l.dest
				case "notes":
					is = call.Path == l.source
				case "new":
					is = call.Path == filepath.Join(l.source, "texts", "new")
				}
				if call.Name == c.call && is {
					if hung++; hung == c.nth {
						return faults.Hang
					}
				}
				return faults.Action{}
			})
			if hung == 0 {
				t.Fatal("there is no such call")
			}
			last := l.lastRun()
			if o.Code != c.code || last.Exit != c.code {
				t.Errorf("exit: got %d, in the history %d, want %d: %s", o.Code, last.Exit, c.code, o.Stderr)
			}
			for _, text := range []string{"no progress for 4s while " + c.while, "it hangs, and was given up"} {
				if !strings.Contains(o.Stderr, text) || c.code == 1 && !strings.Contains(last.Error, text) {
					t.Errorf("got %q, in the history %q, want %q", o.Stderr, last.Error, text)
				}
			}
			if log, err := os.ReadFile(filepath.Join(l.p.dir(), "log", "notes.log")); err != nil || !strings.Contains(string(log), "it hangs") {
				t.Errorf("the log does not tell of it: %v\n%s", err, log)
			}
			l.patient()
			if name == "after naming" { // what has its name is whole
				_, err := l.intact(false)
				l.wrong(name, err, l.nextRun())
				return
			}
			l.wrong(name, l.afterRun(o), l.nextRun())
		})
	}
}

// TestHangsAltogether has everything hang, the history too: the process ends all the
// same.
func TestHangsAltogether(t *testing.T) {
	inside(t)
	t.Parallel()
	l := jobRun(t)
	l.reset()
	l.impatient()
	hang := false
	o := l.trace(func(call faults.Call) faults.Action {
		if hang = hang || call.Name == "fsync" && strings.HasSuffix(call.Path, ".partial"); hang {
			return faults.Hang
		}
		return faults.Action{}
	})
	if o.Code != 1 {
		t.Errorf("got exit %d, want 1: %s", o.Code, o.Stderr)
	}
	l.patient()
	if _, err := l.intact(false); err != nil {
		t.Error(err)
	}
	l.wrong("all hangs", l.nextRun())
}

// TestSlowIsNoStall reads a file so slowly that it takes longer than the stall timeout,
// but never stands still for that; --timeout ends the same run.
func TestSlowIsNoStall(t *testing.T) {
	inside(t)
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		text string
	}{
		"stall timeout": {[]string{"--stall-timeout", "3s"}, 0, ""},
		"timeout":       {[]string{"--timeout", "2s", "--stall-timeout", "never"}, 1, "error: not done within 2s, but still "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.args = append(append([]string{"run"}, c.args...), l.source, l.dest)
			check(t, os.WriteFile(filepath.Join(l.source, "big"), noise(8<<20, 7), 0o644))
			l.save()
			slow := 0
			o := l.trace(func(call faults.Call) faults.Action {
				if call.Name == "pread64" && filepath.Base(call.Path) == "big" {
					slow++
					time.Sleep(600 * time.Millisecond) // so slow is the disk
				}
				return faults.Action{}
			})
			if o.Code != c.code || !strings.Contains(o.Stderr, c.text) || c.text == "" && o.Stderr != "" {
				t.Errorf("got exit %d, want %d and %q: %s", o.Code, c.code, c.text, o.Stderr)
			}
			if c.code == 0 && slow < 8 {
				t.Errorf("only %d slow reads", slow)
			}
			l.wrong(name, l.afterRun(o))
			if left := partials(t, l.dest); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// The requests that stop all writing to a file system, and let it go on (linux/fs.h).
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// TestFrozenDisk freezes the destination while it is written to: the process is in a
// call that not even SIGKILL ends. The job's history tells of it at once; the process
// is gone when the disk is back.
func TestFrozenDisk(t *testing.T) {
	inside(t)
	need(t, "mkfs.ext4", "sha256sum")
	t.Parallel()
	p := newProgram(t)
	src, dest := mkdir(t, newDir(t), "notes"), mounted(t, 64<<20, "mkfs.ext4", "-q")
	write(t, filepath.Join(src, "a.txt"), "a")
	var in installed
	p.json(t, &in, "install", "--scheduler", "service", "--time", "2:30", "--stall-timeout", stall, src, dest)
	args := []string{"run", "--now", "--job", in.Jobs[0].ID}
	p.exits(t, 0, args...)
	before := archives(t, dest)
	for i := range 3 {
		noiseIn(t, filepath.Join(src, fmt.Sprint("big", i)), 8<<20)
	}

	mnt, err := os.Open(dest)
	check(t, err)
	thawed := true
	thaw := func() {
		if !thawed {
			thawed = true
			check(t, unix.IoctlSetInt(int(mnt.Fd()), fiThaw, 0))
		}
		check(t, mnt.Close())
	}
	run := begin(t, p.command(args...))
	waitFor(t, time.Minute, "the archive begins", func() bool { return len(partials(t, dest)) > 0 })
	run.signal(t, syscall.SIGSTOP)
	check(t, unix.IoctlSetInt(int(mnt.Fd()), fiFreeze, 0))
	thawed = false
	t.Cleanup(func() {
		if !thawed {
			thaw()
		}
	})
	run.signal(t, syscall.SIGCONT)
	waitFor(t, time.Minute, "the history tells of it", func() bool {
		all := runs(t, p, in.Jobs[0].ID)
		return all[len(all)-1].Result == "failed"
	})
	waitFor(t, time.Minute, "the program has ended, but for the call", func() bool { return threads(run.cmd.Process.Pid, "Z") })
	if !threads(run.cmd.Process.Pid, "D") {
		t.Error("no thread hangs in the kernel: nothing was tested")
	}
	thaw()
	o := run.wait(t)
	if want := "no progress for 4s while writing to " + dest; o.code != 1 || !strings.Contains(o.stderr, want) || !strings.Contains(o.stderr, "it hangs") {
		t.Errorf("got exit %d, want 1 and %q: %s", o.code, want, o.stderr)
	}
	if got := archives(t, dest); !slices.Equal(got, before) {
		t.Errorf("archives %q, want %q as before", got, before)
	}
	p.exits(t, 0, args...)
	if left := partials(t, dest); len(left) > 0 || len(archives(t, dest)) != len(before)+1 {
		t.Errorf("the next run leaves %q, and archives %q", left, archives(t, dest))
	}
	toolIn(t, dest, "sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS")
}

// threads says whether a thread of a process is in a state, as proc_pid_stat(5) calls
// them.
func threads(pid int, state string) bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, task := range tasks {
		text, rerr := os.ReadFile(task)
		err = errors.Join(err, rerr)
		if _, rest, _ := strings.Cut(string(text), ") "); strings.HasPrefix(rest, state) {
			return true
		}
	}
	return false
}
