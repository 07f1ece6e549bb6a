package source

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// cacheTag starts a CACHEDIR.TAG file (bford.info/cachedir).
const cacheTag = "Signature: 8a477f597d28d172789f06886806bc55"

// walk lists a tree: a directory before what is in it, names in byte order. So
// the order is that of paths compared component by component.
type walk struct {
	*Source
	ctx   context.Context
	yield func(Segment, error) bool
	links map[ID]*linkGroup
}

func (w *walk) run() {
	names, err := w.dirs.names(w.root)
	if err != nil {
		w.yield(Segment{}, &os.PathError{Op: "read", Path: w.Path, Err: err})
		return
	}
	// The root's own attributes are read by way of ".", below itself.
	top := &Entry{Stat: w.top, src: w.Source, parent: w.root, name: "."}
	if top.segments(0, w.opt.PieceSize, w.yield) {
		w.list(w.root, "", names)
	}
}

// list yields what is in a directory and below it; false: stop.
func (w *walk) list(d *dir, path string, names []string) bool {
	slices.Sort(names)
	onlyTag := w.opt.ExcludeCaches && slices.Contains(names, "CACHEDIR.TAG") && w.isCache(d)
	for _, name := range names {
		if w.ctx.Err() != nil {
			w.yield(Segment{}, w.ctx.Err())
			return false
		}
		if onlyTag && name != "CACHEDIR.TAG" {
			continue
		}
		rel := name
		if path != "" {
			rel = path + "/" + name
		}
		if !w.visit(d, rel, name) {
			return false
		}
	}
	return true
}

func (w *walk) visit(d *dir, rel, name string) bool {
	w.opt.Alive()
	fd, err := w.dirs.pin(d)
	if err != nil {
		w.warn(rel, err)
		return true
	}
	st, err := lstatAt(fd, name)
	w.dirs.unpin(d)
	if err != nil {
		w.warn(rel, err)
		return true
	}
	isDir := st.Type() == unix.S_IFDIR
	if w.opt.Excludes.Match(rel, isDir) {
		return true
	}
	if slices.Contains(w.opt.Skip, st.ID()) {
		w.opt.Warn(Warning{Class: Note, Path: rel, Text: "left out: it belongs to this backup"})
		return true
	}
	if isDir && w.opt.IsSnapshot != nil && w.opt.IsSnapshot(name, st.Ino) {
		w.opt.Warn(Warning{Class: Note, Path: rel, Text: "left out: a snapshot of another backup"})
		return true
	}
	if isDir && w.opt.Instead != nil && !d.other {
		if at := w.opt.Instead(rel, st.Ino); at != "" {
			return w.elsewhere(rel, at)
		}
	}
	e := &Entry{Path: rel, Stat: st, src: w.Source, parent: d, name: name}
	switch st.Type() {
	case unix.S_IFSOCK:
		w.opt.Warn(Warning{Class: Note, Path: rel, Text: "left out: a socket exists only while its program runs"})
		return true
	case unix.S_IFDIR:
		return w.descend(e)
	}
	size := int64(0)
	if st.Type() == unix.S_IFREG {
		size = st.Size
	}
	if st.Nlink > 1 && w.group(e) {
		size = 0 // its content is that of an earlier name
	}
	if size > w.opt.PieceSize {
		e.findLayout()
	}
	return e.segments(size, w.opt.PieceSize, w.yield)
}

// elsewhere yields a directory that the view has not, and what is in it, as it is
// now: it is on another file system.
func (w *walk) elsewhere(rel, at string) bool {
	d, st, err := w.dirs.root(at)
	if err != nil {
		w.warn(rel, err)
		return true
	}
	d.other = true
	w.others = append(w.others, d)
	if slices.Contains(w.opt.Skip, st.ID()) {
		w.opt.Warn(Warning{Class: Note, Path: rel, Text: "left out: it belongs to this backup"})
		return true
	}
	var names []string
	if !w.opt.OneFileSystem && !w.ofKernel(d, rel) {
		w.opt.Warn(Warning{Class: Note, Path: rel, Text: "not in the snapshot: read as it is now"})
		if names, err = w.dirs.names(d); err != nil {
			w.warn(rel, err)
		}
	}
	e := &Entry{Path: rel, Stat: st, src: w.Source, parent: d, name: "."}
	return e.segments(0, w.opt.PieceSize, w.yield) && w.list(d, rel, names)
}

// descend yields a directory, and what is in it.
func (w *walk) descend(e *Entry) bool {
	d := &dir{parent: e.parent, name: e.name, id: e.ID(), other: e.parent.other, fd: -1}
	var names []string
	var err error
	if (!w.opt.OneFileSystem || e.Dev == w.top.Dev) && (e.Dev == e.parent.id.Dev || !w.ofKernel(d, e.Path)) {
		names, err = w.dirs.names(d)
	}
	if err != nil {
		w.warn(e.Path, err)
		if errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	if !e.segments(0, w.opt.PieceSize, w.yield) {
		return false
	}
	return w.list(d, e.Path, names)
}

// ofKernel says whether a directory is the top of a file system that is made of nothing,
// such as /proc: what is in it is the kernel's, is another one each time, and cannot be
// got back. The directory itself is, for it to be mounted on.
func (w *walk) ofKernel(d *dir, rel string) bool {
	fd, err := w.dirs.pin(d)
	if err != nil {
		return false // reading its names tells
	}
	defer w.dirs.unpin(d)
	kind := kernelFS(fd)
	if kind != "" {
		w.opt.Warn(Warning{Class: Note, Path: rel, Text: "left out: what is in it is the kernel's (" + kind + ")"})
	}
	return kind != ""
}

// group joins the entry to the other names of its inode; true if it is not the
// first.
func (w *walk) group(e *Entry) bool {
	g := w.links[e.ID()]
	if g == nil {
		g = newLinkGroup(e.Path)
		w.links[e.ID()] = g
	}
	e.link, e.turn = g, g.names
	g.names++
	if uint64(g.names) >= e.Nlink {
		delete(w.links, e.ID()) // that was the last one
	}
	return e.turn > 0
}

func (w *walk) isCache(d *dir) bool {
	pfd, err := w.dirs.pin(d)
	if err != nil {
		return false
	}
	defer w.dirs.unpin(d)
	fd, err := openAt(pfd, "CACHEDIR.TAG", unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "CACHEDIR.TAG")
	defer f.Close()
	if st, err := fstat(fd); err != nil || st.Type() != unix.S_IFREG {
		return false
	}
	head := make([]byte, len(cacheTag))
	n, _ := f.ReadAt(head, 0)
	return bytes.Equal(head[:n], []byte(cacheTag))
}

// warn tells of an entry that could not be read.
func (w *walk) warn(path string, err error) { w.opt.Warn(Problem(path, err)) }

// Problem turns an error of reading the entry at path into a warning: what is
// gone by now is a change, all else is unreadable.
func Problem(path string, err error) Warning {
	if errors.Is(err, fs.ErrNotExist) {
		return Warning{Class: Changed, Path: path, Text: "vanished before it was read"}
	}
	if errors.Is(err, errType) || errors.Is(err, errOther) || errors.Is(err, errReplaced) {
		return Warning{Class: Changed, Path: path, Text: err.Error()}
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return Warning{Class: Unreadable, Path: path, Text: "can't be read: " + err.Error()}
}
