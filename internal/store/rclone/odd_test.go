package rclone

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
	"tinybackup/internal/store/storetest"
)

// TestMoveNothing has an rclone that says it moved what it did not, as it does in a bucket of
// what is not there.
func TestMoveNothing(t *testing.T) {
	t.Parallel()
	opt := local(t)
	opt.Program = filepath.Join(t.TempDir(), "rclone")
	if err := os.WriteFile(opt.Program, []byte("#!/bin/sh\n[ \"$1\" = moveto ] || exec rclone \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d := open(t, dir, opt)
	if _, err := d.Put(t.Context(), "SHA256SUMS", []byte("x"), ""); !errors.Is(err, errDamaged) {
		t.Errorf("Put: got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte("old one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), "SHA256SUMS", []byte("x"), ""); !errors.Is(err, errDamaged) {
		t.Errorf("Put over another one: got %v", err)
	}
	p, err := d.Create(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(); !errors.Is(err, errDamaged) {
		t.Errorf("Commit: got %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantFiles(t, dir, "SHA256SUMS")
}

// TestEnvironment has settings that are for people.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"RCLONE_VERBOSE=1", "RCLONE_QUIET=true", "RCLONE_PROGRESS=true", "RCLONE_USE_JSON_LOG=true"} {
		opt := local(t)
		opt.Env = append(opt.Env, setting)
		d, err := Open(t.Context(), "rclone:local:"+t.TempDir(), opt)
		if err != nil {
			t.Errorf("%s: %v", setting, err)
			continue
		}
		if _, err := d.Put(t.Context(), "a", []byte("x"), ""); err != nil {
			t.Errorf("%s: Put: %v", setting, err)
		}
		if got, _, err := d.Get(t.Context(), "a", -1); err != nil || string(got) != "x" {
			t.Errorf("%s: Get: got %q, %v", setting, got, err)
		}
		d.a.remote = "nosuch"
		if _, _, err := d.Get(t.Context(), "a", -1); err == nil || !strings.Contains(err.Error(), "rclone: Failed to create file system") {
			t.Errorf("%s: an error: got %v", setting, err)
		}
		d.Close()
	}
}

// TestStale has what killed runs left of what belongs to no series.
func TestStale(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	st := store.NewRemote(open(t, dir, local(t)))
	storetest.Put(t, st, "a", []byte("a"))
	for name, age := range map[string]time.Duration{"x.series.lock.abc.temp": 2 * staleAfter, "SHA256SUMS.abc.temp": 2 * staleAfter, "y.series.lock.abc.temp": 0} {
		name = filepath.Join(dir, store.SideDir, name)
		at := time.Now().Add(-age)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600), os.Chtimes(name, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := st.Sweep(t.Context(), func(string) bool { return false }); err != nil {
		t.Errorf("Sweep: %v", err)
	}
	wantFiles(t, dir, "y.series.lock.abc.temp", "a")
}

func TestLastError(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"": "",
		"2026/11/22 00:27:34 ERROR : a: Attempt 3/3 failed\n2026/11/22 00:27:35 Failed to cat: b\n":                         "Failed to cat: b",
		"2026/11/22 00:27:35 Failed to create file system: x\ncaused by: y\n":                                               "Failed to create file system: x caused by: y",
		"Error: unknown flag: --x\nUsage:\n  rclone cat\n\nUse it.\n\n2026/11/22 00:27:00 Fatal error: unknown flag: --x\n": "Fatal error: unknown flag: --x",
		"no time\nat all\n": "at all",
		"2026/11/22 00:27:35 " + fmt.Sprintf("%0600d", 0): strings.Repeat("0", 500) + "…",
	} {
		if got := lastError(said); got != want {
			t.Errorf("%q: got %q, want %q", said, got, want)
		}
	}
	err := (&Driver{}).fail("read", "a", &failed{status: 2, text: "Fatal error: unknown flag: --stat"})
	var e *store.Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "too old") || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an old rclone: got %v", err)
	}
}
