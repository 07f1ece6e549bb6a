package store

import (
	"io/fs"
	"os"
	"syscall"
)

// fileCalls are the calls by which a Local changes the disk: a field, so that tests
// can make each of them fail, or the machine die at each of them. flush, dropCache,
// renameExcl, clone and free are in the file of the operating system.
type fileCalls struct {
	mkdir      func(path string, perm fs.FileMode) error
	open       func(path string, flag int, perm fs.FileMode) (*os.File, error)
	write      func(f *os.File, p []byte) (int, error)
	flush      func(f *os.File, off, n int64, wait bool) error
	drop       func(f *os.File, n int64)
	sync       func(f *os.File) error
	close      func(f *os.File) error
	rename     func(from, to string) error // replaces
	renameExcl func(from, to string) error // never replaces
	link       func(from, to string) error
	clone      func(to, from *os.File, off, n, at int64) error
	remove     func(path string) error
}

func systemCalls() fileCalls {
	return fileCalls{
		mkdir:      os.Mkdir,
		open:       os.OpenFile,
		write:      (*os.File).Write,
		flush:      flush,
		drop:       dropCache,
		sync:       (*os.File).Sync,
		close:      (*os.File).Close,
		rename:     os.Rename,
		renameExcl: renameExcl,
		link:       os.Link,
		clone:      clone,
		remove:     os.Remove,
	}
}

// syncFile makes the bytes of an open file durable.
func (c *fileCalls) syncFile(f *os.File) error {
	err := c.sync(f)
	// A file system without fsync answers EINVAL (fsync(2)), an SMB share mounted by
	// macOS ENOTSUP or ENOTTY (restic #2395, rest-server #198). There it goes
	// unsynced: refusing would mean no backup at all, and nothing better is to be had.
	if anyOf(err, syscall.EINVAL, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOTTY) {
		return nil
	}
	return err
}

// syncDir makes the names in a directory durable: fsync(2) of a file does not.
func (c *fileCalls) syncDir(dir string) error {
	f, err := c.open(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return fail("open", dir, err)
	}
	err = c.syncFile(f)
	// SMB shares also say ENOENT of a directory that is open (restic #3720).
	if anyOf(err, syscall.ENOENT) {
		err = nil
	}
	if cerr := c.close(f); err == nil {
		err = cerr
	}
	return fail("sync directory", dir, err)
}

// retry repeats a system call that a signal interrupted; the Go runtime sends itself
// some, and network and FUSE file systems let them through.
func retry(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
