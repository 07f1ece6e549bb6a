package store

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// renameExcl is not to be had here; the caller links and unlinks instead.
func renameExcl(from, to string) error { return syscall.ENOSYS }

// flush is not to be had here.
func flush(f *os.File, off, n int64, wait bool) error { return nil }

// dropCache asks the kernel to forget what it caches of the first n bytes of f, or of
// all for 0: posix_fadvise(2), advice that need not be taken (ZFS does not).
func dropCache(f *os.File, n int64) {
	_ = retry(func() error { return unix.Fadvise(int(f.Fd()), 0, n, unix.FADV_DONTNEED) })
}

// free returns the bytes that an ordinary user may still write under dir.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &st) }); err != nil {
		return 0, err
	}
	if st.Bavail < 0 { // into the reserve that only root may use: statfs(2)
		return 0, nil
	}
	return bytesOf(uint64(st.Bavail), int64(st.Bsize)), nil
}
