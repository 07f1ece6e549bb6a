package source

import (
	"container/list"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxOpenDirs bounds the descriptors held for directories. Entries that wait to
// be read may lie in many thousands of directories, more than a process may
// open; and a tree may be deeper than that.
const maxOpenDirs = 256

var errReplaced = errors.New("directory was replaced while it was read")

// dir is a directory of the walk. Its descriptor is opened when it is needed and
// closed when others need the room; opened again, it must be the same inode.
type dir struct {
	parent *dir
	name   string
	id     ID
	other  bool // not in the view of the source, but read elsewhere

	// under cache.mu
	fd   int // -1: closed
	pins int
	elem *list.Element // in cache.idle while fd is open and pins is 0
}

// dirCache hands out descriptors of directories, a bounded number at a time.
type dirCache struct {
	mu   sync.Mutex
	idle *list.List // of *dir; front: least recently used
	open int
}

func newDirCache() *dirCache { return &dirCache{idle: list.New()} }

// root opens path as the top of a walk; symbolic links in path are followed.
func (c *dirCache) root(path string) (*dir, Stat, error) {
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, Stat{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	st, err := fstat(fd)
	if err != nil {
		unix.Close(fd)
		return nil, Stat{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	// The top stays pinned: there is no parent to open it from again.
	return &dir{name: path, id: st.ID(), fd: fd, pins: 1}, st, nil
}

// pin returns the directory's descriptor, which stays open until unpin.
func (c *dirCache) pin(d *dir) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pinLocked(d)
}

func (c *dirCache) pinLocked(d *dir) (int, error) {
	if d.fd >= 0 {
		d.pins++
		if d.elem != nil {
			c.idle.Remove(d.elem)
			d.elem = nil
		}
		return d.fd, nil
	}
	if d.parent == nil {
		return -1, os.ErrClosed
	}
	pfd, err := c.pinLocked(d.parent)
	if err != nil {
		return -1, err
	}
	defer c.unpinLocked(d.parent)
	fd, err := openAt(pfd, d.name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	st, err := fstat(fd)
	if err == nil && st.ID() != d.id {
		err = errReplaced
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	d.fd, d.pins = fd, 1
	c.open++
	for c.open > maxOpenDirs && c.idle.Len() > 0 {
		old := c.idle.Remove(c.idle.Front()).(*dir)
		unix.Close(old.fd)
		old.fd, old.elem = -1, nil
		c.open--
	}
	return fd, nil
}

func (c *dirCache) unpin(d *dir) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unpinLocked(d)
}

func (c *dirCache) unpinLocked(d *dir) {
	if d.pins--; d.pins == 0 {
		d.elem = c.idle.PushBack(d)
	}
}

// close closes all idle directories and the root.
func (c *dirCache) close(root *dir) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.idle.Len() > 0 {
		d := c.idle.Remove(c.idle.Front()).(*dir)
		unix.Close(d.fd)
		d.fd, d.elem = -1, nil
	}
	c.open = 0
	if root != nil && root.fd >= 0 {
		unix.Close(root.fd)
		root.fd = -1
	}
}

// names lists the directory, unsorted.
func (c *dirCache) names(d *dir) ([]string, error) {
	fd, err := c.pin(d)
	if err != nil {
		return nil, err
	}
	defer c.unpin(d)
	// A descriptor of its own: the position in a directory is shared with dups.
	own, err := openAt(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(own), d.name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return names, fmt.Errorf("list: %w", err)
	}
	return names, nil
}
