package source

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Entry is one file system object of the source, as lstat saw it.
type Entry struct {
	Path string // slash-separated, below the root; "" is the root itself
	Stat        // from the walk; Content.Stat is newer

	src    *Source
	parent *dir // the directory that holds it; nil for a device
	name   string
	link   *linkGroup // set if the inode has more than one name
	turn   int        // which of the group's names this is, from 0
	layout *layout    // of a large file with holes; nil for all else

	left    atomic.Int32 // segments not yet done
	once    sync.Once
	content *Content
	openErr error
}

// Segment is a piece of an entry: all of it, unless it is a large file or a
// device. Segments of one entry follow each other, in order; of a file with
// holes, what lies between them is a hole.
type Segment struct {
	Entry    *Entry
	Off, Len int64 // the piece of the entry's content, in bytes; 0, 0 if it has none
	Data     int64 // bytes of the piece that are data, as far as the walk knows
	First    bool  // the entry starts here
	Last     bool  // the entry ends here
}

// Layout is where the segment's data is, of a file whose pieces were cut by that;
// of its first segment, where all of the file's data is, as its header says so.
// Nil: the pieces were cut by the size alone.
func (s Segment) Layout() []Extent {
	l := s.Entry.layout
	switch {
	case l == nil:
		return nil
	case s.First:
		return l.extents
	}
	return within(l.extents, s.Off, s.Len)
}

// segments yields the pieces of an entry with size bytes of content.
func (e *Entry) segments(size, piece int64, yield func(Segment, error) bool) bool {
	n := max(1, (size+piece-1)/piece)
	var parts []Extent
	if e.layout != nil {
		parts = pieces(size, piece, e.layout.extents)
		n = int64(len(parts))
	}
	e.left.Store(int32(n))
	for i := range n {
		s := Segment{Entry: e, First: i == 0, Last: i == n-1}
		if parts != nil {
			s.Off, s.Len = parts[i].Off, parts[i].Len
			s.Data = total(within(e.layout.extents, s.Off, s.Len))
		} else {
			s.Off, s.Len = i*piece, min(piece, size-i*piece)
			s.Data = s.Len
		}
		if !yield(s, nil) {
			// The rest will never be asked for.
			e.left.Add(-int32(n - i - 1))
			return false
		}
	}
	return true
}

// Done says that the segment will not be asked for again. It must be called
// once for each segment that was yielded, read or not.
func (s Segment) Done() {
	e := s.Entry
	if s.First {
		e.LeftOut() // unless it was stored
	}
	if e.left.Add(-1) == 0 && e.content != nil {
		e.content.close()
	}
}

// Target is where a symbolic link points.
func (e *Entry) Target() (string, error) {
	fd, err := e.src.dirs.pin(e.parent)
	if err != nil {
		return "", err
	}
	defer e.src.dirs.unpin(e.parent)
	buf := make([]byte, 4096+1) // PATH_MAX bounds a link's target
	n := 0
	err = retry(func() (err error) {
		n, err = unix.Readlinkat(fd, e.name, buf)
		return err
	})
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// linkGroup settles which name of an inode carries its content: the first that
// could be read. The others become hard links to it, so they wait for it; they
// come later in the stream, so the wait ends.
type linkGroup struct {
	mu      sync.Mutex
	settled sync.Cond
	next    int    // the turn that is to be settled
	stored  bool   // a name carries the content
	path    string // that name
	first   string // the first name in the walk
	names   int    // seen by the walk so far
}

func newLinkGroup(first string) *linkGroup {
	g := &linkGroup{first: first}
	g.settled.L = &g.mu
	return g
}

func (g *linkGroup) wait(turn int) (path string, stored bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.stored && g.next < turn {
		g.settled.Wait()
	}
	return g.path, g.stored
}

func (g *linkGroup) settle(turn int, path string, stored bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// Names may be given up out of turn, when a run is cancelled.
	if turn < g.next {
		return
	}
	g.next = turn + 1
	if stored && !g.stored {
		g.stored, g.path = true, path
	}
	g.settled.Broadcast()
}

// HardLink returns the path of an earlier entry that carries this one's content,
// or false if this one has to. In the second case Stored or LeftOut must be
// called before HardLink is asked of the next name.
func (e *Entry) HardLink() (string, bool) {
	if e.link == nil {
		return "", false
	}
	return e.link.wait(e.turn)
}

// LeftOut says that this entry could not carry the content of its inode, so that
// the next name has to.
func (e *Entry) LeftOut() {
	if e.link != nil {
		e.link.settle(e.turn, e.Path, false)
	}
}

// LinkedTo is the first path of the same inode in the walk, "" if this is it.
func (e *Entry) LinkedTo() string {
	if e.turn == 0 {
		return ""
	}
	return e.link.first
}

// Stored says that this entry carries the content for all names of its inode.
func (e *Entry) Stored() {
	if e.link != nil {
		e.link.settle(e.turn, e.Path, true)
	}
}
