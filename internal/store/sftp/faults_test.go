package sftp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/store"
	"tinybackup/internal/store/sftp/sftptest"
	"tinybackup/internal/store/storetest"
)

func anyName(string) bool { return true }

func wantIs(t *testing.T, op string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: got error %v, want %v", op, err, target)
	}
}

// whole is what an archive holds, as read through a store.
func whole(ctx context.Context, s store.Store, name string) ([]byte, error) {
	r, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
}

// backup is what a run does to a store: it reads what is there, writes an archive that is
// partly copied from it, a sidecar and the sums, and lists.
func backup(ctx context.Context, s store.Store, data []byte) ([]store.Object, error) {
	old, err := s.Open(ctx, "old")
	if err != nil {
		return nil, err
	}
	defer old.Close()
	p, err := s.Create(ctx, "new")
	if err != nil {
		return nil, err
	}
	third := int64(len(data) / 3)
	_, err = p.Write(data[:third])
	var copied bool
	if err == nil {
		copied, err = p.CopyRange(old, third, third)
	}
	if err == nil && !copied {
		err = errors.New("nothing was copied")
	}
	if err == nil {
		_, err = p.Write(data[2*third:])
	}
	if err == nil {
		err = p.Commit()
	}
	if err = errors.Join(err, p.Close()); err != nil {
		return nil, err
	}
	if err := s.WriteSide(ctx, "new.manifest", data[:999]); err != nil {
		return nil, err
	}
	if err := s.Remove(ctx, "older"); err != nil {
		return nil, err
	}
	return s.List(ctx)
}

// TestCut cuts the connection at every so many bytes of a backup, once: then it must be taken
// up where it was, or fail without a trace; and all that is there must be right.
func TestCut(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	proxy := sftptest.NewProxy(t, s)
	ctx := t.Context()
	data := storetest.Random(1, 900_000)
	opt := options(s)

	// once does it all in a new directory, with a cut after so many bytes, negative: none.
	once := func(cut int64) (passed int64) {
		_, dir := openStore(t, s)
		for name, b := range map[string][]byte{"old": data, "older": data[:77]} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d, err := Open(ctx, s.At(proxy.Addr)+"/"+filepath.Base(dir), opt)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		st := store.NewRemote(d)
		before := proxy.Sent() + proxy.Received()
		proxy.CutAfter(cut)
		objects, err := backup(ctx, st, data)
		proxy.CutAfter(-1)
		passed = proxy.Sent() + proxy.Received() - before

		var names []string
		for _, o := range objects {
			names = append(names, o.Name)
		}
		slices.Sort(names)
		if err != nil && cut < 0 {
			t.Fatalf("without a cut: %v", err)
		} else if want := []string{"new", "old"}; err == nil && !slices.Equal(names, want) {
			t.Errorf("cut after %d bytes: got the list %q, want %q", cut, names, want)
		} else if err != nil && !strings.Contains(err.Error(), "not known whether all is on disk") {
			t.Errorf("cut after %d bytes: got %v", cut, err)
		}
		for _, name := range []string{"old", "new"} {
			got, rerr := os.ReadFile(filepath.Join(dir, name))
			if name == "new" && err != nil && errors.Is(rerr, fs.ErrNotExist) {
				continue
			}
			if rerr != nil || !bytes.Equal(got, data) {
				t.Errorf("cut after %d bytes: %s has %d bytes that are not the right %d: %v", cut, name, len(got), len(data), rerr)
			}
		}
		if _, err := st.Sweep(ctx, anyName); err != nil {
			t.Errorf("cut after %d bytes: Sweep: %v", cut, err)
		}
		if left := leftovers(t, dir); left != nil {
			t.Errorf("cut after %d bytes: left behind %q", cut, left)
		}
		return passed
	}
	all := once(-1)
	cuts := int64(16)
	if os.Getenv("TINYBACKUP_TORTURE") != "" {
		cuts = 400
	}
	for k := range cuts {
		once(k * all / cuts)
	}
	if got := proxy.Cuts(); got < cuts-1 {
		t.Errorf("got %d cuts, want %d", got, cuts)
	}
}

