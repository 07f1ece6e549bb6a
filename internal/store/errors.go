package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Error says what failed, on what, and why. It unwraps to the cause, so that
// errors.Is finds fs.ErrExist, syscall.ENOSPC and the like.
type Error struct {
	Op     string // "write", "rename"
	Path   string // the file or directory it was about
	Err    error  // the cause, without op and path of its own
	Advice string // overrides the hint that follows from the cause
}

func (e *Error) Error() string { return fmt.Sprintf("%s %q: %v", e.Op, e.Path, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Hint says what a person can do about it; empty if there is nothing to add.
func (e *Error) Hint() string {
	if e.Advice != "" {
		return e.Advice
	}
	var errno syscall.Errno
	if !errors.As(e.Err, &errno) {
		return ""
	}
	switch errno {
	case syscall.ENOSPC:
		return "the destination is full: df -h shows its space, df -i the number of files it can take"
	case syscall.EDQUOT:
		return "the quota of this user on the destination is used up: see quota(1)"
	case syscall.EROFS:
		return "the destination's file system is mounted read-only; after a disk error the kernel does that by itself: see dmesg"
	case syscall.EACCES:
		return "the user who runs this may not do so: see ls -ld of the destination and of its .tinybackup"
	case syscall.EPERM:
		return "not allowed, perhaps by an attribute of the file or directory: see lsattr -d"
	case syscall.EIO:
		return "the disk or its connection failed: see dmesg"
	case syscall.ENOLCK:
		return "the destination's file system grants no locks; mount it with locking"
	case syscall.ESTALE, syscall.ENOTCONN:
		return "the network file system went away: mount it again"
	case syscall.EXDEV:
		return "the destination and its .tinybackup must be on one file system"
	case syscall.ENAMETOOLONG:
		return "choose a shorter name for the series"
	}
	return ""
}

// fail makes an *Error of err, nil of nil. An op and path that the standard library
// put around the cause are taken off, so that each is said once.
func fail(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Path: path, Err: cause(err)}
}

func cause(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		return e.Err
	case *os.LinkError:
		return e.Err
	case *os.SyscallError:
		return e.Err
	}
	return err
}

// anyOf reports whether err is one of the errnos.
func anyOf(err error, errnos ...syscall.Errno) bool {
	for _, e := range errnos {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
