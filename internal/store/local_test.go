package store

import (
	"context"
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

func background() context.Context { return context.Background() }

func TestLocal(t *testing.T) {
	testStore(t, func(t *testing.T) Store { return openDir(t, t.TempDir()) })
}

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

// Nothing waits for a FIFO, follows a symbolic link, or takes either for an archive.
func TestPlanted(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), t.TempDir()
	l := openDir(t, dir)
	ctx := t.Context()
	put(t, l, "a", []byte("a"))
	victim := filepath.Join(elsewhere, "victim")
	write(t, victim, "precious")

	symlink(t, victim, l.side("b.partial"))
	symlink(t, victim, l.side("b.side.temp"))
	symlink(t, victim, l.side("sums.temp"))
	symlink(t, victim, l.side("swept.partial"))
	symlink(t, victim, l.side("locked.series.lock"))
	symlink(t, victim, l.side("read"))
	symlink(t, victim, l.path("taken"))
	symlink(t, filepath.Join(elsewhere, "none"), l.path("dangling"))
	mkfifo(t, l.path("fifo"))
	mkfifo(t, l.side("fifo"))
	mkfifo(t, l.side("fifo.partial"))
	if err := os.Mkdir(l.path("dir"), 0o755); err != nil {
		t.Fatal(err)
	}

	put(t, l, "b", []byte("b"))
	if err := l.WriteSide(ctx, "b", []byte("side")); err != nil {
		t.Error(err)
	}
	if err := l.WriteSide(ctx, "read", []byte("replaced")); err != nil {
		t.Error(err)
	}
	if err := l.SetSums(ctx, map[string]string{"b": digestOf([]byte("b"))}, nil); err != nil {
		t.Error(err)
	}
	if got, err := l.Sweep(ctx, anyName); err != nil || !slices.Equal(got, []string{"fifo.partial", "swept.partial"}) {
		t.Errorf("Sweep: got %q, %v", got, err)
	}
	for _, c := range []struct {
		op  string
		err error
		is  error
	}{
		{"Create on a link", second(l.Create(ctx, "taken")), fs.ErrExist},
		{"Create on a dangling link", second(l.Create(ctx, "dangling")), fs.ErrExist},
		{"Open a link", second(l.Open(ctx, "taken")), errNotRegular},
		{"Open a FIFO", second(l.Open(ctx, "fifo")), errNotRegular},
		{"Open a directory", second(l.Open(ctx, "dir")), errNotRegular},
		{"Remove a link", l.Remove(ctx, "taken"), errNotRegular},
		{"Remove a FIFO", l.Remove(ctx, "fifo"), errNotRegular},
		{"Remove a directory", l.Remove(ctx, "dir"), errNotRegular},
		{"ReadSide of a FIFO", second(l.ReadSide(ctx, "fifo")), errNotRegular},
		{"Lock through a link", second(l.Lock(ctx, "locked", Holder{PID: 1}, 0)), syscall.ELOOP},
	} {
		wantIs(t, c.op, c.err, c.is)
	}

	// SHA256SUMS as a FIFO, a link, a directory: an error, and it stays.
	for _, plant := range []func(){
		func() { mkfifo(t, l.path(sumsName)) },
		func() { symlink(t, victim, l.path(sumsName)) },
		func() { os.Mkdir(l.path(sumsName), 0o755) },
	} {
		os.Remove(l.path(sumsName))
		plant()
		wantIs(t, "Sums", second(l.Sums(ctx)), errNotRegular)
		wantIs(t, "SetSums", l.SetSums(ctx, map[string]string{"b": digestOf(nil)}, nil), errNotRegular)
	}
	if got := read(t, victim); got != "precious" {
		t.Errorf("the file that links point to: got %q, want it untouched", got)
	}
	wantArchive(t, l, "a", []byte("a"))
	wantArchive(t, l, "b", []byte("b"))
}

// A .tinybackup that is not ours to fill or to sweep.
func TestSideDirIsNone(t *testing.T) {
	t.Parallel()
	elsewhere := t.TempDir()
	write(t, filepath.Join(elsewhere, "a.partial"), "precious")
	for _, plant := range []func(l *Local){
		func(l *Local) { symlink(t, elsewhere, l.path(sideName)) },
		func(l *Local) { write(t, l.path(sideName), "") },
	} {
		l := openDir(t, t.TempDir())
		plant(l)
		ctx := t.Context()
		for op, err := range map[string]error{
			"Create":     second(l.Create(ctx, "a")),
			"WriteSide":  l.WriteSide(ctx, "a", nil),
			"ReadSide":   second(l.ReadSide(ctx, "a")),
			"RemoveSide": l.RemoveSide(ctx, "a"),
			"ListSide":   second(l.ListSide(ctx)),
			"SetSums":    l.SetSums(ctx, map[string]string{"a": digestOf(nil)}, nil),
			"Lock":       second(l.Lock(ctx, "a", Holder{}, 0)),
			"Sweep":      second(l.Sweep(ctx, anyName)),
		} {
			wantIs(t, op, err, syscall.ENOTDIR)
			var e *Error
			if errors.As(err, &e) && e.Hint() == "" {
				t.Errorf("%s: no hint for %v", op, err)
			}
		}
	}
	if got := tree(t, elsewhere); len(got) != 1 || !strings.HasPrefix(got[0], "a.partial ") {
		t.Errorf("where the link points: got %q", got)
	}
}

// What was verified is what gets the name.
func TestPartialReplaced(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	swap := func(name string) {
		if err := os.Remove(l.side(name + partialSuffix)); err != nil {
			t.Fatal(err)
		}
		write(t, l.side(name+partialSuffix), "forged")
	}
	p := create(t, l, "a")
	defer p.Close()
	p.Write([]byte("x"))
	settle(t, p)
	swap("a")
	wantIs(t, "Commit", p.Commit(), errReplaced)
	p = create(t, l, "b")
	defer p.Close()
	swap("b")
	wantIs(t, "Settle", second(p.Settle()), errReplaced)
	wantIs(t, "Commit", p.Commit(), errReplaced)
	p = create(t, l, "c")
	defer p.Close()
	os.Remove(l.side("c.partial"))
	wantIs(t, "Commit", p.Commit(), fs.ErrNotExist)
	wantNames(t, l)

	// Bytes that went missing in between.
	p = create(t, l, "d")
	defer p.Close()
	p.Write([]byte("12345"))
	if err := os.Truncate(l.side("d.partial"), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Settle(); err == nil || !strings.Contains(err.Error(), "has 3 bytes, not the 5 written") {
		t.Errorf("Settle of a shortened file: got %v", err)
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

// A second link that was left of an archive (see publish) goes, the archive stays.
func TestSweepSecondLink(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	put(t, l, "a", []byte("a"))
	if err := os.Link(l.path("a"), l.side("a.partial")); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Sweep(t.Context(), anyName); err != nil || len(got) != 1 {
		t.Errorf("Sweep: got %q, %v", got, err)
	}
	wantArchive(t, l, "a", []byte("a"))
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
		{LockedError{}, "another run holds the lock"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// tree lists all below dir, with modes, sorted.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		names = append(names, rel+" "+info.Mode().String())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func symlink(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}
