package sched

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockWait is how long an edit waits for another one: each takes well under a second, a hanging crontab is ended after 30.
const lockWait = 2 * programTimeout

// lockFile takes an exclusive lock on path, made 0600 if need be, and returns the release. The file stays: removing it would let
// two processes hold "the" lock on two different files.
//
// The standard library's flock does: it goes with the descriptor, so a killed process leaves no stale lock, and all systems we build for have it.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	if path == "" {
		return nil, errors.New("lock: no path for the lock file")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, &os.PathError{Op: "flock", Path: path, Err: err}
		}
		select {
		case <-tick.C:
		case <-short.Done():
			_ = f.Close()
			if ctx.Err() != nil {
				return nil, fmt.Errorf("lock %q: %w", path, ctx.Err())
			}
			return nil, fmt.Errorf("lock %q: another tinybackup has held it for %s", path, lockWait)
		}
	}
}
