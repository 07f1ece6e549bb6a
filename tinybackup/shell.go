package tinybackup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// shellGrace is how long the processes of a command have, after SIGTERM, until
	// SIGKILL.
	shellGrace = 10 * time.Second
	// shellDrain is how long after its end a command's output is waited for: what
	// it has left running may hold it open for ever.
	shellDrain = time.Second
	// shellPoll is how often it is seen whether they are gone.
	shellPoll = 20 * time.Millisecond
)

// runShell runs a command line of /bin/sh in a process group of its own, without
// a terminal, in the home directory. Its error and its output go to out. When ctx
// ends, so does the whole group, and the error is the cause of ctx; what a command
// that ended by itself has left running stays.
func runShell(ctx context.Context, line string, env []string, out io.Writer) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Env, cmd.Dir = env, hookDir()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = shellDrain
	if err := cmd.Start(); err != nil {
		return err
	}
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()
	select {
	case err := <-waited:
		if errors.Is(err, exec.ErrWaitDelay) {
			return nil
		}
		return err
	case <-ctx.Done():
	}
	endGroup(cmd.Process.Pid)
	select {
	case <-waited:
	case <-time.After(2 * shellDrain): // not even SIGKILL ends what waits for a dead disk
	}
	return context.Cause(ctx)
}

// endGroup ends all processes of a group, and gives them shellGrace to tidy up.
func endGroup(group int) {
	_ = syscall.Kill(-group, syscall.SIGTERM)
	end := time.After(shellGrace)
	for syscall.Kill(-group, 0) == nil {
		select {
		case <-time.After(shellPoll):
		case <-end:
			_ = syscall.Kill(-group, syscall.SIGKILL)
			return
		}
	}
}

// outputKept is how much of a hook's output is kept: the end of it.
const outputKept = 64 << 10

// An output keeps the end of what is written to it.
type output struct {
	told func(int64) // is told of every write how many bytes it has; nil: nobody is

	mu   sync.Mutex
	kept []byte
	cut  int64 // bytes before kept
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told != nil {
		o.told(int64(len(p)))
	}
	o.kept = append(o.kept, p...)
	// Not at every write: it moves all that is kept.
	if len(o.kept) > 2*outputKept {
		o.trim()
	}
	return len(p), nil
}

func (o *output) trim() {
	if over := len(o.kept) - outputKept; over > 0 {
		o.kept = append(o.kept[:0], o.kept[over:]...)
		o.cut += int64(over)
	}
}

// lines are the lines at the end of what was written, and how many bytes before
// them are not kept. Empty lines are left out.
func (o *output) lines() (lines []string, cut int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trim()
	for line := range bytes.Lines(o.kept) {
		if line = bytes.TrimRight(line, " \t\r\n"); len(line) > 0 {
			lines = append(lines, string(line))
		}
	}
	return lines, o.cut
}

// last is what stands in an error of what was printed last, or "".
func (o *output) last() string {
	const most, longest = 3, 200
	lines, _ := o.lines()
	if len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	for i, line := range lines {
		if len(line) > longest {
			line = strings.ToValidUTF8(line[:longest], "") + "…"
		}
		lines[i] = oneLine(line)
	}
	if len(lines) == 0 {
		return ""
	}
	return "; it printed: " + strings.Join(lines, " / ")
}
