//go:build linux && (amd64 || arm64)

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tinybackup/internal/e2e/faults"
)

// A restoreLab is a lab whose command restores.
type restoreLab struct {
	*lab
	target string
	want   map[string]node // what the target is to be, by path from it
}

// restoreLabs are the restores that are broken: of a tree, of a file of it, and of a
// file that was backed up alone.
var restoreLabs = []struct {
	name string
	make func(t *testing.T) *restoreLab
}{
	{"tree", func(t *testing.T) *restoreLab { return newRestoreLab(t, "", nil) }},
	{"one path", func(t *testing.T) *restoreLab { return newRestoreLab(t, "", []string{"texts/3"}) }},
	{"file", func(t *testing.T) *restoreLab { return newRestoreLab(t, "noise", nil) }},
}

func newRestoreLab(t *testing.T, source string, paths []string) *restoreLab {
	t.Helper()
	l := newLab(t)
	from := filepath.Join(l.source, source)
	l.p.run(t, append([]string{"run", from, l.dest}, runOptions...)...)
	r := &restoreLab{l, filepath.Join(l.dir, "back", "here"), tree(t, from)}
	mkdir(t, filepath.Dir(r.target))
	l.args = append([]string{"restore", l.dest, r.target}, paths...)
	if paths != nil { // of the directories above, those that are there keep what they have
		r.want = map[string]node{".": {}, filepath.Dir(paths[0]): {}, paths[0]: r.want[paths[0]]}
	}
	l.save()
	if source == "noise" {
		delete(r.want["."], "same as") // its other name is not in the archive
	}
	return r
}

// now is what is there of the target.
func (r *restoreLab) now() map[string]node {
	r.t.Helper()
	if _, err := os.Lstat(r.target); err != nil {
		return nil
	}
	return tree(r.t, r.target)
}

// whole is what is wrong with the files that have their names: they have all their
// bytes, whatever happened.
func (r *restoreLab) whole(parts int) error {
	r.t.Helper()
	var errs []error
	for path, got := range r.now() {
		want, known := r.want[path]
		switch {
		case strings.HasPrefix(filepath.Base(path), ".tinybackup-restore-"):
			parts--
		case !known:
			errs = append(errs, fmt.Errorf("%s is there, and was not asked for", path))
		case got["content"] != want["content"] || got["size"] != want["size"] || got["target"] != want["target"]:
			errs = append(errs, fmt.Errorf("%s has %s bytes, and not the %s of the archive", path, got["size"], want["size"]))
		}
	}
	if parts < 0 {
		errs = append(errs, fmt.Errorf("left behind: %v", names(r.now())))
	}
	if !maps.Equal(r.archives(), r.begun) {
		errs = append(errs, errors.New("the archives are not what they were"))
	}
	return errors.Join(errs...)
}

// complete is what the target lacks.
func (r *restoreLab) complete() error {
	r.t.Helper()
	now := r.now()
	for path, want := range r.want {
		for key := range want {
			if got := now[path][key]; key != "blocks" && got != want[key] {
				return fmt.Errorf("%s %s: got %q, want %q", path, key, got, want[key])
			}
		}
	}
	return r.whole(0)
}

// after is what is wrong after a restore.
func (r *restoreLab) after(o faults.Outcome) error {
	r.t.Helper()
	if o.Killed {
		return r.whole(1)
	}
	sign := "tinybackup: error: "
	switch o.Code {
	case 0:
		if o.Stderr != "" {
			return fmt.Errorf("exit 0: %s", o.Stderr)
		}
		return r.complete()
	case 3:
		sign = "tinybackup: warning: "
	case 1:
	default:
		return fmt.Errorf("exit %d: %s", o.Code, o.Stderr)
	}
	if !strings.Contains("\n"+o.Stderr, "\n"+sign) {
		return fmt.Errorf("exit %d: %s", o.Code, o.Stderr)
	}
	return r.whole(1) // it could not be removed
}

// again is what is wrong after the same restore once more, over what is there.
func (r *restoreLab) again() error {
	r.t.Helper()
	o := r.p.try(r.t, append([]string{r.args[0], "--overwrite"}, r.args[1:]...)...)
	if o.code != 0 || o.stderr != "" {
		return fmt.Errorf("once more: exit %d: %s", o.code, o.stderr)
	}
	return r.complete()
}

// TestRestoreBroken kills restores before and after every call that changes
// something, and makes every call of them fail.
func TestRestoreBroken(t *testing.T) {
	inside(t)
	t.Parallel()
	for _, c := range restoreLabs {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := c.make(t)
			o := r.run(asItIs)
			r.wrong("nothing broken", r.after(o), r.again())
			tally("calls enumerated", len(o.Calls))
			for _, k := range some(t, changes(o.Calls), 6) {
				for _, a := range []faults.Action{faults.KillBefore, faults.KillAfter} {
					o := r.run(atChange(k, a))
					tally("kills", 1)
					r.wrong(r.where(o, len(o.Calls), a), r.after(o), r.again())
				}
			}
			r.eachError(some(t, errorsIn(o.Calls), 15), func(o faults.Outcome, f fault, a faults.Action) {
				err := r.after(o)
				if (a == faults.Fail(syscall.EINTR) || a == faults.Short) && o.Code != 0 {
					err = errors.Join(err, fmt.Errorf("exit %d, want no notice of it: %s", o.Code, o.Stderr))
				}
				r.wrong(r.where(o, f.call, a), err, r.again())
			})
		})
	}
}

// TestRestoreIsOnTheDisk cuts the power when a restore has said that it is done.
func TestRestoreIsOnTheDisk(t *testing.T) {
	inside(t)
	need(t, "mkfs.ext4", "mkfs.xfs")
	t.Parallel()
	for kind, k := range mediumKinds {
		for _, c := range restoreLabs {
			t.Run(k.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				r := c.make(t)
				m := newMedium(t, filepath.Dir(r.target), kind)
				o := r.trace(asItIs)
				m.cut()
				m.powerOn()
				tally("power cuts", 1)
				r.wrong("power cut at the end", r.after(o))
			})
		}
	}
}
