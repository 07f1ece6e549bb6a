//go:build linux

package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// torture is set for "make torture", which takes its time.
var torture = os.Getenv("TINYBACKUP_TORTURE") != ""

// tmpfs mounts a file system in memory on dir, until the test ends.
func tmpfs(t *testing.T, dir, options string) {
	t.Helper()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, options))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // the test may have
}

// noiseIn writes a file that does not compress.
func noiseIn(t *testing.T, path string, size int) {
	t.Helper()
	data := make([]byte, size)
	rand.Read(data)
	check(t, os.WriteFile(path, data, 0o644))
}

// intact says that these archives are in a destination, and whole.
func (p *program) intact(t *testing.T, what, dest string, names []string) {
	t.Helper()
	there := archives(t, dest)
	for _, name := range names {
		if !slices.Contains(there, name) {
			t.Errorf("%s: archive %s is gone", what, name)
		} else if o := p.try(t, "verify", filepath.Join(dest, name)); o.code != 0 {
			t.Errorf("%s: verify %s: exit status %d\n%s%s", what, name, o.code, o.stdout, o.stderr)
		}
	}
}

// A fullDisk is a destination that fills up during a second backup.
type fullDisk struct {
	p         *program
	src, dest string
	job       string // run it as this job; empty: by hand
}

// backUp runs the backup.
func (d *fullDisk) backUp(t *testing.T) outcome {
	t.Helper()
	if d.job != "" {
		return d.p.try(t, "run", "--now", "--job", d.job)
	}
	return d.p.try(t, "run", "--keep", "30", d.src, d.dest)
}

// fill backs up to a disk with little room left: it works, or nothing new is there,
// or a warning tells what is missing; and all that was there still is.
func (d *fullDisk) fill(t *testing.T, what string) (code int) {
	t.Helper()
	before := archives(t, d.dest)
	o := d.backUp(t)
	after := archives(t, d.dest)
	d.p.intact(t, what, d.dest, append(before, after...))
	said := strings.Contains(o.stderr, "no space left on device")
	switch {
	case o.code == 0 && len(after) > len(before):
		toolIn(t, d.dest, "sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS")
	case o.code == 1 && len(after) == len(before) && said:
		if !strings.Contains(o.stderr, "df -") {
			t.Errorf("%s: no hint: %s", what, o.stderr)
		}
	case o.code == 3 && len(after) > len(before) && said:
	default:
		t.Errorf("%s: exit status %d, archives before %q, after %q\n%s", what, o.code, before, after, o.stderr)
	}
	if left := partials(t, d.dest); len(left) > 0 {
		t.Errorf("%s: left behind %q", what, left)
	}
	return o.code
}

// TestFullDisk has the disk of the destination fill up at every step of a backup:
// out of bytes and out of inodes, by hand and as a job.
func TestFullDisk(t *testing.T) {
	inside(t)
	need(t, "mkfs.ext4", "sha256sum")
	t.Parallel()
	for _, asJob := range []bool{false, true} {
		t.Run(fmt.Sprint("job ", asJob), func(t *testing.T) {
			d := &fullDisk{p: newProgram(t)}
			dir := newDir(t)
			d.src, d.dest = mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
			if asJob {
				var in installed
				write(t, filepath.Join(d.src, "a"), "a")
				d.p.json(t, &in, "install", "--scheduler", "service", "--time", "2:30", "--keep", "30", d.src, d.dest)
				d.job = in.Jobs[0].ID
			}
			codes := map[int]int{}
			step := 12
			if torture {
				step = 1
			}
			for kib := 4; kib <= 80; kib += step {
				d.try(t, fmt.Sprintf("%d KiB left", kib), fmt.Sprintf("size=%dk", 64+kib), codes)
			}
			for inodes := 7; inodes <= 16; inodes++ {
				d.try(t, fmt.Sprintf("%d inodes", inodes), fmt.Sprintf("size=1m,nr_inodes=%d", inodes), codes)
			}
			t.Logf("exit statuses by their number: %v", codes)
			if codes[0] == 0 || codes[1] == 0 {
				t.Error("the disk was always full, or never")
			}
		})
	}
}

