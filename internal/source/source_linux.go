package source

import (
	"os"

	"golang.org/x/sys/unix"
)

// openNoAtime spares the source the one write that reading causes.
const openNoAtime = unix.O_NOATIME

// kernelFS is what the file system of a directory is called, if the kernel makes up what
// is in it; else "".
func kernelFS(fd int) string {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return ""
	}
	switch int64(uint32(st.Type)) { // statfs(2); linux/magic.h
	case unix.PROC_SUPER_MAGIC:
		return "proc"
	case unix.SYSFS_MAGIC:
		return "sysfs"
	case unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC:
		return "cgroup"
	case unix.DEVPTS_SUPER_MAGIC:
		return "devpts"
	case unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC:
		return "debugfs"
	case unix.SECURITYFS_MAGIC, unix.SELINUX_MAGIC, unix.SMACK_MAGIC:
		return "securityfs"
	case unix.EFIVARFS_MAGIC, unix.PSTOREFS_MAGIC, unix.BPF_FS_MAGIC, unix.BINFMTFS_MAGIC, unix.NSFS_MAGIC:
		return "a file system of its own"
	case 0x62656570, 0x65735543, 0x67596969: // configfs, fusectl, rpc_pipefs
		return "a file system of its own"
	}
	return ""
}

// sparseUnit is what the parts of a file with holes are multiples of, in bytes:
// GNU tar fills each part up to a block of its own. Most file systems' parts are.
const sparseUnit = 512

// dataExtents lists the parts of a file that hold data. Nil means all of it:
// also where the file system can't tell.
//
// Only ENXIO means "a hole up to the end" (lseek(2)); taking other errors for
// it would make an empty backup of a file that is not.
func dataExtents(fd int, size int64) []Extent {
	out := []Extent{}
	for at := int64(0); at < size; {
		data, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if err == unix.ENXIO || err == nil && data >= size {
			break
		}
		if err != nil {
			return nil
		}
		hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
		if err != nil {
			return nil
		}
		data -= data % sparseUnit
		hole = min((hole+sparseUnit-1)/sparseUnit*sparseUnit, size)
		if n := len(out) - 1; n >= 0 && out[n].Off+out[n].Len >= data {
			out[n].Len = hole - out[n].Off
		} else {
			out = append(out, Extent{data, hole - data})
		}
		at = hole
	}
	if len(out) == 1 && out[0] == (Extent{0, size}) {
		return nil
	}
	return out
}

// dropBehind takes what was read out of the page cache: a backup passes once
// over more than fits there, and would push out what others work with.
func dropBehind(fd int, x Extent) {
	_ = unix.Fadvise(fd, x.Off, x.Len, unix.FADV_DONTNEED)
}

// cached says whether the byte at off is in the page cache: somebody works with
// the file. (preadv2(2): RWF_NOWAIT fails with EAGAIN where it would have to wait
// for the disk, and with EOPNOTSUPP where nobody can tell.)
func cached(fd int, off int64) bool {
	n, err := unix.Preadv2(fd, [][]byte{make([]byte, 1)}, off, unix.RWF_NOWAIT)
	return err == nil && n == 1
}

// deviceSize is the size of a block device, for which stat says 0.
func deviceSize(f *os.File) (int64, error) {
	return f.Seek(0, 2)
}

// flushDevice drops the kernel's cache of a block device: while a partition of
// a disk is mounted, what an earlier read left in the disk's cache stays there,
// and is not what the disk holds by now.
func flushDevice(f *os.File) error {
	// ioctl_list(2) BLKFLSBUF; needs CAP_SYS_ADMIN.
	return unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)
}

// sectorSize is the size of a device's sectors as partition tables count them,
// in bytes.
func sectorSize(f *os.File) (int64, error) {
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	return int64(n), err
}
