package archive

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mknodAt makes a node; typ is st_mode's type and permissions.
func mknodAt(in *dirHandle, name string, typ uint32, major, minor int64) error {
	return retry(func() error { return unix.Mknodat(in.fd, name, typ, int(unix.Mkdev(uint32(major), uint32(minor)))) })
}

// renameNoReplace gives temp the name name, unless that exists.
func renameNoReplace(in *dirHandle, temp, name string) error {
	err := retry(func() error { return unix.Renameat2(in.fd, temp, in.fd, name, unix.RENAME_NOREPLACE) })
	// rename(2): EINVAL from file systems that do not know the flag, ENOSYS from kernels that do not.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return linkNoReplace(in, temp, name)
	}
	return err
}

// syncFS writes the file system that f is on to the disk.
func syncFS(f *os.File) error {
	if err := retry(func() error { return unix.Syncfs(int(f.Fd())) }); err != nil {
		return fmt.Errorf("sync %q: %w", f.Name(), err)
	}
	return nil
}

func fsetxattr(fd int, name string, value []byte) error { return unix.Fsetxattr(fd, name, value, 0) }

// setxattrAt sets an extended attribute of name, which may be a symbolic link.
func setxattrAt(in *dirHandle, name, attr string, value []byte) error {
	// setxattrat(2) is of Linux 6.13. By way of /proc the path is short, and below the directory that we hold.
	return unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", in.fd, name), attr, value, 0)
}
