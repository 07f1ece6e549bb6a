package archive

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tinybackup/internal/source"
)

// planned runs the planner over entries of these paths and sizes, and returns
// the paths of each frame.
func planned(t *testing.T, size int64, entries []fakeEntry) [][]string {
	t.Helper()
	var frames [][]string
	p := newPlanner(size, true, func(f *plan) bool {
		var paths []string
		for _, s := range f.segments {
			paths = append(paths, fmt.Sprint(s.Entry.Path, "@", s.Off))
		}
		if f.size > 5*size+headerSize {
			t.Errorf("a frame of %d bytes, %d are to be usual", f.size, size)
		}
		frames = append(frames, paths)
		return true
	})
	for _, e := range entries {
		entry := &source.Entry{Path: e.path}
		for off := int64(0); off == 0 || off < e.size; off += size {
			s := source.Segment{Entry: entry, Off: off, Len: min(size, e.size-off), Data: min(size, e.size-off), First: off == 0, Last: off+size >= e.size}
			if !p.add(s) {
				t.Fatal("add says stop")
			}
		}
	}
	p.finish()
	return frames
}

type fakeEntry struct {
	path string
	size int64
}

func randomEntries(r *rand.Rand, n int) []fakeEntry {
	var out []fakeEntry
	for i := range n {
		size := int64(r.ExpFloat64() * 10_000)
		if r.IntN(500) == 0 {
			size = r.Int64N(5 << 20)
		}
		out = append(out, fakeEntry{fmt.Sprintf("dir%03d/file%05d", i/100, i), size})
	}
	return out
}

// changed is how many of the frames in now are not in was.
func changed(was, now [][]string) int {
	have := map[string]bool{}
	for _, f := range was {
		have[fmt.Sprint(f)] = true
	}
	n := 0
	for _, f := range now {
		if !have[fmt.Sprint(f)] {
			n++
		}
	}
	return n
}

// Whatever is added, removed or renamed, at most three frames are others than
// before, and the frames hold all entries in order.
func TestPlannerIsLocal(t *testing.T) {
	const size = 1 << 20
	r := rand.New(rand.NewPCG(1, 2))
	entries := randomEntries(r, 20_000)
	was := planned(t, size, entries)
	var all []string
	for _, f := range was {
		all = append(all, f...)
	}
	i := 0
	for _, e := range entries {
		for off := int64(0); off == 0 || off < e.size; off += size {
			if want := fmt.Sprint(e.path, "@", off); all[i] != want {
				t.Fatalf("segment %d is %s, want %s", i, all[i], want)
			}
			i++
		}
	}
	if i != len(all) {
		t.Fatalf("%d segments in frames, want %d", len(all), i)
	}
	worst := 0
	for range 60 {
		now := slices.Clone(entries)
		at := r.IntN(len(now))
		small := fakeEntry{fmt.Sprintf("%s+%d", now[at].path, r.IntN(1000)), r.Int64N(20_000)}
		switch r.IntN(3) {
		case 0:
			now = slices.Insert(now, at, small)
		case 1:
			if now[at].size > size {
				continue
			}
			now = slices.Delete(now, at, at+1)
		case 2:
			if now[at].size > size {
				continue
			}
			now[at].path = small.path
		}
		worst = max(worst, changed(was, planned(t, size, now)))
	}
	t.Logf("%d frames, at most %d changed", len(was), worst)
	if worst > 3 || worst == 0 {
		t.Errorf("one change made %d other frames, want 1 to 3", worst)
	}
}

func TestPlannerFrameSizes(t *testing.T) {
	const size = 1 << 20
	var entries []fakeEntry
	total := int64(0)
	for i := range 50_000 {
		e := fakeEntry{fmt.Sprintf("d/%06d", i), 3000}
		entries = append(entries, e)
		total += e.size + headerSize
	}
	frames := planned(t, size, entries)
	if avg := total / int64(len(frames)); avg < size/2 || avg > 2*size {
		t.Errorf("frames have %d bytes on average, want about %d", avg, size)
	}
}

// A stretch in which no entry stands out is cut all the same.
func TestPlannerLimit(t *testing.T) {
	const size = 1 << 16
	var entries []fakeEntry
	for i := range 2000 {
		entries = append(entries, fakeEntry{fmt.Sprint(i), 1000})
	}
	// The further along, the larger the hash.
	slices.SortFunc(entries, func(a, b fakeEntry) int {
		if pathHash(a.path) < pathHash(b.path) {
			return -1
		}
		return 1
	})
	if n := len(planned(t, size, entries)); n < 10 {
		t.Errorf("%d frames", n)
	}
}
