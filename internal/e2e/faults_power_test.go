//go:build linux && (amd64 || arm64)

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tinybackup/internal/e2e/faults"
)

// A medium is a file system of which nothing is written but what is
// asked for.
type medium struct {
	t       *testing.T
	image   string
	dir     string // where it is mounted
	options string
	down    bool
}

// mediumKinds are the file systems that know how to go down as if the power had
// failed. No commits in the background, and none because of a rename (ext4(5),
// auto_da_alloc): so nothing but fsync writes.
var mediumKinds = []struct {
	name, options string
	size          int64
}{
	{"ext4", "commit=300,noauto_da_alloc", 24 << 20},
	{"xfs", "rw", 320 << 20},
}

func newMedium(t *testing.T, dir string, kind int) *medium {
	t.Helper()
	k := mediumKinds[kind]
	d := &medium{t: t, image: filepath.Join(newDir(t), "image"), dir: dir, options: "loop," + k.options}
	f, err := os.Create(d.image)
	check(t, err)
	check(t, f.Truncate(k.size))
	check(t, f.Close())
	tool(t, "mkfs."+k.name, "-q", d.image)
	tool(t, "mount", "-o", d.options, d.image, d.dir)
	t.Cleanup(func() { _ = unix.Unmount(d.dir, unix.MNT_DETACH) })
	return d
}

// cut takes the power away: what was not written is lost, and the file system does
// nothing any more (EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN, which are the same, with
// NOLOGFLUSH).
func (d *medium) cut() {
	if !d.down {
		d.each(func(fd int) error { return unix.IoctlSetPointerInt(fd, 0x8004587d, 2) })
	}
	d.down = true
}

// sync writes all there is.
func (d *medium) sync() { d.each(unix.Syncfs) }

func (d *medium) each(do func(fd int) error) {
	d.t.Helper()
	f, err := os.Open(d.dir)
	check(d.t, err)
	defer f.Close()
	if err := do(int(f.Fd())); err != nil {
		d.t.Fatalf("%s: %v", d.dir, err)
	}
}

// powerOn gives the power back.
func (d *medium) powerOn() {
	d.t.Helper()
	// What other tests start has our descriptors for a moment, until it is another program.
	waitFor(d.t, hangs, "unmount of "+d.dir, func() bool { return unix.Unmount(d.dir, 0) == nil })
	// A mount namespace that another test has just made has the mount, too, until it lets
	// go of all: mounted again before that, the file system would still be down.
	waitFor(d.t, hangs, "the end of the loop device of "+d.dir, func() bool {
		out, err := exec.Command("losetup", "-j", d.image).Output()
		return err == nil && len(out) == 0
	})
	tool(d.t, "mount", "-o", d.options, d.image, d.dir)
	d.down = false
}

// A blackout is which power is cut.
type blackout int

const (
	both      blackout = iota // the machine's: the program ends with it
	destOnly                  // the destination's; the other one's when the program has ended
	stateOnly                 // that of what the program remembers, likewise
)

func (b blackout) String() string {
	return [...]string{"power cut", "destination cut", "state cut"}[b]
}

// A powerLab is a lab on two media.
type powerLab struct {
	*lab
	destMedium, stateMedium *medium
}

// onMedia moves a lab's destination, and what the program remembers, onto media.
func onMedia(l *lab, kind int) *powerLab {
	l.t.Helper()
	for _, dir := range []string{l.dest, l.p.dir()} {
		check(l.t, os.RemoveAll(dir))
		mkdir(l.t, dir)
	}
	return &powerLab{l, newMedium(l.t, l.dest, kind), newMedium(l.t, l.p.dir(), kind)}
}

