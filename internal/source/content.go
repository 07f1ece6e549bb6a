package source

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"
)

var (
	errType  = errors.New("became another type of file")
	errOther = errors.New("was replaced while it was read")
)

// Extent is a part of a file that holds data; between extents are holes.
type Extent struct{ Off, Len int64 } // bytes

// Content is an entry opened for reading. It is shared by the entry's segments
// and safe for concurrent use.
type Content struct {
	Stat             // as of the time it was opened
	Size    int64    // bytes that are stored, fixed from now on
	Extents []Extent // the parts of Size that are data; nil: all of it

	fd      int // not an os.File: in trees of small files, what that needs is a tenth of the time
	entry   *Entry
	changed bool // reported already; under the entry's last segment only
}

// Content opens the entry's file, once for all its segments. The error is the
// cause alone: the caller knows the path.
func (e *Entry) Content() (*Content, error) {
	e.once.Do(func() {
		if e.src.device != nil {
			e.content = &Content{Stat: e.Stat, Size: e.Size, Extents: e.src.used, fd: int(e.src.device.Fd()), entry: e}
			return
		}
		e.content, e.openErr = e.open()
	})
	return e.content, e.openErr
}

func (e *Entry) open() (*Content, error) {
	fd, st, err := e.openFile()
	if err != nil {
		return nil, err
	}
	if l := e.layout; l != nil {
		if st.ID() != l.stat.ID() {
			unix.Close(fd)
			return nil, errOther
		}
		// As of the layout: what was changed since is found when all is read.
		return &Content{Stat: l.stat, Size: l.stat.Size, Extents: l.extents, fd: fd, entry: e}, nil
	}
	c := &Content{Stat: st, Size: st.Size, fd: fd, entry: e}
	if max(e.Stat.Size, st.Size) > e.src.opt.PieceSize {
		// The pieces were cut by the size that the walk saw.
		c.Size = e.Stat.Size
	}
	if st.Blocks*512 < st.Size {
		c.Extents = dataExtents(fd, c.Size)
	}
	return c, nil
}

// openFile opens the entry, which must be a regular file.
func (e *Entry) openFile() (int, Stat, error) {
	pfd, err := e.src.dirs.pin(e.parent)
	if err != nil {
		return -1, Stat{}, err
	}
	defer e.src.dirs.unpin(e.parent)
	// O_NONBLOCK: what was a file may be a FIFO by now.
	fd, err := openAt(pfd, e.name, unix.O_RDONLY|unix.O_NONBLOCK|openNoAtime)
	if err == unix.EPERM && openNoAtime != 0 { // open(2): O_NOATIME is for the owner and root
		fd, err = openAt(pfd, e.name, unix.O_RDONLY|unix.O_NONBLOCK)
	}
	if err == unix.ELOOP || err == unix.EMLINK { // a symbolic link by now; FreeBSD says EMLINK
		return -1, Stat{}, errType
	}
	if err != nil {
		return -1, Stat{}, err
	}
	st, err := fstat(fd)
	if err == nil && st.Type() != unix.S_IFREG {
		err = errType
	}
	if err != nil {
		unix.Close(fd)
		return -1, Stat{}, err
	}
	return fd, st, nil
}

func (c *Content) close() {
	if c.entry.src.device == nil {
		unix.Close(c.fd)
	}
}

// data returns the parts of [off, off+n) that are not holes, cut to Size.
func (c *Content) data(off, n int64) []Extent {
	end := min(off+n, c.Size)
	if c.Extents == nil {
		if off >= end {
			return nil
		}
		return []Extent{{off, end - off}}
	}
	return within(c.Extents, off, end-off)
}

// AppendData appends the segment's data to buf, without the holes. Bytes that
// can't be had, because the file shrank or the medium is bad, are zeros, and
// are told of through warn.
func (s Segment) AppendData(buf []byte, warn func(Warning)) []byte {
	for _, x := range s.Entry.content.data(s.Off, s.Len) {
		buf, _ = s.Entry.content.read(buf, x, warn) // only a device may be gone, and no tar has one's data
	}
	s.finish(warn)
	return buf
}

