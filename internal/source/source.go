package source

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"

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
	Pace          func(n int)   // called before n bytes of content are read, to wait; nil: as fast as can be
	Alive         func()        // called whenever something was read, from any goroutine; nil: nobody asks
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
	quiet  *quiet // of a device in use: what shows that nobody writes to it; nil: nobody else has it

	pread    func(fd int, p []byte, off int64) (int, error)
	failures atomic.Int32 // reads that failed since the last one that did not
}

// Open opens the source at path: a directory, a regular file or a block device.
// Symbolic links in path are followed.
func Open(path string, opt Options) (*Source, error) {
	s := &Source{Path: path, Size: -1, opt: opt, dirs: newDirCache(), pread: unix.Pread}
	if s.opt.Excludes == nil {
		s.opt.Excludes = &Excludes{}
	}
	if s.opt.Alive == nil {
		s.opt.Alive = func() {}
	}
	if s.opt.Pace == nil {
		s.opt.Pace = func(int) {}
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
// it so keeps it from being mounted until Close. One that is in use is opened all
// the same if nobody can write to it, or with Live.
func (s *Source) openDevice() error {
	f, err := os.OpenFile(s.Path, os.O_RDONLY|unix.O_EXCL, 0)
	busy := errors.Is(err, unix.EBUSY)
	if busy {
		f, err = os.Open(s.Path)
	}
	if err != nil {
		return err
	}
	s.device = f
	if err := s.lookAtDevice(busy); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// lookAtDevice finds out what is to be known of an open device.
func (s *Source) lookAtDevice(busy bool) (err error) {
	if s.top, err = fstat(int(s.device.Fd())); err != nil {
		return err
	}
	if s.Size, err = deviceSize(s.device); err != nil {
		return err
	}
	if s.Size == 0 {
		return fmt.Errorf("device %q: it has no medium, or a size of 0", s.Path)
	}
	s.top.Size = s.Size
	flushErr := flushDevice(s.device)
	if busy {
		quiet, err := s.findQuiet(flushErr)
		if err != nil && !s.opt.Live {
			return err
		}
		if err != nil {
			unix.Sync()
			_ = flushDevice(s.device) // of what that has written; without the right to it, as before
			s.opt.Warn(Warning{Class: Changed, Path: s.Path, Text: "in use while it was read: the image may hold a mix of old and new blocks"})
			return nil
		}
		s.quiet = quiet
	}
	if !s.opt.AllBlocks {
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
	if s.device == nil {
		return nil
	}
	return errors.Join(s.quiet.close(), s.device.Close())
}

// Unchanged says, when all was read, why what was read may be a mix after all: an
// *InUseError, of a device that was mounted read-only at first.
func (s *Source) Unchanged() error {
	if s.quiet == nil {
		return nil
	}
	return s.quiet.still(s)
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
