package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// A sharingWriter shares ranges of one reader, as a destination does.
type sharingWriter struct {
	bytes.Buffer
	from   *bytes.Reader
	unit   int64 // ranges that are no multiples of it are not shared
	copies int   // calls that were served
	fail   error // of any call
}

func (w *sharingWriter) Write(p []byte) (int, error) {
	if w.fail != nil {
		return 0, w.fail
	}
	return w.Buffer.Write(p)
}

func (w *sharingWriter) CopyRange(src io.ReaderAt, off, n int64) (bool, error) {
	if src != io.ReaderAt(w.from) || off%w.unit != 0 || n%w.unit != 0 || int64(w.Len())%w.unit != 0 {
		return false, w.fail
	}
	w.copies++
	piece := make([]byte, n)
	if _, err := src.ReadAt(piece, off); err != nil {
		return false, err
	}
	w.Buffer.Write(piece)
	return true, w.fail
}

// framed is an archive of pieces of bytes, each a frame.
func framed(pieces ...[]byte) ([]byte, *Manifest) {
	data := bytes.Join(pieces, nil)
	m := &Manifest{Version: ManifestVersion, Kind: KindFile, Codec: CodecNone, Size: int64(len(data)), SHA256: hexSum(data)}
	off := int64(0)
	for _, p := range pieces {
		m.Frames = append(m.Frames, Frame{Off: off, Len: int64(len(p)), Raw: int64(len(p)), SHA256: sha256.Sum256(p)})
		off += int64(len(p))
	}
	return data, m
}

// copyOf copies data, with what of previous can be shared in multiples of unit.
func copyOf(data []byte, m *Manifest, previous []byte, old *Manifest, unit int64) (*sharingWriter, Copied, error) {
	w := &sharingWriter{from: bytes.NewReader(previous), unit: unit}
	done, err := Copy(context.Background(), w, Copying{
		Archive: bytes.NewReader(data), Frames: m.Frames, SHA256: m.SHA256,
		Previous: &Previous{Manifest: old, Archive: w.from},
	})
	return w, done, err
}

// What the previous archive holds is not sent again, in as few calls as can be.
func TestDuplicateShares(t *testing.T) {
	t.Parallel()
	var p [6][]byte
	for i := range p {
		p[i] = sample(1000*(i+1), uint64(i))
	}
	for name, c := range map[string]struct {
		frames, previous [][]byte
		sent             int64
		copies           int
	}{
		"the same":           {p[:], p[:], 0, 1},
		"one changed":        {[][]byte{p[0], p[1], p[5], p[3]}, [][]byte{p[0], p[1], p[2], p[3]}, 6000, 2},
		"one is new":         {[][]byte{p[0], p[4], p[1], p[2]}, [][]byte{p[0], p[1], p[2]}, 5000, 2},
		"one is gone":        {[][]byte{p[0], p[2]}, [][]byte{p[0], p[1], p[2]}, 0, 2},
		"moved":              {[][]byte{p[2], p[3], p[0], p[1]}, [][]byte{p[0], p[1], p[2], p[3]}, 0, 2},
		"nothing in common":  {[][]byte{p[0], p[1]}, [][]byte{p[2], p[3]}, 3000, 0},
		"the same again":     {[][]byte{p[0], p[0], p[1]}, [][]byte{p[0], p[1]}, 0, 2},
		"empty":              {nil, p[:2], 0, 0},
		"nothing to take":    {p[:2], nil, 3000, 0},
		"longer than it was": {p[:4], p[:2], 7000, 1},
	} {
		data, m := framed(c.frames...)
		previous, old := framed(c.previous...)
		w, done, err := copyOf(data, m, previous, old, 1)
		if err != nil || !bytes.Equal(w.Bytes(), data) {
			t.Errorf("%s: got %d bytes, %v; want the %d", name, w.Len(), err, len(data))
		}
		if done.Sent != c.sent || done.Sent+done.Shared != m.Size || w.copies != c.copies || done.SHA256 != m.SHA256 {
			t.Errorf("%s: got %+v in %d calls, want %d sent and %d calls", name, done, w.copies, c.sent, c.copies)
		}
		if same := m.SameBytes(old); same != (name == "the same") {
			t.Errorf("%s: same bytes: %v", name, same)
		}
	}
}

