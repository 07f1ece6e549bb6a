package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestFrameReaderReadsARange(t *testing.T) {
	t.Parallel()
	raw := sample(100_000, 8)
	data, m := makeArchive(t, KindFile, CodecZstd, raw, 10_000)
	for first := range 11 {
		for last := first; last <= 10; last++ {
			r, err := NewFrameReader(context.Background(), bytes.NewReader(data), m, first, last)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, raw[first*10_000:last*10_000]) {
				t.Errorf("frames %d to %d: %d bytes, %v", first, last, len(got), err)
			}
			r.Close()
		}
	}
	if _, err := NewFrameReader(context.Background(), bytes.NewReader(data), m, 0, 11); err == nil {
		t.Error("frames 0 to 11 of 10: no error")
	}
	// Closed early, it must not hang.
	r, _ := NewFrameReader(context.Background(), bytes.NewReader(data), m, 0, 10)
	r.Close()
}

// TestFrameReaderPassesOverPadding: a frame may hold more than one, as long as it makes the bytes the manifest says.
func TestFrameReaderPassesOverPadding(t *testing.T) {
	t.Parallel()
	raw := sample(1000, 10)
	for codec, pad := range map[string]string{CodecZstd: "\x5a\x2a\x4d\x18\x03\x00\x00\x00abc", CodecXZ: "\x00\x00\x00\x00", CodecGzip: string(compress(t, CodecGzip, nil))} {
		frame := append(compress(t, codec, raw), pad...)
		m := &Manifest{Codec: codec, Frames: []Frame{{Len: int64(len(frame)), Raw: 1000, SHA256: sha256.Sum256(frame)}}}
		r, err := NewFrameReader(context.Background(), bytes.NewReader(frame), m, 0, 1)
		noError(t, err)
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: %d bytes, %v", codec, len(got), err)
		}
		r.Close()
	}
}

func TestFrameReaderChecksBeforeItGives(t *testing.T) {
	t.Parallel()
	raw := sample(100_000, 9)
	for _, codec := range testCodecs {
		data, m := makeArchive(t, KindFile, codec, raw, 10_000)
		data[m.Frames[4].Off+m.Frames[4].Len/2] ^= 1
		r, _ := NewFrameReader(context.Background(), bytes.NewReader(data), m, 0, 10)
		got, err := io.ReadAll(r)
		r.Close()
		var damage *DamageError
		if !errors.As(err, &damage) || damage.Frame != 4 || damage.Off != m.Frames[4].Off {
			t.Errorf("%s: got %v, want damage of frame 4", codec, err)
		}
		if !bytes.Equal(got, raw[:40_000]) {
			t.Errorf("%s: %d bytes before the damage, want 40000 good ones", codec, len(got))
		}
		// A manifest that lies about the length.
		for _, more := range []int64{-1, 1} {
			data, m := makeArchive(t, KindFile, codec, raw, 10_000)
			m.Frames[9].Raw += more
			r, _ := NewFrameReader(context.Background(), bytes.NewReader(data), m, 0, 10)
			if _, err := io.Copy(io.Discard, r); !errors.As(err, &damage) || damage.Frame != 9 || !strings.Contains(err.Error(), "the manifest says") {
				t.Errorf("%s, %+d raw bytes: got %v", codec, more, err)
			}
			r.Close()
		}
	}
}

// TestFrameReaderMemory: a few bytes that decode to a lot take no more memory than the manifest speaks of.
// goneSource cannot be read, and counts how often that was tried.
type goneSource struct {
	Source
	reads atomic.Int64
}

var errGone = errors.New("gone")

func (g *goneSource) ReadAt([]byte, int64) (int, error) {
	g.reads.Add(1)
	return 0, errGone
}

// TestFrameReaderGivesUpOnce: after a frame that cannot be read, none is begun, also if whoever reads takes his time.
func TestFrameReaderGivesUpOnce(t *testing.T) {
	t.Parallel()
	data, m := makeArchive(t, KindFile, CodecNone, sample(100_000, 11), 500)
	src := &goneSource{Source: bytes.NewReader(data)}
	r, err := NewFrameReader(context.Background(), src, m, 0, len(m.Frames))
	noError(t, err)
	var damage *DamageError
	if _, err := r.Read(make([]byte, 10)); !errors.Is(err, errGone) || !errors.As(err, &damage) || damage.Frame != 0 {
		t.Errorf("got %v, want frame 0 gone", err)
	}
	most := int64(runtime.GOMAXPROCS(0))
	for wait := 0; wait < 100 && src.reads.Load() <= most; wait++ {
		time.Sleep(time.Millisecond) // for those that must not come
	}
	r.Close()
	if n := src.reads.Load(); n > most {
		t.Errorf("tried to read %d times, with %d workers", n, most)
	}
}

func TestFrameReaderMemory(t *testing.T) {
	needTools(t, "zstd", "xz", "gzip")
	zeros := make([]byte, 200<<20)
	for _, codec := range []string{CodecZstd, CodecXZ, CodecGzip} {
		frame := compress(t, codec, zeros, "-1")
		m := &Manifest{Codec: codec, Frames: []Frame{{Len: int64(len(frame)), Raw: 1000, SHA256: sha256.Sum256(frame)}}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := NewFrameReader(context.Background(), bytes.NewReader(frame), m, 0, 1)
		noError(t, err)
		_, err = io.ReadAll(r)
		r.Close()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 50<<20 || err == nil {
			t.Errorf("%s: took %d bytes of memory, error %v", codec, n, err)
		}
	}
}
