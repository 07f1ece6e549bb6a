package archive

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// maker makes files, links and nodes in a directory: each under a temporary name, with all its properties, and only
// then under its own.
type maker struct {
	overwrite, numericOwner, keepOwner bool
	durable                            bool // each file is on the disk before it has its name
	root                               bool
	users, groups                      *idCache
	noXattrs                           map[string]bool // attributes that the target does not know
	buf                                []byte
	warn                               func(op, path string, err error)
}

func newMaker(overwrite, numericOwner, keepOwner bool, warn func(op, path string, err error)) *maker {
	m := &maker{overwrite: overwrite, numericOwner: numericOwner, keepOwner: keepOwner, root: os.Geteuid() == 0,
		noXattrs: make(map[string]bool), buf: make([]byte, 256<<10), warn: warn}
	m.users, m.groups = newIDCaches()
	return m
}

// outcome is what became of an entry.
type outcome int

const (
	outcomeNone outcome = iota
	outcomeMade
	outcomeKept // it existed
)

// streamError is an error of the archive, not of what is restored.
type streamError struct{ err error }

// Error implements error.
func (e *streamError) Error() string { return e.err.Error() }

// tempName is where name is made. It is always the same, so that what a killed process left is found; and is not
// derived from a longer name than a directory can hold.
func tempName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf(".tinybackup-restore-%x", sum[:8])
}

// regular makes a file of data. It returns its size.
func (m *maker) regular(in *dirHandle, name, path string, meta *entryMeta, data io.Reader) (made outcome, size int64, err error) {
	if made, err := m.exists(in, name); made != outcomeNone || err != nil {
		return made, 0, err
	}
	temp := tempName(name)
	f, err := m.createTemp(in, temp)
	if err != nil {
		return outcomeNone, 0, err
	}
	defer func() {
		if made != outcomeMade {
			in.root.Remove(temp)
		}
	}()
	size, err = m.fill(f, path, meta, data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && meta != nil {
		err = m.setTimes(in, temp, path, meta) // after Close: NFS writes only then
	}
	if err == nil {
		made, err = m.place(in, name)
	}
	return made, size, err
}

// fill writes a file's content and sets its properties, but for the times.
func (m *maker) fill(f *os.File, path string, meta *entryMeta, data io.Reader) (int64, error) {
	size, err := copySparse(f, data, m.buf)
	if err == nil && meta != nil {
		err = m.applyFile(f, path, meta)
	}
	if err == nil && m.durable {
		err = f.Sync()
	}
	return size, err
}

// exists tells whether name is to be kept, or can't be replaced.
func (m *maker) exists(in *dirHandle, name string) (outcome, error) {
	fi, err := in.lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return outcomeNone, nil
	case err != nil:
		return outcomeNone, err
	case !m.overwrite:
		return outcomeKept, nil
	case fi.IsDir():
		return outcomeNone, errors.New("a directory of that name exists")
	}
	return outcomeNone, nil
}

// createTemp opens a new file, locked as long as it is open: one that exists and is not locked is what a killed
// process left.
func (m *maker) createTemp(in *dirHandle, temp string) (*os.File, error) {
	for try := 0; ; try++ {
		f, err := in.root.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			// Some network file systems have no locks. Then there is no protection.
			_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
			return f, nil
		}
		if !errors.Is(err, fs.ErrExist) || try == 3 {
			return nil, err
		}
		if err := m.removeLeftover(in, temp); err != nil {
			return nil, err
		}
	}
}

// removeLeftover removes what a killed process left under a temporary name.
func (m *maker) removeLeftover(in *dirHandle, temp string) error {
	fi, err := in.lstat(temp)
	if err == nil && fi.Mode().IsRegular() {
		f, err := in.root.OpenFile(temp, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			defer f.Close()
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
				return errors.New("another process is restoring it")
			}
		}
	}
	if err := in.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// symlink makes a symbolic link. Its target is text, and never looked at.
func (m *maker) symlink(in *dirHandle, name, path string, meta *entryMeta, target string) (outcome, error) {
	return m.special(in, name, func(temp string) error {
		if err := retry(func() error { return in.root.Symlink(target, temp) }); err != nil {
			return err
		}
		return m.applyName(in, temp, path, meta, false)
	})
}

// node makes a FIFO or a device node.
func (m *maker) node(in *dirHandle, name, path string, meta *entryMeta, typ uint32, major, minor int64) (outcome, error) {
	return m.special(in, name, func(temp string) error {
		if err := mknodAt(in, temp, typ|0o600, major, minor); err != nil {
			return fmt.Errorf("make node: %w", err)
		}
		return m.applyName(in, temp, path, meta, true)
	})
}

