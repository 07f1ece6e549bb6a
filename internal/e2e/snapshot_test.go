//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onBtrfs mounts a new btrfs with a source in it, a subvolume below that, another file
// system, and a destination.
func onBtrfs(t *testing.T) (source, dest string) {
	t.Helper()
	inside(t)
	need(t, "btrfs")
	source = mounted(t, 300<<20, "mkfs.btrfs", "-q")
	for i := range 6 {
		write(t, filepath.Join(mkdir(t, source, "data"), fmt.Sprint("noise", i)), string(noise(400_000, uint64(i))))
	}
	tool(t, "btrfs", "subvolume", "create", filepath.Join(source, "nested"))
	write(t, filepath.Join(source, "nested", "file"), "in a subvolume\n")
	other := mkdir(t, source, "other")
	tmpfs(t, other, "")
	write(t, filepath.Join(other, "file"), "in another file system\n")
	return source, mkdir(t, source, "dest")
}

// A writer gives two files the same number, one after the other, all the time: at any
// moment the first has that of the last, or the next.
type writer struct {
	first, last string
	done        chan struct{}
	wait        sync.WaitGroup
}

func startWriter(t *testing.T, dir string) *writer {
	t.Helper()
	w := &writer{first: filepath.Join(dir, "a"), last: filepath.Join(dir, "z"), done: make(chan struct{})}
	write(t, w.first, "0")
	write(t, w.last, "0")
	w.wait.Go(func() {
		for n := 1; ; n++ {
			for _, file := range []string{w.first, w.last} {
				select {
				case <-w.done:
					return
				default:
				}
				// By rename, so that no half of a number is ever to be seen.
				if err := os.WriteFile(file+".new", []byte(strconv.Itoa(n)), 0o644); err != nil {
					t.Error(err)
					return
				}
				if err := os.Rename(file+".new", file); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	t.Cleanup(w.stop)
	return w
}

func (w *writer) stop() {
	select {
	case <-w.done:
	default:
		close(w.done)
	}
	w.wait.Wait()
}

// moment says that what the writer left in a directory is of one moment.
func moment(t *testing.T, dir string) {
	t.Helper()
	var n [2]int
	for i, name := range []string{"a", "z"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		check(t, err)
		n[i], err = strconv.Atoi(string(text))
		check(t, err)
	}
	if ahead := n[0] - n[1]; ahead != 0 && ahead != 1 {
		t.Errorf("the file that is read first has %d, the last one %d: they are not of one moment", n[0], n[1])
	}
}

// snapshots are the directories of a source that are called like our snapshots.
func snapshots(t *testing.T, source string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(source, ".tinybackup-*"))
	check(t, err)
	return found
}

// snapshotReport is what the tests of snapshots want to know of a run.
type snapshotReport struct {
	Read, Written, Reused int64
	WarningCount          int `json:"warning_count"`
	Snapshot              struct{ Kind, Origin, Why string }
}

// TestSnapshotBtrfs backs up a busy btrfs: what is in the archive is of one moment, and
// the file system looks as if nothing had happened.
func TestSnapshotBtrfs(t *testing.T) {
	t.Parallel()
	source, dest := onBtrfs(t)
	need(t, "tar", "zstd")
	p := newProgram(t)
	// Between the writer's files is what takes a while to read.
	write(t, filepath.Join(source, "data", "middle"), string(make([]byte, 64<<20)))
	w := startWriter(t, filepath.Join(source, "data"))
	old := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	check(t, os.Chtimes(source, old, old))

	var r snapshotReport
	p.json(t, &r, "run", "--name", "disk", "--snapshot", "auto", source, dest)
	if r.Snapshot.Kind != "btrfs" || r.Snapshot.Origin != source || r.WarningCount > 0 {
		t.Errorf("got %+v, want a snapshot of %s, and no warning of what changes", r, source)
	}
	w.stop()
	if got := snapshots(t, source); len(got) > 0 {
		t.Errorf("left behind: %q", got)
	}
	info, err := os.Stat(source)
	check(t, err)
	if !info.ModTime().Equal(old) {
		t.Errorf("the source's time is %v, want %v: it is not to be touched", info.ModTime(), old)
	}
	back := newDir(t)
	tool(t, "tar", "-C", back, "-xf", newest(t, dest))
	back = filepath.Join(back, filepath.Base(source))
	moment(t, filepath.Join(back, "data"))
	for name, want := range map[string]string{"nested/file": "in a subvolume\n", "other/file": "in another file system\n", "data/noise5": string(noise(400_000, 5))} {
		if got, err := os.ReadFile(filepath.Join(back, name)); err != nil || string(got) != want {
			t.Errorf("%s: got %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
	if _, err := os.Lstat(filepath.Join(back, "dest")); !os.IsNotExist(err) {
		t.Errorf("the destination is in the archive: %v", err)
	}

	// Nothing has changed: all is taken from the archive before.
	p.json(t, &r, "run", "--name", "disk", "--snapshot", "btrfs", source, dest)
	p.json(t, &r, "run", "--name", "disk", "--snapshot", "btrfs", source, dest)
	if r.Reused != r.Written {
		t.Errorf("got %d of %d bytes reused, want all", r.Reused, r.Written)
	}
	// With --one-file-system neither the subvolume nor the mount is read.
	p.exits(t, 0, "run", "--name", "disk", "--one-file-system", "--snapshot", "btrfs", source, dest)
	for _, name := range strings.Fields(tool(t, "tar", "-tf", newestOf(t, dest, "disk"))) {
		if strings.HasSuffix(name, "/file") {
			t.Errorf("with --one-file-system: got %s", name)
		}
	}
	// A file, from a directory further down.
	p.exits(t, 0, "run", "--snapshot", "btrfs", filepath.Join(source, "data", "noise3"), dest)
	same(t, []string{"zstd", "-qdc", newestOf(t, dest, "noise3")}, filepath.Join(source, "data", "noise3"))
	p.exits(t, 0, "verify", dest)
}

// newestOf is the path of the newest archive of a name.
func newestOf(t *testing.T, dest, name string) string {
	t.Helper()
	found := ""
	for _, a := range archives(t, dest) {
		if strings.HasPrefix(a, name+"-") {
			found = a
		}
	}
	if found == "" {
		t.Fatalf("no archive of %s", name)
	}
	return filepath.Join(dest, found)
}

// TestSnapshotBtrfsEnded ends runs in the middle. A signal leaves no snapshot; what
// kill -9 leaves is in no other backup, and the next run with a snapshot removes it,
// but not that of a run that is going on.
func TestSnapshotBtrfsEnded(t *testing.T) {
	t.Parallel()
	source, _ := onBtrfs(t)
	p := newProgram(t)
	dest := newDir(t)
	start := func() *running {
		before := snapshots(t, source)
		r := begin(t, p.command("run", "--snapshot", "btrfs", "--compress", "xz:9", filepath.Join(source, "data"), dest))
		// What a killed run has left of both goes before the new ones come.
		waitFor(t, 30*time.Second, "a snapshot, and a partial archive", func() bool {
			now := snapshots(t, source)
			return len(now) > 0 && !slices.Equal(now, before) && len(partials(t, dest)) > 0
		})
		r.signal(t, syscall.SIGSTOP)
		return r
	}
	r := start()
	if got := snapshots(t, source); len(got) != 1 {
		t.Errorf("while it runs there are %q, want one snapshot", got)
	}
	r.signal(t, syscall.SIGTERM)
	r.signal(t, syscall.SIGCONT)
	if o := r.wait(t); o.code != 143 {
		t.Errorf("SIGTERM: got exit %d\n%s", o.code, o.stderr)
	}
	if got := snapshots(t, source); len(got) > 0 {
		t.Errorf("SIGTERM left %q", got)
	}

	killed := start()
	killed.signal(t, syscall.SIGKILL)
	killed.wait(t)
	if got := snapshots(t, source); len(got) != 1 {
		t.Fatalf("kill -9 left %q, want one snapshot", got)
	}
	running := start()
	mine := snapshots(t, source)
	if len(mine) != 1 {
		t.Errorf("the next run left %q, want its own snapshot alone", mine)
	}
	other := newDir(t)
	p.exits(t, 0, "run", "--name", "live", source, other)
	p.exits(t, 0, "run", "--name", "frozen", "--snapshot", "btrfs", source, other)
	for _, name := range []string{"live", "frozen"} {
		if list := tool(t, "tar", "-tf", newestOf(t, other, name)); strings.Contains(list, ".tinybackup-") {
			t.Errorf("%s: the archive has the snapshot of another run in it:\n%s", name, list)
		}
	}
	if got := snapshots(t, source); len(got) != 1 || got[0] != mine[0] {
		t.Errorf("there are %q, want %q: it is in use", got, mine)
	}
	running.signal(t, syscall.SIGCONT)
	if o := running.wait(t); o.code != 0 {
		t.Errorf("the run that was stopped: got exit %d\n%s", o.code, o.stderr)
	}
	if got := snapshots(t, source); len(got) > 0 {
		t.Errorf("left behind: %q", got)
	}
}

// TestSnapshotRefused asks for snapshots where there are none: that is an error with
// a hint, or with auto a line that says why.
func TestSnapshotRefused(t *testing.T) {
	t.Parallel()
	source, dest := onBtrfs(t)
	plain := mkdir(t, newDir(t), "plain")
	tmpfs(t, plain, "")
	write(t, filepath.Join(plain, "file"), "1")
	bound := mkdir(t, newDir(t), "bound")
	tool(t, "mount", "--bind", filepath.Join(source, "data"), bound)
	t.Cleanup(func() { check(t, unix.Unmount(bound, unix.MNT_DETACH)) })
	p := newProgram(t)
	for _, c := range []struct{ mode, source, why string }{
		{"btrfs", plain, "is on tmpfs, not on btrfs"}, {"lvm", plain, "which is no logical volume"},
		{"lvm", source, "is on btrfs, which cannot be mounted a second time"}, {"btrfs", bound, "mounted by itself, without the top"},
	} {
		o := p.exits(t, 1, "run", "--snapshot", c.mode, c.source, dest)
		if !strings.Contains(o.stderr, c.why) || !strings.Contains(o.stderr, "hint: ") {
			t.Errorf("--snapshot %s %s: got %q, want it to say %q, and a hint", c.mode, c.source, o.stderr, c.why)
		}
		if c.source == source {
			continue
		}
		o = p.exits(t, 0, "run", "--snapshot", "auto", c.source, dest)
		if want := "no snapshot: "; !strings.Contains(o.stdout+o.stderr, want) {
			t.Errorf("--snapshot auto %s: got %q, want it to say %q", c.source, o.stdout+o.stderr, want)
		}
	}
	o := p.exits(t, 2, "run", "--snapshot", "zfs", source, dest)
	if !strings.Contains(o.stderr, "btrfs") {
		t.Errorf("--snapshot zfs: got %q, want it to name what there is", o.stderr)
	}
	// A job that could not have its snapshot is not installed.
	o = p.exits(t, 1, "install", "--time", "3:00", "--scheduler", "service", "--snapshot", "btrfs", plain, dest)
	if !strings.Contains(o.stderr, "not on btrfs") {
		t.Errorf("install: got %q", o.stderr)
	}
}
