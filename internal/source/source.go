package source

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tinybackup/internal/source/blockmap"
)

// Kind says what a source is; the values are those of archive names.
type Kind string

// The kinds of a source.
const (
	Dir    Kind = "dir"
	File   Kind = "file"
	Device Kind = "device"
)

// ErrInUse says that a device is mounted, or in use by another part of the
// kernel, so that its content may change while it is read.
var ErrInUse = errors.New("device is in use")

// Options say what is read of a source.
type Options struct {
	Excludes      *Excludes     // nil: nothing is excluded
	ExcludeCaches bool          // leave out what is below a directory with a CACHEDIR.TAG
	OneFileSystem bool          // stay on the root's file system
	Skip          []ID          // left out with a note: the destination, our own log
	PieceSize     int64         // bytes; larger files and devices are cut at its multiples
	Live          bool          // read a device although it is in use
	AllBlocks     bool          // read a device's free blocks, too, instead of taking them for zeros
	Warn          func(Warning) // told of each problem, from any goroutine
}

// Source is what is backed up, opened. Close releases it, after all segments
// are done.
type Source struct {
	Kind Kind
	Path string // absolute; of a file, without symbolic links
	Size int64  // bytes of a file or device; -1 for a directory, not yet known

	opt    Options
	dirs   *dirCache
	root   *dir     // the directory, or the one that holds the file
	top    Stat     // of the source itself
	device *os.File // of a device
	used   []Extent // of a device: what is to be read; nil: all of it
	parts  []blockmap.Part
}

// Open opens the source at path: a directory, a regular file or a block device.
// Symbolic links in path are followed.
func Open(path string, opt Options) (*Source, error) {
	s := &Source{Path: path, Size: -1, opt: opt, dirs: newDirCache()}
	if s.opt.Excludes == nil {
		s.opt.Excludes = &Excludes{}
	}
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsDir() && fi.Mode().Type() != os.ModeDevice {
		if s.Path, err = filepath.EvalSymlinks(path); err != nil {
			return nil, err
		}
	}
	switch t := fi.Mode().Type(); {
	case t.IsDir():
		s.Kind = Dir
		s.root, s.top, err = s.dirs.root(path)
	case t.IsRegular():
		s.Kind = File
		err = s.openFile()
	case t == os.ModeDevice:
		s.Kind = Device
		err = s.openDevice()
	default:
		err = fmt.Errorf("open %q: not a directory, a regular file or a block device", path)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Source) openFile() error {
	var err error
	s.root, _, err = s.dirs.root(filepath.Dir(s.Path))
	if err != nil {
		return err
	}
	s.top, err = lstatAt(s.root.fd, filepath.Base(s.Path))
	if err != nil {
		s.dirs.close(s.root)
		return &os.PathError{Op: "stat", Path: s.Path, Err: err}
	}
	s.Size = s.top.Size
	return nil
}

// openDevice opens a block device exclusively (open(2): O_EXCL fails with EBUSY
// if it is in use by the system, as by a mount, in whatever namespace). Holding
// it so keeps it from being mounted until Close.
func (s *Source) openDevice() error {
	f, err := os.OpenFile(s.Path, os.O_RDONLY|unix.O_EXCL, 0)
	exclusive := err == nil
	if errors.Is(err, unix.EBUSY) {
		if !s.opt.Live {
			return &os.PathError{Op: "open", Path: s.Path, Err: ErrInUse}
		}
		f, err = os.Open(s.Path)
		if err == nil {
			unix.Sync()
			s.opt.Warn(Warning{Class: Changed, Text: "in use while it was read: the image may hold a mix of old and new blocks"})
		}
	}
	if err != nil {
		return err
	}
	s.top, err = fstat(int(f.Fd()))
	if err == nil {
		s.Size, err = deviceSize(f)
	}
	if err == nil && s.Size == 0 {
		err = fmt.Errorf("device %q: it has no medium, or a size of 0", s.Path)
	}
	if err != nil {
		f.Close()
		return err
	}
	flushErr := flushDevice(f)
	s.top.Size = s.Size
	s.device = f
	if exclusive && !s.opt.AllBlocks {
		s.findUsed(flushErr)
	}
	return nil
}

// Stat is that of the source itself.
func (s *Source) Stat() Stat { return s.top }

// Empty says that there is nothing in the source: no name in a directory, no
// byte in a file.
func (s *Source) Empty() (bool, error) {
	if s.Kind != Dir {
		return s.Size == 0, nil
	}
	names, err := s.dirs.names(s.root)
	if err != nil {
		err = &os.PathError{Op: "read", Path: s.Path, Err: err}
	}
	return err == nil && len(names) == 0, err
}

// Close releases what Open and the walk hold open.
func (s *Source) Close() error {
	s.dirs.close(s.root)
	if s.device != nil {
		return s.device.Close()
	}
	return nil
}

// Segments yields all of the source in order. An error is the last thing that
// is yielded: the context's, or that the root itself can't be listed. The
// caller calls Done for each segment.
func (s *Source) Segments(ctx context.Context) iter.Seq2[Segment, error] {
	return func(yield func(Segment, error) bool) {
		if s.Kind == Dir {
			w := &walk{Source: s, ctx: ctx, yield: yield, links: map[ID]*linkGroup{}}
			w.run()
			return
		}
		stop := func(seg Segment, err error) bool {
			if err == nil && ctx.Err() != nil {
				seg.Done()
				yield(Segment{}, ctx.Err())
				return false
			}
			return yield(seg, err)
		}
		e := &Entry{Stat: s.top, src: s, name: filepath.Base(s.Path), parent: s.root}
		e.segments(s.Size, s.opt.PieceSize, stop)
	}
}
