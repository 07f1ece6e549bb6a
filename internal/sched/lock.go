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
// two processes hold "the" lock on two different files. Where none can be made, in a home that is read-only for instance,
// the lock is that of the first of the others that can be had.
//
// The standard library's flock does: it goes with the descriptor, so a killed process leaves no stale lock, and all systems we build for have it.
func lockFile(ctx context.Context, path string, others ...string) (unlock func(), err error) {
	if path == "" {
		return nil, errors.New("lock: no path for the lock file")
	}
	f, err := openLock(path)
	for _, other := range others {
		if err == nil || !cannotMake(err) {
			break
		}
		if g, err2 := openLock(other); err2 == nil {
			f, err = g, nil
		}
	}
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
			return nil, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
		select {
		case <-tick.C:
		case <-short.Done():
			_ = f.Close()
			if ctx.Err() != nil {
				return nil, fmt.Errorf("lock %q: %w", f.Name(), ctx.Err())
			}
			return nil, fmt.Errorf("lock %q: another tinybackup has held it for %s", f.Name(), lockWait)
		}
	}
}

// openLock opens what is to be locked: a directory as it is, or a file, which is made.
func openLock(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return os.Open(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// cannotMake tells an error that every process of the user will get here, from one that passes.
func cannotMake(err error) bool {
	for _, lasting := range []error{os.ErrNotExist, os.ErrPermission, syscall.EROFS, syscall.ENOTDIR, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, lasting) {
			return true
		}
	}
	return false
}
