package source

import (
	"slices"

	"golang.org/x/sys/unix"
)

// layout is what a large file with holes was like when the walk came by: its
// pieces depend on where its data is, so that is settled before they are cut.
type layout struct {
	stat    Stat
	extents []Extent
}

// findLayout sets the layout of a large file, if it has holes. One that can't be
// opened is cut as if it had none: reading it tells why.
func (e *Entry) findLayout() {
	if e.Blocks*512 >= e.Size {
		return
	}
	fd, st, err := e.openFile()
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if st.Size != e.Size || st.ID() != e.ID() {
		return
	}
	if xs := dataExtents(fd, st.Size); xs != nil {
		e.layout = &layout{st, xs}
	}
}

// pieces cuts size bytes with these extents at multiples of piece, so that no
// part has more than piece bytes of data. Parts without data are left out, but
// there is one at least.
//
// All of it is one part if it may be, else each half is cut likewise, down to a
// piece. So a part depends on the data in it and on nothing else: filling a hole
// changes the part it is in, and those that hold other data stay.
func pieces(size, piece int64, xs []Extent) []Extent {
	whole := piece
	for whole < size {
		whole *= 2
	}
	var out []Extent
	var cut func(off, n int64, xs []Extent)
	cut = func(off, n int64, xs []Extent) {
		xs = within(xs, off, min(n, size-off))
		if len(xs) == 0 {
			return
		}
		if n == piece || total(xs) <= piece {
			out = append(out, Extent{off, min(n, size-off)})
			return
		}
		cut(off, n/2, xs)
		cut(off+n/2, n/2, xs)
	}
	cut(0, whole, xs)
	if out == nil {
		out = []Extent{{0, size}}
	}
	return out
}

// within returns the parts of sorted extents that lie in [off, off+n).
func within(xs []Extent, off, n int64) []Extent {
	end := off + n
	first, _ := slices.BinarySearchFunc(xs, off, func(x Extent, off int64) int {
		if x.Off+x.Len <= off {
			return -1
		}
		return 1
	})
	var out []Extent
	for _, x := range xs[first:] {
		if x.Off >= end {
			break
		}
		lo, hi := max(off, x.Off), min(end, x.Off+x.Len)
		out = append(out, Extent{lo, hi - lo})
	}
	return out
}

// total is how many bytes the extents have.
func total(xs []Extent) int64 {
	n := int64(0)
	for _, x := range xs {
		n += x.Len
	}
	return n
}
