package tinybackup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// partPrefix begins the name under which a file is written before it has its own:
// one that nobody reads.
const partPrefix = ".new-"

// writeWhole puts data under the name path, for the owner alone: all of it or,
// whatever goes wrong, nothing. It is on the disk when it returns. The directory
// is made if it is not there. Call it under a lock that keeps other writers of path
// away: what a killed one has left is replaced.
func writeWhole(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	part := filepath.Join(dir, partPrefix+filepath.Base(path))
	if err := ignoreMissing(os.Remove(part)); err != nil {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(part)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	// Without it, a file system may have the new name before the new bytes, and a
	// power cut in between leaves an empty file.
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return syncDir(dir)
}

// removeWhole removes the file path, for good when it returns.
func removeWhole(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) { // file systems that cannot, such as some FUSE ones
		err = nil
	}
	return errors.Join(err, d.Close())
}

// A fileLock is an flock(2) on a file that stays behind: the kernel gives it back
// however its holder ends.
type fileLock struct{ f *os.File }

// A lock that somebody else holds is tried again every lockPoll, and for
// lockPatience at least: isLocked takes a lock for a moment only to look.
const (
	lockPoll     = 20 * time.Millisecond
	lockPatience = 100 * time.Millisecond
)

// lockFile takes the lock of path and notes who has it, waiting for it at most
// wait. Somebody else's lock is a *BusyError that says what and who.
func lockFile(ctx context.Context, path, what string, wait time.Duration) (*fileLock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if wait >= 0 {
		wait = max(wait, lockPatience)
	}
	deadline := time.Now().Add(wait) // of the machine's patience, not of a schedule
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
		}
		if !time.Now().Before(deadline) {
			holder := lockHolder(f)
			f.Close()
			return nil, &BusyError{Msg: what + " is already going on" + holder}
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(lockPoll):
		}
	}
	// Who has it is for a person to read: a lock without it is a lock all the same.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(io.NewOffsetWriter(f, 0), "%d\n", os.Getpid())
	}
	return &fileLock{f: f}, nil
}

// Unlock gives the lock back.
func (l *fileLock) Unlock() error { return l.f.Close() }

// lockHolder reads who has the lock of f: " (process 123)", or "".
func lockHolder(f *os.File) string {
	if pid := lockPID(f); pid > 0 {
		return fmt.Sprintf(" (process %d)", pid)
	}
	return ""
}

// lockPID is the process that has, or last had, the lock of f; 0 if f does not say.
func lockPID(f *os.File) int {
	text := make([]byte, 32)
	n, _ := f.ReadAt(text, 0)
	line, _, found := strings.Cut(string(text[:n]), "\n")
	pid, err := strconv.Atoi(line)
	if !found || err != nil {
		return 0
	}
	return pid
}

// isLocked says whether somebody has the lock of path, and who as far as the file
// tells. What cannot be looked at counts as not locked.
func isLocked(path string) (pid int, locked bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	// Shared, so that two who look do not see each other.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		return 0, false
	}
	return lockPID(f), true
}

// readLines reads the whole lines of a file; what is behind the last newline was
// torn off by a power cut and does not count. A file that is not there has none.
func readLines(path string) ([][]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	end := bytes.LastIndexByte(data, '\n')
	if end < 0 {
		return nil, nil
	}
	return bytes.Split(data[:end], []byte("\n")), nil
}
