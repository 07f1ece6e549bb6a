//go:build !linux

package device

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// A Device is a block device that is open for writing.
type Device struct{ Info }

// Open opens the block device at path: on Linux.
func Open(ctx context.Context, path string, keep []Keep) (*Device, error) {
	return nil, fmt.Errorf("open device %q: %w", path, errors.ErrUnsupported)
}

// Close gives the device back.
func (d *Device) Close() error { return nil }

// Reread has the kernel read the partition table that is on the device now.
func (d *Device) Reread() error { return errors.ErrUnsupported }

// Write writes the first size bytes of image onto the device.
func (d *Device) Write(ctx context.Context, image io.Reader, size int64, told func(phase string, n int64)) error {
	return errors.ErrUnsupported
}
