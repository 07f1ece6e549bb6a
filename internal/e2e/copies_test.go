//go:build linux && (amd64 || arm64)

package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tinybackup/internal/e2e/faults"
)

// copyRun is a run of a job with copies in l.dir/near and l.dir/far, which has run twice.
func copyRun(t *testing.T) (l *lab, near, far string) {
	t.Helper()
	l = newLab(t)
	near, far = mkdir(t, l.dir, "near"), mkdir(t, l.dir, "far")
	var in installed
	l.p.json(t, &in, append([]string{"install", "--scheduler", "service", "--time", "3:00", "--keep", "5",
		"--copy-to", near + " keep=2", "--copy-to", far, l.source, l.dest}, runOptions...)...)
	l.args = []string{"run", "--now", "--job", in.Jobs[0].ID}
	l.keep = 5
	for i := range 2 {
		write(t, filepath.Join(l.source, "texts", "new"), fmt.Sprintln("before", i))
		l.p.run(t, l.args...)
	}
	write(t, filepath.Join(l.source, "texts", "new"), "now\n")
	l.save()
	return l, near, far
}

// wantCopies says that a copy has only archives that are in the destination, or were at
// the beginning, and each whole.
func (l *lab) wantCopies(what, dir string) {
	l.t.Helper()
	for _, name := range archives(l.t, dir) {
		if o := l.p.try(l.t, "verify", filepath.Join(dir, name)); o.code != 0 {
			l.t.Errorf("%s: copy %s: %s%s", what, name, o.stdout, o.stderr)
		}
	}
	if len(archives(l.t, dir)) < 2 {
		l.t.Errorf("%s: the copies are %q", what, archives(l.t, dir))
	}
}

// caughtUp runs once more, and says that the copies have what they should.
func (l *lab) caughtUp(what, near, far string) {
	l.t.Helper()
	if o := l.p.try(l.t, l.args...); o.code != 0 {
		l.t.Errorf("%s: the next run: exit status %d: %s", what, o.code, o.stderr)
	}
	all := archives(l.t, l.dest)
	for dir, want := range map[string][]string{near: all[len(all)-2:], far: all} {
		if got := archives(l.t, dir); !slices.Equal(got, want) {
			l.t.Errorf("%s: after the next run %s has %q, want %q", what, dir, got, want)
		}
		toolIn(l.t, dir, "sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS")
		if left := partials(l.t, dir); len(left) > 0 {
			l.t.Errorf("%s: left behind %q", what, left)
		}
	}
}

// changesIn are the numbers of the calls that change something in a directory.
func changesIn(calls []faults.Call, dir string) (ks []int) {
	for k, c := range calls {
		if c.Changes && strings.HasPrefix(c.Path, dir+"/") {
			ks = append(ks, k)
		}
	}
	return ks
}

// TestCopyAnywhere kills runs in every call that changes something in a copy, and has
// that call fail: the archive is stored, the copy has whole archives only, the other one
// is made all the same, and the next run makes good for it.
func TestCopyAnywhere(t *testing.T) {
	inside(t)
	t.Parallel()
	l, near, far := copyRun(t)
	ks := changesIn(l.run(asItIs).Calls, near)
	if len(ks) < 10 {
		t.Errorf("got %d calls that change the copy, want more", len(ks))
	}
	l.caughtUp("nothing broken", near, far)
	for _, k := range some(t, ks, 3) {
		for _, a := range []faults.Action{faults.KillAfter, faults.Fail(syscall.EIO), faults.Fail(syscall.ENOSPC)} {
			n := -1
			o := l.run(func(faults.Call) faults.Action {
				if n++; n == k {
					return a
				}
				return faults.Action{}
			})
			what := fmt.Sprintf("call %d of the copy, %v", k, a)
			if made := archives(t, l.dest); len(made) != 3 || !o.Killed && o.Code != 0 && o.Code != 3 {
				t.Errorf("%s: exit status %d, archives %q: %s", what, o.Code, made, o.Stderr)
			}
			l.p.intact(t, what, l.dest, archives(t, l.dest))
			if !o.Killed && len(archives(t, far)) != 3 {
				t.Errorf("%s: the other copy has %q", what, archives(t, far))
			}
			l.wantCopies(what, near)
			l.caughtUp(what, near, far)
		}
	}
}

// TestCopyHangs has a call in a copy never come back: that copy is given up, the other
// one is made, and the archive is stored.
func TestCopyHangs(t *testing.T) {
	inside(t)
	t.Parallel()
	for _, call := range []string{"write", "fsync", "unlinkat"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			l, near, far := copyRun(t)
			l.reset()
			l.impatient()
			hung := false
			o := l.trace(func(c faults.Call) faults.Action {
				if !hung && c.Name == call && strings.HasPrefix(c.Path, near+"/") {
					hung = true
					return faults.Hang
				}
				return faults.Action{}
			})
			if !hung {
				t.Fatal("there is no such call")
			}
			last := l.lastRun()
			if o.Code != 3 || last.Exit != 3 || last.Result != "warnings" || !strings.Contains(o.Stderr, "copy to "+near+": no progress for 4s") {
				t.Errorf("exit: got %d, in the history %d %s: %s", o.Code, last.Exit, last.Result, o.Stderr)
			}
			if got := archives(t, far); len(got) != 3 || len(archives(t, l.dest)) != 3 {
				t.Errorf("archives %q, the other copy has %q", archives(t, l.dest), got)
			}
			l.wantCopies(call, near)
			l.patient()
			l.caughtUp(call, near, far)
		})
	}
}

// TestFullCopy has the disk of a copy fill up at every step: the backup is made, the copy
// has whole archives only, and gets what it missed when there is room.
func TestFullCopy(t *testing.T) {
	inside(t)
	need(t, "sha256sum")
	t.Parallel()
	p, dir := newProgram(t), newDir(t)
	codes := map[int]int{}
	step := 24
	if torture {
		step = 1
	}
	for kib := 4; kib <= 80; kib += step {
		what := fmt.Sprintf("%d KiB left", kib)
		src, dest, near := mkdir(t, dir, what, "notes"), mkdir(t, dir, what, "archives"), mkdir(t, dir, what, "near")
		tmpfs(t, near, fmt.Sprintf("size=%dk", 32+kib))
		run := []string{"run", "--copy-to", near + " keep=all", src, dest}
		noiseIn(t, filepath.Join(src, "a"), 8<<10)
		first := p.try(t, run...)
		noiseIn(t, filepath.Join(src, "a"), 48<<10)
		o := p.try(t, run...)
		codes[o.code]++
		if len(archives(t, dest)) != 2 || o.code != 0 && (o.code != 3 || !strings.Contains(o.stderr, "copy to "+near)) {
			t.Errorf("%s: exit status %d and %d, archives %q: %s", what, first.code, o.code, archives(t, dest), o.stderr)
		}
		p.intact(t, what, dest, archives(t, dest))
		p.intact(t, what, near, archives(t, near))
		if left := partials(t, near); len(left) > 0 {
			t.Errorf("%s: left behind %q", what, left)
		}
		check(t, unix.Mount("tmpfs", near, "tmpfs", unix.MS_REMOUNT, "size=4m"))
		p.exits(t, 0, run...)
		if got, want := archives(t, near), archives(t, dest); !slices.Equal(got, want) {
			t.Errorf("%s: with room again the copy has %q, want %q", what, got, want)
		}
		toolIn(t, near, "sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS")
	}
	if codes[0] == 0 || codes[3] == 0 {
		t.Errorf("exit statuses %v: the disk was always full, or never", codes)
	}
}
