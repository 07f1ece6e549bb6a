package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A memory is a medium that remembers what was done to it.
type memory struct {
	data    []byte
	ops     int
	failAt  int // this operation fails, and those that follow it; 0: none
	loseAt  int // this write is lost, and nobody is told
	zeroed  int64
	flushed bool // since the last write
	forgot  bool
}

var errMedium = errors.New("the medium fails")

func (m *memory) op() error {
	m.ops++
	if m.failAt > 0 && m.ops >= m.failAt {
		return errMedium
	}
	return nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if err := m.op(); err != nil {
		// Half of it may have come through.
		return copy(m.data[off:], p[:len(p)/2]), err
	}
	m.flushed = false
	if m.ops == m.loseAt {
		return len(p), nil
	}
	return copy(m.data[off:], p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if !m.flushed {
		return 0, errors.New("read before it was flushed")
	}
	return copy(p, m.data[off:]), m.op()
}

func (m *memory) zero(off, n int64) error {
	if off%512 != 0 || n%512 != 0 {
		return fmt.Errorf("zero %d bytes at %d", n, off)
	}
	if err := m.op(); err != nil {
		return err
	}
	m.flushed = false
	m.zeroed += n
	if m.ops != m.loseAt {
		clear(m.data[off : off+n])
	}
	return nil
}

func (m *memory) flush() error {
	m.flushed = true
	return m.op()
}

func (m *memory) forget() { m.forgot = true }

// old is what is on a medium before.
func old(n int64) []byte { return bytes.Repeat([]byte("old "), int(n+3)/4)[:n] }

// testImage is an image of n bytes with zeros in it, among them a long run.
func testImage(n int64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	for off := int64(0); off < n; off += 100_000 {
		if mib := off >> 20; mib%5 < 3 && mib < 20 || mib > 90 {
			_, _ = r.Read(b[off:min(off+70_000, n)]) // never fails
		}
	}
	copy(b, "the first bytes")
	return b
}

func ignore(string, int64) {}

func TestWrite(t *testing.T) {
	for _, c := range []struct{ image, disk int64 }{
		{1, 512}, {100, 4096}, {4096, 4096}, {4097, 64 << 10}, {1 << 20, 1 << 20}, {1<<20 - 1, 3 << 20}, {1<<20 + 1, 3 << 20},
		{5 << 20, 5 << 20}, {5<<20 + 512, 5<<20 + 512}, {17 << 20, 40 << 20}, {15 << 20, 20 << 20}, {100 << 20, 101 << 20}, {20<<20 + 777, 33<<20 + 512},
	} {
		image := testImage(c.image)
		m := &memory{data: old(c.disk)}
		done := map[string]int64{}
		err := write(context.Background(), m, c.disk, bytes.NewReader(image), c.image, func(phase string, n int64) { done[phase] += n })
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if !bytes.Equal(m.data[:c.image], image) {
			t.Errorf("%+v: the medium does not hold the image", c)
		}
		if !m.flushed || !m.forgot {
			t.Errorf("%+v: flushed %v, partitions forgotten %v", c, m.flushed, m.forgot)
		}
		for _, phase := range []string{Writing, Comparing} {
			if done[phase] != c.image {
				t.Errorf("%+v: %s: told of %d bytes", c, phase, done[phase])
			}
		}
		// Between the image and the last MiB nothing is touched; there, all of it is.
		end := max(c.image, (c.disk-headSize)/headSize*headSize)
		if from := max(c.image, headSize); end > from && !bytes.Equal(m.data[from:end], old(c.disk)[from:end]) {
			t.Errorf("%+v: what is behind the image was changed", c)
		}
		if !allZero(m.data[end:]) {
			t.Errorf("%+v: the end of the medium is not empty", c)
		}
		if c.image > 40<<20 && m.zeroed < 60<<20 {
			t.Errorf("%+v: %d bytes were made zeros, want the long run", c, m.zeroed)
		}
	}
}

// TestWriteStops has every operation fail: the medium is as it was, or has nothing at
// its beginning, or has everything.
func TestWriteStops(t *testing.T) {
	const size, disk = 5<<20 + 512, 7 << 20
	image := testImage(size)
	whole := &memory{data: old(disk)}
	if err := write(context.Background(), whole, disk, bytes.NewReader(image), size, ignore); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= whole.ops; n++ {
		m := &memory{data: old(disk), failAt: n}
		err := write(context.Background(), m, disk, bytes.NewReader(image), size, ignore)
		var incomplete *IncompleteError
		if !errors.Is(err, errMedium) || !errors.As(err, &incomplete) {
			t.Fatalf("operation %d fails: got %v, want an IncompleteError", n, err)
		}
		untouched := bytes.Equal(m.data, old(disk))
		// What was on its way last may be there in part, when all else is complete.
		complete := bytes.Equal(m.data[firstSize:size], image[firstSize:])
		if !untouched && !complete && !allZero(m.data[:firstSize]) {
			t.Errorf("operation %d fails: the medium has a beginning, and the rest is not complete", n)
		}
		if n > 1 && untouched {
			t.Errorf("operation %d fails: nothing was written", n)
		}
	}
}

// TestWriteLost has every write be lost without a word: reading back finds it.
func TestWriteLost(t *testing.T) {
	const size, disk = 5<<20 + 512, 7 << 20
	image := testImage(size)
	whole := &memory{data: old(disk)}
	if err := write(context.Background(), whole, disk, bytes.NewReader(image), size, ignore); err != nil {
		t.Fatal(err)
	}
	found := 0
	for n := 1; n <= whole.ops; n++ {
		m := &memory{data: old(disk), loseAt: n}
		err := write(context.Background(), m, disk, bytes.NewReader(image), size, ignore)
		if err == nil && !bytes.Equal(m.data[:size], image) {
			t.Errorf("operation %d is lost, and nobody has seen it", n)
		}
		if err != nil {
			found++
		}
	}
	if found < 5 {
		t.Errorf("%d of %d lost operations were found, want more", found, whole.ops)
	}
}

// A cached medium has a cache: what was written since the last flush is on it, or not,
// in any order, when the power is cut.
type cached struct {
	*memory
	disk    []byte // what is on it for certain
	pending []patch
}

type patch struct {
	off  int64
	data []byte
}

func (c *cached) WriteAt(p []byte, off int64) (int, error) {
	c.pending = append(c.pending, patch{off, bytes.Clone(p)})
	return c.memory.WriteAt(p, off)
}

func (c *cached) zero(off, n int64) error {
	c.pending = append(c.pending, patch{off, make([]byte, n)})
	return c.memory.zero(off, n)
}

func (c *cached) flush() error {
	err := c.memory.flush()
	if err == nil {
		c.disk = cut(c.disk, c.pending)
		c.pending = nil
	}
	return err
}

// cut is a disk with some of the writes.
func cut(disk []byte, some []patch) []byte {
	disk = bytes.Clone(disk)
	for _, p := range some {
		copy(disk[p.off:], p.data)
	}
	return disk
}

// TestWritePowerCut cuts the power at every operation, and has writes that were not
// flushed get lost: the first of them, the last, or all.
func TestWritePowerCut(t *testing.T) {
	const size, disk = 2<<20 + 512, 4 << 20
	image := testImage(size)
	for n := 1; ; n++ {
		c := &cached{memory: &memory{data: old(disk), failAt: n}, disk: old(disk)}
		err := write(context.Background(), c, disk, bytes.NewReader(image), size, ignore)
		if err == nil {
			if n < 8 {
				t.Errorf("%d operations, want more", n)
			}
			break
		}
		for what, kept := range map[string][]patch{
			"all": nil, "none": c.pending, "all but the last": c.pending[max(0, len(c.pending)-1):], "the first": c.pending[min(1, len(c.pending)):],
		} {
			got := cut(c.disk, kept)
			untouched := bytes.Equal(got[:3<<20], old(disk)[:3<<20])
			complete := bytes.Equal(got[firstSize:size], image[firstSize:])
			if !untouched && !complete && !allZero(got[:firstSize]) {
				t.Errorf("power cut at operation %d, %s of the last writes lost: it has a beginning, and the rest is not complete", n, what)
			}
		}
	}
}

// TestSums tells blocks apart that have changed places with zeros.
func TestSums(t *testing.T) {
	var a, b, c sums
	block, zeros := noiseImage(blockSize), make([]byte, blockSize)
	a.add(block, 17<<20)
	a.add(zeros, 18<<20)
	b.add(zeros, 17<<20)
	b.add(block, 18<<20)
	c.add(block, 17<<20)
	c.add(zeros, 18<<20)
	if a.differs(&b) != 0 || a.differs(&c) != -1 {
		t.Errorf("got %d and %d, want 0 and -1", a.differs(&b), a.differs(&c))
	}
}

// wraps is a medium that has less than it says, as cards that are sold as larger ones.
type wraps struct {
	*memory
	real int64
}

func (w wraps) WriteAt(p []byte, off int64) (int, error) { return w.memory.WriteAt(p, off%w.real) }
func (w wraps) ReadAt(p []byte, off int64) (int, error)  { return w.memory.ReadAt(p, off%w.real) }
func (w wraps) zero(off, n int64) error                  { return w.memory.zero(off%w.real, n) }

func TestWriteToLiar(t *testing.T) {
	const size = 40 << 20
	image := noiseImage(size)
	m := wraps{&memory{data: old(21 << 20)}, 20 << 20}
	err := write(context.Background(), m, size, bytes.NewReader(image), size, ignore)
	if err == nil || !allZero(m.data[:firstSize]) && bytes.Equal(m.data[:firstSize], image[:firstSize]) {
		t.Errorf("a medium of half the size: got %v", err)
	}
}

func noiseImage(n int64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b) // never fails
	return b
}

