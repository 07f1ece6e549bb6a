package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Device is a block device that is open for writing, and that nobody else can
// mount, or open for itself alone, until Close.
type Device struct {
	Info
	f     *os.File
	locks []*os.File // the nodes that are locked: f, and a partition's disk
	next  span       // written, and not pushed to the medium yet
	begun span       // pushed, and not waited for yet
}

// lockWait is how long Open waits for who has the device locked: udev has it for a
// moment, to look at what is on it.
const lockWait = 10 * time.Second

// here is this machine.
func here() machine {
	return machine{sys: "/sys", proc: "/proc", stat: func(path string) (fileNumbers, error) {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return fileNumbers{}, err
		}
		n := fileNumbers{on: devNumber(st.Dev)}
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			n.is = devNumber(st.Rdev)
		}
		return n, nil
	}}
}

func devNumber[T ~uint32 | ~uint64](dev T) string {
	return fmt.Sprintf("%d:%d", unix.Major(uint64(dev)), unix.Minor(uint64(dev)))
}

// Open opens the block device at path. It is refused with a *RefusedError if it, or a
// partition of it, is in use or read-only, or if something of keep is on it, on
// whatever way: a partition, device mapper, RAID, a loop device. A device that is not
// there is fs.ErrNotExist, and none is made of it.
func Open(ctx context.Context, path string, keep []Keep) (*Device, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !isBlock(info.Mode()) {
		return nil, &RefusedError{Path: path, Why: []string{"is no block device"}}
	}
	m := here()
	n, err := m.stat(path)
	if err != nil {
		return nil, err
	}
	name := m.name(n.is)
	if why := append(m.holds(name, keep), m.uses(name)...); len(why) > 0 {
		return nil, &RefusedError{Path: path, Why: why, Busy: true}
	}
	// Without O_CREAT, a misspelled name does not become a file in /dev. With O_EXCL,
	// open(2) fails if the system uses the device, in whatever namespace; and nobody can
	// mount it from now on.
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_EXCL, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		why := m.mountedElsewhere(name)
		if len(why) == 0 {
			why = []string{"is in use"}
		}
		return nil, &RefusedError{Path: path, Why: why, Busy: true}
	case errors.Is(err, unix.EROFS):
		return nil, readOnly(path)
	case errors.Is(err, unix.ENOMEDIUM):
		return nil, &RefusedError{Path: path, Why: []string{"has no medium in it"}}
	case err != nil:
		return nil, err
	}
	d := &Device{Info: Info{Path: path, Name: filepath.Base(path)}, f: f}
	if err := d.settle(ctx, m, name); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func readOnly(path string) error {
	return &RefusedError{Path: path, Why: []string{"is read-only"}}
}

// settle finds out about the open device, and locks it.
func (d *Device) settle(ctx context.Context, m machine, name string) error {
	// It may be another one than a moment ago: a stick was pulled out.
	var st unix.Stat_t
	if err := unix.Fstat(int(d.f.Fd()), &st); err != nil {
		return d.fail("stat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || m.name(devNumber(st.Rdev)) != name {
		return &RefusedError{Path: d.Path, Why: []string{"has become another one"}}
	}
	// ioctl_list(2), linux/fs.h
	ro, err := unix.IoctlGetInt(int(d.f.Fd()), unix.BLKROGET)
	if err != nil {
		return d.fail("ask", err)
	}
	if ro != 0 {
		return readOnly(d.Path)
	}
	sector, err := unix.IoctlGetInt(int(d.f.Fd()), unix.BLKSSZGET)
	if err != nil {
		return d.fail("ask", err)
	}
	var size uint64
	if err := d.ioctl(unix.BLKGETSIZE64, unsafe.Pointer(&size)); err != nil {
		return d.fail("ask", err)
	}
	if size == 0 {
		return &RefusedError{Path: d.Path, Why: []string{"has no medium in it, or a size of 0"}}
	}
	d.Sector, d.Size = int64(sector), int64(size)
	d.Model, d.Parts = m.model(name), m.parts(name)
	d.Removable = text(m.dir(m.disk(name)), "removable") == "1"
	if err := d.lock(ctx, d.f); err != nil {
		return err
	}
	if disk := m.disk(name); disk != name {
		return d.lockDisk(ctx, filepath.Join(filepath.Dir(d.Path), disk))
	}
	return nil
}

// lockDisk locks the disk of a partition: systemd goes by the locks of disks only
// (systemd.io/BLOCK_DEVICE_LOCKING).
func (d *Device) lockDisk(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is called in another way here; the partition itself is locked
	}
	if err != nil {
		return err
	}
	d.locks = append(d.locks, f)
	return d.lock(ctx, f)
}

// lock takes the lock that programs take which must not be disturbed by udev's
// looking, and that others then respect.
func (d *Device) lock(ctx context.Context, f *os.File) error {
	deadline := time.Now().Add(lockWait) // of the machine's patience, not of a schedule
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err != unix.EWOULDBLOCK && err != unix.EINTR:
			return d.fail("lock", err)
		case !time.Now().Before(deadline):
			return &RefusedError{Path: d.Path, Why: []string{"is locked by another program"}, Busy: true}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Close gives the device back.
func (d *Device) Close() error {
	err := d.f.Close()
	for _, f := range d.locks {
		err = errors.Join(err, f.Close())
	}
	return err
}

func (d *Device) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &fs.PathError{Op: op, Path: d.Path, Err: err}
}

func (d *Device) ioctl(request uint, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.f.Fd(), uintptr(request), uintptr(arg))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}