// cutAt runs the command from the beginning on, cuts the power at the kth call that
// changes something, or at its end, and gives it back. It tells what is wrong then.
// Calls in without are left out, though they claim success.
func (l *powerLab) cutAt(k int, which blackout, without func(faults.Call) bool) (where string, err error) {
	l.t.Helper()
	l.reset()
	l.destMedium.sync()
	l.stateMedium.sync()
	where = which.String() + " at the end"
	at := 0
	o := l.trace(func(c faults.Call) faults.Action {
		if c.Changes {
			at++
		}
		switch {
		case c.Changes && at == k:
			where = fmt.Sprintf("%v at %s", which, l.shortName(c))
			if which != stateOnly {
				l.destMedium.cut()
			}
			if which != destOnly {
				l.stateMedium.cut()
			}
			if which == both {
				return faults.KillBefore
			}
		case without(c):
			return faults.Skip
		}
		return faults.Action{}
	})
	l.destMedium.cut()
	l.stateMedium.cut()
	l.destMedium.powerOn()
	l.stateMedium.powerOn()
	tally("power cuts", 1)
	made, err := l.intact(!o.Killed && o.Code == 3)
	if !o.Killed {
		switch {
		case (o.Code == 0 || o.Code == 3) && made == "":
			err = errors.Join(err, fmt.Errorf("exit %d, and the archive is not there", o.Code))
		case o.Code != 0 && o.Code != 1 && o.Code != 3:
			err = errors.Join(err, fmt.Errorf("exit %d: %s", o.Code, o.Stderr))
		}
		if o.Code == 0 {
			err = errors.Join(err, l.promised())
		}
		// XFS claims that a directory is on the disk when the disk is gone: then the
		// manifest of a removed archive comes back, and the next run sweeps it.
		if o.Code == 0 && at < k {
			err = errors.Join(err, l.tidy())
		}
	}
	return where, errors.Join(err, l.nextRun())
}

func nothing(faults.Call) bool { return false }

// TestPowerCutAnywhere cuts the power at every call that changes something. What a
// run said was done is there afterwards, whole, with its manifest; and what was there
// before still is.
func TestPowerCutAnywhere(t *testing.T) {
	inside(t)
	need(t, "mkfs.ext4", "mkfs.xfs", "losetup")
	t.Parallel()
	for kind, k := range mediumKinds {
		for _, c := range runLabs {
			if !torture && c.name != "job" && c.name != "first run" {
				continue // the others' calls are among these
			}
			t.Run(k.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				l := onMedia(c.make(t), kind)
				ks := changes(l.run(asItIs).Calls)
				ks = append(some(t, ks, 5), len(ks)+1)
				for _, k := range ks {
					for _, which := range []blackout{both, destOnly, stateOnly} {
						where, err := l.cutAt(k, which, nothing)
						l.wrong(where, err)
					}
				}
			})
		}
	}
}

// TestPowerCutFinds shows that the test above finds what it is for: with an fsync
// less, something is lost.
func TestPowerCutFinds(t *testing.T) {
	inside(t)
	need(t, "mkfs.ext4", "mkfs.xfs", "losetup")
	t.Parallel()
	for kind, k := range mediumKinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			l := onMedia(jobRun(t), kind)
			calls := l.run(asItIs).Calls
			for what, is := range map[string]func(path string) bool{
				"the archive":             func(path string) bool { return strings.HasSuffix(path, ".partial") },
				"the manifest":            func(path string) bool { return strings.HasSuffix(path, ".manifest.side.temp") },
				"SHA256SUMS":              func(path string) bool { return strings.HasSuffix(path, "/sums.temp") },
				"the destination's names": func(path string) bool { return path == l.dest || filepath.Base(path) == ".tinybackup" },
				"the history":             func(path string) bool { return filepath.Base(path) == "history.jsonl" },
				"the slots":               func(path string) bool { return filepath.Base(path) == ".new-slots.json" },
			} {
				without := func(c faults.Call) bool {
					// The other two start the writing, which then is over in time by luck.
					return (c.Name == "fsync" || c.Name == "sync_file_range" || c.Name == "fadvise64") && is(c.Path)
				}
				if !l.finds(calls, without) {
					t.Errorf("without fsync of %s: nothing was lost, so this shows nothing", what)
				}
			}
		})
	}
}

// finds looks for a moment at which something is lost without these calls.
func (l *powerLab) finds(calls []faults.Call, without func(faults.Call) bool) bool {
	n := len(changes(calls))
	for k := n + 1; k > 0; k-- {
		if _, err := l.cutAt(k, both, without); err != nil {
			return true
		}
	}
	return false
}
