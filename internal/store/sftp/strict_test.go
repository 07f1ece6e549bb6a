package sftp

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/store"
	"tinybackup/internal/store/sftp/sftptest"
	"tinybackup/internal/store/storetest"
)

// TestNoModes has a server that lets nobody change modes.
func TestNoModes(t *testing.T) {
	t.Parallel()
	s := sftptest.StartWith(t, sftptest.Options{SFTP: "internal-sftp -P setstat,fsetstat"})
	st := store.NewRemote(open(t, s.URL, options(s)))
	if err := st.WriteSide(t.Context(), "a.manifest", []byte("1")); err != nil {
		t.Errorf("WriteSide: %v", err)
	}
	storetest.Put(t, st, "a", []byte("a"))
}

// TestStrictRename has a server that renames over nothing, and cuts the connection at every so
// many bytes of replacing a file: what it held must not get lost.
func TestStrictRename(t *testing.T) {
	t.Parallel()
	s := sftptest.StartWith(t, sftptest.Options{SFTP: "internal-sftp -P posix-rename"})
	proxy := sftptest.NewProxy(t, s)
	st := store.NewRemote(open(t, s.At(proxy.Addr), options(s)))
	ctx := t.Context()
	digest := strings.Repeat("0", 64)
	set := func(cut int64) (passed int64) {
		if err := os.WriteFile(filepath.Join(s.Dir, "SHA256SUMS"), []byte(digest+"  old\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := proxy.Sent() + proxy.Received()
		proxy.CutAfter(cut)
		if err := st.SetSums(ctx, map[string]string{"new": digest}, nil); err != nil {
			t.Errorf("cut after %d bytes: %v", cut, err)
		}
		proxy.CutAfter(-1)
		passed = proxy.Sent() + proxy.Received() - before
		if got, err := st.Sums(ctx); err != nil || got["old"] == "" || got["new"] == "" {
			t.Errorf("cut after %d bytes: got %v, %v; want old and new", cut, got, err)
		}
		return passed
	}
	set(-1) // makes SideDir
	all := set(-1)
	const cuts = 40
	for k := range int64(cuts) {
		set(k * all / cuts)
	}
	if proxy.Cuts() < cuts-2 {
		t.Errorf("got %d cuts, want %d", proxy.Cuts(), cuts)
	}
}

// TestNamed has an archive whose renaming was cut off before it was done, and somebody else
// take the name.
func TestNamed(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	d := open(t, s.URL, options(s))
	ctx := t.Context()
	for _, committed := range []bool{true, false} {
		name := fmt.Sprint("a", committed)
		created, err := d.Create(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		p := created.(*pending)
		if _, err := p.Write([]byte("ours")); err != nil {
			t.Fatal(err)
		}
		p.named.Store(true)
		if _, err := d.Put(ctx, name, []byte("theirs"), store.NotThere); err != nil {
			t.Fatal(err)
		}
		if committed {
			wantIs(t, "Commit", p.Commit(), fs.ErrExist)
		} else if p.ours, err = p.look(ctx, "look at", p.file.path); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if got, err := os.ReadFile(filepath.Join(s.Dir, name)); err != nil || string(got) != "theirs" {
			t.Errorf("got %q, %v; want what is theirs", got, err)
		}
	}
}

// TestHuge has a file in the place of a sidecar that is more than any memory.
func TestHuge(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	st := store.NewRemote(open(t, s.URL, options(s)))
	if err := st.WriteSide(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(s.Dir, store.SideDir, "a"), 1<<40); err != nil {
		t.Skip(err)
	}
	if _, err := st.ReadSide(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "none of ours") {
		t.Errorf("got %v", err)
	}
}

// TestNoSFTP has servers that let one in and speak no SFTP then.
func TestNoSFTP(t *testing.T) {
	t.Parallel()
	for _, program := range []string{`/bin/sh -c "echo Welcome to this server; cat"`, "/bin/false"} {
		s := sftptest.StartWith(t, sftptest.Options{SFTP: program})
		_, err := Open(t.Context(), s.URL, options(s))
		var hint interface{ Hint() string }
		if err == nil || !strings.Contains(err.Error(), "no SFTP") || !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "print nothing") {
			t.Errorf("%s: got %v", program, err)
		}
	}
}

// TestWantSize has the times of a file that its server sets when it is closed.
func TestWantSize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	look := func(name string, size int, second int64) fs.FileInfo {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(name, make([]byte, size), 0o600), os.Chtimes(name, time.Unix(second, 0), time.Unix(second, 0))); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	held := look("held", 3, 1)
	if err := wantSize(3, held, look("named", 3, 2)); err != nil {
		t.Errorf("another time: got %v", err)
	}
	wantIs(t, "another size", wantSize(3, held, look("short", 2, 1)), errDamaged)
	wantIs(t, "too short", wantSize(4, held, held), errDamaged)
}
