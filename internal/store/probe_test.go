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

// A probe leaves a destination as it was, empty or in use, whatever a killed one left.
func TestProbe(t *testing.T) {
	t.Parallel()
	for _, side := range []bool{false, true} {
		dir := t.TempDir()
		left := dir
		if side {
			put(t, openDir(t, dir), "s-1", []byte("archive"))
			left = filepath.Join(dir, SideDir)
		}
		before := tree(t, dir)
		write(t, filepath.Join(left, probeName), "of a killed one")
		if err := openDir(t, dir).Probe(background()); err != nil {
			t.Errorf("got %v", err)
		}
		if after := tree(t, dir); !slices.Equal(after, before) {
			t.Errorf("in the destination: got %q, want %q", after, before)
		}
	}
	// Neither through a link that somebody planted, nor where .tinybackup is no directory.
	dir := t.TempDir()
	write(t, filepath.Join(dir, "mine"), "mine")
	symlink(t, "mine", filepath.Join(dir, probeName))
	if err := openDir(t, dir).Probe(background()); err != nil || read(t, filepath.Join(dir, "mine")) != "mine" {
		t.Errorf("over a link: got %v, and the file has %q", err, read(t, filepath.Join(dir, "mine")))
	}
	write(t, filepath.Join(dir, SideDir), "a file")
	wantIs(t, "probe", openDir(t, dir).Probe(background()), syscall.ENOTDIR)
}

// Whatever call fails, the probe says so, and leaves nothing that could be removed.
func TestProbeFails(t *testing.T) {
	t.Parallel()
	for step := 0; ; step++ {
		dir := t.TempDir()
		l := openDir(t, dir)
		calls, failed := 0, ""
		l.calls = hooked(systemCalls(), func(op, path string) error {
			if calls++; calls != step+1 {
				return nil
			}
			failed = op
			return &fs.PathError{Op: op, Path: path, Err: syscall.ENOSPC}
		}, nothing)
		err := l.Probe(background())
		if failed == "" {
			if calls < 5 || err != nil {
				t.Errorf("a probe of %d calls: got %v", calls, err)
			}
			return
		}
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, syscall.ENOSPC) || e.Hint() == "" || !strings.HasPrefix(e.Path, dir) {
			t.Errorf("%s fails: got %v", failed, err)
		}
		if left, err := os.ReadDir(dir); err != nil || (len(left) > 0 && failed != "remove") {
			t.Errorf("%s fails: left %v, %v", failed, left, err)
		}
	}
}