// TestWriteOfBadImage writes an image that ends too early, and one that is cancelled.
func TestWriteOfBadImage(t *testing.T) {
	const size = 5 << 20
	m := &memory{data: old(size)}
	if err := write(context.Background(), m, size, bytes.NewReader(testImage(1000)), size, ignore); err == nil || !bytes.Equal(m.data, old(size)) {
		t.Errorf("an image without its first MiB: got %v, and the medium was changed: %v", err, !bytes.Equal(m.data, old(size)))
	}
	var incomplete *IncompleteError
	err := write(context.Background(), m, size, bytes.NewReader(testImage(3<<20)), size, ignore)
	if !errors.As(err, &incomplete) || !allZero(m.data[:firstSize]) {
		t.Errorf("an image that ends too early: got %v", err)
	}
	for after := int64(1); after < 2*size; after += size / 2 {
		m := &memory{data: old(size)}
		ctx, cancel := context.WithCancelCause(context.Background())
		stop := errors.New("stop")
		left := after
		err := write(ctx, m, size, bytes.NewReader(testImage(size)), size, func(_ string, n int64) {
			if left -= n; left <= 0 {
				cancel(stop)
			}
		})
		cancel(nil)
		if !errors.Is(err, stop) || !allZero(m.data[:firstSize]) {
			t.Errorf("cancelled after %d bytes: got %v", after, err)
		}
	}
}
