//go:build linux

package source

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// randomExtents are sorted parts of size bytes that do not touch.
func randomExtents(r *rand.Rand, size int64, n int) []Extent {
	at := map[int64]int64{}
	for range n {
		off := r.Int64N(size/4096) * 4096
		at[off] = min(4096*(1+r.Int64N(64)), size-off)
	}
	var out []Extent
	for _, off := range slices.Sorted(maps.Keys(at)) {
		if k := len(out) - 1; k >= 0 && out[k].Off+out[k].Len >= off {
			out[k].Len = max(out[k].Len, off+at[off]-out[k].Off)
			continue
		}
		out = append(out, Extent{off, at[off]})
	}
	return out
}

// The parts hold all data once, in order, each no more than a piece, and there
// are about as many as the data needs, however large the holes are.
func TestPiecesHoldAllData(t *testing.T) {
	const piece = 1 << 20
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		size := r.Int64N(1<<40) + 2*piece
		xs := randomExtents(r, size, r.IntN(200))
		var got []Extent
		end := int64(0)
		parts := pieces(size, piece, xs)
		for _, p := range parts {
			data := within(xs, p.Off, p.Len)
			if p.Off < end || p.Off%piece != 0 || p.Off+p.Len > size || total(data) > piece || len(data) == 0 && len(parts) > 1 {
				t.Fatalf("part %v after byte %d, of %d bytes, with %d bytes of data", p, end, size, total(data))
			}
			end = p.Off + p.Len
			got = append(got, data...)
		}
		// Two halves have more than a piece together.
		if most := 2 + 2*total(xs)/piece; int64(len(parts)) > most+40 {
			t.Fatalf("%d parts for %d bytes of data", len(parts), total(xs))
		}
		if total(got) != total(xs) {
			t.Fatalf("the parts hold %d bytes of data, want %d", total(got), total(xs))
		}
	}
}

// What is written into one hole leaves the parts alone that it is not in.
func TestPiecesAreLocal(t *testing.T) {
	const piece, size = 1 << 20, 1 << 34
	r := rand.New(rand.NewPCG(5, 6))
	xs := randomExtents(r, size, 4000)
	was := pieces(size, piece, xs)
	for range 100 {
		off := r.Int64N(size/4096) * 4096
		if len(within(xs, off, 4096)) > 0 {
			continue
		}
		i, _ := slices.BinarySearchFunc(xs, off, func(x Extent, off int64) int { return int(x.Off - off) })
		now := pieces(size, piece, slices.Insert(slices.Clone(xs), i, Extent{off, 4096}))
		changed := 0
		for _, p := range now {
			if !slices.Contains(was, p) || off >= p.Off && off < p.Off+p.Len {
				changed++
			}
		}
		if changed == 0 || changed > 20 {
			t.Errorf("%d of %d parts changed", changed, len(now))
		}
	}
	t.Logf("%d parts", len(was))
}

// A terabyte of hole is as cheap as none.
func TestTerabyteOfHole(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "huge"))
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(1<<40))
	l := walkAll(t, dir, Options{PieceSize: 1 << 20})
	if n := len(l.segments); n != 2 {
		t.Errorf("%d segments, want one for the directory and one for the file", n)
	}
	for _, off := range []int64{1 << 30, 1<<40 - 4096} {
		_, err = f.WriteAt(make([]byte, 4096), off)
		must(t, err)
	}
	for i := range 3 {
		_, err = f.WriteAt(make([]byte, 1<<20), int64(i)<<20)
		must(t, err)
	}
	l = walkAll(t, dir, Options{PieceSize: 1 << 20})
	if n := len(l.segments); n < 5 || n > 6 {
		t.Errorf("%d segments, want one for the directory, three and one or two for the file", n)
	}
	if s := l.segments[1]; !s.First || s.Last || len(s.Layout()) != 3 {
		t.Errorf("first segment %+v, with the layout %v", s, s.Layout())
	}
	if s := l.segments[len(l.segments)-1]; s.First || !s.Last || len(s.Layout()) == 0 {
		t.Errorf("last segment %+v, with the layout %v", s, s.Layout())
	}
}
