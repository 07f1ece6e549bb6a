package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameExcl renames from to to, unless to exists: renamex_np(2).
func renameExcl(from, to string) error {
	return retry(func() error { return unix.RenamexNp(from, to, unix.RENAME_EXCL) })
}

// flush is not to be had here.
func flush(f *os.File, off, n int64, wait bool) error { return nil }

// dropCache keeps further reads through f out of the cache: fcntl(2), F_NOCACHE. What
// is cached already stays, and is used.
func dropCache(f *os.File, n int64) {
	_ = retry(func() error {
		_, err := unix.FcntlInt(f.Fd(), unix.F_NOCACHE, 1)
		return err
	})
}

// free returns the bytes that an ordinary user may still write under dir.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &st) }); err != nil {
		return 0, err
	}
	return bytesOf(st.Bavail, int64(st.Bsize)), nil
}
