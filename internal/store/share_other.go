//go:build !linux

package store

import (
	"os"
	"syscall"
)

// sharesBlocks: elsewhere, archives do not share blocks.
func sharesBlocks(dir string) bool { return false }

func blockSize(dir string) int64 { return 0 }

func unnamed(dir string) (*os.File, error) { return nil, syscall.ENOTSUP }

func clone(to, from *os.File, off, n, at int64) error { return syscall.ENOTSUP }

func sharedBytes(path string) (int64, error) { return 0, nil }
