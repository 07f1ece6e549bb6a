package storetest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/store"
)

// testFind has a destination find those below it, as hosts that share a server have
// one each.
func testFind(t *testing.T, s store.Store) {
	ctx := t.Context()
	if found, err := s.Find(ctx, ".status"); err != nil || len(found) != 0 {
		t.Errorf("Find where nothing is: got %v, %v", found, err)
	}
	now, err := s.Now(ctx)
	if err != nil {
		now = time.Now()
	}
	want := []string{": a.status b.status", "one: a.status", "two/deep: c.status"}
	for _, line := range append(want, "three: d.other") {
		below, sides, _ := strings.Cut(line, ": ")
		at := destBelow(t, s, below)
		for _, name := range strings.Fields(sides) {
			if err := at.WriteSide(ctx, name, []byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		if err := at.WriteSide(ctx, "notes.manifest", nil); err != nil {
			t.Fatal(err)
		}
		Put(t, at, "notes", []byte(below))
		unlock, err := at.Lock(ctx, "a.status", store.Holder{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
	}
	found, err := s.Find(ctx, ".status")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		line := f.Below + ":"
		for _, o := range f.Sides {
			line += " " + o.Name
			if age := o.ModTime.Sub(now); age < -time.Hour || age > time.Hour || o.Size == 0 {
				t.Errorf("%s %s: got %d bytes of %v; by the clock there it is %v", f.Below, o.Name, o.Size, o.ModTime, now)
			}
		}
		got = append(got, line)
		at, err := s.At(ctx, f.Below)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := at.ReadSide(ctx, f.Sides[0].Name); err != nil || string(data) != line {
			t.Errorf("ReadSide of %s: got %q, %v", f.Below, data, err)
		}
		if err := at.Close(); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Find: got %q, want %q", got, want)
	}
	wantNames(t, s, "notes")
}

// destBelow is a destination below another one; a directory has to be made.
func destBelow(t *testing.T, s store.Store, path string) store.Store {
	t.Helper()
	if l, ok := s.(*store.Local); ok {
		if err := os.MkdirAll(filepath.Join(l.String(), path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	at, err := s.At(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