// A frame that was changed, and is as long as it was, is none that follows in both.
func TestDuplicateSameLength(t *testing.T) {
	t.Parallel()
	var p [4][]byte
	for i := range p {
		p[i] = sample(1000, uint64(i))
	}
	previous, old := framed(p[0], p[1], p[2])
	data, m := framed(p[0], p[3], p[2])
	got, done, err := copyOf(data, m, previous, old, 1)
	if err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("got %d bytes, %v; want the %d of the original", got.Len(), err, len(data))
	}
	if done.Sent != 1000 || got.copies != 2 {
		t.Errorf("got %d bytes sent, %d copies; want the changed frame sent, and its neighbours copied", done.Sent, got.copies)
	}
}

// Whatever can be shared, and whatever was in the way, the copy has the right bytes.
func TestDuplicateRandom(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(8, 1))
	for range 300 {
		pool := make([][]byte, 8)
		for i := range pool {
			pool[i] = sample(1+rnd.IntN(200), rnd.Uint64())
		}
		pick := func() (frames [][]byte) {
			for range rnd.IntN(12) {
				frames = append(frames, pool[rnd.IntN(len(pool))])
			}
			return frames
		}
		data, m := framed(pick()...)
		previous, old := framed(pick()...)
		if rnd.IntN(2) == 0 {
			m.SHA256 = ""
		}
		w, done, err := copyOf(data, m, previous, old, int64(1+rnd.IntN(3)))
		if err != nil || !bytes.Equal(w.Bytes(), data) || done.Sent+done.Shared != m.Size {
			t.Fatalf("got %d bytes, %+v, %v; want %d", w.Len(), done, err, len(data))
		}
		if done.Shared == 0 && done.SHA256 != hexSum(data) {
			t.Fatalf("all was read, and its checksum is %q", done.SHA256)
		}
	}
}

// One bit that turned over in the archive is found: by its frame, or by the whole.
func TestDuplicateFindsDamage(t *testing.T) {
	t.Parallel()
	data, m := framed(sample(3000, 1), sample(copyBuffer+10, 2), sample(50, 3))
	whole := m.SHA256
	for _, at := range []int{0, 2999, 3000, copyBuffer, len(data) - 1} {
		bad := slices.Clone(data)
		bad[at] ^= 4
		for _, by := range []Copying{{Frames: m.Frames}, {SHA256: whole}, {Frames: m.Frames, SHA256: whole}} {
			by.Archive = bytes.NewReader(bad)
			if _, err := Copy(context.Background(), io.Discard, by); !errors.Is(err, ErrDamaged) {
				t.Errorf("byte %d of %d, %d frames, sum %q: got %v", at, len(data), len(by.Frames), by.SHA256, err)
			}
		}
	}
	for _, size := range []int{0, 2999, 3000, len(data) - 1} {
		if _, err := Copy(context.Background(), io.Discard, Copying{Archive: bytes.NewReader(data[:size]), Frames: m.Frames}); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: got %v", size, err)
		}
	}
	if done, err := Copy(context.Background(), io.Discard, Copying{Archive: bytes.NewReader(data)}); err != nil || done.SHA256 != whole {
		t.Errorf("nothing known: got %+v, %v", done, err)
	}
}

func TestDuplicateStops(t *testing.T) {
	t.Parallel()
	data, m := framed(sample(3000, 1), sample(3000, 2))
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	if _, err := Copy(ctx, io.Discard, Copying{Archive: bytes.NewReader(data), Frames: m.Frames}); !errors.Is(err, why) {
		t.Errorf("cancelled: got %v", err)
	}
	w := &sharingWriter{from: bytes.NewReader(data), unit: 1, fail: why}
	for _, old := range []*Manifest{m, {}} {
		if _, err := Copy(context.Background(), w, Copying{Archive: bytes.NewReader(data), Frames: m.Frames, Previous: &Previous{Manifest: old, Archive: w.from}}); !errors.Is(err, why) {
			t.Errorf("full: got %v", err)
		}
	}
}

// A Check is also what reads a copy back: what was shared is compared then.
func TestCheckOfPieces(t *testing.T) {
	t.Parallel()
	data, m := framed(sample(300, 1), sample(500, 2), nil, sample(7, 3))
	for _, size := range []int{1, 7, 300, 301, 807, 5000} {
		c := NewCheck(m.Frames, "")
		for piece := range slices.Chunk(data, size) {
			if n, err := c.Write(piece); n != len(piece) || err != nil {
				t.Fatalf("pieces of %d: got %d, %v", size, n, err)
			}
		}
		if sum, err := c.End(); sum != m.SHA256 || err != nil {
			t.Errorf("pieces of %d: got %s, %v", size, sum, err)
		}
	}
}
