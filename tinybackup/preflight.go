package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tinybackup/internal/sched"
	"tinybackup/internal/source"
)

// preflightLimit is how long a source or a destination may take to answer. It is
// shorter than jobsLockWait: a run that has to queue the next one waits meanwhile.
const preflightLimit = 20 * time.Second

// preflight starts the very command of an entry as its scheduler will, in its
// environment, but only to have it check whether the job could run: what would go
// wrong at night goes wrong now.
func preflight(ctx context.Context, env Env, s sched.Scheduler, e sched.Entry) error {
	start := env.preflight
	if start == nil {
		start = startLike
	}
	around := sched.Bare()
	if with, ok := s.(sched.Surrounder); ok {
		around = with.Surroundings()
	}
	err := start(ctx, around, sched.Command(e.Binary, e.Job)+" --check")
	if err == nil || ctx.Err() != nil {
		return err
	}
	return &HintError{Err: fmt.Errorf("started as %s starts it, the job cannot run: %w", s.Name(), err), Hint: hintOf(err)}
}

// startLike runs a command line in the surroundings of a scheduler. Its error is in
// the words that the command has printed.
func startLike(ctx context.Context, around sched.Surroundings, line string) error {
	short, cancel := context.WithTimeout(ctx, preflightLimit)
	defer cancel()
	cmd := exec.CommandContext(short, "/bin/sh", "-c", line)
	cmd.Env, cmd.Dir = around.Env, around.Dir
	if info, err := os.Stat(around.Dir); err != nil || !info.IsDir() {
		cmd.Dir = "/" // a job needs no working directory
	}
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(""), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case short.Err() != nil:
		return &HintError{Err: fmt.Errorf("its check did not end within %v", preflightLimit), Hint: "see whether the source and the destination answer, such as with ls"}
	}
	return explained(stderr.String(), err)
}

// explained is what a failed tinybackup, or the shell that could not start it, has
// said: its first error, and its hint.
func explained(said string, err error) error {
	text, hint := "", ""
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "tinybackup: hint: "); ok {
			hint = rest
			continue
		}
		if rest := strings.TrimPrefix(line, "tinybackup: error: "); text == "" {
			text = rest
		}
	}
	if text == "" {
		text = err.Error()
	}
	return &HintError{Err: errors.New(text), Hint: hint}
}

// CheckJob finds out whether a job could run now, without storing anything: that
// its source can be opened, that its archives can be told from those of others,
// that a small file can be written to its destination, and that its history and its
// log have a place. It walks no tree, and runs no hook: the source of a job with
// --before is not looked at. The error is the one that a run would end with.
func CheckJob(ctx context.Context, env Env, job Job) (err error) {
	for _, dir := range []string{job.StateDir, filepath.Dir(job.LogFile)} {
		if err := makeable(dir); err != nil {
			return &HintError{Err: fmt.Errorf("directory %q: %w", dir, err), Hint: "see that it can be made and written to"}
		}
	}
	r := newRun(env, job.Options, job.ID)
	r.DryRun = true // look, and mend nothing
	if err := r.Resolve(); err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	var paths []string
	if r.Before == "" { // which may mount the source
		paths = append(paths, r.Source)
	}
	if !isRemote(r.Dest) {
		paths = append(paths, r.Dest)
	}
	for _, path := range paths {
		if err := checkMounted(path); err != nil {
			return err
		}
	}
	if r.store, err = openStore(ctx, r.Env, r.Dest, r.Access); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.store.Close()) }()
	if err := r.look(ctx); err != nil {
		return err
	}
	book, err := job.slots()
	if err != nil {
		return err
	}
	if err := job.destGone(ctx, env, book); err != nil {
		return err
	}
	if r.Before != "" {
		return r.store.Probe(ctx)
	}
	if err := r.planSnapshot(ctx); err != nil {
		return err
	}
	src, err := r.openSource()
	if err != nil {
		return err
	}
	return errors.Join(src.Close(), r.store.Probe(ctx))
}

// checkMounted refuses a path where fstab(5) has a disk, and none is mounted: what
// is written there fills another disk, and what is read is not what is meant.
func checkMounted(path string) error {
	const fstab = "/etc/fstab"
	text, err := os.ReadFile(fstab)
	if err != nil {
		return nil // without a table nothing is said
	}
	if point := unmounted(string(text), path, isMounted); point != "" {
		return &HintError{
			Err:  fmt.Errorf("nothing is mounted at %q, as %s says there should be", point, fstab),
			Hint: asRoot("mount " + shellQuote(point)),
		}
	}
	return nil
}

// isMounted says whether something is mounted at dir, also if that is another part of
// the same file system, as with a bind mount.
func isMounted(dir string) bool {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return isMountPoint(dir)
	}
	for line := range strings.Lines(string(text)) {
		// proc_pid_mountinfo(5): ID PARENT MAJOR:MINOR ROOT POINT OPTIONS …
		if fields := strings.Fields(line); len(fields) > 4 && source.PlainMount(fields[4]) == dir {
			return true
		}
	}
	return false
}

// makeable says why files cannot be made in a directory that is there, or that
// would have to be made first.
func makeable(dir string) error {
	for {
		err := writable(dir)
		if !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			return err
		}
		dir = filepath.Dir(dir)
	}
}