// AppendRaw appends the segment's content to buf, holes as zeros: as it reads. The
// error is a *GoneError: there is no use in going on.
func (s Segment) AppendRaw(buf []byte, warn func(Warning)) ([]byte, error) {
	c := s.Entry.content
	start, at := len(buf), s.Off
	for _, x := range c.data(s.Off, s.Len) {
		buf = appendZeros(buf, x.Off-at)
		var err error
		if buf, err = c.read(buf, x, warn); err != nil {
			return buf, err
		}
		at = x.Off + x.Len
	}
	buf = appendZeros(buf, s.Len-int64(len(buf)-start))
	s.finish(warn)
	return buf, nil
}

// finish tells of a file that moved while it was read.
func (s Segment) finish(warn func(Warning)) {
	c := s.Entry.content
	if !s.Last || c.changed || s.Entry.src.device != nil {
		return
	}
	now, err := fstat(c.fd)
	switch {
	case err != nil:
	case now.Size != c.Size:
		s.changed(warn, fmt.Sprintf(Grew+"%d bytes are stored, it has %d", c.Size, now.Size))
	case now.MTime != c.MTime:
		s.changed(warn, "changed while it was read")
	}
}

// Grew begins the text of a warning about a file that has another size now; the sizes
// follow.
const Grew = "changed while it was read: "

func (s Segment) changed(warn func(Warning), text string) {
	s.Entry.content.changed = true
	warn(Warning{Class: Changed, Path: s.Entry.Path, Text: text})
}

// read appends the bytes of x. The error is a *GoneError.
func (c *Content) read(buf []byte, x Extent, warn func(Warning)) ([]byte, error) {
	start := len(buf)
	buf = slices.Grow(buf, int(x.Len))[:start+int(x.Len)]
	into := buf[start:]
	alone := x.Len >= dropSize && !cached(c.fd, x.Off+x.Len-1)
	n, err := c.fill(into, x.Off)
	clear(into[n:])
	switch {
	case err == nil && alone:
		dropBehind(c.fd, x)
	case err == io.EOF:
		err = c.ends(x.Off + int64(n))
	case err != nil:
		err = c.salvage(into[n:], x.Off+int64(n), warn)
	}
	return buf, err
}

// stepSize is how many bytes are read at a time, so that what paces the reading, or
// watches it, is asked often.
const stepSize = 1 << 20

// fill reads into full, or up to the first error.
func (c *Content) fill(into []byte, off int64) (n int, err error) {
	src := c.entry.src
	for n < len(into) {
		part := into[n:min(n+stepSize, len(into))]
		src.opt.Pace(len(part))
		got, err := src.readAt(c.fd, part, off+int64(n))
		n += got
		if err != nil {
			return n, err
		}
		src.failures.Store(0)
		src.opt.Alive()
	}
	return n, nil
}

// ends is for what is shorter than it was. A file may be: its rest are zeros, and
// finish tells of it. A device can't.
func (c *Content) ends(at int64) error {
	if c.entry.src.device == nil {
		return nil
	}
	return &GoneError{Path: c.entry.src.Path, At: at, Err: errEnds}
}

// dropSize is from how many bytes on it matters whether they stay in the page cache.
const dropSize = 1 << 20

// readAt reads until into is full, the file ends (io.EOF), or an error.
func (s *Source) readAt(fd int, into []byte, off int64) (n int, err error) {
	for n < len(into) {
		var got int
		err := retry(func() (err error) {
			got, err = s.pread(fd, into[n:], off+int64(n))
			return err
		})
		if err != nil {
			return n, err
		}
		if got == 0 {
			return n, io.EOF
		}
		n += got
	}
	return n, nil
}

func appendZeros(buf []byte, n int64) []byte {
	if n <= 0 {
		return buf
	}
	start := len(buf)
	if need := start + int(n); need <= cap(buf) {
		buf = buf[:need]
		clear(buf[start:])
		return buf
	}
	return append(buf, make([]byte, n)...)
}
