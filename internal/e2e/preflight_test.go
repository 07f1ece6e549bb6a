//go:build linux

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInstallTriesFirst installs a job whose destination is full, which no look at
// permissions can tell: it is refused, and nothing is left of it.
func TestInstallTriesFirst(t *testing.T) {
	inside(t)
	need(t, "crontab")
	standIn(t, "cron") // not parallel: another test compares root's crontab with what it wrote
	dir := newDir(t)
	source, full := mkdir(t, dir, "notes"), mkdir(t, dir, "full")
	write(t, filepath.Join(source, "a.txt"), "a")
	if err := unix.Mount("tmpfs", full, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(full, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(full, "all"), make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newProgram(t)
	o := p.exits(t, 1, "install", "--scheduler", "cron", "--time", "2:30", source, full)
	if !strings.Contains(o.stderr, "error: started as cron starts it, the job cannot run: write to \""+full) || !strings.Contains(o.stderr, "no space left on device") {
		t.Errorf("install: got %q, want that there is no space", o.stderr)
	}
	if text := crontab(t); strings.Contains(text, p.dir()) {
		t.Errorf("the crontab has\n%s", text)
	}
	if left, err := filepath.Glob(filepath.Join(p.dir(), "jobs", "*.ini")); err != nil || len(left) > 0 {
		t.Errorf("jobs that are left: %q, %v", left, err)
	}
	if left, err := os.ReadDir(full); err != nil || len(left) != 1 {
		t.Errorf("in the destination: %v, %v", left, err)
	}

	// With a little room, the same goes well.
	if err := os.Truncate(filepath.Join(full, "all"), 16<<10); err != nil {
		t.Fatal(err)
	}
	p.exits(t, 0, "install", "--scheduler", "cron", "--time", "2:30", source, full)
	p.exits(t, 0, "uninstall", "--all")
}

// TestInstallNotMounted installs a job whose destination fstab knows as a disk: not
// before that is mounted, be it by a bind of a directory on the same disk.
func TestInstallNotMounted(t *testing.T) {
	inside(t)
	t.Parallel()
	dir := newDir(t)
	source, disk, point := mkdir(t, dir, "notes"), mkdir(t, dir, "disk"), mkdir(t, dir, "my stick")
	dest := mkdir(t, point, "archives")
	mkdir(t, disk, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")
	fstab, err := os.OpenFile("/etc/fstab", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fstab.WriteString("\n" + disk + " " + strings.ReplaceAll(point, " ", `\040`) + " none bind,noauto 0 0\n")
	if err := errors.Join(err, fstab.Close()); err != nil {
		t.Fatal(err)
	}

	p := newProgram(t)
	install := []string{"install", "--scheduler", "service", "--time", "2:30", source, dest}
	o := p.exits(t, 1, install...)
	if want := "nothing is mounted at \"" + point + "\", as /etc/fstab says there should be"; !strings.Contains(o.stderr, want) || !strings.Contains(o.stderr, "hint: mount '"+point+"'") {
		t.Errorf("install: got %q, want %q", o.stderr, want)
	}
	if err := unix.Mount(disk, point, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	p.exits(t, 0, install...)
}
