// Package storetest is what every store.Store must pass.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tinybackup/internal/store"
)

// Store is what every store.Store must pass. open returns a store.Store on a new, empty
// destination each time, and cleans up through t. The tests named in torture are for
// TINYBACKUP_TORTURE only: where every request takes long.
func Store(t *testing.T, open func(t *testing.T) store.Store, torture ...string) {
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"empty", testEmpty},
		{"archive", testArchive},
		{"uncommitted", testUncommitted},
		{"no replacing", testNoReplacing},
		{"order of calls", testOrder},
		{"names", testNames},
		{"cancelled", testCancelled},
		{"remove", testRemove},
		{"sidecars", testSidecars},
		{"sums", testSums},
		{"sums at once", testSumsAtOnce},
		{"archives at once", testArchivesAtOnce},
		{"lock", testLock},
		{"lock waits", testLockWaits},
		{"sweep", testSweep},
		{"free", testFree},
		{"find", testFind},
		{"link", testLink},
		{"copy range", testCopyRange},
	} {
		if slices.Contains(torture, c.name) && os.Getenv("TINYBACKUP_TORTURE") == "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
}

func testEmpty(t *testing.T, s store.Store) {
	ctx := t.Context()
	if got, err := s.List(ctx); err != nil || len(got) != 0 {
		t.Errorf("List: got %v, %v; want nothing", got, err)
	}
	if got, err := s.ListSide(ctx); err != nil || len(got) != 0 {
		t.Errorf("ListSide: got %v, %v; want nothing", got, err)
	}
	if got, err := s.Sums(ctx); err != nil || got == nil || len(got) != 0 {
		t.Errorf("Sums: got %v, %v; want an empty map", got, err)
	}
	if got, err := s.Sweep(ctx, anyName); err != nil || len(got) != 0 {
		t.Errorf("Sweep: got %v, %v; want nothing", got, err)
	}
	if err := s.SetSums(ctx, nil, []string{"a"}); err != nil {
		t.Errorf("SetSums: dropping what is not there: got %v, want nil", err)
	}
	_, err := s.Open(ctx, "a")
	wantIs(t, "Open", err, fs.ErrNotExist)
	_, err = s.ReadSide(ctx, "a")
	wantIs(t, "ReadSide", err, fs.ErrNotExist)
	wantIs(t, "Remove", s.Remove(ctx, "a"), fs.ErrNotExist)
	wantIs(t, "RemoveSide", s.RemoveSide(ctx, "a"), fs.ErrNotExist)
	if s.String() == "" {
		t.Error("String: got nothing")
	}
}