// TestCutList cuts while a long directory is read: a part of it must not pass for all.
func TestCutList(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	proxy := sftptest.NewProxy(t, s)
	const files = 700
	for i := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, storeName(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, s.At(proxy.Addr), options(s))
	list := func(cut int64) int64 {
		before := proxy.Received() + proxy.Sent()
		proxy.CutAfter(cut)
		objects, err := d.List(t.Context(), "")
		if err != nil || len(objects) != files {
			t.Errorf("cut after %d bytes: got %d objects, %v; want %d", cut, len(objects), err, files)
		}
		proxy.CutAfter(-1)
		return proxy.Received() + proxy.Sent() - before
	}
	all := list(-1)
	cuts := int64(20)
	if os.Getenv("TINYBACKUP_TORTURE") != "" {
		cuts = 200
	}
	for k := range cuts {
		list(k * all / cuts)
	}
}

func storeName(i int) string { return "notes-" + strings.Repeat("x", i%7) + random() }

// TestCutRead cuts while an archive is read.
func TestCutRead(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	proxy := sftptest.NewProxy(t, s)
	data := storetest.Random(2, 3<<20)
	if err := os.WriteFile(filepath.Join(s.Dir, "a"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	st := store.NewRemote(open(t, s.At(proxy.Addr), options(s)))
	for k := range int64(8) {
		proxy.CutAfter(k * int64(len(data)) / 7)
		if got, err := whole(t.Context(), st, "a"); err != nil || !bytes.Equal(got, data) {
			t.Errorf("cut %d: got %d bytes, %v; want the right %d", k, len(got), err, len(data))
		}
	}
	// A file that is another one after the cut is not read on.
	r, err := st.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.WriteFile(filepath.Join(s.Dir, "a"), data[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	_, err = r.ReadAt(make([]byte, 9), 0)
	wantIs(t, "reading what was replaced", err, errDamaged)
}

// TestKilled kills the server in mid-upload, for good.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	st := store.NewRemote(open(t, s.URL, options(s)))
	storetest.Put(t, st, "old", []byte("old"))
	p, err := st.Create(t.Context(), "new")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(storetest.Random(1, 3<<20)); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if _, err = p.Write(storetest.Random(2, 3<<20)); err == nil {
		err = p.Commit()
	}
	if err == nil || !strings.Contains(err.Error(), "the connection failed") {
		t.Errorf("after the server was killed: got %v", err)
	}
	if err := p.Close(); err == nil {
		t.Error("Close: got nil, want what was left behind")
	}
	if got, err := os.ReadFile(filepath.Join(s.Dir, "old")); err != nil || string(got) != "old" {
		t.Errorf("old: got %q, %v", got, err)
	}
	if _, err := os.Lstat(filepath.Join(s.Dir, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("new: got %v, want none", err)
	}
	if left := leftovers(t, s.Dir); len(left) != 1 {
		t.Errorf("left behind %q, want the partial archive, for Sweep", left)
	}
}

// TestSilent has the server say nothing any more: a context ends that at once, and the signs
// of life that are missing end it by themselves.
func TestSilent(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	proxy := sftptest.NewProxy(t, s)
	opt := options(s)
	d := open(t, s.At(proxy.Addr), opt)
	proxy.Silence(true)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, io.ErrNoProgress)
	defer cancel()
	_, err := d.List(ctx, "")
	wantIs(t, "List of a silent server", err, io.ErrNoProgress)
	proxy.Silence(false)
	if _, err := d.List(t.Context(), ""); err != nil {
		t.Errorf("List of one that speaks again: %v", err)
	}

	opt.KeepAlive = 150 * time.Millisecond
	d = open(t, s.At(proxy.Addr), opt)
	proxy.Silence(true)
	before := proxy.Connections()
	ended := make(chan struct{})
	go func() { // once the first connection was given up, the second one is served
		for proxy.Connections() == before {
			time.Sleep(time.Millisecond)
		}
		proxy.Silence(false)
		close(ended)
	}()
	if _, err := d.List(t.Context(), ""); err != nil {
		t.Errorf("List: %v", err)
	}
	<-ended
}

// TestSlow has an upload over a line that takes a while.
func TestSlow(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	proxy := sftptest.NewProxy(t, s)
	opt := options(s)
	opt.KeepAlive = 300 * time.Millisecond
	st := store.NewRemote(open(t, s.At(proxy.Addr), opt))
	proxy.Slow(512 << 10)
	data := storetest.Random(5, 1<<20)
	storetest.Put(t, st, "a", data)
	if got, err := whole(t.Context(), st, "a"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if got := proxy.Connections(); got != 1 {
		t.Errorf("got %d connections: a slow one was given up", got)
	}
}
