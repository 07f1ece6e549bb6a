package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What image needs of a medium.
var _ medium = (*Device)(nil)

// WriteAt writes all of p.
func (d *Device) WriteAt(p []byte, off int64) (int, error) {
	n, err := d.f.WriteAt(p, off)
	if err != nil {
		return n, d.fail("write", err)
	}
	return n, d.pace(span{off, off + int64(n)})
}

// ReadAt reads what is on the medium, as far as flush was called before, and leaves
// nothing of it in the cache.
func (d *Device) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.f.ReadAt(p, off)
	_ = unix.Fadvise(int(d.f.Fd()), off, int64(n), unix.FADV_DONTNEED) // only advice
	return n, d.fail("read", err)
}

// zero makes n bytes at off zeros, both multiples of a sector. The device does that
// itself where it can (ioctl BLKZEROOUT, linux/fs.h).
func (d *Device) zero(off, n int64) error {
	part := [2]uint64{uint64(off), uint64(n)}
	err := d.ioctl(unix.BLKZEROOUT, unsafe.Pointer(&part))
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
		return d.fail("write zeros to", err)
	}
	zeros := make([]byte, min(n, blockSize))
	for n > 0 {
		got, err := d.WriteAt(zeros[:min(n, blockSize)], off)
		if err != nil {
			return err
		}
		off, n = off+int64(got), n-int64(got)
	}
	return nil
}

// paceBytes is how much is written before it is pushed out: so that what is shown as
// written is, nearly; fsync(2) has little left to do; and memory stays what it was.
const paceBytes = 16 << 20

// pace starts writing to the medium what was gathered, waits for what it started the
// time before, and drops that from the cache.
func (d *Device) pace(s span) error {
	if s.from != d.next.to { // it goes on elsewhere: fsync sees to the rest
		d.next = span{s.from, s.from}
	}
	d.next.to = s.to
	if d.next.to-d.next.from < paceBytes {
		return nil
	}
	// sync_file_range(2). An error must be heeded: fsync will not repeat it.
	if err := d.push(d.next, unix.SYNC_FILE_RANGE_WRITE); err != nil {
		return err
	}
	if b := d.begun; b.to > b.from {
		const whole = unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WAIT_AFTER
		if err := d.push(b, whole); err != nil {
			return err
		}
		_ = unix.Fadvise(int(d.f.Fd()), b.from, b.to-b.from, unix.FADV_DONTNEED) // only advice
	}
	d.begun, d.next = d.next, span{s.to, s.to}
	return nil
}

func (d *Device) push(s span, flags int) error {
	for {
		err := unix.SyncFileRange(int(d.f.Fd()), s.from, s.to-s.from, flags)
		if err != unix.EINTR {
			return d.fail("write", err)
		}
	}
}

// flush has everything on the medium, and nothing of it in the kernel's cache.
func (d *Device) flush() error {
	if err := d.f.Sync(); err != nil {
		return d.fail("sync", err)
	}
	// The ioctl drops the cache of the whole device and needs CAP_SYS_ADMIN; the advice
	// drops all pages that nobody else has in use, which after the sync are clean.
	if err := unix.IoctlSetInt(int(d.f.Fd()), unix.BLKFLSBUF, 0); err != nil && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		return d.fail("flush", err)
	}
	return d.fail("flush", unix.Fadvise(int(d.f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// forget has the kernel forget the partitions that were on the device. Where it
// can't, that is no worse than it was.
func (d *Device) forget() { _ = d.Reread() }

// Reread has the kernel read the partition table that is on the device now. Nothing
// is wrong with a device that knows none: it is a partition, or a loop device.
func (d *Device) Reread() error {
	err := d.ioctl(unix.BLKRRPART, nil)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) {
		return nil
	}
	return d.fail("read the partition table of", err)
}

// Write writes the first size bytes of image onto the device, and compares, in the
// order that the package tells of; size is at most that of the device. told is told
// how many bytes more were written or compared; all of a phase are size. An error
// after the device was changed is an *IncompleteError.
func (d *Device) Write(ctx context.Context, image io.Reader, size int64, told func(phase string, n int64)) error {
	if size > d.Size {
		return fmt.Errorf("write %q: %d bytes do not fit into %d", d.Path, size, d.Size)
	}
	return write(ctx, d, d.Size, image, size, told)
}
