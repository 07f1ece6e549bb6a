package store

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLockBetweenProcesses(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	ctx := t.Context()
	cmd, line := start(t, "hold", "DIR="+l.dir)
	if got := line(); got != "locked" {
		t.Fatalf("child: got %q", got)
	}
	before := inode(t, l.side("a.series.lock"))
	var locked *LockedError
	_, err := l.Lock(ctx, "a", Holder{PID: os.Getpid(), Host: "here", Since: time.Now()}, 0)
	if !errors.As(err, &locked) || locked.PID != cmd.Process.Pid || locked.Host != "here" {
		t.Fatalf("Lock: got %v, want a LockedError of pid %d", err, cmd.Process.Pid)
	}
	if other, err := l.Lock(ctx, "b", Holder{}, 0); err != nil {
		t.Errorf("Lock of another series: %v", err)
	} else {
		other()
	}

	// A third process waits, and gets it when the second is killed.
	waiting, line := start(t, "hold", "DIR="+l.dir)
	kill(t, cmd)
	if got := line(); got != "locked" {
		t.Fatalf("the process that waited: got %q", got)
	}
	_, err = l.Lock(ctx, "a", Holder{PID: os.Getpid(), Host: "here", Since: time.Now()}, 0)
	if !errors.As(err, &locked) || locked.PID != waiting.Process.Pid {
		t.Fatalf("Lock: got %v, want a LockedError of pid %d", err, waiting.Process.Pid)
	}
	kill(t, waiting)
	unlock, err := l.Lock(ctx, "a", Holder{PID: 1, Host: "x"}, time.Minute)
	if err != nil {
		t.Fatalf("Lock after all were killed: %v", err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	if after := inode(t, l.side("a.series.lock")); after != before {
		t.Errorf("lock file: got inode %d, want the same as before, %d", after, before)
	}
	if got := read(t, l.side("a.series.lock")); got != `{"pid":1,"host":"x","since":"0001-01-01T00:00:00Z"}`+"\n" {
		t.Errorf("lock file: got %q, want the last holder and nothing else", got)
	}
}

// A child of the run (a hook) does not keep the lock when the run is over.
func TestLockIsNotInherited(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	unlock, err := l.Lock(t.Context(), "a", Holder{PID: 1, Host: "here"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "ls -l /proc/self/fd; read x")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	if again, err := l.Lock(t.Context(), "a", Holder{}, 0); err != nil {
		t.Errorf("Lock while a child of the earlier holder lives: %v", err)
	} else {
		again()
	}
	stdin.Close()
	cmd.Wait()
	if strings.Contains(out.String(), ".lock") {
		t.Errorf("a child has the lock open:\n%s", out.String())
	}
}

// Between taking a lock and saying so, the file names the holder before.
func TestHolderBeforeIsNotBlamed(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	unlock, err := l.Lock(t.Context(), "a", Holder{PID: ended.Process.Pid, Host: "here", Job: "a longer text than the next"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	path := l.side("a.series.lock")
	go writeHolder(path, Holder{PID: os.Getpid(), Host: "here"})
	if got := findHolder(path, "here"); got.PID != os.Getpid() {
		t.Errorf("findHolder: got pid %d, want the one that lives, %d", got.PID, os.Getpid())
	}
	// Of another machine, or alone in its namespace: believed.
	writeHolder(path, Holder{PID: ended.Process.Pid, Host: "there"})
	if got := findHolder(path, "here"); got.Host != "there" {
		t.Errorf("findHolder: got %+v, want the one of the other machine", got)
	}
	for _, junk := range []string{"", "{", "[1]", `{"pid":-4,"host":"x"}`, strings.Repeat("{", 100_000)} {
		write(t, path, junk)
		if got := readHolder(path); got != (Holder{}) {
			t.Errorf("readHolder of %.20q: got %+v, want nobody", junk, got)
		}
	}
}

// A lock that can't be taken for another reason than being held.
func TestLockFails(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	if err := os.MkdirAll(l.side("a.series.lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := l.Lock(t.Context(), "a", Holder{}, time.Hour)
	wantIs(t, "Lock", err, syscall.EISDIR)
	if _, err := l.Lock(t.Context(), strings.Repeat("x", 250), Holder{}, 0); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("Lock of a series with a long name: got %v", err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	_, ino := devIno(info)
	return ino
}
