package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tinybackup/internal/store"
)

func testSidecars(t *testing.T, s store.Store) {
	ctx := t.Context()
	for _, data := range [][]byte{[]byte("first, and longer"), []byte("second"), {}, Random(7, 3<<20)} {
		for _, name := range []string{"a.json", "b", "sums", "SERIES"} {
			if err := s.WriteSide(ctx, name, data); err != nil {
				t.Fatalf("WriteSide: %v", err)
			}
			if got, err := s.ReadSide(ctx, name); err != nil || !bytes.Equal(got, data) {
				t.Errorf("ReadSide %s: got %d bytes, %v; want %d", name, len(got), err, len(data))
			}
		}
	}
	if got, err := s.ListSide(ctx); err != nil || !slices.Equal(got, []string{"SERIES", "a.json", "b", "sums"}) {
		t.Errorf("ListSide: got %q, %v", got, err)
	}
	wantNames(t, s) // they are no archives
	if err := s.RemoveSide(ctx, "b"); err != nil {
		t.Error(err)
	}
	_, err := s.ReadSide(ctx, "b")
	wantIs(t, "ReadSide", err, fs.ErrNotExist)
	if got, err := s.Sweep(ctx, anyName); err != nil || len(got) != 0 {
		t.Errorf("Sweep: got %v, %v; want nothing left", got, err)
	}
}

func testSums(t *testing.T, s store.Store) {
	ctx := t.Context()
	one, two := digestOf([]byte("1")), digestOf([]byte("2"))
	for _, step := range []struct {
		set  map[string]string
		drop []string
		want map[string]string
	}{
		{map[string]string{"a": one, "b": two}, nil, map[string]string{"a": one, "b": two}},
		{map[string]string{"a": two, "new\nline": one}, nil, map[string]string{"a": two, "b": two, "new\nline": one}},
		{map[string]string{"c": one}, []string{"a", "unknown"}, map[string]string{"b": two, "c": one, "new\nline": one}},
		{nil, nil, map[string]string{"b": two, "c": one, "new\nline": one}},
		{map[string]string{"b": one}, []string{"b"}, map[string]string{"b": one, "c": one, "new\nline": one}},
		{nil, []string{"b", "c", "new\nline"}, map[string]string{}},
		{map[string]string{"a": one}, nil, map[string]string{"a": one}},
	} {
		if err := s.SetSums(ctx, step.set, step.drop); err != nil {
			t.Fatalf("SetSums %v %v: %v", step.set, step.drop, err)
		}
		if got, err := s.Sums(ctx); err != nil || !maps.Equal(got, step.want) {
			t.Errorf("Sums: got %v, %v; want %v", got, err, step.want)
		}
	}
	wantNames(t, s)
}

