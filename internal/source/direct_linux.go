package source

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// A directReader reads single sectors past the page cache (open(2), O_DIRECT).
type directReader struct {
	fd  int
	buf []byte // a sector, in memory that is aligned as a device wants it
}

// openDirect opens once more what a descriptor is about. Nil means that it can't be
// read like that. Its closing is the caller's; closing nil does nothing.
func openDirect(fd int) *directReader {
	buf, err := unix.Mmap(-1, 0, salvageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil
	}
	again := fmt.Sprintf("/proc/self/fd/%d", fd)
	own, err := unix.Open(again, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC|openNoAtime, 0)
	if err == unix.EPERM { // open(2): O_NOATIME is for the owner and root
		own, err = unix.Open(again, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		_ = unix.Munmap(buf) // nothing is in it
		return nil
	}
	return &directReader{own, buf}
}

func (d *directReader) close() {
	if d == nil {
		return
	}
	unix.Close(d.fd)
	_ = unix.Munmap(d.buf) // nothing is in it that is needed
}

// read reads a sector, or a part of one, as Source.readAt does.
func (d *directReader) read(s *Source, into []byte, off int64) (n int, err error) {
	skip := off % salvageSize
	err = retry(func() (err error) {
		n, err = s.pread(d.fd, d.buf, off-skip)
		return err
	})
	if err != nil {
		return 0, err
	}
	n = copy(into, d.buf[min(int(skip), n):n])
	if n < len(into) {
		err = io.EOF
	}
	return n, err
}
