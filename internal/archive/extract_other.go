//go:build !linux

package archive

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// mknodAt: not every system has a call that takes a directory.
func mknodAt(*dirHandle, string, uint32, int64, int64) error { return errors.ErrUnsupported }

// renameNoReplace gives temp the name name, unless that exists.
func renameNoReplace(in *dirHandle, temp, name string) error { return linkNoReplace(in, temp, name) }

// syncFS writes all file systems to the disk: there is no call for one.
func syncFS(*os.File) error { return unix.Sync() }

// fsetxattr: the names of Linux mean nothing here.
func fsetxattr(int, string, []byte) error { return errors.ErrUnsupported }

// setxattrAt is like fsetxattr.
func setxattrAt(*dirHandle, string, string, []byte) error { return errors.ErrUnsupported }
