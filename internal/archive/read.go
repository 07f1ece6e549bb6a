package archive

import (
	"bytes"
	"context"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

// Source is an archive as it is read. ReadAt may be called from several goroutines at once.
type Source interface {
	io.ReaderAt
	Size() int64 // bytes
}

// NewReader returns what src holds, decompressed. It needs no manifest: frames that follow each other are read as
// one. An empty codec is found out by Detect. Reading fails with ctx's error once that is done, with
// io.ErrUnexpectedEOF for an archive that ends within a frame, and with an error that says up to which byte of the
// archive it had come for any that does not decode. The caller closes the reader, then src.
//
// An archive that was cut between two frames looks whole here: a tar's end marker, the manifest or a checksum tells.
func NewReader(ctx context.Context, codec string, src Source) (io.ReadCloser, error) {
	return newStream(codec, &sourceReader{ctx: ctx, src: src})
}

func newStream(codec string, in *sourceReader) (io.ReadCloser, error) {
	if codec == "" {
		var err error
		if codec, err = detectCodec(in.src); err != nil {
			return nil, err
		}
	}
	d, err := decoder(codec, in)
	if err != nil {
		return nil, in.explain(codec, err)
	}
	return &streamReader{in: in, d: d, codec: codec}, nil
}

// streamReader decodes a whole archive.
type streamReader struct {
	in    *sourceReader
	d     io.ReadCloser
	codec string
}

// Read implements io.Reader.
func (s *streamReader) Read(p []byte) (int, error) {
	// A decoder that reads ahead would go on for a while.
	if err := s.in.ctx.Err(); err != nil {
		return 0, context.Cause(s.in.ctx)
	}
	n, err := s.d.Read(p)
	if err != nil && err != io.EOF {
		err = s.in.explain(s.codec, err)
	}
	return n, err
}

// Close implements io.Closer. When it returns, src is no longer read.
func (s *streamReader) Close() error { return s.d.Close() }

// sourceReader reads a Source from its start. It is used by one goroutine, which need not be the caller's.
type sourceReader struct {
	ctx      context.Context
	src      Source
	off      int64
	err      error       // of src, other than its end
	sum      hash.Hash   // if not nil, of what was read
	progress func(int64) // if not nil, told how many bytes more were read
}

// Read implements io.Reader.
func (r *sourceReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx)
		return 0, r.err
	}
	size := r.src.Size()
	if r.off >= size {
		return 0, io.EOF
	}
	n, err := r.src.ReadAt(p[:min(int64(len(p)), size-r.off)], r.off)
	if r.sum != nil {
		r.sum.Write(p[:n])
	}
	r.off += int64(n)
	if r.progress != nil && n > 0 {
		r.progress(int64(n))
	}
	if err == io.EOF && n > 0 {
		err = nil
	}
	if err != nil && err != io.EOF {
		r.err = fmt.Errorf("read at byte %d: %w", r.off, err)
	}
	return n, err
}

// explain adds to a decoder's error what it does not know.
func (r *sourceReader) explain(codec string, err error) error {
	switch {
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case r.err != nil:
		return r.err
	case err == io.ErrUnexpectedEOF:
		return fmt.Errorf("%s data end too early, at byte %d: %w", codec, r.off, err)
	}
	return fmt.Errorf("%s data are damaged before byte %d: %w", codec, r.off, err)
}

// Detect finds out from its first bytes, whatever its name, how an archive is compressed and whether it is a tar.
// What looks like no compression at all is CodecNone.
func Detect(ctx context.Context, src Source) (codec string, isTar bool, err error) {
	if codec, err = detectCodec(src); err != nil {
		return "", false, err
	}
	r, err := NewReader(ctx, codec, src)
	if err != nil {
		return "", false, err
	}
	defer r.Close()
	block := make([]byte, tarBlock)
	if _, err := io.ReadFull(r, block); err == io.EOF || err == io.ErrUnexpectedEOF {
		return codec, false, nil
	} else if err != nil {
		return "", false, err
	}
	return codec, isTarHeader(block), nil
}

// magic are the first bytes of compressed data. Frames of zstd may follow a skippable frame, 0x184D2A50 to 5F.
var magic = []struct{ prefix, codec string }{
	{"\x28\xb5\x2f\xfd", CodecZstd},
	{"\xfd7zXZ\x00", CodecXZ},
	{"\x1f\x8b\x08", CodecGzip},
	{"BZh", "bzip2"},
	{"\x04\x22\x4d\x18", "lz4"},
}

func detectCodec(src Source) (string, error) {
	head := make([]byte, 8)
	n, err := src.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read at byte 0: %w", err)
	}
	head = head[:n]
	if n >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte("\x2a\x4d\x18")) {
		return CodecZstd, nil
	}
	for _, m := range magic {
		if bytes.HasPrefix(head, []byte(m.prefix)) {
			if !knownCodec(m.codec) {
				return "", fmt.Errorf("compressed with %s, which is not supported", m.codec)
			}
			return m.codec, nil
		}
	}
	return CodecNone, nil
}

// isTarHeader tells whether a block has the checksum of a tar header (POSIX pax, "ustar Interchange Format").
func isTarHeader(block []byte) bool {
	field := strings.Trim(string(block[148:156]), " \x00")
	want, err := strconv.ParseInt(field, 8, 64)
	if err != nil {
		return false
	}
	sum := int64(8 * ' ')
	for i, b := range block[:tarBlock] {
		if i < 148 || i >= 156 {
			sum += int64(b)
		}
	}
	return sum == want
}
