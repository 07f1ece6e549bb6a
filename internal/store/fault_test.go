package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Every call fails once: without having done anything, or having done it. The run says
// so, leaves nothing unfinished and harms nothing; the next run works.
func TestFaultAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before", "after"} {
		for step := 0; ; step++ {
			if calls := faultAt(t, step, when); calls <= step {
				if calls < 35 {
					t.Errorf("got %d calls in a run, want more", calls)
				}
				break
			}
		}
	}
}

// faultAt makes a backup whose call number step fails, and returns how many it made.
func faultAt(t *testing.T, step int, when string) (calls int) {
	dir := t.TempDir()
	if err := prepare(dir); err != nil {
		t.Fatal(err)
	}
	l := openDir(t, dir)
	l.pace = 100_000
	where := "" // stays so if the call failed anyway
	fault := func(op, path string) error {
		if calls != step+1 {
			return nil
		}
		where = fmt.Sprintf("%s %d, %s %s", when, step, op, filepath.Base(path))
		if op == "write" {
			return &fs.PathError{Op: op, Path: path, Err: syscall.ENOSPC}
		}
		return &fs.PathError{Op: op, Path: path, Err: syscall.EIO}
	}
	before, after := fault, nothing
	if when == "after" {
		before, after = nothing, fault
	}
	l.calls = hooked(systemCalls(), func(op, path string) error { calls++; return before(op, path) }, after)
	done, err := backup(l, "s-3", silent)
	moved := when == "after" && strings.Contains(where, "renameExcl") // seen to be done
	if (err == nil) != (where == "" || moved) {
		t.Errorf("%s: got error %v", where, err)
	}
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Hint() == "" || e.Op == "" || !strings.HasPrefix(e.Path, dir)) {
		t.Errorf("%s: error without op, path or hint: %v", where, err)
	}
	if open := openBelow(t, dir); len(open) > 0 {
		t.Errorf("%s: left open %q", where, open)
	}
	if err := check(dir, "s-3", done); err != nil {
		t.Errorf("%s: %v", where, err)
	}
	if _, err := os.Lstat(l.path("s-3")); len(done) == 0 && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: the run failed, but its archive is there", where)
	}
	// A file that could not be removed, or that an open made and did not give us.
	tolerated := strings.Contains(where, "remove ") || when == "after" && strings.Contains(where, "open ")
	if left := leftovers(dir); len(left) > 0 && !tolerated {
		t.Errorf("%s: left behind %q", where, left)
	}
	l.calls = systemCalls()
	if _, err := backup(l, "s-4", silent); err != nil && !errors.Is(err, fs.ErrNotExist) { // s-1 is gone
		t.Errorf("%s: the next run: %v", where, err)
	}
	wantArchive(t, l, "s-4", archived)
	if left := leftovers(dir); len(left) > 0 {
		t.Errorf("%s: left behind after the next run %q", where, left)
	}
	return calls
}

