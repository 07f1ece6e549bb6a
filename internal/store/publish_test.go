package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Where renaming without replacing is unknown, and where hard links are as well.
func TestPublishFallbacks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what string
		fail map[string]error
	}{
		{"renameat2", nil},
		{"link, old kernel", map[string]error{"renameExcl": syscall.ENOSYS}},
		{"link, NFS", map[string]error{"renameExcl": syscall.EINVAL}},
		{"look and rename, FAT", map[string]error{"renameExcl": syscall.EINVAL, "link": &os.LinkError{Err: syscall.EPERM}}},
		{"look and rename, SMB", map[string]error{"renameExcl": syscall.ENOTSUP, "link": &os.LinkError{Err: syscall.ENOTSUP}}},
	} {
		l := openDir(t, t.TempDir())
		l.calls = hooked(l.calls, func(op, path string) error { return c.fail[op] }, nothing)
		put(t, l, "a", []byte("a"))
		wantArchive(t, l, "a", []byte("a"))
		p := create(t, l, "b")
		p.Write([]byte("ours"))
		settle(t, p)
		write(t, l.path("b"), "somebody else's")
		wantIs(t, c.what, p.Commit(), fs.ErrExist)
		if err := p.Close(); err != nil {
			t.Errorf("%s: Close: %v", c.what, err)
		}
		wantArchive(t, l, "b", []byte("somebody else's"))
		wantNames(t, l, "a", "b")
		if left := leftovers(l.dir); len(left) > 0 {
			t.Errorf("%s: left behind %q", c.what, left)
		}
	}

	// NFS: the link was made, the answer lost, the repeated request refused.
	l := openDir(t, t.TempDir())
	l.calls = hooked(l.calls, func(op, path string) error {
		if op == "renameExcl" {
			return syscall.EINVAL
		}
		return nil
	}, func(op, path string) error {
		if op == "link" {
			return &os.LinkError{Err: syscall.EEXIST}
		}
		return nil
	})
	put(t, l, "a", []byte("a"))
	wantArchive(t, l, "a", []byte("a"))
	if left := leftovers(l.dir); len(left) > 0 {
		t.Errorf("left behind %q", left)
	}

	// The second name can't be removed: no harm, Sweep does it.
	l = openDir(t, t.TempDir())
	l.calls = hooked(l.calls, func(op, path string) error {
		if op == "renameExcl" {
			return syscall.EINVAL
		}
		if _, err := os.Lstat(path); op == "remove" && err == nil {
			return syscall.EIO
		}
		return nil
	}, nothing)
	put(t, l, "a", []byte("a"))
	l.calls = systemCalls()
	if got, err := l.Sweep(t.Context(), anyName); err != nil || !slices.Equal(got, []string{"a.partial"}) {
		t.Errorf("Sweep: got %q, %v", got, err)
	}
	wantArchive(t, l, "a", []byte("a"))
}

// File systems that can't sync are used all the same; one that fails to is not, and
// is not asked again, for a second fsync would lie.
func TestSyncErrors(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.EINVAL, syscall.ENOTSUP, syscall.ENOTTY} {
		l := openDir(t, t.TempDir())
		l.calls.sync = func(f *os.File) error { return &fs.PathError{Op: "sync", Path: f.Name(), Err: errno} }
		put(t, l, "a", []byte("a"))
		if err := l.WriteSide(t.Context(), "a", nil); err != nil {
			t.Errorf("WriteSide with %v from fsync: %v", errno, err)
		}
	}
	l := openDir(t, t.TempDir())
	l.calls.sync = func(f *os.File) error {
		if f.Name() == l.dir || f.Name() == filepath.Dir(l.side("x")) {
			return syscall.ENOENT
		}
		return nil
	}
	put(t, l, "a", []byte("a"))

	for _, op := range []string{"sync", "write", "flush", "close"} {
		l := openDir(t, t.TempDir())
		l.pace = 1
		failed := false
		l.calls = hooked(l.calls, func(got, path string) error {
			if got == op && strings.HasSuffix(path, PartialSuffix) && !failed {
				failed = true
				return syscall.EIO
			}
			return nil
		}, nothing)
		p := create(t, l, "a")
		p.Write([]byte("12"))
		for range 2 {
			wantIs(t, "Settle after a failed "+op, second(p.Settle()), syscall.EIO)
		}
		wantIs(t, "Write after a failed "+op, second(p.Write([]byte("3"))), syscall.EIO)
		wantIs(t, "Commit after a failed "+op, p.Commit(), syscall.EIO)
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if got := leftovers(l.dir); len(got) > 0 {
			t.Errorf("left behind %q", got)
		}
		wantNames(t, l)
	}
}

// Close says when it could not clean up; Sweep says so too, and what it did remove.
func TestCleaningUpFails(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	p := create(t, l, "a")
	p.Write([]byte("x"))
	create(t, l, "b")
	l.calls.remove = func(path string) error {
		if strings.HasSuffix(path, "a.partial") {
			return &fs.PathError{Op: "unlinkat", Path: path, Err: syscall.EIO}
		}
		return os.Remove(path)
	}
	err := p.Close()
	if want := fmt.Sprintf("remove %q: input/output error", l.side("a.partial")); err == nil || err.Error() != want {
		t.Errorf("Close: got %v, want %s", err, want)
	}
	got, err := l.Sweep(t.Context(), anyName)
	wantIs(t, "Sweep", err, syscall.EIO)
	if !slices.Equal(got, []string{"b.partial"}) {
		t.Errorf("Sweep: got %q, want what it did remove", got)
	}
}

// A second name that is not durable is taken back; a file system without any says so.
func TestLinkFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op   string
		err  syscall.Errno
		want error
	}{
		{"sync", syscall.EIO, syscall.EIO},
		{"link", syscall.ENOSPC, syscall.ENOSPC},
		{"link", syscall.EPERM, errors.ErrUnsupported},
		{"link", syscall.EMLINK, errors.ErrUnsupported},
	} {
		l := openDir(t, t.TempDir())
		put(t, l, "a", []byte("a"))
		l.calls = hooked(l.calls, func(op, path string) error {
			if op == c.op {
				return c.err
			}
			return nil
		}, nothing)
		wantIs(t, "Link", l.Link(t.Context(), "a", "b"), c.want)
		wantNames(t, l, "a")
		wantArchive(t, l, "a", []byte("a"))
	}
}

// Sharing blocks that fails, other than for want of being possible, is a write error.
func TestCopyRangeFails(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	put(t, l, "a", make([]byte, 8192))
	r, err := l.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l.calls.clone = func(to, from *os.File, off, n, at int64) error { return syscall.ENOSPC }
	p := create(t, l, "b")
	wantIs(t, "CopyRange", second(p.CopyRange(r, 0, 4096)), syscall.ENOSPC)
	wantIs(t, "Commit", p.Commit(), syscall.ENOSPC)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	wantNames(t, l, "a")
}
