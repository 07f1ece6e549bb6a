package store_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tinybackup/internal/store"
)

// TestLocalFind looks where a destination may be, and nowhere else; what is no
// destination, though it is called so, hides no other.
func TestLocalFind(t *testing.T) {
	t.Parallel()
	top, other := t.TempDir(), t.TempDir()
	for _, dir := range []string{"", "host", "host/a/b", "host/a/b/c", ".hidden", "host/.git", "lost+found"} {
		side := filepath.Join(top, dir, store.SideDir)
		if err := os.MkdirAll(side, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(side, "notes.status"), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, target := range map[string]string{
		"link":                               top,
		"host/a/" + store.SideDir:            filepath.Join(top, store.SideDir),
		store.SideDir + "/planted.status":    "/etc/passwd",
		"host/" + store.SideDir + "/.status": "/dev/zero",
	} {
		if err := os.Symlink(target, filepath.Join(top, path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(top, "file"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "file", store.SideDir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string][]string{top: {" notes.status", "host notes.status", "host/a/b notes.status"}, other: nil} {
		l, err := store.OpenLocal(dir)
		if err != nil {
			t.Fatal(err)
		}
		found, err := l.Find(t.Context(), ".status")
		if dir == top && (err == nil || !strings.Contains(err.Error(), "file/.tinybackup") || !strings.Contains(err.Error(), "host/a/.tinybackup")) {
			t.Errorf("what could not be looked into: got %v", err)
		} else if dir == other && err != nil {
			t.Error(err)
		}
		var got []string
		for _, f := range found {
			for _, o := range f.Sides {
				got = append(got, f.Below+" "+o.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
	}
}
