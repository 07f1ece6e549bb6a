package source

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// A GoneError says that reading a device has no use any more.
type GoneError struct {
	Path string
	At   int64 // where, in bytes
	Err  error // what reading there gives
}

func (e *GoneError) Error() string { return fmt.Sprintf("read %q at %d: %v", e.Path, e.At, e.Err) }

// Unwrap is Err.
func (e *GoneError) Unwrap() error { return e.Err }

var errEnds = errors.New("it ends here by now: it was taken out, or has become smaller")

// How what can't be read is read all the same, piece by piece, as ddrescue(1) does:
// sector by sector, and in leaps that grow when that does not help, so that a disk
// that needs many seconds for each failure does not take days.
const (
	// salvageSize is that of most media's sectors today, a multiple of the older ones'
	// 512 bytes, and what the kernel's cache reads at least.
	salvageSize = 4096
	// patience is how many sectors in a row are tried before leaps begin.
	patience = 16
	// maxFailures is after how many failures in a row a device is given up: when several
	// hundred megabytes are gone, or all that is left.
	maxFailures = 256
)

// A salvage is a piece that gave an error, on its way to what can be read of it.
type salvage struct {
	c      *Content
	into   []byte
	off    int64
	bad    []bool        // by sector
	direct *directReader // nil: only the page cache can be asked
	cause  error         // the first failure
	gone   error         // a *GoneError, which ends it
}

// salvage reads what can be read of a piece that gave an error; the rest are zeros,
// and told of.
func (c *Content) salvage(into []byte, off int64, warn func(Warning)) error {
	first := off / salvageSize
	n := int((off+int64(len(into))-1)/salvageSize-first) + 1
	s := &salvage{c: c, into: into, off: off, bad: make([]bool, n), direct: openDirect(c.fd)}
	defer s.direct.close()
	tried := -1 // what is behind it was left out, up to the next sector that can be read
	for i := 0; i < n && s.gone == nil; {
		if s.try(i) {
			s.back(i, tried)
			tried = i
			i++
			continue
		}
		tried = i
		leap := 1 << min(max(int(c.entry.src.failures.Load())-patience, 0), 16)
		for end := min(i+leap, n); i < end; i++ {
			s.bad[i] = true
		}
	}
	if tried < n-1 && s.gone == nil && s.try(n-1) {
		s.bad[n-1] = false
		s.back(n-1, tried)
	}
	s.tell(warn)
	return s.gone
}

// back tries the sectors before i that were left out, down to the first one that
// can't be read.
func (s *salvage) back(i, tried int) {
	for i--; i > tried && s.try(i); i-- {
		s.bad[i] = false
	}
}

// span is where a sector is in the piece; the first and the last may be cut.
func (s *salvage) span(i int) (from, to int) {
	at := (s.off/salvageSize+int64(i))*salvageSize - s.off
	return int(max(at, 0)), int(min(at+salvageSize, int64(len(s.into))))
}

// try reads a sector; false: it can't be read.
func (s *salvage) try(i int) bool {
	from, to := s.span(i)
	src := s.c.entry.src
	n, err := s.read(s.into[from:to], s.off+int64(from))
	clear(s.into[from+n : to])
	if err == io.EOF {
		s.gone = s.c.ends(s.off + int64(from+n))
		return s.gone == nil
	}
	if err == nil {
		src.failures.Store(0)
		src.opt.Alive()
		return true
	}
	if s.cause == nil {
		s.cause = err
	}
	tries := src.failures.Add(1)
	if src.device != nil && (tries >= maxFailures || err == unix.ENXIO || err == unix.ENODEV) {
		s.gone = &GoneError{Path: src.Path, At: s.off + int64(from), Err: err}
	}
	return false
}

// read reads a sector past the page cache, where that can be done: since Linux 6.15 a
// device's cache is in units of up to some megabytes, and one bad sector makes a whole
// unit unreadable there.
func (s *salvage) read(into []byte, off int64) (int, error) {
	src := s.c.entry.src
	if s.direct != nil {
		n, err := s.direct.read(src, into, off)
		if err != unix.EINVAL { // open(2): what O_DIRECT asks for is not the same everywhere
			return n, err
		}
		s.direct.close()
		s.direct = nil
	}
	return src.readAt(s.c.fd, into, off)
}

// tell warns of each range that is lost.
func (s *salvage) tell(warn func(Warning)) {
	path := s.c.entry.Path
	if path == "" {
		path = s.c.entry.src.Path // it is all of the source
	}
	for i := 0; i < len(s.bad); i++ {
		if !s.bad[i] {
			continue
		}
		from, to := s.span(i)
		for i+1 < len(s.bad) && s.bad[i+1] {
			i++
			_, to = s.span(i)
		}
		warn(Warning{Class: Unreadable, Path: path, Lost: int64(to - from),
			Text: fmt.Sprintf("%d bytes at %d can't be read and are stored as zeros: %v", to-from, s.off+int64(from), s.cause)})
	}
}
