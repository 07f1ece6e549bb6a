//go:build !linux

package source

import (
	"errors"
	"os"
)

const openNoAtime = 0

// dataExtents: holes are read as zeros here.
func dataExtents(fd int, size int64) []Extent { return nil }

func kernelFS(fd int) string { return "" }

func dropBehind(fd int, x Extent) {}

func cached(fd int, off int64) bool { return true }

func deviceSize(f *os.File) (int64, error) { return f.Seek(0, 2) }

func flushDevice(f *os.File) error { return errors.ErrUnsupported }

func sectorSize(f *os.File) (int64, error) { return 0, errors.ErrUnsupported }

// A directReader is for systems whose page cache has large units.
type directReader struct{}

func openDirect(fd int) *directReader { return nil }

func (d *directReader) close() {}

func (d *directReader) read(s *Source, into []byte, off int64) (int, error) {
	return 0, errors.ErrUnsupported
}
