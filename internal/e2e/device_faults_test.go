//go:build linux && (amd64 || arm64)

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"tinybackup/internal/e2e/faults"
)

// A deviceLab is a restore onto a device that is broken again and again.
type deviceLab struct {
	t            *testing.T
	p            *program
	dest, target string
	old, want    []byte // what is on the device before, and after
}

func newDeviceLab(t *testing.T) *deviceLab {
	t.Helper()
	l := &deviceLab{t: t, p: newProgram(t), dest: newDir(t)}
	l.want = content(t, smallCard(t, l.p, l.dest))
	l.old = noise(len(l.want), 3)
	l.target = oldDisk(t, len(l.want), 3)
	return l
}

// run restores onto the device as it was at first.
func (l *deviceLab) run(decide func(faults.Call) faults.Action) faults.Outcome {
	l.t.Helper()
	f, err := os.OpenFile(l.target, os.O_WRONLY, 0)
	check(l.t, err)
	_, err = f.Write(l.old)
	check(l.t, errors.Join(err, f.Close()))
	o, err := faults.Run(l.p.command("restore", "--yes", l.dest, l.target), []string{l.target}, decide)
	check(l.t, err)
	return o
}

// after is what is wrong with the device after a restore: it has everything, or it is
// as it was, or there is nothing at its beginning.
func (l *deviceLab) after(o faults.Outcome) error {
	got := content(l.t, l.target)
	complete := bytes.Equal(got, l.want)
	switch {
	case !o.Killed && o.Code == 0 && !complete:
		return errors.New("exit status 0, and it is not complete")
	case complete, bytes.Equal(got, l.old):
	case len(bytes.Trim(got[:1<<20], "\x00")) == 0:
	case len(bytes.Trim(got[:4096], "\x00")) == 0 && bytes.Equal(got[1<<20:], l.want[1<<20:]): // its last step but one
	default:
		return errors.New("it is not complete, and has a beginning")
	}
	if !o.Killed && o.Code != 0 && (o.Code != 1 || !strings.Contains(o.Stderr, "tinybackup: error: ")) {
		return fmt.Errorf("exit status %d: %s", o.Code, o.Stderr)
	}
	return nil
}

// TestRestoreDeviceBroken kills a restore onto a device before and after every call
// that changes something, and has its calls fail.
func TestRestoreDeviceBroken(t *testing.T) {
	inside(t)
	t.Parallel()
	l := newDeviceLab(t)
	o := l.run(asItIs)
	if err := l.after(o); err != nil || o.Code != 0 {
		t.Fatalf("nothing broken: exit status %d, %v: %s", o.Code, err, o.Stderr)
	}
	tally("calls enumerated", len(o.Calls))
	wiped, numbers := 0, changes(o.Calls)
	if len(numbers) < 12 {
		t.Fatalf("%d calls change something, want more: the test does not see them", len(numbers))
	}
	for _, k := range some(t, numbers, 8) {
		for _, a := range []faults.Action{faults.KillBefore, faults.KillAfter} {
			o := l.run(atChange(k, a))
			tally("kills", 1)
			if err := l.after(o); err != nil || !o.Killed {
				t.Errorf("change %d of %d, %v: %v", k, len(numbers), a, err)
			}
			if len(bytes.Trim(content(t, l.target)[:4096], "\x00")) == 0 {
				wiped++
			}
		}
	}
	if wiped == 0 {
		t.Error("no kill has hit a device without a beginning")
	}
	// Over what the last one has left.
	l.p.exits(t, 0, "restore", "--yes", l.dest, l.target)
	tool(t, "e2fsck", "-fn", l.target)
	for _, f := range some(t, errorsIn(o.Calls), 15) {
		var a faults.Action
		o := l.run(func(c faults.Call) faults.Action {
			if c.N != f.call {
				return faults.Action{}
			}
			can := errorsOf(c)
			a = can[f.choice%len(can)]
			return a
		})
		tally("errors injected", 1)
		if err := l.after(o); err != nil {
			t.Errorf("call %d, %v: %v", f.call, a, err)
		}
	}
}

// TestRestoreDeviceLost has a device forget what was written to it: it is found when
// that is read back.
func TestRestoreDeviceLost(t *testing.T) {
	inside(t)
	t.Parallel()
	l := newDeviceLab(t)
	writes := 0
	for _, c := range l.run(asItIs).Calls {
		if c.Name == "ioctl" && c.Changes {
			writes++
		}
	}
	if writes < 3 {
		t.Fatalf("%d calls make zeros, want the two of the wiping and another", writes)
	}
	lost := 0
	o := l.run(func(c faults.Call) faults.Action {
		if c.Name == "ioctl" && c.Changes {
			if lost++; lost == writes {
				return faults.Skip
			}
		}
		return faults.Action{}
	})
	if o.Code != 1 || !strings.Contains(o.Stderr, "is not what was written") {
		t.Errorf("exit status %d: %s", o.Code, o.Stderr)
	}
	if err := l.after(o); err != nil {
		t.Error(err)
	}
}
