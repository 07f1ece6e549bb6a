package source

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"
)

// Xattrs reads the entry's extended attributes; POSIX ACLs and file
// capabilities are among them (xattr(7)). A file system without them gives none.
func (e *Entry) Xattrs() (map[string]string, error) {
	if c := e.content; c != nil {
		// Most files have none, and this is a quarter of the time of asking by name.
		if n, err := unix.Flistxattr(c.fd, nil); err == nil && n == 0 {
			return nil, nil
		}
	}
	path := e.src.Path
	if e.src.Kind == Dir {
		fd, err := e.src.dirs.pin(e.parent)
		if err != nil {
			return nil, err
		}
		defer e.src.dirs.unpin(e.parent)
		// There is no lgetxattrat(2) in older kernels; by way of /proc, the path is
		// short, and below the directory that we hold.
		if path = fmt.Sprintf("/proc/self/fd/%d/%s", fd, e.name); runtime.GOOS != "linux" {
			path = filepath.Join(e.src.root.name, e.Path)
		}
	}
	return xattrs(path)
}

// Xattrs reads the extended attributes of the source itself.
func (s *Source) Xattrs() (map[string]string, error) { return xattrs(s.Path) }

func xattrs(path string) (map[string]string, error) {
	names, err := xattr.LList(path)
	if err != nil {
		return nil, ignorable(err)
	}
	var all map[string]string
	for _, name := range names {
		value, err := xattr.LGet(path, name)
		if err = ignorable(err); err != nil {
			return all, fmt.Errorf("%s: %w", name, err)
		}
		if value == nil {
			continue
		}
		if all == nil {
			all = make(map[string]string, len(names))
		}
		all[name] = string(value)
	}
	return all, nil
}

// ignorable drops errors that mean "there is none", and takes the path, which
// is not the user's, out of the others.
func ignorable(err error) error {
	var xe *xattr.Error
	if errors.As(err, &xe) {
		err = xe.Err
	}
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, xattr.ENOATTR) {
		return nil
	}
	return err
}
