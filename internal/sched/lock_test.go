package sched

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLockKeepsOthersOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "lock")
	var inside, most atomic.Int32
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			unlock, err := lockFile(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(5 * time.Millisecond)
			inside.Add(-1)
			unlock()
		})
	}
	group.Wait()
	if got := most.Load(); got != 1 {
		t.Errorf("%d held the lock at once, want 1", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the lock file: got %v, %v, want mode 0600", info, err)
	}
}

func TestLockGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lockFile(ctx, path); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), path) {
		t.Errorf("a held lock: got %v, want a deadline and the path", err)
	}
	unlock()
	again, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatalf("a released lock: %v", err)
	}
	again()
	if _, err := lockFile(t.Context(), "/dev/null/lock"); err == nil {
		t.Error("no error for an impossible path")
	}
}

// Where the file cannot be made, all take the lock of the same other thing; what passes is no reason to.
func TestLockElsewhere(t *testing.T) {
	dir := t.TempDir()
	impossible := []string{"/proc/self/no/lock", "/dev/null/lock", "/proc/none"}
	for _, path := range impossible {
		unlock, err := lockFile(t.Context(), path, "/dev/null/neither", dir, filepath.Join(dir, "not this"))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := lockFile(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: the directory is not locked: got %v", path, err)
		}
		cancel()
		unlock()
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
	if _, err := lockFile(t.Context(), strings.Repeat("x", 5000), dir); err == nil {
		t.Error("an error that is no lasting one led to another lock")
	}
	if _, err := lockFile(t.Context(), impossible[1], "/dev/null/neither"); err == nil || !strings.Contains(err.Error(), "/dev/null") {
		t.Errorf("nothing can be locked: got %v", err)
	}
}
