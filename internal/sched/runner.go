package sched

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// programTimeout ends a crontab or at that hangs, on a dead NFS home for instance; both answer within milliseconds.
const programTimeout = 30 * time.Second

// systemPath is the PATH of everything the back ends start. It is fixed, so that a job does not depend on who installed it and from where.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Runner says how the programs of a scheduler (crontab, at, atq, atrm) are run. Its zero value runs the real ones.
type Runner struct {
	Timeout time.Duration                                        // for one program; 0 means 30 s
	Exec    func(ctx context.Context, p Program) (Output, error) // nil runs the program; tests put their own here
}

// Program is one call of an external program.
type Program struct {
	Name  string   // without a directory
	Args  []string // without the name
	Env   []string // the whole environment, "K=V"
	Stdin string
}

// String is the command as one would type it, for messages.
func (p Program) String() string { return strings.Join(append([]string{p.Name}, p.Args...), " ") }

// Output is what a program that ended by itself has left.
type Output struct {
	Stdout, Stderr string
	Code           int // exit status
}

// run starts p in the directory / and waits for it. An exit status other than 0 is no error here: some say "none" with it.
// errors.Is(err, exec.ErrNotFound) tells a missing program.
func (r Runner) run(ctx context.Context, p Program) (Output, error) {
	limit := r.Timeout
	if limit == 0 {
		limit = programTimeout
	}
	short, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := r.Exec
	if start == nil {
		start = execute
	}
	out, err := start(short, p)
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return out, fmt.Errorf("%s: %w", p, ctx.Err())
	case short.Err() != nil:
		return out, fmt.Errorf("%s: no answer within %s", p, limit)
	}
	return out, fmt.Errorf("%s: %w", p, err)
}

func execute(ctx context.Context, p Program) (Output, error) {
	path, err := lookPath(p.Name)
	if err != nil {
		return Output{}, err
	}
	cmd := exec.CommandContext(ctx, path, p.Args...)
	cmd.Env, cmd.Dir = p.Env, "/"
	if p.Stdin != "" {
		input, err := inputFile(p.Stdin)
		if err != nil {
			return Output{}, err
		}
		defer func() { _ = input.Close() }()
		cmd.Stdin = input
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A group of its own: what crontab -e or a wrapper script has started must end with it, or Wait would wait for the pipe.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	out := Output{Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		out.Code, err = exit.ExitCode(), nil
	}
	return out, err
}

// pipeHolds is how many bytes an empty pipe takes without a reader (pipe(7); others hold more).
const pipeHolds = 4096

// inputFile is an open file that has all of text before the program starts. If we were killed while we fed it, crontab would take
// what it has got for the whole table and install it. A pipe is enough for a job of at, which must not depend on room in /tmp.
func inputFile(text string) (*os.File, error) {
	if len(text) <= pipeHolds {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		_, err = w.WriteString(text)
		if err = errors.Join(err, w.Close()); err != nil {
			_ = r.Close()
			return nil, err
		}
		return r, nil
	}
	f, err := os.CreateTemp("", "tinybackup-*") // 0600
	if err != nil {
		return nil, err
	}
	err = os.Remove(f.Name())
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// lookPath also searches the system's directories: cron gives its jobs no more than /usr/bin:/bin, and a person's PATH may lack /usr/sbin.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range filepath.SplitList(systemPath) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// environment is what a program gets, with extra added: little, as at(1) writes all of it into its spool, secrets included,
// and in English, as we read the messages.
func environment(extra ...string) []string {
	env := []string{"PATH=" + systemPath, "SHELL=/bin/sh", "LANG=C", "LC_ALL=C"}
	home, _ := os.UserHomeDir()
	if u, err := user.Current(); err == nil {
		env = append(env, "LOGNAME="+u.Username, "USER="+u.Username)
		if home == "" {
			home = u.HomeDir
		}
	}
	if home != "" {
		env = append(env, "HOME="+home)
	}
	return append(env, extra...)
}

// failure is the error of a program that ended with a status other than 0: its first word on the matter, or the status.
func failure(p Program, out Output) error {
	for line := range strings.Lines(out.Stderr) {
		line = strings.TrimSpace(line)
		// at(1) says this of every job (at.c, "commands will be executed using").
		if line != "" && !strings.HasPrefix(line, "warning: commands will be executed") {
			return fmt.Errorf("%s: %s", p, line)
		}
	}
	return fmt.Errorf("%s: exit status %d", p, out.Code)
}
