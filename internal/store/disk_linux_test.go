package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFullDisk(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	l := openDir(t, mountTmpfs(t, "size=256k"))
	ctx := t.Context()
	put(t, l, "a-1", []byte("old"))
	if err := l.SetSums(ctx, map[string]string{"a-1": digestOf([]byte("old"))}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.WriteSide(ctx, "a-1", []byte("side")); err != nil {
		t.Fatal(err)
	}
	sums := read(t, l.path(sumsName))
	before, err := l.Free(ctx)
	if err != nil || before < 128<<10 || before >= 256<<10 {
		t.Errorf("Free: got %d, %v; want most of 256k", before, err)
	}

	p := create(t, l, "a-2")
	n, err := p.Write(make([]byte, 300<<10))
	wantIs(t, "Write", err, syscall.ENOSPC)
	wantHint(t, err, "df -h")
	if n >= 300<<10 {
		t.Errorf("Write: got %d bytes written to a full disk", n)
	}
	if free, err := l.Free(ctx); err != nil || free != 0 {
		t.Errorf("Free of a full disk: got %d, %v", free, err)
	}
	// On the full disk: nothing new, nothing lost.
	big := map[string]string{"a-2" + strings.Repeat("x", 200): digestOf(nil), strings.Repeat("y", 4000): digestOf(nil)}
	wantIs(t, "SetSums", l.SetSums(ctx, big, nil), syscall.ENOSPC)
	wantIs(t, "WriteSide", l.WriteSide(ctx, "a-1", make([]byte, 8192)), syscall.ENOSPC)
	wantIs(t, "Commit", p.Commit(), syscall.ENOSPC)
	if unlock, err := l.Lock(ctx, "a", Holder{PID: 1, Host: "here"}, 0); err != nil {
		t.Errorf("Lock on a full disk: %v", err) // its file needs an inode only
	} else {
		unlock()
	}
	wantNames(t, l, "a-1")
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}

	if after, err := l.Free(ctx); err != nil || after != before {
		t.Errorf("Free after Close: got %d, %v; want as before, %d", after, err, before)
	}
	wantArchive(t, l, "a-1", []byte("old"))
	if got, err := l.ReadSide(ctx, "a-1"); err != nil || string(got) != "side" {
		t.Errorf("ReadSide: got %q, %v", got, err)
	}
	if got := read(t, l.path(sumsName)); got != sums {
		t.Errorf("SHA256SUMS: got %q, want %q", got, sums)
	}
	if left := leftovers(l.dir); len(left) > 0 {
		t.Errorf("left behind %q", left)
	}
}

func TestNoInodes(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir := mountTmpfs(t, "size=1m,nr_inodes=6")
	l := openDir(t, dir)
	put(t, l, "a-1", []byte("old"))
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
			break
		}
	}
	_, err := l.Create(t.Context(), "a-2")
	wantIs(t, "Create", err, syscall.ENOSPC)
	wantHint(t, err, "df -i")
	_, err = l.Lock(t.Context(), "a", Holder{}, 0)
	wantIs(t, "Lock", err, syscall.ENOSPC)
	wantIs(t, "WriteSide", l.WriteSide(t.Context(), "a", nil), syscall.ENOSPC)
	wantArchive(t, l, "a-1", []byte("old"))
	if left := leftovers(dir); len(left) > 0 {
		t.Errorf("left behind %q", left)
	}

	// Not even .tinybackup.
	dir = mountTmpfs(t, "size=1m,nr_inodes=1")
	_, err = openDir(t, dir).Create(t.Context(), "a")
	wantIs(t, "Create", err, syscall.ENOSPC)
}

func TestReadOnly(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir := mountTmpfs(t, "size=1m")
	l := openDir(t, dir)
	ctx := t.Context()
	put(t, l, "a-1", []byte("old"))
	if err := errors.Join(l.WriteSide(ctx, "a-1", []byte("side")),
		l.SetSums(ctx, map[string]string{"a-1": digestOf([]byte("old"))}, nil)); err != nil {
		t.Fatal(err)
	}
	p := create(t, l, "a-2")
	p.Write([]byte("new"))
	settle(t, p)
	run(t, "mount", "-o", "remount,ro", dir)

	// In mid run.
	err := p.Commit()
	wantIs(t, "Commit", err, syscall.EROFS)
	wantHint(t, err, "read-only")
	wantIs(t, "Close", p.Close(), syscall.EROFS)

	// From the start: what reads works, what writes says why not.
	l = openDir(t, dir)
	wantNames(t, l, "a-1")
	wantArchive(t, l, "a-1", []byte("old"))
	if got, err := l.ReadSide(ctx, "a-1"); err != nil || string(got) != "side" {
		t.Errorf("ReadSide: got %q, %v", got, err)
	}
	if got, err := l.ListSide(ctx); err != nil || len(got) != 1 {
		t.Errorf("ListSide: got %q, %v", got, err)
	}
	if got, err := l.Sums(ctx); err != nil || len(got) != 1 {
		t.Errorf("Sums: got %v, %v", got, err)
	}
	for op, err := range map[string]error{
		"Writable":   l.Writable(ctx),
		"Create":     second(l.Create(ctx, "a-2")),
		"Remove":     l.Remove(ctx, "a-1"),
		"WriteSide":  l.WriteSide(ctx, "a-1", nil),
		"RemoveSide": l.RemoveSide(ctx, "a-1"),
		"SetSums":    l.SetSums(ctx, nil, []string{"a-1"}),
		"Lock":       second(l.Lock(ctx, "a", Holder{}, 0)),
		"Sweep":      second(l.Sweep(ctx, anyName)),
	} {
		wantIs(t, op, err, syscall.EROFS)
		wantHint(t, err, "read-only")
	}

	run(t, "mount", "-o", "remount,rw", dir)
	if got, err := l.Sweep(ctx, anyName); err != nil || len(got) != 1 {
		t.Errorf("Sweep: got %q, %v; want the partial that Close could not remove", got, err)
	}
	wantNames(t, l, "a-1")
}

