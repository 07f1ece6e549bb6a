package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// maxWindow is what `zstd -d` allows without --long=31; `zstd --ultra -22` needs all of it.
const maxWindow = 128 << 20

// readBuffer is how far a decoder reads ahead of what it needs, in bytes.
const readBuffer = 1 << 20

// decoder returns the decompressed form of r, which holds one or more frames of codec and nothing else. Data that
// end within a frame give io.ErrUnexpectedEOF, as do no data at all. The caller closes it; r stays open.
func decoder(codec string, r io.Reader) (io.ReadCloser, error) {
	return decoderSize(codec, r, readBuffer)
}

// decoderSize is decoder with a read-ahead of size bytes.
func decoderSize(codec string, r io.Reader, size int) (io.ReadCloser, error) {
	switch codec {
	case CodecNone:
		return io.NopCloser(bufio.NewReaderSize(r, size)), nil // a tar is read in small pieces
	case CodecZstd:
		br, err := notEmpty(bufio.NewReaderSize(r, size))
		if err != nil {
			return nil, err
		}
		z, err := zstdReader(br, maxWindow)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case CodecGzip:
		br, err := notEmpty(bufio.NewReaderSize(r, size))
		if err != nil {
			return nil, err
		}
		return newGzipReader(br)
	case CodecXZ:
		tail := &xzTail{r: r}
		br, err := notEmpty(bufio.NewReaderSize(tail, size))
		if err != nil {
			return nil, err
		}
		return newXZReader(br, tail)
	}
	return nil, fmt.Errorf("unknown codec %q", codec)
}

// notEmpty returns r, or io.ErrUnexpectedEOF: to the decoders nothing at all is a whole archive.
func notEmpty(r *bufio.Reader) (*bufio.Reader, error) {
	_, err := r.Peek(1)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return r, err
}

// zstdReader decodes zstd frames whose window is at most window bytes.
func zstdReader(r io.Reader, window uint64, opts ...zstd.DOption) (*zstd.Decoder, error) {
	return zstd.NewReader(r, append(opts, zstd.WithDecoderMaxWindow(window))...)
}

// frameDecoder decodes frames one after another. It belongs to one goroutine, which closes it.
type frameDecoder struct {
	codec string
	z     *zstd.Decoder
}

// decodeZstd decodes src, which must give exactly len(dst) bytes.
func (d *frameDecoder) decodeZstd(dst, src []byte) error {
	if d.z == nil {
		var err error
		// With a limit, hostile data take no more memory than the manifest asked for.
		d.z, err = zstdReader(nil, maxWindow, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
	}
	out, err := d.z.DecodeAll(src, dst[:0:len(dst)])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return errLonger
	}
	if err == nil && len(out) != len(dst) {
		err = fmt.Errorf("%d bytes, the manifest says %d", len(out), len(dst))
	}
	return err
}

func (d *frameDecoder) close() {
	if d.z != nil {
		d.z.Close()
	}
}

// zstdWriter compresses a manifest.
func zstdWriter(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
}

// zstdFrame returns data as one frame, which takes no more memory to decode than they have.
func zstdFrame(data []byte) ([]byte, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return z.EncodeAll(data, nil), z.Close()
}

// gzipReader decodes gzip members one by one. The library's own way of going on with the next member takes data
// that end within the file name of its header for the end of the last one.
type gzipReader struct {
	br *bufio.Reader
	z  *gzip.Reader
}

func newGzipReader(br *bufio.Reader) (*gzipReader, error) {
	z, err := gzip.NewReader(br)
	if err != nil {
		return nil, noEOF(err)
	}
	z.Multistream(false)
	return &gzipReader{br, z}, nil
}

// Read implements io.Reader.
func (g *gzipReader) Read(p []byte) (int, error) {
	for {
		n, err := g.z.Read(p)
		if n > 0 && err == io.EOF {
			err = nil // the next call says it again
		}
		if err != io.EOF {
			return n, err
		}
		if _, err := g.br.Peek(1); err != nil {
			return 0, err
		}
		if err := g.z.Reset(g.br); err != nil {
			return 0, noEOF(err)
		}
		g.z.Multistream(false)
	}
}

// Close implements io.Closer. What was wrong, Read has said.
func (g *gzipReader) Close() error {
	_ = g.z.Close()
	return nil
}

// xzReader decodes xz streams. The library takes data that end between two blocks of a stream, or right after its
// header, for the end of the archive; so the end is checked here.
type xzReader struct {
	z    *xz.Reader
	tail *xzTail
}

func newXZReader(br *bufio.Reader, tail *xzTail) (*xzReader, error) {
	// The dictionary is as large as each block asks for; the library's default is 8 MiB at least, zeroed for each.
	z, err := xz.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(br)
	if err != nil {
		return nil, noEOF(err)
	}
	return &xzReader{z, tail}, nil
}

// Read implements io.Reader.
func (x *xzReader) Read(p []byte) (int, error) {
	n, err := x.z.Read(p)
	if err == io.EOF && !x.tail.complete() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements io.Closer.
func (x *xzReader) Close() error { return nil }

// xzTail passes data on and remembers the last of them that are not zero: a stream may be followed by padding.
type xzTail struct {
	r     io.Reader
	last  [12]byte
	zeros int // bytes of zero since, up to len(last)
}

// Read implements io.Reader.
func (t *xzTail) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	body := bytes.TrimRight(p[:n], "\x00")
	zeros := n - len(body)
	if len(body) == 0 {
		t.zeros = min(t.zeros+zeros, len(t.last))
		return n, err
	}
	all := append(t.last[:len(t.last):len(t.last)], make([]byte, t.zeros)...)
	all = append(all, body[max(0, len(body)-len(t.last)):]...)
	copy(t.last[:], all[len(all)-len(t.last):])
	t.zeros = min(zeros, len(t.last))
	return n, err
}

// complete tells whether the data so far end with the footer of a stream: CRC32 of the six bytes between, backward
// size, flags, "YZ" (xz file format 1.2.1, 2.1.2).
func (t *xzTail) complete() bool {
	l := t.last[:]
	return l[10] == 'Y' && l[11] == 'Z' && binary.LittleEndian.Uint32(l) == crc32.ChecksumIEEE(l[4:10])
}

// noEOF says that an end of data comes too early.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
