package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"

	"tinybackup/internal/store"
)

// Sharing is what of the suite depends on what lies under a destination. open returns
// one of that name, which is empty.
func Sharing(t *testing.T, open func(name string) store.Store) {
	testLink(t, open("link"))
	testCopyRange(t, open("copy"))
}

func testLink(t *testing.T, s store.Store) {
	ctx := t.Context()
	Put(t, s, "a", []byte("a"))
	err := s.Link(ctx, "a", "b")
	if errors.Is(err, errors.ErrUnsupported) {
		wantNames(t, s, "a")
		return // as documented
	}
	if err != nil {
		t.Fatalf("Link: %v", err)
	}
	wantNames(t, s, "a", "b")
	wantArchive(t, s, "b", []byte("a"))
	objects, err := s.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.Own != 0 {
			t.Errorf("%s of two names: got %d bytes of its own, want none", o.Name, o.Own)
		}
	}
	Put(t, s, "c", []byte("c"))
	wantIs(t, "Link to a name taken", s.Link(ctx, "a", "c"), fs.ErrExist)
	wantIs(t, "Link of nothing", s.Link(ctx, "none", "d"), fs.ErrNotExist)
	for _, name := range []string{"", "a/b", "SHA256SUMS", ".tinybackup"} {
		for _, err := range []error{s.Link(ctx, "a", name), s.Link(ctx, name, "d")} {
			if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
				t.Errorf("Link with %q: got %v, want a refusal of the name", name, err)
			}
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	wantIs(t, "Link when cancelled", s.Link(cancelled, "a", "d"), context.Canceled)
	if err := s.Remove(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	wantNames(t, s, "b", "c")
	wantArchive(t, s, "b", []byte("a"))
	wantArchive(t, s, "c", []byte("c"))
}

// Shared or not, an archive that is put together from another one has the right bytes.
func testCopyRange(t *testing.T, s store.Store) {
	unit := s.ShareUnit(t.Context())
	step := max(unit, 4096)
	data := Random(11, int(20*step)+77)
	Put(t, s, "old", data)
	old, err := s.Open(t.Context(), "old")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	p := create(t, s, "new")
	defer p.Close()
	var want []byte
	for _, piece := range []struct {
		src    io.ReaderAt
		off, n int64
	}{
		{old, 0, 3 * step},
		{old, 5 * step, step},
		{old, 0, 3 * step},
		{old, 1, step},
		{old, 0, 0},
		{old, 7, 93},
		{old, step, step}, // begins within a block of the new one
		{old, 4 * step, step - 93},
		{bytes.NewReader(data), 2 * step, step},
		{old, 6 * step, 4 * step},
	} {
		blocks := unit > 0 && piece.off%unit == 0 && int64(len(want))%unit == 0 && piece.n%unit == 0
		shared := blocks && piece.src == io.ReaderAt(old) && piece.n > 0
		ok, err := p.CopyRange(piece.src, piece.off, piece.n)
		if err != nil || ok != shared {
			t.Errorf("CopyRange of %d from %d to %d: got %v, %v; want %v", piece.n, piece.off, len(want), ok, err, shared)
		}
		bytes := data[piece.off : piece.off+piece.n]
		if !ok {
			if _, err := p.Write(bytes); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, bytes...)
	}
	wantSettled(t, p, want)
	if ok, err := p.CopyRange(old, 0, step); ok || err == nil {
		t.Errorf("CopyRange after Settle: got %v, %v; want an error", ok, err)
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	// They share no fate.
	if err := s.Remove(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	wantArchive(t, s, "new", want)
}
