package tinybackup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// startCommand are the options of start.
type startCommand struct {
	Foreground bool `long:"foreground" description:"stay in the foreground, for a container or an init system"`
}

// stopCommand are the options of stop.
type stopCommand struct {
	Now bool `long:"now" description:"end the backups that are going on instead of waiting for them"`
}

// readyVariable tells a service in the background on which file descriptor its
// parent waits for "up", or for what went wrong.
const readyVariable = "TINYBACKUP_READY_FD"

// readyFD is the first one after the standard three.
const readyFD = 3

func (c *startCommand) execute(ctx context.Context, env Env) error {
	if os.Getenv(readyVariable) != "" {
		return c.background(ctx, env)
	}
	if c.Foreground {
		if !env.quiet {
			// Who looks on wants to see the runs come and go.
			env.Log = slog.New(screenHandler{w: env.Stderr, level: min(slog.LevelInfo, env.screenLevel())})
		}
		return explainBusy(Serve(ctx, env, func() {}))
	}
	pid, err := startBackground(ctx, env)
	if err != nil {
		return err
	}
	env.say("the service is running (process %d)", pid)
	return nil
}

// screenLevel is the least level that the screen shows.
func (e Env) screenLevel() slog.Level {
	if e.Log.Enabled(context.Background(), slog.LevelDebug) {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// explainBusy says what to do about a service that is running already.
func explainBusy(err error) error {
	var busy *BusyError
	if errors.As(err, &busy) {
		return &BusyError{Msg: strings.Replace(busy.Msg, "is already going on", "is already running", 1), Hint: "it takes up new jobs by itself; tinybackup stop stops it"}
	}
	return err
}

// startBackground starts the service as a process of its own session, so that it
// outlives the terminal, and waits until it is up.
func startBackground(ctx context.Context, env Env) (pid int, err error) {
	if pid, locked := isLocked(serviceLock(env.Dirs)); locked {
		return 0, explainBusy(&BusyError{Msg: fmt.Sprintf("the service is already running (process %d)", pid)})
	}
	binary, err := env.binary()
	if err != nil {
		return 0, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	cmd := exec.Command(binary, "start")
	if env.Log.Enabled(ctx, slog.LevelDebug) {
		cmd.Args = append(cmd.Args, "--debug")
	}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", readyVariable, readyFD))
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	if err := r.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(r)
	if err != nil {
		return 0, fmt.Errorf("start the service: %w", err)
	}
	if text, up := bytes.CutPrefix(answer, []byte("up\n")); up && len(text) == 0 {
		return pid, cmd.Process.Release()
	}
	// It has told us what went wrong, in its own words, and has ended.
	_ = cmd.Wait()
	text := strings.TrimSpace(string(answer))
	if text == "" {
		return 0, errors.New("start the service: it ended at once")
	}
	if cmd.ProcessState.ExitCode() == exitBusy {
		return 0, explainBusy(&BusyError{Msg: text})
	}
	return 0, errors.New(text)
}

// background is the service in the background: it tells its parent how it goes.
func (c *startCommand) background(ctx context.Context, env Env) error {
	os.Unsetenv(readyVariable) // what we start is not asked
	syscall.CloseOnExec(readyFD)
	parent := os.NewFile(readyFD, "ready")
	up := false
	err := Serve(ctx, env, func() {
		up = true
		_, _ = io.WriteString(parent, "up\n") // a parent that is gone does not matter
		parent.Close()
	})
	if !up {
		if err == nil {
			err = errors.New("it was stopped at once")
		}
		_, _ = io.WriteString(parent, err.Error())
		parent.Close()
	}
	return explainBusy(err)
}

// stopPoll is how often stop looks whether the service has ended.
const stopPoll = 50 * time.Millisecond

func (c *stopCommand) execute(ctx context.Context, env Env) error {
	lock := serviceLock(env.Dirs)
	pid, locked := isLocked(lock)
	if !locked {
		env.say("the service is not running")
		return nil
	}
	if pid <= 0 {
		return fmt.Errorf("stop the service: %q does not tell its process", lock)
	}
	names, err := runningJobs(env)
	if err != nil {
		return err
	}
	s := syscall.SIGTERM
	if c.Now {
		s = syscall.SIGINT
	}
	if err := syscall.Kill(pid, s); err != nil {
		return &HintError{Err: fmt.Errorf("stop the service (process %d): %w", pid, err), Hint: "only the user who started it, and root, can stop it"}
	}
	if len(names) > 0 && !c.Now {
		env.say("waiting for the running backups to finish: %s (tinybackup stop --now ends them)", strings.Join(names, ", "))
	}
	for {
		if now, locked := isLocked(lock); !locked || now != pid {
			env.say("the service has stopped")
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(stopPoll):
		}
	}
}

// runningJobs names the jobs of the service that are just running.
func runningJobs(env Env) ([]string, error) {
	jobs, _, err := Jobs(env.Dirs)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, job := range jobs {
		if job.Scheduler == "service" && job.running() {
			names = append(names, oneLine(job.Options.Name))
		}
	}
	return names, nil
}
