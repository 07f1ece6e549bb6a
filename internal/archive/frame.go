package archive

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/fnv"

	"tinybackup/internal/source"
)

// plan is a frame before anything of it is read: segments in order.
type plan struct {
	segments []source.Segment
	size     int64 // of their bytes, roughly
	end      bool  // the end of the tar archive goes in here
	done     int   // how many of the segments will not be asked for again
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

// release gives up on the frame's segments, but for those that are done.
func (p *plan) release() {
	for _, s := range p.segments[p.done:] {
		s.Done()
	}
	p.done = len(p.segments)
}

// planner cuts a stream of segments into frames, each of them before anything of
// it is read.
//
// A piece of a large file is a frame of its own. Of the entries between, a frame
// ends after each whose hash is the largest of all within window bytes on either
// side ("local maximum chunking"). So a cut depends on the entries within window
// bytes of it and on nothing else: what is added, removed or renamed in one place
// changes the frame it is in and at most the two beside it, wherever in the
// archive that is. Frames are longer than window, and twice that on average;
// only a stretch of more than limit bytes is cut by force.
type planner struct {
	window int64
	limit  int64
	tree   bool
	emit   func(*plan) bool

	open  *plan  // what is not emitted yet
	marks []mark // the entries since the last large file, without those too far back to matter
	next  int    // the first of marks that is not decided
}

// mark is where an entry ends, and its hash.
type mark struct {
	end  int64 // bytes since the last large file
	hash uint64
}

// newPlanner plans frames of about size bytes.
func newPlanner(size int64, tree bool, emit func(*plan) bool) *planner {
	return &planner{window: size / 2, limit: 4 * size, tree: tree, emit: emit, open: &plan{}}
}

// headerSize is about what the headers of an entry take.
const headerSize = 3 * tarBlock

// add takes the next segment; false: stop.
func (p *planner) add(s source.Segment) bool {
	if !p.tree || !s.First || !s.Last {
		if !p.settle() || !p.cut(len(p.open.segments)) {
			s.Done()
			return false
		}
		p.open.add(s)
		return p.cut(1)
	}
	end := int64(0)
	if n := len(p.marks); n > 0 {
		end = p.marks[n-1].end
	}
	p.open.add(s)
	p.marks = append(p.marks, mark{end + s.Data + headerSize, pathHash(s.Entry.Path)})
	for p.marks[p.next].end+p.window < p.marks[len(p.marks)-1].end {
		if !p.decide() {
			return false
		}
	}
	if p.open.size > p.limit {
		return p.settle() && p.cut(len(p.open.segments))
	}
	return true
}

// decide cuts after the next undecided entry, or does not. All entries that
// matter for it are known.
func (p *planner) decide() bool {
	i := p.next
	p.next++
	if !p.isMaximum(i) {
		return true
	}
	// The undecided entries are the last ones of the open plan.
	if !p.cut(len(p.open.segments) - (len(p.marks) - p.next)) {
		return false
	}
	// Forget what is too far back, now and then.
	keep := i
	for keep > 0 && p.marks[i].end-p.marks[keep-1].end <= p.window {
		keep--
	}
	p.marks = append(p.marks[:0], p.marks[keep:]...)
	p.next -= keep
	return true
}

// isMaximum looks outward from the entry: as hashes are random, a larger one is
// found after a few steps.
func (p *planner) isMaximum(i int) bool {
	m := p.marks[i]
	for j := i - 1; j >= 0 && m.end-p.marks[j].end <= p.window; j-- {
		if p.marks[j].hash >= m.hash {
			return false
		}
	}
	for j := i + 1; j < len(p.marks) && p.marks[j].end-m.end <= p.window; j++ {
		if p.marks[j].hash > m.hash {
			return false
		}
	}
	return true
}

// settle decides all entries that are left, as nothing follows them that
// matters, and begins a new stretch.
func (p *planner) settle() bool {
	for p.next < len(p.marks) {
		if !p.decide() {
			return false
		}
	}
	p.marks, p.next = p.marks[:0], 0
	return true
}

// cut emits the first n segments of the open plan as a frame.
func (p *planner) cut(n int) bool {
	if n == 0 {
		return true
	}
	f := &plan{}
	rest := &plan{}
	for i, s := range p.open.segments {
		if i < n {
			f.add(s)
		} else {
			rest.add(s)
		}
	}
	p.open = rest
	if !p.emit(f) {
		rest.release()
		p.open = &plan{}
		return false
	}
	return true
}

func (p *plan) add(s source.Segment) {
	p.segments = append(p.segments, s)
	p.size += s.Data + headerSize
}

// pathHash is a hash with all bits as good as random.
func pathHash(path string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(path))
	x := h.Sum64()
	// FNV's high bits change little with a path's last letters (murmur3's finalizer).
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}

// finish emits what is left, and with it the end of the tar archive.
func (p *planner) finish() {
	if !p.settle() {
		return
	}
	p.open.end = true
	p.emit(p.open)
}

// run cuts all of src. The error is src's.
func (p *planner) run(ctx context.Context, src *source.Source) error {
	for s, err := range src.Segments(ctx) {
		if err != nil {
			p.open.release()
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
		layout := s.Layout()
		put(uint64(s.Off), uint64(s.Len), flags(s.First, s.Last, layout != nil),
			uint64(e.Mode), uint64(e.UID), uint64(e.GID), uint64(e.Size), uint64(e.MTime), uint64(e.CTime),
			e.Ino, e.Rdev) // not the device: it is another one for each snapshot, and after a reboot
		writeString(h, e.Path)
		if k.tar != nil {
			writeString(h, k.tar.owners.user(e.UID))
			writeString(h, k.tar.owners.group(e.GID))
		}
		writeString(h, e.LinkedTo())
		if layout != nil {
			put(uint64(len(layout)))
		}
		for _, x := range layout {
			put(uint64(x.Off), uint64(x.Len))
		}
	}
	put(flags(p.end))
	return [32]byte(h.Sum(nil))
}

// flags packs bits into a number, the first into the lowest bit.
func flags(bits ...bool) uint64 {
	n := uint64(0)
	for i, set := range bits {
		if set {
			n |= 1 << i
		}
	}
	return n
}

// writeString writes s so that no two lists of strings give the same bytes.
func writeString(h hash.Hash, s string) {
	h.Write(binary.AppendUvarint(nil, uint64(len(s))))
	h.Write([]byte(s))
}