func testSumsAtOnce(t *testing.T, s store.Store) {
	ctx := t.Context()
	want := map[string]string{}
	var wg sync.WaitGroup
	for i := range 8 {
		name := fmt.Sprintf("a%d", i)
		last := digestOf([]byte(name))
		want[name] = last
		wg.Go(func() {
			for _, digest := range []string{digestOf(nil), last} {
				if err := s.SetSums(ctx, map[string]string{name: digest}, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, err := s.Sums(ctx); err != nil || !maps.Equal(got, want) {
		t.Errorf("Sums: got %v, %v; want %v", got, err, want)
	}
}

func testLock(t *testing.T, s store.Store) {
	ctx := t.Context()
	me := store.Holder{PID: 1, Host: "here", Job: "3f2a91c0", Since: time.Now().Round(0)}
	unlock, err := s.Lock(ctx, "a", me, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{-1, 0, time.Millisecond} {
		_, err = s.Lock(ctx, "a", store.Holder{PID: 2, Host: "there", Since: me.Since}, wait)
		var locked *store.LockedError
		if !errors.As(err, &locked) {
			t.Fatalf("Lock when held: got %v, want a LockedError", err)
		}
		if got := locked.Holder; got.PID != 1 || got.Host != "here" || got.Job != "3f2a91c0" || !got.Since.Equal(me.Since) {
			t.Errorf("Lock when held: got holder %+v, want %+v", got, me)
		}
		want := "another run holds the lock: pid 1 on here since " + me.Since.Local().Format("15:04")
		if got := locked.Error(); got != want {
			t.Errorf("Lock when held: got %q, want %q", got, want)
		}
		if locked.Path == "" || locked.Hint() == "" {
			t.Errorf("Lock when held: got path %q, hint %q", locked.Path, locked.Hint())
		}
	}
	// Other series are free, whatever they are called; nor does a lock keep others out.
	for _, series := range []string{"b", "lock", "sums", "a.series", "a.lock", "a.series.lock", strings.Repeat("x", 200)} {
		other, err := s.Lock(ctx, series, me, 0)
		if err != nil {
			t.Fatalf("Lock of %q while %q is held: %v", series, "a", err)
		}
		defer other()
	}
	Put(t, s, "a", []byte("a"))
	if err := s.SetSums(ctx, map[string]string{"a": digestOf([]byte("a"))}, nil); err != nil {
		t.Errorf("SetSums under locks: %v", err)
	}
	for range 2 {
		if err := unlock(); err != nil {
			t.Errorf("unlock: %v", err)
		}
	}
	again, err := s.Lock(ctx, "a", me, 0)
	if err != nil {
		t.Fatalf("Lock after unlock: %v", err)
	}
	unlock() // a second time, too late: must not take the lock from the next holder
	_, err = s.Lock(ctx, "a", me, 0)
	if locked := (*store.LockedError)(nil); !errors.As(err, &locked) {
		t.Errorf("Lock after a late second unlock: got %v, want a LockedError", err)
	}
	again()
	if got, err := s.ListSide(ctx); err != nil || len(got) != 0 {
		t.Errorf("ListSide: got %q, %v; want no locks in it", got, err)
	}
}

func testLockWaits(t *testing.T, s store.Store) {
	unlock, err := s.Lock(t.Context(), "a", store.Holder{PID: 1, Host: "here"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		second, err := s.Lock(t.Context(), "a", store.Holder{PID: 2, Host: "here"}, time.Hour)
		if err == nil {
			err = second()
		}
		got <- err
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan error)
	go func() {
		_, err := s.Lock(ctx, "a", store.Holder{PID: 3, Host: "here"}, time.Hour)
		cancelled <- err
	}()
	cancel()
	wantIs(t, "cancelled while waiting", <-cancelled, context.Canceled)
	select {
	case err := <-got:
		t.Fatalf("Lock while held: got %v before unlock", err)
	default:
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("Lock after waiting: %v", err)
	}
}

func testSweep(t *testing.T, s store.Store) {
	ctx := t.Context()
	Put(t, s, "a-1", []byte("a"))
	if err := s.WriteSide(ctx, "a-1", []byte("side")); err != nil {
		t.Fatal(err)
	}
	killed := Random(3, 9<<20)                           // more than what a driver may gather before it begins anything
	for _, name := range []string{"a-2", "a-3", "b-1"} { // none is closed: killed runs
		create(t, s, name).Write(killed)
	}
	var asked []string
	got, err := s.Sweep(ctx, func(name string) bool {
		asked = append(asked, name)
		return strings.HasPrefix(name, "a-")
	})
	if err != nil || len(got) != 2 {
		t.Errorf("Sweep: got %q, %v; want two names", got, err)
	}
	slices.Sort(asked)
	if want := []string{"a-2", "a-3", "b-1"}; !slices.Equal(asked, want) {
		t.Errorf("Sweep asked about %q, want %q", asked, want)
	}
	// That of the other series is left, and what was still on its way to a service, which
	// may have begun the archive anew.
	rest, err := s.Sweep(ctx, anyName)
	if err != nil || !slices.ContainsFunc(rest, func(name string) bool { return strings.HasPrefix(name, "b-1") }) {
		t.Errorf("Sweep: got %q, %v; want the one of the other series", rest, err)
	}
	wantArchive(t, s, "a-1", []byte("a"))
	if got, err := s.ReadSide(ctx, "a-1"); err != nil || string(got) != "side" {
		t.Errorf("ReadSide after Sweep: got %q, %v", got, err)
	}
}

func testFree(t *testing.T, s store.Store) {
	n, err := s.Free(t.Context())
	if errors.Is(err, errors.ErrUnsupported) {
		return // as documented
	}
	if err != nil || n <= 0 {
		t.Errorf("Free: got %d, %v; want some", n, err)
	}
}