// try makes a disk, backs up to it while it is large enough, then until it is full,
// and once more when there is room again.
func (d *fullDisk) try(t *testing.T, what, options string, codes map[int]int) {
	t.Helper()
	tmpfs(t, d.dest, options)
	defer func() { check(t, unix.Unmount(d.dest, unix.MNT_DETACH)) }()
	noiseIn(t, filepath.Join(d.src, "a"), 8<<10)
	if o := d.backUp(t); o.code != 0 {
		codes[o.code]++
		if o.code != 1 || len(archives(t, d.dest)) != 0 || len(partials(t, d.dest)) != 0 {
			t.Errorf("%s: the first backup: exit status %d: %s", what, o.code, o.stderr)
		}
		return
	}
	noiseIn(t, filepath.Join(d.src, "a"), 48<<10)
	codes[d.fill(t, what)]++
	noiseIn(t, filepath.Join(d.src, "a"), 1<<10)
	check(t, unix.Mount("tmpfs", d.dest, "tmpfs", unix.MS_REMOUNT, "size=4m,nr_inodes=1000"))
	before := archives(t, d.dest)
	if o := d.backUp(t); o.code != 0 || len(archives(t, d.dest)) == len(before) {
		t.Errorf("%s: with room again: exit status %d: %s", what, o.code, o.stderr)
	}
	toolIn(t, d.dest, "sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS")
}

// TestFullLoop is the same on a real file system, which keeps its room in another way.
func TestFullLoop(t *testing.T) {
	inside(t)
	need(t, "mkfs.ext4", "sha256sum")
	t.Parallel()
	for _, mkfs := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal"}, {"mkfs.ext4", "-q", "-F", "-m", "0", "-N", "32"},
	} {
		d := &fullDisk{p: newProgram(t)}
		dir := newDir(t)
		d.src, d.dest = mkdir(t, dir, "notes"), mounted(t, 8<<20, mkfs...)
		codes := map[int]int{}
		for i := range 8 {
			noiseIn(t, filepath.Join(d.src, "a"), (2+i%4)*(600<<10))
			codes[d.fill(t, fmt.Sprintf("%q, backup %d", mkfs, i))]++
		}
		if codes[0] == 0 || codes[1]+codes[3] == 0 {
			t.Errorf("%q: exit statuses %v: the disk was always full, or never", mkfs, codes)
		}
	}
}

// TestFullState has the disk of a job's own files full, of bytes or of inodes: the
// backup is made all the same, and a warning tells what was not noted.
func TestFullState(t *testing.T) {
	inside(t)
	t.Parallel()
	p := newProgram(t)
	dir := newDir(t)
	src, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(src, "a.txt"), "a")
	tmpfs(t, mkdir(t, p.dir()), "size=256k,nr_inodes=60")
	var in installed
	p.json(t, &in, "install", "--scheduler", "service", "--time", "2:30", src, dest)
	run := []string{"run", "--now", "--job", in.Jobs[0].ID}
	p.exits(t, 0, run...)
	for i := range 100 {
		if os.WriteFile(filepath.Join(p.dir(), fmt.Sprint("full", i)), make([]byte, 16<<10), 0o600) != nil && i > 60 {
			break // of both
		}
	}
	o := p.exits(t, 3, run...)
	if len(archives(t, dest)) != 2 || !strings.Contains(o.stderr, "no space left") {
		t.Errorf("archives %q: %s", archives(t, dest), o.stderr)
	}
	p.intact(t, "full", dest, archives(t, dest))
	for i := range 100 {
		_ = os.Remove(filepath.Join(p.dir(), fmt.Sprint("full", i))) // not all are there
	}
	if o := p.exits(t, 0, run...); o.stderr != "" {
		t.Errorf("with room again: %s", o.stderr)
	}
}

