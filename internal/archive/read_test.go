package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var testCodecs = []string{CodecZstd, CodecXZ, CodecGzip, CodecNone}

func TestReaderReadsConcatenatedFrames(t *testing.T) {
	t.Parallel()
	raw := sample(300_000, 1)
	for _, codec := range testCodecs {
		for _, size := range []int{len(raw), 70_000} {
			data, m := makeArchive(t, KindFile, codec, raw, size)
			for _, name := range []string{codec, ""} {
				got, err := readAll(bytes.NewReader(data), name)
				if err != nil || !bytes.Equal(got, raw) {
					t.Errorf("%s in %d frames as %q: %d bytes, %v; want %d", codec, len(m.Frames), name, len(got), err, len(raw))
				}
			}
			r, err := NewFrameReader(context.Background(), bytes.NewReader(data), m, 0, len(m.Frames))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, raw) {
				t.Errorf("%s, %d frames by the manifest: %d bytes, %v; want %d", codec, len(m.Frames), len(got), err, len(raw))
			}
			r.Close()
		}
	}
}

func TestReaderReadsForeignVariants(t *testing.T) {
	t.Parallel()
	raw := sample(200_000, 2)
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	skippable := []byte("\x5a\x2a\x4d\x18\x03\x00\x00\x00abc")
	for name, data := range map[string][]byte{
		"zstd -19 --long=27":    compress(t, CodecZstd, raw, "-19", "--long=27"),
		"zstd --no-check":       compress(t, CodecZstd, raw, "--no-check"),
		"zstd, skippable first": cat(skippable, compress(t, CodecZstd, raw[:1000]), skippable, compress(t, CodecZstd, raw[1000:])),
		"xz --check=none":       compress(t, CodecXZ, raw, "--check=none"),
		"xz --check=crc32":      compress(t, CodecXZ, raw, "--check=crc32"),
		"xz --check=sha256":     compress(t, CodecXZ, raw, "--check=sha256"),
		"xz, many blocks":       compress(t, CodecXZ, raw, "--block-size=10000"),
		"xz, padded":            cat(compress(t, CodecXZ, raw[:1000]), make([]byte, 40), compress(t, CodecXZ, raw[1000:]), make([]byte, 4)),
		"xz, an empty stream":   cat(compress(t, CodecXZ, nil), compress(t, CodecXZ, raw)),
		"gzip -1":               compress(t, CodecGzip, raw, "-1"),
		"gzip, an empty member": cat(compress(t, CodecGzip, nil), compress(t, CodecGzip, raw), compress(t, CodecGzip, nil)),
		"gzip with a name":      cat(gzipWithName(t, raw[:1000]), gzipWithName(t, raw[1000:])),
	} {
		got, err := readAll(bytes.NewReader(data), "")
		if err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(raw))
		}
	}
}

// gzipWithName returns a gzip member whose header holds the file's name.
func gzipWithName(t testing.TB, raw []byte) []byte {
	file := filepath.Join(t.TempDir(), "a-long-enough-name.txt")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return pipe(t, nil, "gzip", "-cN", file)
}

// TestReaderNoticesTruncation cuts an archive at every byte. Only a cut between two frames may go unnoticed.
func TestReaderNoticesTruncation(t *testing.T) {
	t.Parallel()
	raw := sample(800, 3)
	const dict = "--lzma2=dict=4KiB" // or each try takes milliseconds to allocate one
	for name, parts := range map[string][][]byte{
		CodecZstd:            {compress(t, CodecZstd, raw[:300]), compress(t, CodecZstd, raw[300:])},
		CodecXZ:              {compress(t, CodecXZ, raw[:300], dict), compress(t, CodecXZ, raw[300:], dict)},
		CodecXZ + " -blocks": {compress(t, CodecXZ, raw[:300], dict, "--block-size=200"), compress(t, CodecXZ, raw[300:], dict, "--block-size=500")},
		CodecGzip:            {compress(t, CodecGzip, raw[:300]), compress(t, CodecGzip, raw[300:])},
		CodecGzip + " -name": {gzipWithName(t, raw[:300]), gzipWithName(t, raw[300:])},
	} {
		codec, _, _ := strings.Cut(name, " ")
		data := slices.Concat(parts...)
		for cut := range data {
			got, err := readAll(bytes.NewReader(data[:cut]), codec)
			if cut == len(parts[0]) {
				if err != nil || !bytes.Equal(got, raw[:300]) {
					t.Errorf("%s cut between frames: %d bytes, %v; want 300", name, len(got), err)
				}
			} else if err == nil {
				t.Errorf("%s cut at byte %d of %d, frames %d and %d: %d bytes and no error", name, cut, len(data), len(parts[0]), len(parts[1]), len(got))
			}
		}
	}
}

func TestReaderNoticesGarbageBehind(t *testing.T) {
	t.Parallel()
	raw := sample(3000, 4)
	for _, codec := range []string{CodecZstd, CodecXZ, CodecGzip} {
		data := compress(t, codec, raw)
		for _, garbage := range []string{"x", "1234", "garbage that is long enough to be a header\n", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
			if got, err := readAll(bytes.NewReader(append(bytes.Clone(data), garbage...)), codec); err == nil {
				t.Errorf("%s followed by %q: %d bytes and no error", codec, garbage, len(got))
			}
		}
	}
}

