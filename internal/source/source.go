package source

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"

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

	// View is where the source is read, if not at its own path: in a snapshot of it,
	// which has the same inode numbers. Names, excludes and warnings are those of the
	// source all the same. Empty: the source's own path.
	View string
	// Instead is where a directory is read that the view has not, by its path below
	// the source and its inode number in the view: "" says that it has. Nil: it has all.
	Instead func(rel string, ino uint64) string
	// IsSnapshot says, by its name and inode number, that a directory is a snapshot of
	// ours, which is left out. Nil: there are none.
	IsSnapshot func(name string, ino uint64) bool
}

// Source is what is backed up, opened. Close releases it, after all segments
// are done.
type Source struct {
	Kind Kind
	Path string // absolute; of a file, without symbolic links
	Size int64  // bytes of a file or device; -1 for a directory, not yet known

	opt    Options
	dirs   *dirCache
	at     string   // where it is read: Path, or in the view
	root   *dir     // the directory, or the one that holds the file
	others []*dir   // tops of what is read elsewhere than in the view
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
	s.at = s.Path
	if opt.View != "" {
		s.at = opt.View
	}
	switch t := fi.Mode().Type(); {
	case t.IsDir():
		s.Kind = Dir
		s.root, s.top, err = s.dirs.root(s.at)
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
	s.skipInView(fi)
	return s, nil
}

// skipInView leaves out in the view, too, what is left out of the source: there it
// is on another device.
func (s *Source) skipInView(live os.FileInfo) {
	st, ok := live.Sys().(*syscall.Stat_t)
	if s.at == s.Path || !ok {
		return
	}
	for _, id := range slices.Clone(s.opt.Skip) {
		if id.Dev == uint64(st.Dev) {
			s.opt.Skip = append(s.opt.Skip, ID{Dev: s.top.Dev, Ino: id.Ino})
		}
	}
}

func (s *Source) openFile() error {
	var err error
	s.root, _, err = s.dirs.root(filepath.Dir(s.at))
	if err != nil {
		return err
	}
	s.top, err = lstatAt(s.root.fd, filepath.Base(s.at))
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
	f, err := os.OpenFile(s.at, os.O_RDONLY|unix.O_EXCL, 0)
	busy := errors.Is(err, unix.EBUSY)
	if busy {
		f, err = os.Open(s.at)
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
	// The attributes are those of the source's own node, also if a snapshot of it is open.
	var st unix.Stat_t
	if err := retry(func() error { return unix.Stat(s.Path, &st) }); err != nil {
		return &os.PathError{Op: "stat", Path: s.Path, Err: err}
	}
	s.top = newStat(&st)
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
	for _, d := range s.others {
		s.dirs.close(d)
	}
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
		e := &Entry{Stat: s.top, src: s, name: filepath.Base(s.at), parent: s.root}
		e.segments(s.Size, s.opt.PieceSize, stop)
	}
}