// TestDiskGoes takes the destination away in the middle of a backup: it is unmounted,
// or its disk fails. Nothing is written to where it was mounted, and what it holds is
// as it was.
func TestDiskGoes(t *testing.T) {
	inside(t)
	need(t, "mkfs.ext4", "mount", "umount")
	t.Parallel()
	const shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN; with 0 it writes back first
	for name, c := range map[string]struct {
		goes func(mnt string) error
		says string
	}{
		"unmounted":    {func(mnt string) error { return unix.Unmount(mnt, unix.MNT_DETACH) }, "mounted"},
		"mounted over": {func(mnt string) error { return unix.Mount("tmpfs", mnt, "tmpfs", 0, "") }, "mounted"},
		"fails": {func(mnt string) error {
			f, err := os.Open(mnt)
			if err != nil {
				return err
			}
			defer f.Close()
			return unix.IoctlSetPointerInt(int(f.Fd()), shutdown, 0)
		}, "error"},
	} {
		for _, asJob := range []bool{false, true} {
			what := fmt.Sprintf("%s, job %v", name, asJob)
			p := newProgram(t)
			dir := newDir(t)
			src, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
			device := disk(t, dir)
			tool(t, "mount", device, dest)
			write(t, filepath.Join(src, "a.txt"), "a")
			args := []string{"run", "--keep", "1", src, dest}
			if asJob {
				var in installed
				p.json(t, &in, append([]string{"install", "--scheduler", "service", "--time", "2:30"}, args[1:]...)...)
				args = []string{"run", "--now", "--job", in.Jobs[0].ID}
			}
			p.exits(t, 0, args...)
			before := archives(t, dest)
			for i := range 4 {
				noiseIn(t, filepath.Join(src, fmt.Sprint("big", i)), 8<<20)
			}
			run := begin(t, p.command(args...))
			waitFor(t, time.Minute, "the archive begins", func() bool { return len(partials(t, dest)) > 0 })
			run.signal(t, syscall.SIGSTOP)
			check(t, c.goes(dest))
			run.signal(t, syscall.SIGCONT)
			if o := run.wait(t); o.code != 1 || !strings.Contains(o.stderr, c.says) {
				t.Errorf("%s: exit status %d: %s", what, o.code, o.stderr)
			}
			if name != "fails" {
				if left, err := os.ReadDir(dest); err != nil || len(left) > 0 {
					t.Errorf("%s: written to where it was mounted: %v, %v", what, left, err)
				}
			}
			if name != "unmounted" {
				tool(t, "umount", dest)
			}
			if name != "mounted over" {
				tool(t, "mount", device, dest)
			}
			if got := archives(t, dest); !slices.Equal(got, before) {
				t.Errorf("%s: archives %q, want %q as before", what, got, before)
			}
			p.intact(t, what, dest, before)
			for i := range 4 {
				check(t, os.Remove(filepath.Join(src, fmt.Sprint("big", i))))
			}
			write(t, filepath.Join(src, "b.txt"), "b")
			p.exits(t, 0, args...)
			if left := partials(t, dest); len(left) > 0 {
				t.Errorf("%s: the next run leaves %q", what, left)
			}
			tool(t, "umount", dest)
		}
	}
}

// disk is a loop device with a file system for a large archive.
func disk(t *testing.T, dir string) string {
	t.Helper()
	image := filepath.Join(dir, "disk.img")
	write(t, image, "")
	check(t, os.Truncate(image, 96<<20))
	device := loop(t, image)
	tool(t, "mkfs.ext4", "-q", device)
	return device
}

// TestSourceUnmounted finds an empty directory where there were files: an error,
// every time, and no archive goes; for a destination that is not mounted as well.
func TestSourceUnmounted(t *testing.T) {
	inside(t)
	t.Parallel()
	for _, asJob := range []bool{false, true} {
		what := fmt.Sprint("job ", asJob)
		p := newProgram(t)
		dir := newDir(t)
		src, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
		tmpfs(t, src, "size=1m")
		tmpfs(t, dest, "size=1m")
		args := []string{"run", "--keep", "2", src, dest}
		if asJob {
			var in installed
			write(t, filepath.Join(src, "a.txt"), "a")
			p.json(t, &in, append([]string{"install", "--scheduler", "service", "--time", "2:30"}, args[1:]...)...)
			args = []string{"run", "--now", "--job", in.Jobs[0].ID}
		}
		for i := range 3 {
			write(t, filepath.Join(src, "a.txt"), fmt.Sprint(i))
			p.exits(t, 0, args...)
		}
		before := archives(t, dest)
		check(t, unix.Unmount(src, 0))
		for range 3 {
			if o := p.try(t, args...); o.code != 1 || !strings.Contains(o.stderr, "is empty, and was not in the last backup") {
				t.Errorf("%s: exit status %d: %s", what, o.code, o.stderr)
			}
		}
		if got := archives(t, dest); !slices.Equal(got, before) || len(got) != 2 {
			t.Errorf("%s: archives %q, want %q as before", what, got, before)
		}
		p.intact(t, what, dest, before)
	}
}
