package store

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// renameExcl renames from to to, unless to exists: renameat2(2).
func renameExcl(from, to string) error {
	return retry(func() error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	})
}

// flush starts writing the given bytes of f to disk, and waits for that if asked. It
// says nothing of durability (no metadata, no disk cache: sync_file_range(2)), but an
// error must be heeded: fsync will not repeat it.
func flush(f *os.File, off, n int64, wait bool) error {
	flags := unix.SYNC_FILE_RANGE_WRITE
	if wait {
		flags |= unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	}
	err := retry(func() error { return unix.SyncFileRange(int(f.Fd()), off, n, flags) })
	if anyOf(err, syscall.ENOSYS, syscall.EINVAL, syscall.ESPIPE, syscall.ENOTSUP) {
		return nil // not on this file system; it is only for pace
	}
	return err
}

// dropCache asks the kernel to forget what it caches of the first n bytes of f, or of
// all for 0. It forgets clean pages that nobody has mapped or locked, and may not on
// file systems that live in memory.
func dropCache(f *os.File, n int64) {
	// Only advice: if it is not taken, the read back is from memory, as documented.
	_ = retry(func() error { return unix.Fadvise(int(f.Fd()), 0, n, unix.FADV_DONTNEED) })
}

// free returns the bytes that an ordinary user may still write under dir. Blocks are
// counted in f_frsize where that is set, as statvfs(3) and df(1) do: FUSE file systems
// put the preferred transfer size into f_bsize.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &st) }); err != nil {
		return 0, err
	}
	unit := int64(st.Frsize)
	if unit == 0 {
		unit = int64(st.Bsize)
	}
	return bytesOf(st.Bavail, unit), nil
}
