// Package device writes images onto block devices: it finds out which devices must
// not be written to, has one for itself alone, writes in an order in which a card
// that is not complete is not taken for a good one, and reads back what was written.
//
// It is for Linux: elsewhere Open fails with errors.ErrUnsupported.
//
// The order of Write is: the beginning of the device becomes zeros, and so does its
// end, where a GPT has its copy; then comes the image from its second MiB on; that is
// read back and compared; and then comes the first MiB, of this its first 4 KiB, with
// the partition table, last of all. So whatever ends it in between, the device has no
// partition table and no file system, and is not mistaken for a restored one.
package device

import (
	"fmt"
	"strings"
)

// Info is what a person may know a device by.
type Info struct {
	Path      string // without symbolic links, such as /dev/sdb
	Name      string // the last part of Path
	Model     string // as it calls itself; "" if it does not
	Size      int64  // bytes
	Sector    int64  // bytes of a logical sector
	Removable bool
	Parts     []Part // the partitions that the kernel knows of
}

// Part is a partition.
type Part struct {
	Name string // such as sdb1
	Size int64  // bytes
}

// Keep is a file or directory that must not be overwritten, and what to call it.
type Keep struct{ Path, What string }

// RefusedError says why a device must not be written to.
type RefusedError struct {
	Path string
	Why  []string // such as "is mounted at /boot"
	Busy bool     // it is in use, so that it may be free later
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("device %q %s", e.Path, strings.Join(e.Why, ", and "))
}

// IncompleteError says that Write failed when the device had lost its old beginning,
// and had not got the new one: there is nothing usable on it.
type IncompleteError struct{ Err error }

func (e *IncompleteError) Error() string { return e.Err.Error() }

// Unwrap is Err.
func (e *IncompleteError) Unwrap() error { return e.Err }

// Phases of Write.
const (
	Writing   = "writing"
	Comparing = "comparing"
)
