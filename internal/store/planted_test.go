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
)

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

// A link that appears right after a stale partial was removed is not written through.
func TestPlantedInBetween(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	victim := filepath.Join(t.TempDir(), "victim")
	write(t, victim, "precious")
	l.calls.remove = func(path string) error {
		os.Remove(path)
		symlink(t, victim, path)
		return nil
	}
	wantIs(t, "Create", second(l.Create(t.Context(), "a")), fs.ErrExist)
	wantIs(t, "WriteSide", l.WriteSide(t.Context(), "a", []byte("x")), fs.ErrExist)
	if got := read(t, victim); got != "precious" {
		t.Errorf("the file that the link points to: got %q, want it untouched", got)
	}
}

// A .tinybackup that is not ours to fill or to sweep.
func TestSideDirIsNone(t *testing.T) {
	t.Parallel()
	elsewhere := t.TempDir()
	write(t, filepath.Join(elsewhere, "a.partial"), "precious")
	for _, plant := range []func(l *Local){
		func(l *Local) { symlink(t, elsewhere, l.path(SideDir)) },
		func(l *Local) { write(t, l.path(SideDir), "") },
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
		if err := os.Remove(l.side(name + PartialSuffix)); err != nil {
			t.Fatal(err)
		}
		write(t, l.side(name+PartialSuffix), "forged")
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

// In a directory like /tmp, what others put there is none of ours: no archive that
// rotation counts, and no .tinybackup in which they could exchange what we write.
func TestPlantedByOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving files away needs root")
	}
	t.Parallel()
	const other = 65534
	for _, mode := range []fs.FileMode{0o777 | fs.ModeSticky, 0o755} {
		shared := mode&fs.ModeSticky != 0
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		l := openDir(t, dir)
		put(t, l, "a", []byte("a"))
		write(t, l.path("b"), "b")
		if err := errors.Join(os.Chown(l.path("b"), other, other), l.SetSums(t.Context(), map[string]string{"a": digestOf([]byte("a"))}, nil)); err != nil {
			t.Fatal(err)
		}
		if shared {
			wantNames(t, l, "a")
		} else {
			wantNames(t, l, "a", "b")
		}
		if err := errors.Join(os.Chmod(l.path(sumsName), 0o666), os.Chown(l.path(sumsName), other, other)); err != nil {
			t.Fatal(err)
		}
		if err := l.SetSums(t.Context(), map[string]string{"a": digestOf([]byte("x"))}, nil); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(l.path(sumsName))
		if err != nil || (info.Mode().Perm() == 0o600) != shared {
			t.Errorf("SHA256SUMS, shared %v: %v, %v", shared, info.Mode(), err)
		}
		// Root's run leaves the file to the user whose it was.
		if got := uidOf(info); (got == 0) != shared {
			t.Errorf("SHA256SUMS, shared %v, belongs to %d", shared, got)
		}
		if err := os.Chown(l.side(""), other, other); err != nil {
			t.Fatal(err)
		}
		for op, err := range map[string]error{
			"Create":    second(l.Create(t.Context(), "c")),
			"Lock":      second(l.Lock(t.Context(), "c", Holder{PID: 1}, 0)),
			"WriteSide": l.WriteSide(t.Context(), "c", nil),
			"ListSide":  second(l.ListSide(t.Context())),
		} {
			if shared {
				wantIs(t, op, err, errPlanted)
				wantHint(t, err, "somebody made this first")
			} else if err != nil {
				t.Errorf("%s: %v", op, err)
			}
		}
	}
}
