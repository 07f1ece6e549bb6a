//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slow is a source whose backup takes seconds: xz does not hurry over noise.
func slow(t *testing.T) (p *program, source, dest string) {
	t.Helper()
	p = newProgram(t)
	dir := newDir(t)
	source, dest = mkdir(t, dir, "slow"), mkdir(t, dir, "dst")
	for i := range 4 {
		write(t, filepath.Join(source, fmt.Sprint(i)), string(noise(1<<20, uint64(i))))
	}
	return p, source, dest
}

// halfway starts a backup of slow's source and stops the process in the middle of it.
func halfway(t *testing.T, p *program, source, dest string) *running {
	t.Helper()
	r := begin(t, p.command("run", "--compress", "xz:9", source, dest))
	waitFor(t, 30*time.Second, "a partial archive", func() bool { return len(partials(t, dest)) > 0 })
	r.signal(t, syscall.SIGSTOP)
	if got := archives(t, dest); len(got) > 1 {
		t.Fatalf("the run was over too soon: %q", got)
	}
	return r
}

// TestBusy starts a run while another one of the same archives is going on.
func TestBusy(t *testing.T) {
	t.Parallel()
	p, source, dest := slow(t)
	first := halfway(t, p, source, dest)
	o := p.exits(t, 4, "run", source, dest)
	if o.stdout != "" || !strings.HasPrefix(o.stderr, "tinybackup: error: ") {
		t.Errorf("second run: got stdout %q, stderr %q, want one error", o.stdout, o.stderr)
	}
	if pid := strconv.Itoa(first.cmd.Process.Pid); !strings.Contains(o.stderr, pid) {
		t.Errorf("second run: got %q, want it to name process %s", o.stderr, pid)
	}
	if o := p.exits(t, 4, "run", "--lock-wait", "1s", source, dest); !strings.Contains(o.stderr, "hint: wait for it to end, or give more time than --lock-wait 1s") {
		t.Errorf("a run that waited: got %q", o.stderr)
	}
	// Other archives in the same place are nobody's business.
	p.exits(t, 0, "run", "--name", "other", source, dest)

	// One that waits gets its turn.
	waits := begin(t, p.command("run", "--lock-wait", "3m", "--compress", "gzip:1", source, dest))
	time.Sleep(300 * time.Millisecond)
	first.signal(t, syscall.SIGCONT)
	if o := first.wait(t); o.code != 0 {
		t.Errorf("first run: got exit %d\n%s", o.code, o.stderr)
	}
	if o := waits.wait(t); o.code != 0 {
		t.Errorf("run with --lock-wait: got exit %d\n%s", o.code, o.stderr)
	}
	if got := archives(t, dest); len(got) != 3 {
		t.Errorf("archives: got %q, want three", got)
	}
	p.exits(t, 0, "verify", dest)
}

// TestEnded ends runs in the middle: what was there stays as it was, and nothing
// of the new archive is left; not by the next run at the latest.
func TestEnded(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			p, source, dest := slow(t)
			p.exits(t, 0, "run", source, dest)
			before := tree(t, dest)
			nextSecond()
			r := halfway(t, p, source, dest)
			r.signal(t, s)
			r.signal(t, syscall.SIGCONT)
			o := r.wait(t)
			if want := 128 + int(s); o.code != want {
				t.Errorf("exit: got %d, want %d\n%s", o.code, want, o.stderr)
			}
			after := tree(t, dest)
			for path, w := range before {
				if strings.HasSuffix(path, ".lock") || strings.HasSuffix(path, ".status") { // which tells of it
					continue
				}
				for _, key := range []string{"content", "size"} {
					if got := after[path][key]; got != w[key] {
						t.Errorf("%s of %s: got %q, want %q", key, path, got, w[key])
					}
				}
			}
			if got := archives(t, dest); len(got) != 1 {
				t.Errorf("archives: got %q, want the old one alone", got)
			}
			if s != syscall.SIGKILL {
				if got := partials(t, dest); len(got) != 0 {
					t.Errorf("left behind: %q", got)
				}
			}
			p.exits(t, 0, "run", source, dest)
			if got := partials(t, dest); len(got) != 0 {
				t.Errorf("left behind after the next run: %q", got)
			}
			p.exits(t, 0, "verify", dest)
		})
	}
}

// processes are the running ones of a program, under its own TINYBACKUP_DIR, that
// were called with a word.
func processes(t *testing.T, p *program, word string) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// Of one that is gone, or dead and not yet collected, both are empty.
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if slices.Contains(strings.Split(string(args), "\x00"), word) &&
			slices.Contains(strings.Split(string(env), "\x00"), "TINYBACKUP_DIR="+p.dir()) {
			pids = append(pids, pid)
		}
	}
	return pids
}
