package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The power fails ahead of every call of a backup. What a method had reported done is
// there when it comes back, all else is whole or absent, and the next run works.
func TestPowerCut(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for _, c := range []struct {
		kind, options string
		size          int64
	}{
		// So that nothing but fsync writes: no commits in the background, and none
		// because of a rename (ext4(5), auto_da_alloc).
		{"ext4", "commit=300,noauto_da_alloc", 64 << 20},
		{"xfs", "rw", 320 << 20},
	} {
		t.Run(c.kind, func(t *testing.T) {
			disk := newDisk(t, c.kind, c.size, c.options)
			if wrong := disk.cutEverywhere(t, systemCalls(), false); len(wrong) > 0 {
				t.Errorf("%s", strings.Join(wrong, "\n"))
			}
			// The test itself: with an fsync less it must find fault.
			for what, skip := range map[string]func(f *os.File) bool{
				"archives":       func(f *os.File) bool { return strings.HasSuffix(f.Name(), PartialSuffix) },
				"sidecars, sums": func(f *os.File) bool { return strings.HasSuffix(f.Name(), TempSuffix) },
				"directories":    func(f *os.File) bool { i, err := f.Stat(); return err == nil && i.IsDir() },
			} {
				calls := systemCalls()
				// These two start writing, which then often is over in time by luck.
				calls.flush = func(f *os.File, off, n int64, wait bool) error { return nil }
				calls.drop = func(f *os.File, n int64) {}
				calls.sync = func(f *os.File) error {
					if skip(f) {
						return nil
					}
					return f.Sync()
				}
				if wrong := disk.cutEverywhere(t, calls, true); len(wrong) == 0 {
					t.Errorf("without fsync of %s: nothing was lost, so this test shows nothing", what)
				}
			}
		})
	}
}

type disk struct {
	image, dir, options string
	runs                int
}

func newDisk(t *testing.T, kind string, size int64, options string) *disk {
	image, dir := mountImage(t, kind, size, options)
	return &disk{image: image, dir: dir, options: options}
}

// cutEverywhere makes a backup for each call that one makes, cuts the power there, and
// returns what is wrong afterwards, or only the first of that.
func (d *disk) cutEverywhere(t *testing.T, calls fileCalls, first bool) (wrong []string) {
	t.Helper()
	for step := 0; ; step++ {
		d.runs++
		dir := filepath.Join(d.dir, fmt.Sprint(d.runs))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := prepare(dir); err != nil {
			t.Fatal(err)
		}
		d.sync(t)
		l := openDir(t, dir)
		l.pace = 100_000
		n, where := 0, "after all"
		l.calls = hooked(calls, func(op, path string) error {
			if n++; n == step+1 {
				where = op + " " + filepath.Base(path)
				d.shutdown(t)
			}
			if n > step {
				return syscall.EIO
			}
			return nil
		}, nothing)
		done, err := backup(l, "s-3", silent)
		if err == nil {
			d.shutdown(t)
		}
		d.powerOn(t)
		if cerr := check(dir, "s-3", done); cerr != nil {
			wrong = append(wrong, fmt.Sprintf("%d, %s: after %q: %v", step, where, done, cerr))
		} else if _, berr := backup(openDir(t, dir), "s-4", silent); berr != nil && !errors.Is(berr, os.ErrNotExist) {
			wrong = append(wrong, fmt.Sprintf("%d, %s: the next run: %v", step, where, berr))
		} else if left := leftovers(dir); len(left) > 0 {
			wrong = append(wrong, fmt.Sprintf("%d, %s: left behind %q", step, where, left))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err == nil || first && len(wrong) > 0 {
			return wrong
		}
	}
}

// shutdown stops the file system without writing anything more: EXT4_IOC_SHUTDOWN and
// XFS_IOC_GOINGDOWN, which are the same, with NOLOGFLUSH.
func (d *disk) shutdown(t *testing.T) {
	t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), 0x8004587d, 2); err != nil {
		t.Fatalf("shutting down the file system: %v", err)
	}
}

func (d *disk) powerOn(t *testing.T) {
	t.Helper()
	if err := unix.Unmount(d.dir, 0); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-o", "loop,"+d.options, d.image, d.dir)
}

func (d *disk) sync(t *testing.T) {
	t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
}