// TestReaderNoticesFlips flips every byte. What is still decoded must be right.
func TestReaderNoticesFlips(t *testing.T) {
	t.Parallel()
	raw := sample(1000, 5)
	for _, codec := range []string{CodecZstd, CodecXZ, CodecGzip} {
		var args []string
		if codec == CodecXZ {
			args = []string{"--lzma2=dict=4KiB"}
		}
		data := slices.Concat(compress(t, codec, raw[:400], args...), compress(t, codec, raw[400:], args...))
		found := 0
		for i := range data {
			bad := bytes.Clone(data)
			bad[i] ^= 0x10
			got, err := readAll(bytes.NewReader(bad), codec)
			if err != nil {
				found++
			} else if !bytes.Equal(got, raw) {
				t.Errorf("%s, byte %d of %d flipped: other data and no error", codec, i, len(data))
			}
		}
		// The rest are time and system in gzip's header, and the like.
		if found < len(data)-24 {
			t.Errorf("%s: %d of %d flips found", codec, found, len(data))
		}
	}
}

func TestReaderSaysWhere(t *testing.T) {
	t.Parallel()
	raw := sample(3000, 6)
	data := compress(t, CodecZstd, raw)
	short := data[:len(data)-3]
	_, err := readAll(bytes.NewReader(short), CodecZstd)
	if want := fmt.Sprintf("zstd data end too early, at byte %d", len(short)); err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = readAll(bytes.NewReader(data), CodecXZ)
	if err == nil || !strings.Contains(err.Error(), "xz data are damaged before byte") {
		t.Errorf("zstd as xz: got %v", err)
	}
	_, err = readAll(bytes.NewReader(nil), CodecZstd)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("empty archive: got %v, want %v", err, io.ErrUnexpectedEOF)
	}
	boom := errors.New("boom")
	_, err = readAll(failingSource{bytes.NewReader(data), 100, boom}, CodecZstd)
	if !errors.Is(err, boom) || strings.Contains(err.Error(), "damaged") {
		t.Errorf("I/O error: got %v, want %v", err, boom)
	}
	needTools(t, "bzip2")
	if _, err := readAll(bytes.NewReader(pipe(t, raw, "bzip2", "-c")), ""); err == nil || !strings.Contains(err.Error(), "bzip2") {
		t.Errorf("bzip2: got %v", err)
	}
}

// failingSource fails for reads that touch byte at or later.
type failingSource struct {
	*bytes.Reader
	at  int64
	err error
}

func (f failingSource) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.at {
		return 0, f.err
	}
	return f.Reader.ReadAt(p, off)
}

func TestReaderStopsWithContext(t *testing.T) {
	t.Parallel()
	raw := sample(300_000, 7)
	why := errors.New("enough")
	for _, codec := range testCodecs {
		data, m := makeArchive(t, KindFile, codec, raw, 50_000)
		open := map[string]func(context.Context) (io.ReadCloser, error){
			"stream": func(ctx context.Context) (io.ReadCloser, error) { return NewReader(ctx, codec, bytes.NewReader(data)) },
			"frames": func(ctx context.Context) (io.ReadCloser, error) {
				return NewFrameReader(ctx, bytes.NewReader(data), m, 0, len(m.Frames))
			},
		}
		for name, open := range open {
			ctx, cancel := context.WithCancelCause(context.Background())
			r, err := open(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			cancel(why)
			if n, err := io.Copy(io.Discard, r); err != why || n > 50_000 {
				t.Errorf("%s, %s: got %v after %d more bytes, want %v", codec, name, err, n, why)
			}
			r.Close()
		}
	}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	needTools(t, "tar")
	for _, format := range []string{"pax", "gnu", "ustar", "v7"} {
		raw := pipe(t, nil, "tar", "-C", dir, "--format="+format, "-cf", "-", "f")
		for _, codec := range testCodecs {
			got, isTar, err := Detect(context.Background(), bytes.NewReader(compress(t, codec, raw)))
			if got != codec || !isTar || err != nil {
				t.Errorf("%s tar with %s: got %q, tar %v, %v", format, codec, got, isTar, err)
			}
		}
	}
	for _, raw := range []string{"", "x", strings.Repeat("plain text ", 100), strings.Repeat("\x00", 2000), "\x04\x22\x4d\x17"} {
		got, isTar, err := Detect(context.Background(), strings.NewReader(raw))
		if got != CodecNone || isTar || err != nil {
			t.Errorf("%.10q: got %q, tar %v, %v", raw, got, isTar, err)
		}
	}
	for magic, want := range map[string]string{"BZh91AY&SY": "bzip2", "\x04\x22\x4d\x18xx": "lz4"} {
		if _, _, err := Detect(context.Background(), strings.NewReader(magic)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error that says %s", magic, err, want)
		}
	}
}
