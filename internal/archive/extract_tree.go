package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// dirHandle is an open directory. All work is done with names of one component below a handle, so that no path is
// ever resolved, however long it is and whatever became of it meanwhile.
type dirHandle struct {
	root *os.Root
	f    *os.File // the same directory, for calls that os.Root does not have
	fd   int      // of f
}

func openHandle(root *os.Root) (*dirHandle, error) {
	f, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	return &dirHandle{root, f, int(f.Fd())}, nil
}

func (d *dirHandle) close() {
	d.f.Close()
	d.root.Close()
}

// lstat looks at name in d, and not behind a symbolic link.
func (d *dirHandle) lstat(name string) (info fs.FileInfo, err error) {
	err = retry(func() error {
		info, err = d.root.Lstat(name)
		return err
	})
	return info, err
}

// retry repeats a call that a signal interrupted; the Go runtime sends itself some, and network and FUSE file systems
// let them through.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// open returns the directory name in d. It does not follow a symbolic link.
func (d *dirHandle) open(name string) (*dirHandle, error) {
	want, err := d.lstat(name)
	if err != nil {
		return nil, err
	}
	if !want.IsDir() {
		return nil, syscall.ENOTDIR
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	h, err := openHandle(root)
	if err != nil {
		return nil, err
	}
	// OpenRoot does follow links, though none out of d.
	got, err := h.f.Stat()
	if err == nil && !os.SameFile(got, want) {
		err = errors.New("it was replaced meanwhile")
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// maxOpenDirs is how many directories of the current path stay open: the first half of them, and the last. Paths can
// have two thousand.
const maxOpenDirs = 64

// dirTree is the target, and the directories from there to where the work is going on.
type dirTree struct {
	top   *dirHandle
	parts []string     // the current path
	open  []*dirHandle // of its directories; nil for those closed to save descriptors

	// prepare is called before a directory is opened, and may make it.
	prepare func(in *dirHandle, name, path string) error
	// others are directories on file systems other than the target's: mount points in it.
	others map[uint64]*dirHandle
	dev    uint64
}

// makeTarget makes the directory to restore into, if there is none.
func makeTarget(target string, private bool) (created bool, err error) {
	if _, err := os.Stat(target); err == nil {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return false, err
	}
	mode := os.FileMode(0o777)
	if private {
		mode = 0o700 // not for others, until its own is known
	}
	return true, os.Mkdir(target, mode)
}

// newDirTree opens the target.
func newDirTree(target string, prepare func(in *dirHandle, name, path string) error) (*dirTree, error) {
	root, err := os.OpenRoot(target)
	if err != nil {
		return nil, err
	}
	top, err := openHandle(root)
	if err != nil {
		return nil, err
	}
	t := &dirTree{top: top, prepare: prepare, others: make(map[uint64]*dirHandle)}
	if fi, err := top.f.Stat(); err == nil {
		t.dev = device(fi)
	}
	return t, nil
}

// enter returns the directory that parts name, the target itself for none. It is open until the next call.
func (t *dirTree) enter(parts []string) (*dirHandle, error) {
	common := 0
	for common < min(len(parts), len(t.parts)) && parts[common] == t.parts[common] {
		common++
	}
	t.closeBelow(common)
	at, in := common, t.top
	for ; at > 0; at-- {
		if t.open[at-1] != nil {
			in = t.open[at-1]
			break
		}
	}
	full, end := strings.Join(parts, "/"), -1 // one string for all: the paths of a deep tree are long
	for _, part := range parts[:at] {
		end += 1 + len(part)
	}
	for ; at < len(parts); at++ {
		end += 1 + len(parts[at])
		path := full[:end]
		if err := t.prepare(in, parts[at], path); err != nil {
			return nil, err
		}
		next, err := in.open(parts[at])
		if err != nil {
			return nil, err
		}
		t.note(next)
		if at < len(t.open) {
			t.open[at] = next
		} else {
			t.parts, t.open = append(t.parts, parts[at]), append(t.open, next)
		}
		if mid := at - maxOpenDirs/2; mid >= maxOpenDirs/2 && t.open[mid] != nil {
			t.open[mid].close()
			t.open[mid] = nil
		}
		in = next
	}
	return in, nil
}

// closeBelow leaves the first n directories of the current path.
func (t *dirTree) closeBelow(n int) {
	for _, d := range t.open[n:] {
		if d != nil {
			d.close()
		}
	}
	t.parts, t.open = slices.Delete(t.parts, n, len(t.parts)), slices.Delete(t.open, n, len(t.open))
}

// openApart opens the directory that parts name, which must exist. The caller closes it.
func (t *dirTree) openApart(parts []string) (*dirHandle, error) {
	root, err := t.top.root.OpenRoot(".")
	if err != nil {
		return nil, err
	}
	in, err := openHandle(root)
	for i := 0; i < len(parts) && err == nil; i++ {
		fi, lerr := in.lstat(parts[i])
		if lerr == nil && fi.Mode()&fs.ModeSymlink != 0 {
			err = &behindLinkError{strings.Join(parts[:i+1], "/")}
			in.close()
			break
		}
		var next *dirHandle
		next, err = in.open(parts[i])
		in.close()
		in = next
	}
	return in, err
}

// note remembers a directory for each file system, for sync.
func (t *dirTree) note(d *dirHandle) {
	fi, err := d.f.Stat()
	if err != nil || device(fi) == t.dev || t.others[device(fi)] != nil {
		return
	}
	if root, err := d.root.OpenRoot("."); err == nil {
		if h, err := openHandle(root); err == nil {
			t.others[device(fi)] = h
		}
	}
}

// sync returns when all that was written is on the disk.
func (t *dirTree) sync() error {
	err := syncFS(t.top.f)
	for _, d := range t.others {
		err = errors.Join(err, syncFS(d.f))
	}
	return err
}

func (t *dirTree) close() {
	t.closeBelow(0)
	for _, d := range t.others {
		d.close()
	}
	t.top.close()
}

func device(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev)
	}
	return 0
}

// errSkipped is for entries in a directory that could not be made, of which there was a warning.
var errSkipped = errors.New("skipped")

// behindLinkError is for an entry whose directory is a symbolic link, and is no directory in the archive.
type behindLinkError struct{ path string }

// Error implements error.
func (e *behindLinkError) Error() string {
	return fmt.Sprintf("%q is a symbolic link, and entries behind one are refused", e.path)
}

// bare takes the path, which is of one component and means nothing to anybody, out of an error of package os.
func bare(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		return e.Err
	case *os.LinkError:
		return e.Err
	}
	return err
}

// isFatal tells whether an error will meet every other entry as well.
func isFatal(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
