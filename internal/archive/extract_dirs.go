package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
)

// dirState is what is known of a directory of the target.
type dirState struct {
	meta     *entryMeta  // from its entry in the archive; nil if there was none yet
	selected bool        // the entry is one of those to be restored
	created  bool        // by this extraction
	failed   bool        // it could not be made; there was a warning
	opened   fs.FileMode // what its mode was, if it was changed for the time of the extraction; else 0
}

// state returns the state of the directory at path, to be changed.
func (e *extractor) state(path string) *dirState {
	st := e.dirs[path]
	if st == nil {
		st = &dirState{}
		e.dirs[path] = st
	}
	return st
}

// directory makes a directory. Its properties come last.
func (e *extractor) directory(n entryName, h *tar.Header) error {
	st := e.state(n.path())
	st.meta, st.selected = tarMeta(h), true
	if _, err := e.tree.enter(n.parts); err != nil {
		return e.failed("restore", n.path(), err)
	}
	e.report.Entries++
	return nil
}

// child sees to it that a directory exists and can be written to, before it is opened.
func (e *extractor) child(in *dirHandle, name, path string) error {
	st := e.dirs[path]
	known := st != nil && st.meta != nil // the archive says it is a directory
	fi, err := in.lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !e.finishing:
		return e.mkdir(in, name, path, known)
	case err != nil:
		return err
	case fi.IsDir():
		return e.openUp(path, fi, func(mode fs.FileMode) error { return retry(func() error { return in.root.Chmod(name, mode) }) })
	case known && st.failed:
		return errSkipped
	case known && e.opt.Overwrite && !e.finishing:
		if err := in.root.Remove(name); err != nil {
			return err
		}
		return e.mkdir(in, name, path, known)
	case known:
		st.failed = true
		e.warn("restore", path, errors.New("exists and is no directory; left out, with all below it"))
		return errSkipped
	case fi.Mode()&fs.ModeSymlink != 0:
		return &behindLinkError{path}
	}
	return fmt.Errorf("%q exists and is no directory", path)
}

func (e *extractor) mkdir(in *dirHandle, name, path string, known bool) error {
	mode := fs.FileMode(0o777)
	if known {
		mode = 0o700 // not for others, until it has its own
	}
	err := retry(func() error { return in.root.Mkdir(name, mode) })
	if err == nil {
		e.state(path).created = true
	}
	return err
}

// openUp lets its owner write to a directory. Root needs no leave.
func (e *extractor) openUp(path string, fi fs.FileInfo, chmod func(fs.FileMode) error) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if e.maker.root || !ok || int(st.Uid) != os.Geteuid() || fi.Mode()&0o700 == 0o700 {
		return nil
	}
	if err := chmod(fi.Mode() | 0o700); err != nil {
		return err
	}
	e.state(path).opened = fi.Mode()
	return nil
}

// finishDirs gives the directories their properties, each after those below it.
func (e *extractor) finishDirs() error {
	e.finishing = true
	for _, path := range slices.Backward(slices.Sorted(maps.Keys(e.dirs))) {
		st := e.dirs[path]
		apply := st.meta != nil && (st.selected || st.created)
		if st.failed || !apply && st.opened == 0 {
			continue
		}
		var parts []string
		if path != "" {
			parts = strings.Split(path, "/")
		}
		d, err := e.tree.enter(parts)
		if err == nil && apply {
			err = e.maker.applyDir(d, path, st.meta)
		} else if err == nil {
			err = d.f.Chmod(st.opened)
		}
		if err != nil {
			if err := e.failed("finish", path, err); err != nil {
				return err
			}
		}
	}
	return nil
}
