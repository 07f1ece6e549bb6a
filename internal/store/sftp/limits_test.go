package sftp

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tinybackup/internal/store"
	"tinybackup/internal/store/sftp/sftptest"
	"tinybackup/internal/store/storetest"
)

// TestFullDisk fills the server's disk.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := sftptest.StartWith(t, sftptest.Options{Tmpfs: "size=2m"})
	ctx := t.Context()
	st := store.NewRemote(open(t, s.URL, options(s)))
	storetest.Put(t, st, "old", []byte("old"))
	before, err := st.Free(ctx)
	if err != nil || before > 2<<20 || before < 1<<20 {
		t.Errorf("Free: got %d, %v; want most of 2 MiB", before, err)
	}
	p, err := st.Create(ctx, "new")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.Write(make([]byte, 3<<20)); err == nil {
		err = p.Commit()
	}
	wantIs(t, "writing to a full disk", err, syscall.ENOSPC)
	var hint interface{ Hint() string }
	if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "df -h") {
		t.Errorf("a full disk: got no hint of it: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if after, err := st.Free(ctx); err != nil || after < before-64<<10 {
		t.Errorf("Free after Close: got %d, %v; want as before, %d", after, err, before)
	}
	if err := st.WriteSide(ctx, "big", make([]byte, 3<<20)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("WriteSide to a full disk: got %v", err)
	}
	// A copy that does not fit, either.
	storetest.Put(t, st, "half", storetest.Random(1, 1200<<10))
	half, err := st.Open(ctx, "half")
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	if p, err = st.Create(ctx, "copy"); err != nil {
		t.Fatal(err)
	}
	if _, err = p.CopyRange(half, 0, half.Size()); err == nil {
		err = p.Commit()
	}
	wantIs(t, "copying to a full disk", err, syscall.ENOSPC)
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if got, err := whole(ctx, st, "old"); err != nil || string(got) != "old" {
		t.Errorf("old: got %q, %v", got, err)
	}
	if left := leftovers(t, s.See(s.Dir)); left != nil {
		t.Errorf("left behind %q", left)
	}
}

// TestAppendOnly has an account that may not remove.
func TestAppendOnly(t *testing.T) {
	t.Parallel()
	s := sftptest.StartWith(t, sftptest.Options{SFTP: "internal-sftp -P remove,rmdir"})
	ctx := t.Context()
	st := store.NewRemote(open(t, s.URL, options(s)))
	storetest.Put(t, st, "a", []byte("a"))
	if err := st.WriteSide(ctx, "a.manifest", []byte("1")); err != nil {
		t.Errorf("WriteSide: %v", err)
	}
	if err := st.WriteSide(ctx, "a.manifest", []byte("2")); err != nil {
		t.Errorf("WriteSide again: %v", err)
	}
	unlock, err := st.Lock(ctx, "a", store.Holder{}, 0)
	if err != nil {
		t.Fatalf("Lock: %v", err)
	}
	if err := unlock(); err != nil {
		t.Errorf("unlock: %v", err)
	}
	wantIs(t, "Remove", st.Remove(ctx, "a"), store.ErrRetained)
	wantIs(t, "Remove of nothing", st.Remove(ctx, "b"), fs.ErrNotExist)
	if err := st.Probe(ctx); err != nil {
		t.Errorf("Probe: %v", err)
	}
	if got, err := whole(ctx, st, "a"); err != nil || string(got) != "a" {
		t.Errorf("a: got %q, %v", got, err)
	}
}

// TestSessions has a server that grants few sessions for a connection: it does without what
// they are for.
func TestSessions(t *testing.T) {
	t.Parallel()
	for sessions, copies := range map[string]bool{"1": false, "2": false, "3": true} {
		s := sftptest.StartWith(t, sftptest.Options{Config: "MaxSessions " + sessions})
		d := open(t, s.URL, options(s))
		if got := d.Copies(t.Context()); got != copies {
			t.Errorf("%s sessions: Copies: got %v, want %v", sessions, got, copies)
		}
		storetest.Sharing(t, func(name string) store.Store {
			if err := os.Mkdir(filepath.Join(s.Dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			return store.NewRemote(d.At(name))
		})
	}
}

// TestSends has an archive of which a little is new: that is sent, and not much more.
func TestSends(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	proxy := sftptest.NewProxy(t, s)
	ctx := t.Context()
	st := store.NewRemote(open(t, s.At(proxy.Addr), options(s)))
	const mib = 1 << 20
	data := storetest.Random(9, 40*mib)
	storetest.Put(t, st, "one", data)
	first := proxy.Sent()
	if first < 40*mib {
		t.Fatalf("first: %d bytes were sent", first)
	}
	one, err := st.Open(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	p, err := st.Create(ctx, "two")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	changed := slices.Concat(data[:20*mib], storetest.Random(10, mib), data[21*mib:])
	for i := range int64(40) {
		if i == 20 {
			if _, err := p.Write(changed[20*mib : 21*mib]); err != nil {
				t.Fatal(err)
			}
		} else if ok, err := p.CopyRange(one, i*mib, mib); err != nil || !ok {
			t.Fatalf("CopyRange: got %v, %v", ok, err)
		}
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	second := proxy.Sent() - first
	t.Logf("the first archive took %d bytes, the second %d", first, second)
	if second > first/20 {
		t.Errorf("second: got %d bytes sent, want about 1 MiB", second)
	}
	if got, err := os.ReadFile(filepath.Join(s.Dir, "two")); err != nil || !bytes.Equal(got, changed) {
		t.Errorf("two: got %d bytes, %v", len(got), err)
	}
}
