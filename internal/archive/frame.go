package archive

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/fnv"
	"math"

	"golang.org/x/sys/unix"

	"tinybackup/internal/source"
)

// plan is a frame before anything of it is read: segments in order.
type plan struct {
	segments []source.Segment
	size     int64 // of their bytes, roughly
	end      bool  // the end of the tar archive goes in here
}

// first is the path of the first entry that starts in the frame.
func (p *plan) first() (string, bool) {
	for _, s := range p.segments {
		if s.First {
			return s.Entry.Path, true
		}
	}
	return "", false
}

// release gives up on the frame's segments.
func (p *plan) release() {
	for _, s := range p.segments {
		s.Done()
	}
}

// planner cuts a stream of segments into frames. Where it cuts depends on the
// entries around the cut, not on how far along the archive they are: what is
// added or removed in one place moves the cuts near it, and no others.
type planner struct {
	size int64 // of a frame, at most, unless one segment is larger
	tree bool
	emit func(*plan) bool
	open *plan
}

// headerSize is about what the headers of an entry take.
const headerSize = 3 * tarBlock

func (p *planner) add(s source.Segment) bool {
	size := s.Len
	if p.tree && s.First {
		size += headerSize
	}
	// A large file's pieces are frames of their own, cut at fixed offsets of the file.
	large := !s.Last || !s.First
	if p.open != nil && (p.open.size+size > p.size || large && p.open.size >= p.size/4) {
		if !p.flush() {
			s.Done()
			return false
		}
	}
	if p.open == nil {
		p.open = &plan{}
	}
	p.open.segments = append(p.open.segments, s)
	p.open.size += size
	if !p.tree || !s.Last || p.open.size >= p.size/4 && p.cutAfter(s, size) {
		return p.flush()
	}
	return true
}

// cutAfter decides by the entry's path. The chance is its share of the size that
// frames are to have, so that cuts come after so many bytes, not entries.
func (p *planner) cutAfter(s source.Segment, size int64) bool {
	h := fnv.New64a()
	h.Write([]byte(s.Entry.Path))
	x := h.Sum64()
	// FNV's high bits change little with a path's last letters (murmur3's finalizer).
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	share := float64(size) / float64(p.size/2)
	return float64(x) < share*math.MaxUint64
}

func (p *planner) flush() bool {
	f := p.open
	p.open = nil
	return f == nil || p.emit(f)
}

// finish emits what is left; a tar archive's end, if nothing else.
func (p *planner) finish() {
	if p.open == nil {
		p.open = &plan{}
	}
	p.open.end = true
	p.flush()
}

// plan cuts all of src. The error is src's.
func (p *planner) run(ctx context.Context, src *source.Source) error {
	for s, err := range src.Segments(ctx) {
		if err != nil {
			if p.open != nil {
				p.open.release()
			}
			return err
		}
		if !p.add(s) {
			return nil
		}
	}
	if p.tree {
		p.finish()
	}
	return nil
}

// keyer derives a frame's key: a hash over all that its bytes depend on, as far
// as it can be known without reading: the entries' identity and the options.
type keyer struct {
	options string
	tar     *tarEncoder
}

func (k *keyer) key(p *plan) [32]byte {
	h := sha256.New()
	writeString(h, k.options)
	var num [8]byte
	put := func(values ...uint64) {
		for _, v := range values {
			binary.BigEndian.PutUint64(num[:], v)
			h.Write(num[:])
		}
	}
	for _, s := range p.segments {
		e := s.Entry
		put(uint64(s.Off), uint64(s.Len), flags(s.First, s.Last),
			uint64(e.Mode), uint64(e.UID), uint64(e.GID), uint64(e.Size), uint64(e.MTime), uint64(e.CTime),
			e.Dev, e.Ino, e.Rdev)
		writeString(h, e.Path)
		if k.tar != nil {
			writeString(h, k.tar.owners.user(e.UID))
			writeString(h, k.tar.owners.group(e.GID))
		}
		if e.Type() == unix.S_IFREG {
			writeString(h, e.LinkedTo())
		}
	}
	put(flags(p.end, false))
	return [32]byte(h.Sum(nil))
}

func flags(a, b bool) uint64 {
	n := uint64(0)
	if a {
		n |= 1
	}
	if b {
		n |= 2
	}
	return n
}

// writeString writes s so that no two lists of strings give the same bytes.
func writeString(h hash.Hash, s string) {
	h.Write(binary.AppendUvarint(nil, uint64(len(s))))
	h.Write([]byte(s))
}