// hardLink makes another name of a file in from.
func (m *maker) hardLink(in *dirHandle, name, path string, from *dirHandle, old string) (outcome, error) {
	return m.special(in, name, func(temp string) error {
		fi, err := from.lstat(old)
		if err != nil {
			return fmt.Errorf("hard link to %q: %w", old, bare(err))
		}
		if fi.IsDir() {
			return fmt.Errorf("hard link to %q, which is a directory", old)
		}
		return retry(func() error { return unix.Linkat(from.fd, old, in.fd, temp, 0) })
	})
}

// special makes something that is no file under a temporary name, and then gives it its own.
func (m *maker) special(in *dirHandle, name string, create func(temp string) error) (outcome, error) {
	if made, err := m.exists(in, name); made != outcomeNone || err != nil {
		return made, err
	}
	temp := tempName(name)
	err := create(temp)
	if errors.Is(err, fs.ErrExist) {
		if err = m.removeLeftover(in, temp); err == nil {
			err = create(temp)
		}
	}
	// Gone if all went well; but rename(2) leaves it if it is the same file as the one to replace.
	defer in.root.Remove(temp)
	if err != nil {
		return outcomeNone, err
	}
	return m.place(in, name)
}

// place gives a finished file its name.
func (m *maker) place(in *dirHandle, name string) (outcome, error) {
	temp := tempName(name)
	var err error
	if m.overwrite {
		err = retry(func() error { return in.root.Rename(temp, name) })
	} else {
		err = renameNoReplace(in, temp, name)
		if errors.Is(err, fs.ErrExist) {
			return outcomeKept, nil
		}
	}
	if err != nil {
		return outcomeNone, err
	}
	if m.durable {
		return outcomeMade, in.f.Sync()
	}
	return outcomeMade, nil
}

// linkNoReplace is rename without replacing, where the system has no call for it.
func linkNoReplace(in *dirHandle, temp, name string) error {
	err := retry(func() error { return in.root.Link(temp, name) })
	if err == nil {
		return in.root.Remove(temp)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	// No hard links here, as on FAT. What is left has a gap in which another process could make the file.
	if _, err := in.lstat(name); err == nil {
		return fs.ErrExist
	}
	return retry(func() error { return in.root.Rename(temp, name) })
}

// nodeType returns the file type of a node in st_mode.
func nodeType(flag byte) uint32 {
	switch flag {
	case tar.TypeChar:
		return unix.S_IFCHR
	case tar.TypeBlock:
		return unix.S_IFBLK
	}
	return unix.S_IFIFO
}

// holeBlock is the unit in which zeros become holes: the block size of nearly every file system.
const holeBlock = 4096

// copySparse copies src to the new, empty file dst and leaves holes where there are zeros. It returns the size.
// An error of src is a *streamError.
func copySparse(dst *os.File, src io.Reader, buf []byte) (int64, error) {
	var size, written int64
	var err error
	if d, ok := src.(*tarData); ok && d.sparse {
		size = d.size
		for _, x := range d.extents {
			if _, written, err = copyBlocks(dst, x.Off, io.LimitReader(d, x.Len), buf); err != nil {
				return size, err
			}
		}
	} else if size, written, err = copyBlocks(dst, 0, src, buf); err != nil {
		return size, err
	}
	if written < size {
		return size, dst.Truncate(size)
	}
	return size, nil
}

// copyBlocks writes what is not zero of src to dst, from off on. It returns where src ended in dst, and where the
// last block that was written did.
func copyBlocks(dst *os.File, off int64, src io.Reader, buf []byte) (end, written int64, err error) {
	for {
		n := 0
		var rerr error
		for n < len(buf) && rerr == nil {
			var m int
			m, rerr = src.Read(buf[n:])
			n += m
		}
		last, err := writeNonZero(dst, buf[:n], off)
		if err != nil {
			return off, written, err
		}
		off += int64(n)
		written = max(written, last)
		if rerr == io.EOF {
			return off, written, nil
		}
		if rerr != nil {
			return off, written, &streamError{rerr}
		}
	}
}

// writeNonZero writes the blocks of b that are not all zeros, and returns the end of the last one.
func writeNonZero(dst *os.File, b []byte, off int64) (end int64, err error) {
	for at := 0; at < len(b); {
		start := at
		for at < len(b) && !allZero(b[at:min(at+holeBlock, len(b))]) {
			at = min(at+holeBlock, len(b))
		}
		if at > start {
			if _, err := dst.WriteAt(b[start:at], off+int64(start)); err != nil {
				return end, err
			}
			end = off + int64(at)
		}
		for at < len(b) && allZero(b[at:min(at+holeBlock, len(b))]) {
			at = min(at+holeBlock, len(b))
		}
	}
	return end, nil
}
