//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inside skips a test that must not run on the machine itself.
func inside(t *testing.T) {
	t.Helper()
	if outside != "" {
		t.Skip(outside)
	}
}

// need skips a test whose tools are missing. Make test installs them.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
}

// newDir makes a directory with a path short enough to hold one of 4,000 bytes.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(work, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A run that a daemon has started may still be at work in it.
		var err error
		for range 100 {
			if err = os.RemoveAll(dir); err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("clean up: %v", err)
	})
	return dir
}

// mkdir makes a directory below another one.
func mkdir(t *testing.T, elem ...string) string {
	t.Helper()
	dir := filepath.Join(elem...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// write writes a file.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A program is the built binary and the environment it runs in.
type program struct {
	path  string
	env   []string // beside PATH and HOME
	home  string
	enter []string // what starts it, with its arguments; empty: nothing
}

// newProgram is the program as it is delivered, with directories of its own.
func newProgram(t *testing.T) *program {
	return &program{
		path: filepath.Join(work, "bin", "tinybackup"),
		env:  []string{"TINYBACKUP_DIR=" + filepath.Join(newDir(t), "tb")},
		home: "/root",
	}
}

// on is the program with the tests' clock.
func (p *program) on(c clock) *program {
	return &program{
		path: filepath.Join(work, "clock", "tinybackup"),
		env:  append([]string{c.env()}, p.env...),
		home: p.home,
	}
}

// dir is where the program keeps its jobs, state and logs.
func (p *program) dir() string {
	for _, kv := range p.env {
		if dir, ok := strings.CutPrefix(kv, "TINYBACKUP_DIR="); ok {
			return dir
		}
	}
	return ""
}

// command is a call of the program that has not been started.
func (p *program) command(args ...string) *exec.Cmd {
	argv := append(append(p.enter[:len(p.enter):len(p.enter)], p.path), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.home}, p.env...)
	return cmd
}

// An outcome is what a call of a program left.
type outcome struct {
	args           []string
	code           int
	stdout, stderr string
}

// try runs the program to its end, whatever that is.
func (p *program) try(t *testing.T, args ...string) outcome {
	t.Helper()
	return finish(t, p.command(args...))
}

// hangs is after how long a call of the program is taken to hang. It is then
// told to print where.
const hangs = 4 * time.Minute

// finish runs a command and tells how it ended: as a shell does, 128 and the
// number of the signal that killed it.
func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	return begin(t, cmd).wait(t)
}

// A running is a command that has been started.
type running struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

// begin starts a command. One that a failed test leaves is killed.
func begin(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	r := &running{cmd: cmd}
	cmd.Stdout, cmd.Stderr = &r.stdout, &r.stderr
	cmd.WaitDelay = 5 * time.Second // a child that it leaves may hold its output open
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return r
}

func (r *running) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// wait waits for the command's end.
func (r *running) wait(t *testing.T) outcome {
	t.Helper()
	stuck := time.AfterFunc(hangs, func() { _ = r.cmd.Process.Signal(syscall.SIGQUIT) })
	err := r.cmd.Wait()
	if !stuck.Stop() {
		t.Fatalf("%s hung:\n%s", r.cmd, r.stderr.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatalf("%s: %v", r.cmd, err)
	}
	return outcome{args: r.cmd.Args[1:], code: status(r.cmd), stdout: r.stdout.String(), stderr: r.stderr.String()}
}

// run runs the program, which must succeed in silence on standard error.
func (p *program) run(t *testing.T, args ...string) string {
	t.Helper()
	o := p.try(t, args...)
	if o.code != 0 || o.stderr != "" {
		t.Fatalf("tinybackup %q: got exit %d, want 0\nstdout: %s\nstderr: %s", args, o.code, o.stdout, o.stderr)
	}
	return o.stdout
}

// json runs the program with --json and reads what it prints.
func (p *program) json(t *testing.T, v any, args ...string) {
	t.Helper()
	text := p.run(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("tinybackup %q: %v in %s", args, err, text)
	}
}

// exits runs the program, which must end with code.
func (p *program) exits(t *testing.T, code int, args ...string) outcome {
	t.Helper()
	o := p.try(t, args...)
	if o.code != code {
		t.Fatalf("tinybackup %q: got exit %d, want %d\nstdout: %s\nstderr: %s", args, o.code, code, o.stdout, o.stderr)
	}
	return o
}

// tool runs another program, which must succeed, and returns what it printed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	return toolIn(t, "/", name, args...)
}

// toolIn is tool in a directory.
func toolIn(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// waitFor waits until something is so.
func waitFor(t *testing.T, limit time.Duration, what string, so func() bool) {
	t.Helper()
	end := time.Now().Add(limit)
	for !so() {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// archives are the names of the archives in a destination, oldest first.
func archives(t *testing.T, dest string) []string {
	t.Helper()
	entries, err := os.ReadDir(dest)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if stamp.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// newest is the path of the newest archive of a destination.
func newest(t *testing.T, dest string) string {
	t.Helper()
	names := archives(t, dest)
	if len(names) == 0 {
		t.Fatalf("no archive in %s", dest)
	}
	return filepath.Join(dest, names[len(names)-1])
}

// partials are the unfinished files in a destination.
func partials(t *testing.T, dest string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dest, ".tinybackup", "*.partial"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(dest, ".tinybackup", "*.temp"))
	if err != nil {
		t.Fatal(err)
	}
	return append(names, more...)
}