// The order of calls is what the promises rest on. Some of it no test can miss on the
// file systems of today (they make more durable than they were asked to), so it is here.
func TestOrderOfCalls(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := prepare(dir); err != nil {
		t.Fatal(err)
	}
	l := openDir(t, dir)
	var got []string
	l.calls = hooked(l.calls, nothing, func(op, path string) error {
		got = append(got, op+" "+strings.TrimPrefix(path, dir))
		return nil
	})
	if _, err := backup(l, "s-3", silent); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"open /.tinybackup/s-3.partial", "write /.tinybackup/s-3.partial", "write /.tinybackup/s-3.partial",
		"write /.tinybackup/s-3.partial", "sync /.tinybackup/s-3.partial", "close /.tinybackup/s-3.partial",
		"renameExcl /s-3", "open ", "sync ", "close ", "open /.tinybackup", "sync /.tinybackup", "close /.tinybackup",

		"open /.tinybackup/s-3.json.side.temp", "write /.tinybackup/s-3.json.side.temp",
		"sync /.tinybackup/s-3.json.side.temp", "close /.tinybackup/s-3.json.side.temp",
		"rename /.tinybackup/s-3.json", "open /.tinybackup", "sync /.tinybackup", "close /.tinybackup",

		"open /.tinybackup/sums.temp", "write /.tinybackup/sums.temp", "sync /.tinybackup/sums.temp",
		"close /.tinybackup/sums.temp", "rename /SHA256SUMS", "open ", "sync ", "close ",

		"remove /s-1", "open ", "sync ", "close ",
		"remove /.tinybackup/s-1.json", "open /.tinybackup", "sync /.tinybackup", "close /.tinybackup",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// Which of them a new .tinybackup and a last line in SHA256SUMS add.
	l = openDir(t, t.TempDir())
	dir, got = l.dir, nil
	l.calls = hooked(l.calls, nothing, func(op, path string) error {
		got = append(got, op+" "+strings.TrimPrefix(path, dir))
		return nil
	})
	put(t, l, "a", nil)
	if want := []string{"mkdir /.tinybackup", "open ", "sync "}; len(got) < 3 || !slices.Equal(got[:3], want) {
		t.Errorf("first call of all: got %q, want %q", got, want)
	}
	if err := l.SetSums(t.Context(), map[string]string{"a": digestOf(nil)}, nil); err != nil {
		t.Fatal(err)
	}
	got = nil
	if err := l.SetSums(t.Context(), nil, []string{"a"}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"remove /SHA256SUMS", "open ", "sync ", "close "}; !slices.Equal(got, want) {
		t.Errorf("last line dropped: got %q, want %q", got, want)
	}
}

// A run is killed before and after every call.
func TestKilledAtEveryStep(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			for step := 0; ; step++ {
				dir := t.TempDir()
				if err := prepare(dir); err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), roleVar+"=backup", "DIR="+dir, "STEP="+strconv.Itoa(step), "WHEN="+when)
				out, err := cmd.Output()
				done := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
				if err == nil {
					calls, err := strconv.Atoi(done[len(done)-1])
					if err != nil || calls < 35 {
						t.Fatalf("%d: got %q, want the number of calls in a run", step, out)
					}
					if step >= calls {
						break
					}
					continue // that call failed by itself
				}
				if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
					t.Fatalf("%d: got %v, want it killed", step, err)
				}
				if err := check(dir, "s-3", done); err != nil {
					t.Errorf("%d: %v", step, err)
				}
				l := openDir(t, dir)
				if _, err := backup(l, "s-4", silent); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%d: the next run: %v", step, err)
				}
				wantArchive(t, l, "s-4", archived)
				if left := leftovers(dir); len(left) > 0 {
					t.Errorf("%d: left behind after the next run %q", step, left)
				}
			}
		})
	}
}

// roleBackup makes a backup in $DIR and kills itself $WHEN (before or after) call number
// $STEP. It prints what it got done, and in the end how many calls that were.
func roleBackup() error {
	l, err := OpenLocal(os.Getenv("DIR"))
	if err != nil {
		return err
	}
	step, err := strconv.Atoi(os.Getenv("STEP"))
	if err != nil {
		return err
	}
	n := -1
	die := func() {
		if n == step {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it arrives
		}
	}
	l.pace = 100_000
	l.calls = hooked(systemCalls(), func(op, path string) error {
		if n++; os.Getenv("WHEN") == "before" {
			die()
		}
		return nil
	}, func(op, path string) error {
		if os.Getenv("WHEN") == "after" {
			die()
		}
		return nil
	})
	_, err = backup(l, "s-3", func(step string) { fmt.Println(step) })
	fmt.Println(n + 1)
	return err
}

// openBelow returns the files below dir that this process has open.
func openBelow(t *testing.T, dir string) (open []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(links) == 0 {
		t.Skip("/proc is not mounted")
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, dir) {
			open = append(open, to)
		}
	}
	return open
}