// The disk goes away, or another comes: nothing is known, nothing is written.
func TestUnmounted(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir := mountTmpfs(t, "size=1m")
	l := openDir(t, dir)
	ctx := t.Context()
	put(t, l, "a-1", []byte("old"))
	p := create(t, l, "a-2")
	p.Write([]byte("new"))
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	for op, err := range map[string]error{
		"Commit":    p.Commit(),
		"List":      second(l.List(ctx)),
		"Open":      second(l.Open(ctx, "a-1")),
		"Create":    second(l.Create(ctx, "a-3")),
		"Remove":    l.Remove(ctx, "a-1"),
		"ReadSide":  second(l.ReadSide(ctx, "a-1")),
		"WriteSide": l.WriteSide(ctx, "a-1", nil),
		"ListSide":  second(l.ListSide(ctx)),
		"Sums":      second(l.Sums(ctx)),
		"SetSums":   l.SetSums(ctx, map[string]string{"a-1": digestOf(nil)}, nil),
		"Lock":      second(l.Lock(ctx, "a", Holder{}, 0)),
		"Sweep":     second(l.Sweep(ctx, anyName)),
		"Free":      second(l.Free(ctx)),
		"Writable":  l.Writable(ctx),
	} {
		wantIs(t, op, err, errMoved)
		wantHint(t, err, "mounted")
	}
	p.Close()
	if got := tree(t, dir); len(got) > 0 {
		t.Errorf("where the disk was mounted: got %q, want nothing written", got)
	}
}

// Permissions, which say nothing to root: seen by a thread with the file system identity
// of somebody else (setfsuid(2)), which ends with the goroutine that is locked to it.
func TestNotAllowed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("taking another identity needs root")
	}
	t.Parallel()
	ctx := t.Context()
	l := openDir(t, t.TempDir())
	put(t, l, "a", []byte("a"))
	bare, unreadable := openDir(t, t.TempDir()), openDir(t, t.TempDir())
	put(t, unreadable, "a", []byte("a"))
	for dir, mode := range map[string]fs.FileMode{
		filepath.Dir(l.dir): 0o755, l.dir: 0o755, bare.dir: 0o755, unreadable.dir: 0o711,
	} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			t.Error(err)
			return
		}
		wantNames(t, l, "a")
		for op, err := range map[string]error{
			"Writable":                 l.Writable(ctx),
			"Writable, no .tinybackup": bare.Writable(ctx),
			"Create":                   second(l.Create(ctx, "b")),
			"Create, no .tinybackup":   second(bare.Create(ctx, "b")),
			"Open":                     second(l.Open(ctx, "a")),
			"Remove":                   l.Remove(ctx, "a"),
			"ReadSide":                 second(l.ReadSide(ctx, "a")),
			"ListSide":                 second(l.ListSide(ctx)),
			"Sweep":                    second(l.Sweep(ctx, anyName)),
			"Lock":                     second(l.Lock(ctx, "a", Holder{}, 0)),
			"List":                     second(unreadable.List(ctx)),
		} {
			wantIs(t, op, err, fs.ErrPermission)
			wantHint(t, err, "ls -ld")
		}
	}()
	<-done
	wantNames(t, l, "a")
}

// Attributes that stop even root: an error, and nothing is lost.
func TestAttributes(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	need(t, "chattr")
	_, dir := mountImage(t, "ext4", 16<<20, "rw")
	l := openDir(t, dir)
	ctx := t.Context()
	put(t, l, "a-1", []byte("old"))
	put(t, l, "a-2", []byte("newer"))
	if err := l.SetSums(ctx, map[string]string{"a-1": digestOf([]byte("old"))}, nil); err != nil {
		t.Fatal(err)
	}

	run(t, "chattr", "+i", l.path("a-1"))
	err := l.Remove(ctx, "a-1")
	wantIs(t, "Remove of an immutable archive", err, syscall.EPERM)
	wantHint(t, err, "lsattr")
	wantNames(t, l, "a-1", "a-2")
	run(t, "chattr", "-i", l.path("a-1"))

	// An append-only destination takes new archives, and gives none away.
	run(t, "chattr", "+a", dir)
	put(t, l, "a-3", []byte("newest"))
	wantIs(t, "Remove from an append-only directory", l.Remove(ctx, "a-1"), syscall.EPERM)
	wantIs(t, "SetSums", l.SetSums(ctx, nil, []string{"a-1"}), syscall.EPERM)
	if got, err := l.Sums(ctx); err != nil || len(got) != 1 {
		t.Errorf("Sums: got %v, %v", got, err)
	}
	run(t, "chattr", "-a", dir)

	run(t, "chattr", "+i", dir)
	p := create(t, l, "a-4")
	p.Write([]byte("x"))
	wantIs(t, "Commit to an immutable directory", p.Commit(), syscall.EPERM)
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	run(t, "chattr", "-i", dir)
	wantArchive(t, l, "a-1", []byte("old"))
	wantNames(t, l, "a-1", "a-2", "a-3")
	if left := leftovers(dir); len(left) > 0 {
		t.Errorf("left behind %q", left)
	}
}
