package store

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Magic numbers of file systems in which files can share blocks (statfs(2)).
const (
	magicBtrfs    = 0x9123683e
	magicXFS      = 0x58465342
	magicBcachefs = 0xca451a4e
	magicOCFS2    = 0x7461636f
)

// sharesBlocks reports whether dir is on a file system whose files may share blocks.
func sharesBlocks(dir string) bool {
	var st unix.Statfs_t
	if retry(func() error { return unix.Statfs(dir, &st) }) != nil {
		return false
	}
	switch uint32(st.Type) {
	case magicBtrfs, magicXFS, magicBcachefs, magicOCFS2:
		return true
	}
	return false
}

// blockSize returns the size of the blocks of dir's file system, in bytes.
func blockSize(dir string) int64 {
	var st unix.Statfs_t
	if retry(func() error { return unix.Statfs(dir, &st) }) != nil {
		return 0
	}
	return int64(st.Bsize)
}

// unnamed creates a file without a name in dir: nobody else meets it, and a killed run
// leaves nothing of it (open(2), O_TMPFILE).
func unnamed(dir string) (*os.File, error) {
	return os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, filePerm)
}

// clone makes n bytes of to, from at on, share the blocks of from's, from off on:
// ioctl_ficlonerange(2).
func clone(to, from *os.File, off, n, at int64) error {
	r := unix.FileCloneRange{Src_fd: int64(from.Fd()), Src_offset: uint64(off), Src_length: uint64(n), Dest_offset: uint64(at)}
	return retry(func() error { return unix.IoctlFileCloneRange(int(to.Fd()), &r) })
}

// fiemap is struct fiemap with room for extents (linux/fiemap.h).
type fiemap struct {
	start, length uint64
	flags         uint32
	mapped, count uint32
	_             uint32
	extents       [128]fiemapExtent
}

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

const (
	fiemapIoctl  = 0xc020660b // FS_IOC_FIEMAP
	fiemapLast   = 0x1        // FIEMAP_EXTENT_LAST
	fiemapShared = 0x2000     // FIEMAP_EXTENT_SHARED
)

// sharedBytes returns how many bytes of a file are in blocks that other files have
// too (Documentation/filesystems/fiemap.rst).
func sharedBytes(path string) (int64, error) {
	f, _, err := openRegular(path)
	if err != nil {
		return 0, err
	}
	defer f.Close() // only read from
	shared := int64(0)
	var m fiemap
	for {
		m.length, m.count, m.mapped, m.flags = ^uint64(0)-m.start, uint32(len(m.extents)), 0, 0
		err := retry(func() error {
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fiemapIoctl, uintptr(unsafe.Pointer(&m)))
			if errno != 0 {
				return errno
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		for _, x := range m.extents[:m.mapped] {
			if x.flags&fiemapShared != 0 {
				shared += int64(x.length)
			}
			m.start = x.logical + x.length
			if x.flags&fiemapLast != 0 {
				return shared, nil
			}
		}
		if m.mapped == 0 {
			return shared, nil
		}
	}
}
