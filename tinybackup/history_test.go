package tinybackup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	h := History{dir: filepath.Join(t.TempDir(), "state", "id")}
	if got, err := h.Last(-1); err != nil || len(got) != 0 {
		t.Errorf("before the first run: got %v, %v, want none", got, err)
	}
	if _, found, err := h.LastStored(); found || err != nil {
		t.Errorf("before the first run: found %v, %v, want none", found, err)
	}
	start := time.Date(2026, 11, 21, 2, 30, 0, 5, time.UTC)
	entries := []HistoryEntry{
		{Slot: start, Start: start, End: start.Add(time.Second), Result: ResultOK, Archive: "a", Read: 1, Raw: 2, Written: 3, Entries: 4, Removed: 5},
		{Start: start, End: start, Result: ResultWarnings, Exit: 3, Archive: "b", Warnings: 2, First: []string{"x\ny", "z"}},
		{Start: start, End: start, Result: ResultFailed, Exit: 1, Error: "no such file"},
		{Start: start, End: start, Result: ResultSkipped, Exit: 4, Error: "busy"},
	}
	for _, e := range entries {
		if err := h.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.Last(-1)
	if err != nil || !reflect.DeepEqual(got, entries) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, entries)
	}
	got, err = h.Last(2)
	if err != nil || !reflect.DeepEqual(got, entries[2:]) {
		t.Errorf("the last two: got %+v, %v", got, err)
	}
	if e, found, err := h.LastStored(); err != nil || !found || e.Archive != "b" {
		t.Errorf("last stored: got %+v, %v, %v, want b", e, found, err)
	}
	if info, err := os.Stat(h.path()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v, want 0600", info.Mode(), err)
	}
}

// A power cut may tear the last line off anywhere; what follows must not be lost.
func TestHistoryTornLine(t *testing.T) {
	t.Parallel()
	whole := History{dir: t.TempDir()}
	for _, archive := range []string{"a", "b"} {
		if err := whole.Append(HistoryEntry{Result: ResultOK, Archive: archive}); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(whole.path())
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Index(string(text), "\n") + 1
	for cut := first; cut <= len(text); cut++ {
		h := History{dir: t.TempDir()}
		if err := os.WriteFile(h.path(), text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.Append(HistoryEntry{Result: ResultOK, Archive: "c"}); err != nil {
			t.Fatal(err)
		}
		got, err := h.Last(-1)
		if err != nil || len(got) < 2 || got[0].Archive != "a" || got[len(got)-1].Archive != "c" {
			t.Fatalf("cut after %d bytes: got %+v, %v, want a first and c last", cut, got, err)
		}
	}
}

func TestHistoryIsCutBack(t *testing.T) {
	t.Parallel()
	h := History{dir: t.TempDir()}
	var b strings.Builder
	for i := range historyMax - 2 {
		fmt.Fprintf(&b, `{"result":"ok","archive":"%d"}`+"\n", i)
	}
	if err := os.WriteFile(h.path(), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{historyMax - 1, historyKeep, historyKeep + 1} {
		if err := h.Append(HistoryEntry{Result: ResultOK, Archive: fmt.Sprint("new ", i)}); err != nil {
			t.Fatal(err)
		}
		got, err := h.Last(-1)
		if err != nil || len(got) != want || got[len(got)-1].Archive != fmt.Sprint("new ", i) {
			t.Fatalf("after %d more: got %d entries, %v, want %d, the new one last", i+1, len(got), err, want)
		}
	}
}

// A skipped run writes its line while the one that is going on writes its own.
func TestHistoryTogether(t *testing.T) {
	t.Parallel()
	h := History{dir: t.TempDir()}
	const writers, each = 8, 10
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				if err := h.Append(HistoryEntry{Result: ResultOK}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got, err := h.Last(-1); err != nil || len(got) != writers*each {
		t.Errorf("got %d entries, %v, want %d", len(got), err, writers*each)
	}
}

func FuzzHistory(f *testing.F) {
	f.Add([]byte(`{"result":"ok"}` + "\n"))
	f.Add([]byte("\n\n{"))
	f.Add([]byte(`{"result":"ok","start":"x"}` + "\n" + `[]` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h := History{dir: t.TempDir()}
		if err := os.WriteFile(h.path(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := h.Last(-1)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Append(HistoryEntry{Result: ResultOK, Archive: "new"}); err != nil {
			t.Fatal(err)
		}
		// A torn line that is whole but for its newline counts from now on.
		after, err := h.Last(-1)
		if err != nil || len(after) < min(len(before), historyKeep-1)+1 || after[len(after)-1].Archive != "new" {
			t.Errorf("got %d entries after %d, %v", len(after), len(before), err)
		}
	})
}

func TestLockFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "dir", "lock")
	if _, locked := isLocked(path); locked {
		t.Error("a lock that never was is locked")
	}
	lock, err := lockFile(t.Context(), path, "the test", 0)
	if err != nil {
		t.Fatal(err)
	}
	if pid, locked := isLocked(path); !locked || pid != os.Getpid() {
		t.Errorf("got process %d, %v, want %d, true", pid, locked, os.Getpid())
	}
	_, err = lockFile(t.Context(), path, "the test", 0)
	if want := fmt.Sprintf("the test is already going on (process %d)", os.Getpid()); err == nil || err.Error() != want || exitStatus(t.Context(), err) != exitBusy {
		t.Errorf("a second time: got %v, want %q", err, want)
	}
	// A child that outlives its parent must not keep the parent's lock.
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, locked := isLocked(path); locked {
		t.Error("still locked")
	}
	lock, err = lockFile(t.Context(), path, "the test", 0)
	if err != nil {
		t.Fatal(err)
	}
	// Who waits gets it.
	done := make(chan error)
	go func() {
		second, err := lockFile(t.Context(), path, "the test", time.Minute)
		if err == nil {
			err = second.Unlock()
		}
		done <- err
	}()
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWriteWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b")
	for _, text := range []string{"one", "two, longer", ""} {
		if err := writeWhole(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
	}
	// A directory in its place is an error, and leaves nothing.
	if err := os.Mkdir(filepath.Join(dir, "a", "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(filepath.Join(dir, "a", "d"), []byte("x")); err == nil {
		t.Error("a directory was replaced")
	}
	files, err := os.ReadDir(filepath.Join(dir, "a"))
	if err != nil || len(files) != 2 {
		t.Errorf("got %v, %v, want b and d alone", files, err)
	}
}
