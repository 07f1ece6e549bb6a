//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loop attaches a file to a loop device until the test ends, or skips the test
// where the kernel has none.
func loop(t *testing.T, file string) (device string) {
	t.Helper()
	inside(t)
	need(t, "losetup", "mkfs.ext4")
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("the kernel has no loop devices")
	}
	device = strings.TrimSpace(tool(t, "losetup", "-f", "--show", file))
	t.Cleanup(func() { tool(t, "losetup", "-d", device) })
	return device
}

// ext4 makes an image of size bytes with an ext4 on it, mounts it for fill, and
// attaches it to a loop device.
func ext4(t *testing.T, size int64, fill func(mnt string)) (device string) {
	t.Helper()
	dir := newDir(t)
	image := filepath.Join(dir, "disk.img")
	f, err := os.Create(image)
	check(t, err)
	check(t, f.Truncate(size))
	check(t, f.Close())
	device = loop(t, image)
	tool(t, "mkfs.ext4", "-q", "-F", device)
	mnt := mkdir(t, dir, "mnt")
	tool(t, "mount", device, mnt)
	fill(mnt)
	unmount(t, mnt)
	return device
}

// unmount unmounts what a test has mounted. For a moment it may be busy: a process that
// is just being started has what we have open, until it has become its own program.
func unmount(t *testing.T, mnt string) {
	t.Helper()
	var err error
	waitFor(t, time.Minute, mnt+" is not busy", func() bool {
		err = unix.Unmount(mnt, 0)
		return err != unix.EBUSY
	})
	check(t, err)
}

// TestDevice images all of a loop device with an ext4, and gets it back to the byte,
// with tinybackup and with the codec's own tool.
func TestDevice(t *testing.T) {
	inside(t)
	need(t, "zstd", "xz", "gzip", "cmp", "e2fsck")
	t.Parallel()
	device := ext4(t, 48<<20, func(mnt string) {
		check(t, os.WriteFile(filepath.Join(mnt, "noise"), noise(7<<20, 1), 0o644))
		check(t, os.WriteFile(filepath.Join(mnt, "zeros"), make([]byte, 9<<20), 0o644))
		check(t, os.Remove(filepath.Join(mnt, "noise")))
		check(t, os.WriteFile(filepath.Join(mnt, "again"), noise(5<<20+123, 2), 0o644))
	})
	for _, c := range codecs {
		t.Run(c.option, func(t *testing.T) {
			p := newProgram(t)
			dest := newDir(t)
			p.exits(t, 0, "run", "--all-blocks", "--name", "card", "--compress", c.option, device, dest)
			archive := newest(t, dest)
			if got := stamp.FindStringSubmatch(filepath.Base(archive)); got[1] != "card" || got[3] != ".img"+c.suffix {
				t.Errorf("name: got %q, want card-TIME.img%s", filepath.Base(archive), c.suffix)
			}
			tool(t, c.test[0], append(c.test[1:], archive)...)
			toolIn(t, dest, "sha256sum", "--quiet", "-c", "SHA256SUMS")
			same(t, append(c.decode, archive), device)

			image := filepath.Join(newDir(t), "card.img")
			p.exits(t, 0, "restore", dest, image)
			tool(t, "cmp", image, device)
			tool(t, "e2fsck", "-fn", image)
			var st unix.Stat_t
			check(t, unix.Stat(image, &st))
			if got, most := st.Blocks*512, int64(24<<20); got > most {
				t.Errorf("the restored image takes %d bytes of disk, want at most %d: zeros are no holes", got, most)
			}
			p.exits(t, 0, "verify", dest)
		})
	}
}

// TestDeviceToDevice writes an image onto another device as the manual says, with
// dd: what was on that device must not show through.
func TestDeviceToDevice(t *testing.T) {
	inside(t)
	need(t, "zstd", "dd", "cmp")
	t.Parallel()
	device := ext4(t, 24<<20, func(mnt string) {
		check(t, os.WriteFile(filepath.Join(mnt, "zeros"), make([]byte, 8<<20), 0o644))
	})
	p := newProgram(t)
	dir := newDir(t)
	dest := mkdir(t, dir, "dst")
	p.exits(t, 0, "run", "--all-blocks", "--name", "card", device, dest)
	check(t, os.WriteFile(filepath.Join(dir, "old.img"), noise(24<<20, 5), 0o600))
	other := loop(t, filepath.Join(dir, "old.img"))
	tool(t, "sh", "-ec", `zstd -qdc "$1" | dd of="$2" bs=4M iflag=fullblock conv=fsync status=none`, "sh", newest(t, dest), other)
	tool(t, "cmp", device, other)
}

// TestDeviceMounted is refused: what is read from a file system that is written to
// at the same time is no file system. With --live it is done, with a warning.
func TestDeviceMounted(t *testing.T) {
	t.Parallel()
	device := ext4(t, 32<<20, func(mnt string) {
		check(t, os.WriteFile(filepath.Join(mnt, "a"), noise(1<<20, 1), 0o644))
	})
	mnt := newDir(t)
	tool(t, "mount", device, mnt)
	defer unmount(t, mnt)
	p := newProgram(t)
	dest := newDir(t)
	o := p.try(t, "run", device, dest)
	if o.code != 1 && o.code != 2 {
		t.Errorf("exit: got %d, want 1 or 2", o.code)
	}
	for _, word := range []string{device, mnt, "hint: "} {
		if !strings.Contains(o.stderr, word) {
			t.Errorf("stderr: got %q, want it to tell %q", o.stderr, word)
		}
	}
	if got, err := os.ReadDir(dest); err != nil || len(got) != 0 {
		t.Errorf("left in the destination: %v, %v", got, err)
	}
	o = p.exits(t, 3, "run", "--live", device, dest)
	if !strings.Contains(o.stderr, "warning: ") {
		t.Errorf("--live: got stderr %q, want a warning", o.stderr)
	}
	if got := archives(t, dest); len(got) != 1 {
		t.Errorf("archives after --live: got %q, want one", got)
	}
}
