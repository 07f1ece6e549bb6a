package archive

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// A compressor makes one frame: a complete zstd frame, xz stream or gzip member,
// which may stand alone or between others. It belongs to one goroutine.
type compressor interface {
	// appendFrame appends raw, compressed, to dst. One that takes seconds ends early,
	// with ctx's error, when that is done.
	appendFrame(ctx context.Context, dst, raw []byte) ([]byte, error)
}

// codec is one way to compress; levels are those of the command of that name.
type codec struct {
	name           string
	min, max, std  int                 // levels; all 0 if there are none
	frame          func(level int) int // raw bytes of a frame, at most
	compressorWith func(level int) (compressor, error)
}

const mib = 1 << 20

var codecs = []codec{
	{CodecZstd, 1, 22, 3, func(int) int { return 4 * mib }, newZstd},
	// A dictionary can't be larger than what it is filled with, so the levels that
	// ask for more get larger frames.
	{CodecXZ, 0, 9, 6, func(level int) int { return max(8*mib, min(xzDict(level), 16*mib)) }, newXz},
	{CodecGzip, 1, 9, 6, func(int) int { return 2 * mib }, newGzip},
	{CodecNone, 0, 0, 0, func(int) int { return 4 * mib }, func(int) (compressor, error) { return plain{}, nil }},
}

// Codecs are the names of the compressions, the default first.
func Codecs() []string {
	var names []string
	for _, c := range codecs {
		names = append(names, c.name)
	}
	return names
}

// CheckCodec returns an error if there is no such compression or level, and
// the level that 0 stands for. Level 0 is the codec's default.
func CheckCodec(name string, level int) (int, error) {
	c, err := codecByName(name)
	if err != nil {
		return 0, err
	}
	if level == 0 {
		return c.std, nil
	}
	if level < c.min || level > c.max {
		if c.max == 0 {
			return 0, fmt.Errorf("compression %q has no levels", name)
		}
		return 0, fmt.Errorf("compression level %d: %s has %d to %d", level, name, max(1, c.min), c.max)
	}
	return level, nil
}

func codecByName(name string) (codec, error) {
	i := slices.IndexFunc(codecs, func(c codec) bool { return c.name == name })
	if i < 0 {
		return codec{}, fmt.Errorf("compression %q: there are only %s", name, strings.Join(Codecs(), ", "))
	}
	return codecs[i], nil
}

type zstdFrames struct{ enc *zstd.Encoder }

func newZstd(level int) (compressor, error) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithEncoderConcurrency(1),
		// No farther back than most frames are long: it is memory, four times over.
		zstd.WithWindowSize(4*mib),
		zstd.WithLowerEncoderMem(true),
		// Without a frame, an empty source would be a file that zstd -d refuses.
		zstd.WithZeroFrames(true))
	return zstdFrames{enc}, err
}

func (z zstdFrames) appendFrame(_ context.Context, dst, raw []byte) ([]byte, error) {
	return z.enc.EncodeAll(raw, dst), nil
}

type gzipFrames struct{ w *gzip.Writer }

func newGzip(level int) (compressor, error) {
	w, err := gzip.NewWriterLevel(nil, level)
	return gzipFrames{w}, err
}

func (g gzipFrames) appendFrame(_ context.Context, dst, raw []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	g.w.Reset(out)
	if _, err := g.w.Write(raw); err != nil {
		return nil, err
	}
	err := g.w.Close()
	return out.Bytes(), err
}

type xzFrames struct{ dict int }

// xzDict is the dictionary that xz(1) uses at a level, in bytes.
func xzDict(level int) int {
	return []int{256 << 10, 1 * mib, 2 * mib, 4 * mib, 4 * mib, 8 * mib, 8 * mib, 16 * mib, 32 * mib, 64 * mib}[level]
}

func newXz(level int) (compressor, error) {
	return xzFrames{min(xzDict(level), 16*mib)}, nil
}

func (x xzFrames) appendFrame(ctx context.Context, dst, raw []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	// A dictionary larger than the frame would only cost the time to clear it.
	dict := min(x.dict, max(lzma.MinDictCap, len(raw)))
	w, err := xz.WriterConfig{DictCap: dict, CheckSum: xz.CRC64}.NewWriter(out)
	if err != nil {
		return nil, err
	}
	for len(raw) > 0 {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n := min(len(raw), 256<<10) // some tenth of a second
		if _, err := w.Write(raw[:n]); err != nil {
			return nil, err
		}
		raw = raw[n:]
	}
	err = w.Close()
	return out.Bytes(), err
}

type plain struct{}

func (plain) appendFrame(_ context.Context, dst, raw []byte) ([]byte, error) {
	return append(dst, raw...), nil
}
