//go:build linux && (amd64 || arm64)

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tinybackup/internal/e2e/faults"
)

// remount mounts a file system for writing, or not, where it is mounted.
func remount(t *testing.T, mnt, how string) {
	t.Helper()
	tool(t, "mount", "-o", "remount,"+how, mnt)
}

// busyDevice is an ext4 on a loop device, mounted for writing.
func busyDevice(t *testing.T) (device, mnt string) {
	t.Helper()
	device = ext4(t, 32<<20, func(mnt string) {
		check(t, os.WriteFile(filepath.Join(mnt, "a"), noise(1<<20, 1), 0o644))
	})
	mnt = newDir(t)
	tool(t, "mount", device, mnt)
	t.Cleanup(func() { tool(t, "umount", mnt) })
	return device, mnt
}

// refused runs the program on a device, and has it refuse that in these words.
func (p *program) refused(t *testing.T, device string, words ...string) {
	t.Helper()
	dest := newDir(t)
	o := p.exits(t, 1, "run", "--name", "card", device, dest)
	for _, word := range append(words, "device \""+device+"\" is in use", "hint: back up its files, as a directory", "--live") {
		if !strings.Contains(o.stderr, word) {
			t.Errorf("got %q, want it to say %q", o.stderr, word)
		}
	}
	if left, err := os.ReadDir(dest); err != nil || len(left) > 0 {
		t.Errorf("left in the destination: %v, %v", left, err)
	}
}

// TestDeviceReadOnly images a device that is mounted read-only: without its free
// blocks, without a warning, and whole; also as one partition of a disk, whose own
// cache knew it from before. Mounted for writing, it is refused.
func TestDeviceReadOnly(t *testing.T) {
	inside(t)
	need(t, "e2fsck")
	t.Parallel()
	device, mnt := busyDevice(t)
	p := newProgram(t)
	p.refused(t, device, ", mounted at "+mnt, "mount -o remount,ro "+mnt)

	check(t, os.WriteFile(filepath.Join(mnt, "b"), noise(3<<20, 2), 0o644))
	remount(t, mnt, "ro")
	dest := newDir(t)
	o := p.exits(t, 0, "run", "--name", "card", device, dest)
	if want := "are free and not read"; !strings.Contains(o.stdout, want) || o.stderr != "" {
		t.Errorf("got %q, %q, want it to say %q", o.stdout, o.stderr, want)
	}
	p.clean(t, dest, 0, "b", 3<<20)

	// For reading by another way, for writing by this one.
	remount(t, mnt, "rw")
	second := newDir(t)
	tool(t, "mount", "--bind", mnt, second)
	defer tool(t, "umount", second)
	tool(t, "mount", "-o", "remount,bind,ro", second)
	p.refused(t, device, " and "+second)
}

// clean says that the image of the newest archive has an ext4 at off that is in order,
// with a file of noise in it.
func (p *program) clean(t *testing.T, dest string, off int64, name string, size int) {
	t.Helper()
	data := p.image(t, dest)[off:]
	image := filepath.Join(newDir(t), "ext.img")
	check(t, os.WriteFile(image, data, 0o600))
	tool(t, "e2fsck", "-fn", image)
	out := filepath.Join(newDir(t), name)
	tool(t, "debugfs", "-R", "dump "+name+" "+out, image)
	got, err := os.ReadFile(out)
	check(t, err)
	if string(got) != string(noise(size, 2)) {
		t.Errorf("%s has %d bytes that are not those it had", name, len(got))
	}
}

// TestDeviceReadOnlyUnclean finds a file system that is mounted read-only, and would
// have to be repaired.
func TestDeviceReadOnlyUnclean(t *testing.T) {
	inside(t)
	t.Parallel()
	device, mnt := busyDevice(t)
	check(t, os.WriteFile(filepath.Join(mnt, "b"), noise(1<<20, 2), 0o644))
	tool(t, "sync", "-f", mnt)
	data, err := os.ReadFile(device)
	check(t, err)
	image := filepath.Join(newDir(t), "pulled.img")
	check(t, os.WriteFile(image, data, 0o600))
	pulled, at := loop(t, image), newDir(t)
	tool(t, "mount", "-o", "ro,noload", pulled, at)
	defer tool(t, "umount", at)
	newProgram(t).refused(t, pulled, ", mounted at "+at+": read-only, but its journal has to be replayed")
}

// TestDiskReadOnly images a disk one partition of which is mounted read-only. What an
// earlier read left in the disk's cache is not what is stored; and while a program has
// another partition, the disk is refused.
func TestDiskReadOnly(t *testing.T) {
	need(t, "partx")
	t.Parallel()
	c := newCard(t)
	tool(t, "partx", "-a", c.device)
	defer tool(t, "partx", "-d", c.device)
	mnt := newDir(t)
	tool(t, "mount", c.device+"p2", mnt)
	defer tool(t, "umount", mnt)
	_, err := os.ReadFile(c.device) // into the cache
	check(t, err)
	check(t, os.WriteFile(filepath.Join(mnt, "b"), noise(2<<20, 2), 0o644))
	p := newProgram(t)
	p.refused(t, c.device, ", mounted at "+mnt)
	remount(t, mnt, "ro")

	dest := newDir(t)
	o := p.exits(t, 0, "run", "--name", "card", c.device, dest)
	if n := strings.Count(o.stdout, "are free and not read"); n != 2 || o.stderr != "" {
		t.Errorf("got %q, %q, want two partitions whose free blocks are not read", o.stdout, o.stderr)
	}
	p.clean(t, dest, cardExt, "b", 2<<20)

	f, err := os.OpenFile(c.device+"p1", os.O_RDONLY|unix.O_EXCL, 0)
	check(t, err)
	p.refused(t, c.device, filepath.Base(c.device)+"p1 is in use, too")
	check(t, f.Close())
}

// TestDeviceMountedMeanwhile mounts a device for writing while it is read, and
// read-only again: nothing is stored.
func TestDeviceMountedMeanwhile(t *testing.T) {
	inside(t)
	t.Parallel()
	for _, again := range []bool{false, true} {
		device, mnt := busyDevice(t)
		remount(t, mnt, "ro")
		p := newProgram(t)
		dest := newDir(t)
		begun := false
		o := p.traced(t, device, func(call faults.Call) faults.Action {
			// Not when it looks for free blocks, which it does in small pieces.
			if call.Overlaps(call.Offset+1<<20-1, 1) && !begun {
				begun = true
				remount(t, mnt, "rw")
				check(t, os.WriteFile(filepath.Join(mnt, "meanwhile"), noise(100_000, 5), 0o644))
				if again {
					remount(t, mnt, "ro")
				}
			}
			return faults.Action{}
		}, "run", "--all-blocks", "--name", "card", device, dest)
		if !begun || o.Code != 1 || !strings.Contains(o.Stderr, "it was mounted for writing while it was read") {
			t.Errorf("read-only again %v: got exit %d, want 1: %s", again, o.Code, o.Stderr)
		}
		if len(archives(t, dest)) > 0 || len(partials(t, dest)) > 0 {
			t.Errorf("left: %q, %q", archives(t, dest), partials(t, dest))
		}
	}
}
