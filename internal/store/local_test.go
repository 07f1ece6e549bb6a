package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOpenLocalErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, "x")
	for _, c := range []struct {
		dir, want, hint string
		is              error
	}{
		{dir + "/it's not", `open destination "` + dir + `/it's not": no such file or directory`,
			`mkdir -p '` + dir + `/it'\''s not'`, fs.ErrNotExist},
		{file, `open destination "` + file + `": not a directory`, "a destination is a directory", syscall.ENOTDIR},
		{file + "/below", `open destination "` + file + `/below": not a directory`, "", syscall.ENOTDIR},
		{"", `open destination "": invalid argument`, "", fs.ErrInvalid},
	} {
		_, err := OpenLocal(c.dir)
		var e *Error
		if !errors.As(err, &e) || err.Error() != c.want || !errors.Is(err, c.is) {
			t.Errorf("OpenLocal(%q): got %v, want %v", c.dir, err, c.want)
			continue
		}
		if got := e.Hint(); !strings.Contains(got, c.hint) {
			t.Errorf("OpenLocal(%q): got hint %q, want it to contain %q", c.dir, got, c.hint)
		}
	}
}

// Reading creates nothing; and what is created is for its owner alone.
func TestWhatIsCreated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := openDir(t, dir)
	ctx := t.Context()
	l.List(ctx)
	l.Open(ctx, "a")
	l.Remove(ctx, "a")
	l.ReadSide(ctx, "a")
	l.RemoveSide(ctx, "a")
	l.ListSide(ctx)
	l.Sums(ctx)
	l.SetSums(ctx, nil, nil)
	l.Sweep(ctx, anyName)
	l.Free(ctx)
	if err := l.Writable(ctx); err != nil {
		t.Errorf("Writable: %v", err)
	}
	if got := tree(t, dir); len(got) != 0 {
		t.Errorf("after reading: got %q, want nothing created", got)
	}

	create(t, l, "pending").Write([]byte("x"))
	put(t, l, "a", []byte("a"))
	if _, err := l.Lock(ctx, "lock", Holder{}, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.WriteSide(ctx, "a", []byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := l.SetSums(ctx, map[string]string{"a": digestOf([]byte("a"))}, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{
		".tinybackup drwx------",
		".tinybackup/a -rw-------",
		".tinybackup/lock.series.lock -rw-------",
		".tinybackup/pending.partial -rw-------",
		".tinybackup/sums.lock -rw-------",
		"SHA256SUMS -rw-------",
		"a -rw-------",
	}
	if got := tree(t, dir); !slices.Equal(got, want) {
		t.Errorf("created: got %q, want %q", got, want)
	}
	if err := l.SetSums(ctx, nil, []string{"a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(l.path(sumsName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SHA256SUMS without a line: got %v, want it removed", err)
	}
	if err := l.Writable(ctx); err != nil {
		t.Errorf("Writable: %v", err)
	}
}

func TestListOnlyPlainFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := openDir(t, dir)
	put(t, l, "archive", []byte("12345"))
	write(t, l.path("foreign"), strings.Repeat("x", 10_000))
	write(t, l.path(sumsName), "")
	mkfifo(t, l.path("fifo"))
	symlink(t, l.path("archive"), l.path("link"))
	symlink(t, l.path("nowhere"), l.path("dangling"))
	if err := os.MkdirAll(l.path("sub/below"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(l.path("archive"), 1<<20); err != nil { // a hole
		t.Fatal(err)
	}
	wantNames(t, l, "archive", "foreign")
	objects, _ := l.List(t.Context())
	for _, o := range objects {
		info, err := os.Lstat(l.path(o.Name))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if o.Size != info.Size() || !o.ModTime.Equal(info.ModTime()) || o.Allocated != int64(st.Blocks)*512 {
			t.Errorf("%s: got %+v, want size %d, time %v, %d blocks", o.Name, o, info.Size(), info.ModTime(), st.Blocks)
		}
		if o.Name == "archive" && o.Allocated >= o.Size {
			t.Errorf("%s: got %d bytes allocated of %d, want the hole left out", o.Name, o.Allocated, o.Size)
		}
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if dev, ino := openDir(t, dir).ID(); dev != uint64(st.Dev) || ino != st.Ino {
		t.Errorf("ID: got %d, %d; want %d, %d", dev, ino, st.Dev, st.Ino)
	}
}

// A killed run leaves a partial archive and a free lock.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	ctx := t.Context()
	put(t, l, "a-1", []byte("old"))
	before := tree(t, l.dir)
	cmd, line := start(t, "write", "DIR="+l.dir)
	if got := line(); got != "writing" {
		t.Fatalf("child: got %q", got)
	}
	kill(t, cmd)
	if info, err := os.Stat(l.side("a-2.partial")); err != nil || info.Size() != 400_000 {
		t.Fatalf("partial: got %v, %v; want 400000 bytes", info, err)
	}
	wantNames(t, l, "a-1")
	unlock, err := l.Lock(ctx, "a", Holder{}, 0)
	if err != nil {
		t.Fatalf("Lock after a kill: %v", err)
	}
	defer unlock()
	got, err := l.Sweep(ctx, func(name string) bool { return strings.HasPrefix(name, "a-") })
	if err != nil || !slices.Equal(got, []string{"a-2.partial"}) {
		t.Errorf("Sweep: got %q, %v", got, err)
	}
	after := slices.DeleteFunc(tree(t, l.dir), func(s string) bool { return strings.Contains(s, ".lock") })
	if !slices.Equal(after, before) {
		t.Errorf("after Sweep: got %q, want %q", after, before)
	}
	wantArchive(t, l, "a-1", []byte("old"))
}

func TestLockedErrorSays(t *testing.T) {
	t.Parallel()
	at := func(day, hour int) time.Time { return time.Date(2026, 11, day, hour, 30, 0, 0, time.Local) }
	for _, c := range []struct {
		err  LockedError
		want string
	}{
		{LockedError{Holder: Holder{PID: 123, Host: "nas", Since: at(21, 2)}, Asked: at(21, 4)},
			"another run holds the lock: pid 123 on nas since 02:30"},
		{LockedError{Holder: Holder{PID: 123, Host: "nas", Since: at(20, 2)}, Asked: at(21, 4)},
			"another run holds the lock: pid 123 on nas since 2026-11-20 02:30"},
		{LockedError{Holder: Holder{PID: 123, Host: "nas"}}, "another run holds the lock: pid 123 on nas"},
		{LockedError{}, "another run holds the lock"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
