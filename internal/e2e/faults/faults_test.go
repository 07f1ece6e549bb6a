//go:build linux && (amd64 || arm64)

package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary is the program as well: its role writes lines to $DIR/lines, one
// by each call, and then a file by each of eight threads and one by a child.
const roleVariable = "TINYBACKUP_FAULTS_ROLE"

const (
	lines     = 5
	impatient = 9 // its exit status, when it does not come to its end
)

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "" {
		os.Exit(m.Run())
	}
	if err := role(os.Getenv("DIR")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func role(dir string) error {
	if os.Getenv("HANGS") != "" {
		time.AfterFunc(3*time.Second, func() { os.Exit(impatient) })
	}
	f, err := os.Create(filepath.Join(dir, "lines"))
	if err != nil {
		return err
	}
	for i := range lines {
		if _, err := fmt.Fprintf(f, "line %d\n", i); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), f.Name()+".done"); err != nil {
		return err
	}
	var all sync.WaitGroup
	var errs [8]error
	for i := range errs {
		all.Go(func() { errs[i] = os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("text"), 0o600) })
	}
	all.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	return exec.Command("sh", "-c", `echo text >"$DIR/child"`).Run()
}

// run runs the role, and does a to the nth call of a name.
func run(t *testing.T, name string, n int, a Action) (o Outcome, dir string) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=1", "DIR="+dir)
	if a == Hang {
		cmd.Env = append(cmd.Env, "HANGS=1")
	}
	o, err := Run(cmd, []string{dir}, func(c Call) Action {
		if c.Name == name {
			if n--; n == 0 {
				return a
			}
		}
		return Action{}
	})
	if err != nil {
		t.Fatal(err)
	}
	return o, dir
}

func wantLines(t *testing.T, path string, n int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if got := strings.Count(string(text), "\n"); err != nil || got != n {
		t.Errorf("%s: got %d lines, %v; want %d", filepath.Base(path), got, err, n)
	}
}

// Calls of all threads and children count, with what they are about.
func TestCalls(t *testing.T) {
	o, dir := run(t, "", 0, Action{})
	if o.Code != 0 || o.Stdout != "done\n" || o.Killed {
		t.Fatalf("got %+v, want it done", o)
	}
	writes, fsyncs, renames, creates := 0, 0, 0, 0
	for i, c := range o.Calls {
		if c.N != i+1 {
			t.Errorf("call %d has the number %d", i+1, c.N)
		}
		switch {
		case c.Name == "write":
			writes++
		case c.Name == "fsync" && c.Path == filepath.Join(dir, "lines"):
			fsyncs++
		case strings.HasPrefix(c.Name, "rename") && c.Path == filepath.Join(dir, "lines") && c.To == c.Path+".done":
			renames++
		case c.Creates && c.Changes:
			creates++
		}
		if stat := c.Name == "newfstatat" && c.Path == filepath.Join(dir, "lines.done"); stat != c.Failed {
			t.Errorf("%+v: got Failed %v, want %v", c, c.Failed, stat) // os.Rename looks whether there is a directory
		}
	}
	if writes != lines+8+1 || fsyncs != 1 || renames != 1 || creates != 1+8+1 {
		t.Errorf("got %d writes, %d fsyncs, %d renames, %d new files; want %d, 1, 1, 10: %+v", writes, fsyncs, renames, creates, lines+9, o.Calls)
	}
}

func TestKill(t *testing.T) {
	for k := 1; k <= lines; k++ {
		for a, want := range map[Action]int{KillBefore: k - 1, KillAfter: k} {
			o, dir := run(t, "write", k, a)
			if o.Code != 128+int(syscall.SIGKILL) || !o.Killed {
				t.Errorf("%v write %d: got %+v, want it killed", a, k, o)
			}
			wantLines(t, filepath.Join(dir, "lines"), want)
		}
	}
	// In a child: the program goes with it.
	o, dir := run(t, "write", lines+8+1, KillBefore)
	if !o.Killed || o.Code != 128+int(syscall.SIGKILL) {
		t.Errorf("child killed: got %+v, want the program killed", o)
	}
	wantLines(t, filepath.Join(dir, "child"), 0)
}

func TestFail(t *testing.T) {
	o, dir := run(t, "write", 3, Fail(syscall.ENOSPC))
	if o.Code != 1 || !strings.Contains(o.Stderr, syscall.ENOSPC.Error()) || o.Killed {
		t.Errorf("got %+v, want the program to say ENOSPC", o)
	}
	wantLines(t, filepath.Join(dir, "lines"), 2)
	// The Go library repeats what was interrupted, or half done.
	for _, a := range []Action{Fail(syscall.EINTR), Short} {
		o, dir := run(t, "write", 3, a)
		if o.Code != 0 {
			t.Errorf("%v: got %+v, want no notice of it", a, o)
		}
		wantLines(t, filepath.Join(dir, "lines.done"), lines)
		writes := 0
		for _, c := range o.Calls {
			if c.Path == filepath.Join(dir, "lines") && c.Name == "write" {
				writes++
			}
		}
		if writes != lines+1 {
			t.Errorf("%v: got %d writes, want %d", a, writes, lines+1)
		}
	}
}

// A call that hangs keeps the program from its end, but not from being ended.
func TestHang(t *testing.T) {
	t.Parallel()
	o, dir := run(t, "write", 3, Hang)
	if o.Code != impatient || o.Killed {
		t.Errorf("got %+v, want exit status %d", o, impatient)
	}
	wantLines(t, filepath.Join(dir, "lines"), 2)
}

func TestSkip(t *testing.T) {
	for _, c := range []struct{ name, want string }{{"fsync", "lines.done"}, {"renameat", "lines"}} {
		o, dir := run(t, c.name, 1, Skip)
		if o.Code != 0 {
			t.Errorf("%s left out: got %+v, want no notice of it", c.name, o)
		}
		wantLines(t, filepath.Join(dir, c.want), lines)
	}
}

// Several programs at a time: each thread waits for its own.
func TestAtOnce(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			o, dir := run(t, "write", i+1, KillAfter)
			if !o.Killed {
				t.Errorf("got %+v, want it killed", o)
			}
			wantLines(t, filepath.Join(dir, "lines"), i+1)
		})
	}
}
