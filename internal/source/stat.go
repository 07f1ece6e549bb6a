package source

import (
	"time"

	"golang.org/x/sys/unix"
)

// Stat is what lstat(2) says of an entry, in the same types on every system.
type Stat struct {
	Mode     uint32 // st_mode: type and permission bits
	UID, GID uint32
	Size     int64 // bytes
	MTime    int64 // ns since 1970
	CTime    int64 // ns since 1970
	Dev, Ino uint64
	Rdev     uint64
	Nlink    uint64
	Blocks   int64 // of 512 bytes
}

// Type is the file type, one of unix.S_IF….
func (s *Stat) Type() uint32 { return s.Mode & unix.S_IFMT }

// ModTime is the time of the last change of the content.
func (s *Stat) ModTime() time.Time { return time.Unix(0, s.MTime) }

// Major and Minor are the numbers of a device node.
func (s *Stat) Major() int64 { return int64(unix.Major(s.Rdev)) }

// Minor is the second number of a device node.
func (s *Stat) Minor() int64 { return int64(unix.Minor(s.Rdev)) }

// ID names a file system object, as long as it exists.
type ID struct{ Dev, Ino uint64 }

// ID is the entry's identity.
func (s *Stat) ID() ID { return ID{s.Dev, s.Ino} }

// The field types of unix.Stat_t differ from system to system.
func newStat(st *unix.Stat_t) Stat {
	return Stat{
		Mode: uint32(st.Mode), UID: st.Uid, GID: st.Gid, Size: st.Size,
		MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(),
		Dev: uint64(st.Dev), Ino: uint64(st.Ino), Rdev: uint64(st.Rdev),
		Nlink: uint64(st.Nlink), Blocks: int64(st.Blocks),
	}
}

func lstatAt(fd int, name string) (Stat, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return newStat(&st), err
}

func fstat(fd int) (Stat, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstat(fd, &st) })
	return newStat(&st), err
}

func openAt(fd int, name string, flags int) (int, error) {
	got := -1
	err := retry(func() (err error) {
		got, err = unix.Openat(fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return got, err
}

// retry repeats a call that a signal interrupted (signal(7)): Go's own runtime
// sends signals to preempt goroutines.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