func testArchive(t *testing.T, s store.Store) {
	ctx := t.Context()
	want := map[string][]byte{}
	for i, size := range []int{0, 1, 4095, 4096, 4097, 1<<20 + 3} {
		name := fmt.Sprintf("notes-%d.tar.zst", i)
		data := Random(uint64(i), size)
		p := create(t, s, name)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 70_000)
			if got, err := p.Write(rest[:n]); err != nil || got != n {
				t.Fatalf("Write: got %d, %v; want %d", got, err, n)
			}
			rest = rest[n:]
		}
		for range 2 { // both readings must be whole
			wantSettled(t, p, data)
		}
		_, err := s.Open(ctx, name)
		wantIs(t, "Open before Commit", err, fs.ErrNotExist)
		wantNames(t, s, slices.Sorted(maps.Keys(want))...)
		if err := p.Commit(); err != nil {
			t.Fatalf("Commit: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("Close after Commit: %v", err)
		}
		want[name] = data
	}
	wantNames(t, s, slices.Sorted(maps.Keys(want))...)
	for name, data := range want {
		wantArchive(t, s, name, data)
	}
	objects, err := s.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if got, want := o.Size, int64(len(want[o.Name])); got != want {
			t.Errorf("%s: size: got %d, want %d", o.Name, got, want)
		}
		if age := time.Since(o.ModTime); age < -time.Hour || age > time.Hour {
			t.Errorf("%s: modified: got %v, want about now", o.Name, o.ModTime)
		}
		if o.Allocated < 0 || o.Size > 0 && o.Allocated == 0 {
			t.Errorf("%s: allocated: got %d of %d bytes", o.Name, o.Allocated, o.Size)
		}
	}

	// Reading at any place, and across the end.
	const name = "notes-5.tar.zst"
	r, err := s.Open(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		off, n := rnd.Int64N(r.Size()), 1+rnd.IntN(9000)
		got := make([]byte, n)
		m, err := r.ReadAt(got, off)
		wantBytes := want[name][off:min(off+int64(n), r.Size())]
		if !bytes.Equal(got[:m], wantBytes) || (m < n) != (err == io.EOF) {
			t.Errorf("ReadAt %d bytes at %d of %d: got %d, %v", n, off, r.Size(), m, err)
		}
	}
	if n, err := r.ReadAt(make([]byte, 1), r.Size()); n != 0 || err != io.EOF {
		t.Errorf("ReadAt at the end: got %d, %v; want EOF", n, err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func testUncommitted(t *testing.T, s store.Store) {
	for name, work := range map[string]func(p store.Pending){
		"untouched": func(p store.Pending) {},
		"written":   func(p store.Pending) { p.Write([]byte("half")) },
		"settled":   func(p store.Pending) { p.Write([]byte("whole")); settle(t, p) },
	} {
		p := create(t, s, name)
		work(p)
		for range 2 {
			if err := p.Close(); err != nil {
				t.Errorf("%s: Close: %v", name, err)
			}
		}
		wantNames(t, s)
		if got, err := s.Sweep(t.Context(), anyName); err != nil || len(got) != 0 {
			t.Errorf("%s: Sweep after Close: got %v, %v; want nothing left", name, got, err)
		}
	}
	// The name is free again, and a killed run (no Close) does not take it either.
	create(t, s, "written").Write([]byte("killed"))
	Put(t, s, "written", []byte("new"))
	wantArchive(t, s, "written", []byte("new"))
}

func testNoReplacing(t *testing.T, s store.Store) {
	ctx := t.Context()
	late := create(t, s, "a")
	late.Write([]byte("late"))
	settle(t, late)
	// Not under the lock, as it should be, but somebody may copy a file there.
	if p, err := s.Create(ctx, "b"); err != nil {
		t.Fatal(err)
	} else {
		p.Write([]byte("early"))
		if err := p.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := late.Commit(); err != nil {
		t.Fatal(err)
	}
	wantArchive(t, s, "a", []byte("late"))

	p, err := s.Create(ctx, "b")
	if err == nil {
		p.Write([]byte("another"))
		err = p.Commit()
		p.Close()
	}
	wantIs(t, "a name already taken", err, fs.ErrExist)
	wantArchive(t, s, "b", []byte("early"))
	if got, err := s.Sweep(ctx, anyName); err != nil || len(got) != 0 {
		t.Errorf("Sweep: got %v, %v; want nothing left", got, err)
	}
}

func testOrder(t *testing.T, s store.Store) {
	p := create(t, s, "a")
	p.Write([]byte("x"))
	if err := p.Commit(); err != nil {
		t.Fatalf("Commit without Settle: %v", err)
	}
	for op, err := range map[string]error{
		"Write after Commit":  second(p.Write([]byte("y"))),
		"Settle after Commit": second(p.Settle()),
		"Commit twice":        p.Commit(),
	} {
		if err == nil {
			t.Errorf("%s: got nil, want an error", op)
		}
	}
	p.Close()
	wantArchive(t, s, "a", []byte("x"))

	p = create(t, s, "b")
	settle(t, p)
	if _, err := p.Write([]byte("y")); err == nil {
		t.Error("Write after Settle: got nil, want an error")
	}
	p.Close()
	for op, err := range map[string]error{
		"Write after Close":  second(p.Write([]byte("y"))),
		"Settle after Close": second(p.Settle()),
		"Commit after Close": p.Commit(),
	} {
		if err == nil {
			t.Errorf("%s: got nil, want an error", op)
		}
	}
	wantNames(t, s, "a")
}

func testNames(t *testing.T, s store.Store) {
	ctx := t.Context()
	for _, name := range []string{"", ".", "..", "a/b", "/a", "../a", "a\x00b", "SHA256SUMS", ".tinybackup"} {
		errs := map[string]error{
			"Create":     second(s.Create(ctx, name)),
			"Open":       second(s.Open(ctx, name)),
			"Remove":     s.Remove(ctx, name),
			"ReadSide":   second(s.ReadSide(ctx, name)),
			"WriteSide":  s.WriteSide(ctx, name, nil),
			"RemoveSide": s.RemoveSide(ctx, name),
			"SetSums":    s.SetSums(ctx, map[string]string{name: digestOf(nil)}, nil),
			"Lock":       second(s.Lock(ctx, name, store.Holder{}, 0)),
		}
		for op, err := range errs {
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s %q: got %v, want a refusal of the name", op, name, err)
			}
		}
	}
	for _, name := range []string{"a.partial", "a.temp", "a.lock", "a.side.temp"} {
		if err := s.WriteSide(ctx, name, nil); err == nil {
			t.Errorf("WriteSide %q: got nil, want a refusal", name)
		}
	}
	if err := s.SetSums(ctx, map[string]string{"a": "beef"}, nil); err == nil {
		t.Error("SetSums with a digest that is none: got nil, want an error")
	}
	wantNames(t, s)

	// Odd but usable.
	odd := []string{"a b", "ä€", "-n", "*x", "#x", `back\slash`, "new\nline", ".hidden", "a.partial", strings.Repeat("x", 200)}
	for _, name := range odd {
		Put(t, s, name, []byte(name))
	}
	slices.Sort(odd)
	wantNames(t, s, odd...)
	for _, name := range odd {
		wantArchive(t, s, name, []byte(name))
	}
}

func testCancelled(t *testing.T, s store.Store) {
	Put(t, s, "a", []byte("old"))
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("no progress for 2h")
	written, err := s.Create(ctx, "b")
	if err != nil {
		t.Fatal(err)
	}
	settled, err := s.Create(ctx, "c")
	if err != nil {
		t.Fatal(err)
	}
	settle(t, settled)
	cancel(reason)
	for _, c := range []struct {
		op  string
		err error
	}{
		{"Write", second(written.Write([]byte("x")))},
		{"Commit", written.Commit()},
		{"Commit after Settle", settled.Commit()},
		{"List", second(s.List(ctx))},
		{"Create", second(s.Create(ctx, "d"))},
		{"Open", second(s.Open(ctx, "a"))},
		{"Remove", s.Remove(ctx, "a")},
		{"ReadSide", second(s.ReadSide(ctx, "a"))},
		{"WriteSide", s.WriteSide(ctx, "a", nil)},
		{"RemoveSide", s.RemoveSide(ctx, "a")},
		{"ListSide", second(s.ListSide(ctx))},
		{"Sums", second(s.Sums(ctx))},
		{"SetSums", s.SetSums(ctx, map[string]string{"a": digestOf(nil)}, nil)},
		{"Lock", second(s.Lock(ctx, "a", store.Holder{}, 0))},
		{"Sweep", second(s.Sweep(ctx, anyName))},
	} {
		wantIs(t, c.op, c.err, reason)
	}
	for _, p := range []store.Pending{written, settled} {
		if err := p.Close(); err != nil {
			t.Errorf("Close when cancelled: %v", err)
		}
	}
	wantNames(t, s, "a")
	if got, err := s.Sweep(t.Context(), anyName); err != nil || len(got) != 0 {
		t.Errorf("Sweep: got %v, %v; want nothing left", got, err)
	}
}

func testRemove(t *testing.T, s store.Store) {
	Put(t, s, "a", []byte("a"))
	Put(t, s, "b", []byte("b"))
	if err := s.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	wantNames(t, s, "b")
	wantIs(t, "Remove again", s.Remove(t.Context(), "a"), fs.ErrNotExist)
	Put(t, s, "a", []byte("again"))
	wantArchive(t, s, "a", []byte("again"))
}

func testArchivesAtOnce(t *testing.T, s store.Store) {
	var names []string
	var wg sync.WaitGroup
	for i := range 6 {
		name := fmt.Sprintf("series%d", i)
		names = append(names, name)
		wg.Go(func() {
			p, err := s.Create(t.Context(), name)
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			p.Write(Random(uint64(i), 200_000))
			if err := p.Commit(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantNames(t, s, names...)
	for i, name := range names {
		wantArchive(t, s, name, Random(uint64(i), 200_000))
	}
}
