//go:build linux && (amd64 || arm64)

package faults

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Call is one file-system call, as it begins.
type Call struct {
	N    int    // its number, from 1 on
	Name string // that of the system call, such as "renameat"
	Path string // the file or directory that it is about
	To   string // the new name, of those calls that have one

	Changes bool // it may change what is on the disk; else it only looks
	Creates bool // it is an open that makes a file
	Failed  bool // by itself, in Outcome.Calls

	Offset int64 // where in the file it reads or writes, of pread64 and pwrite64

	length int // the argument that says how many bytes, -1: none
	bytes  uint64
}

// Overlaps says whether the call reads or writes a part of the file.
func (c Call) Overlaps(off, n int64) bool {
	return c.length >= 0 && c.Offset < off+n && off < c.Offset+int64(c.bytes)
}

// CanBeShort says whether the call could do less than it was asked to.
func (c Call) CanBeShort() bool { return c.length >= 0 && c.bytes > 1 }

// An Action is what becomes of a call. The zero value lets it happen.
type Action struct {
	kind  kind
	errno syscall.Errno
}

type kind int

const (
	happens kind = iota
	killBefore
	killAfter
	fails
	isShort
	isSkipped
	hangs
)

var (
	KillBefore = Action{kind: killBefore} // SIGKILL to the program and its children; the call does not happen
	KillAfter  = Action{kind: killAfter}  // the same when it has happened
	Short      = Action{kind: isShort}    // it reads or writes half of the bytes
	Skip       = Action{kind: isSkipped}  // it does nothing and returns 0
	Hang       = Action{kind: hangs}      // it never begins and never returns; the thread ends with the program
)

// Fail is that the call does nothing and returns an error.
func Fail(errno syscall.Errno) Action { return Action{kind: fails, errno: errno} }

// String is how a test calls the action.
func (a Action) String() string {
	switch a.kind {
	case killBefore:
		return "killed before"
	case killAfter:
		return "killed after"
	case fails:
		return unix.ErrnoName(a.errno)
	case isShort:
		return "short"
	case isSkipped:
		return "left out"
	case hangs:
		return "hangs"
	}
	return "happens"
}

// A shape is where the arguments of a system call are.
type shape struct {
	name    string
	fd      int // a descriptor: of the file, or of the directory that a path is below; -1: none
	path    int // a path, -1: none
	to      int // a second path, behind the descriptor of its directory if fd >= 0; -1: none
	length  int // how many bytes, -1: it does not say
	changes bool
}

func onFile(name string, changes bool) shape         { return shape{name, 0, -1, -1, -1, changes} }
func onBytes(name string, n int, changes bool) shape { return shape{name, 0, -1, -1, n, changes} }
func below(name string, changes bool) shape          { return shape{name, 0, 1, -1, -1, changes} }

// shapes are the calls that count, as far as every architecture has them.
var shapes = map[uint64]shape{
	unix.SYS_READ:            onBytes("read", 2, false),
	unix.SYS_PREAD64:         onBytes("pread64", 2, false),
	unix.SYS_WRITE:           onBytes("write", 2, true),
	unix.SYS_PWRITE64:        onBytes("pwrite64", 2, true),
	unix.SYS_COPY_FILE_RANGE: {"copy_file_range", 2, -1, -1, 4, true},
	unix.SYS_SENDFILE:        {"sendfile", 0, -1, -1, 3, true},
	unix.SYS_FSYNC:           onFile("fsync", true),
	unix.SYS_FDATASYNC:       onFile("fdatasync", true),
	unix.SYS_SYNC_FILE_RANGE: onFile("sync_file_range", true),
	unix.SYS_FADVISE64:       onFile("fadvise64", false),
	unix.SYS_FTRUNCATE:       onFile("ftruncate", true),
	unix.SYS_FALLOCATE:       onFile("fallocate", true),
	unix.SYS_FCHMOD:          onFile("fchmod", true),
	unix.SYS_FCHOWN:          onFile("fchown", true),
	unix.SYS_IOCTL:           onFile("ioctl", false),
	unix.SYS_FLOCK:           onFile("flock", false),
	unix.SYS_GETDENTS64:      onFile("getdents64", false),
	unix.SYS_FSTAT:           onFile("fstat", false),
	unix.SYS_OPENAT:          below("openat", false),
	unix.SYS_STATX:           below("statx", false),
	unix.SYS_READLINKAT:      below("readlinkat", false),
	unix.SYS_MKDIRAT:         below("mkdirat", true),
	unix.SYS_MKNODAT:         below("mknodat", true),
	unix.SYS_UNLINKAT:        below("unlinkat", true),
	unix.SYS_FCHMODAT:        below("fchmodat", true),
	unix.SYS_FCHOWNAT:        below("fchownat", true),
	unix.SYS_UTIMENSAT:       below("utimensat", true),
	unix.SYS_RENAMEAT:        {"renameat", 0, 1, 3, -1, true},
	unix.SYS_RENAMEAT2:       {"renameat2", 0, 1, 3, -1, true},
	unix.SYS_LINKAT:          {"linkat", 0, 1, 3, -1, true},
	unix.SYS_SYMLINKAT:       {"symlinkat", 1, 2, -1, -1, true},
}

// describe finds out what a call is about. ok is false if it does not count.
func describe(tid int, nr uint64, args [6]uint64) (c Call, ok bool) {
	s, ok := shapes[nr]
	if !ok {
		return c, false
	}
	c = Call{Name: s.name, Changes: s.changes, length: s.length}
	if s.length >= 0 {
		c.bytes = args[s.length]
	}
	switch {
	case s.path < 0:
		c.Path = fdPath(tid, args[s.fd])
	case s.fd < 0:
		c.Path = pathBelow(tid, atCWD, args[s.path])
	default:
		c.Path = pathBelow(tid, args[s.fd], args[s.path])
	}
	switch {
	case s.to < 0:
	case s.fd < 0:
		c.To = pathBelow(tid, atCWD, args[s.to])
	default:
		c.To = pathBelow(tid, args[s.to-1], args[s.to])
	}
	switch nr {
	case unix.SYS_PREAD64, unix.SYS_PWRITE64:
		c.Offset = int64(args[3])
	case unix.SYS_IOCTL:
		c.Changes = args[1] == unix.FICLONERANGE || args[1] == unix.BLKZEROOUT
	case unix.SYS_OPENAT:
		_, err := os.Lstat(c.Path)
		c.Creates = args[2]&unix.O_CREAT != 0 && err != nil || args[2]&unix.O_TMPFILE == unix.O_TMPFILE
		c.Changes = c.Creates || args[2]&unix.O_TRUNC != 0
	}
	return c, true
}

// among says whether the call is about something in one of the directories.
func (c Call) among(dirs []string) bool {
	for _, dir := range dirs {
		for _, path := range []string{c.Path, c.To} {
			if path == dir || strings.HasPrefix(path, dir+"/") {
				return true
			}
		}
	}
	return false
}
