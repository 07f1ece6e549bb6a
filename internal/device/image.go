package device

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
)

// A medium is what an image is written to: a Device.
type medium interface {
	io.WriterAt
	io.ReaderAt
	zero(off, n int64) error // makes whole sectors zeros
	flush() error            // what was written is on the medium, and is read from there
	forget()                 // the partitions that the kernel knows are there no more
}

const (
	// headSize is how much of a device's beginning is written last: partition tables,
	// boot sectors, and the superblocks of file systems on a whole disk are in it.
	headSize = 1 << 20
	// firstSize is what of it is last of all: an MBR, and the header of a GPT.
	firstSize = 4096
	// blockSize is how much is read and written at a time.
	blockSize = 1 << 20
	// zeroSize bounds how much is made zeros in one call, which nothing can interrupt.
	zeroSize = 64 << 20
	// pieceSize is how finely it is told where a medium differs from the image.
	pieceSize = 16 << 20
)

// A span is a range of bytes, from the first up to before the last.
type span struct{ from, to int64 }

// An imageWriter writes one image.
type imageWriter struct {
	m     medium
	disk  int64 // bytes of the medium
	size  int64 // bytes of the image that are written
	told  func(phase string, n int64)
	head  []byte // the first bytes of the image
	zeros span   // to be made zeros
	sums  sums   // of what was written behind the head
}

// write writes the first size bytes of image onto m, which has disk bytes, in the
// order that the package tells of. told, which must not be nil, is told how many
// bytes more were written or compared. An error after m was changed is an
// *IncompleteError.
func write(ctx context.Context, m medium, disk int64, image io.Reader, size int64, told func(phase string, n int64)) error {
	w := &imageWriter{m: m, disk: disk, size: size, told: told}
	w.head = make([]byte, min(headSize, size))
	// Before anything is written: an archive that can't be read costs nothing.
	if err := fill(image, w.head); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		w.wipe,
		func(ctx context.Context) error { return w.body(ctx, image) },
		w.compareBody,
		w.writeHead,
	} {
		if err := step(ctx); err != nil {
			return &IncompleteError{Err: err}
		}
	}
	return nil
}

// fill reads until p is full.
func fill(r io.Reader, p []byte) error {
	n, err := io.ReadFull(r, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("the image ends %d bytes too early", len(p)-n)
	}
	return err
}

// wipe makes what was on the medium unusable, before anything else.
func (w *imageWriter) wipe(context.Context) error {
	if err := w.m.zero(0, min(headSize, w.disk)); err != nil {
		return err
	}
	// The end holds a second GPT, or the superblock of a RAID, which would be found again.
	end := max(0, w.disk-headSize) / headSize * headSize
	if err := w.m.zero(end, w.disk-end); err != nil {
		return err
	}
	if err := w.m.flush(); err != nil {
		return err
	}
	w.m.forget()
	return nil
}

// body writes the image from behind its head on.
func (w *imageWriter) body(ctx context.Context, image io.Reader) error {
	block := make([]byte, blockSize)
	w.told(Writing, int64(len(w.head)))
	for off := int64(headSize); off < w.size; off += blockSize {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := block[:min(blockSize, w.size-off)]
		if err := fill(image, b); err != nil {
			return err
		}
		if err := w.put(b, off); err != nil {
			return err
		}
		w.sums.add(b, off)
		w.told(Writing, int64(len(b)))
	}
	if err := w.putZeros(); err != nil {
		return err
	}
	return w.m.flush()
}

// put writes a block, or remembers that it is zeros: on a device they have to be
// written, too, or what was there before would be in the files.
func (w *imageWriter) put(b []byte, off int64) error {
	if len(b) < blockSize || !allZero(b) {
		if err := w.putZeros(); err != nil {
			return err
		}
		_, err := w.m.WriteAt(b, off)
		return err
	}
	if w.zeros.from == w.zeros.to {
		w.zeros = span{off, off}
	}
	w.zeros.to = off + blockSize
	if w.zeros.to-w.zeros.from >= zeroSize {
		return w.putZeros()
	}
	return nil
}

// putZeros makes zeros what put remembered.
func (w *imageWriter) putZeros() error {
	z := w.zeros
	w.zeros = span{}
	if z.from == z.to {
		return nil
	}
	return w.m.zero(z.from, z.to-z.from)
}

// compareBody reads back what body has written.
func (w *imageWriter) compareBody(ctx context.Context) error {
	var back sums
	block := make([]byte, blockSize)
	for off := int64(headSize); off < w.size; off += blockSize {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := block[:min(blockSize, w.size-off)]
		if _, err := w.m.ReadAt(b, off); err != nil {
			return err
		}
		back.add(b, off)
		w.told(Comparing, int64(len(b)))
	}
	if i := back.differs(&w.sums); i >= 0 {
		from := max(headSize, i*pieceSize)
		return differs(from, min((i+1)*pieceSize, w.size))
	}
	return nil
}

func differs(from, to int64) error {
	return fmt.Errorf("what is read back from bytes %d to %d is not what was written: the device is worn out, or smaller than it says", from, to)
}

// writeHead writes the beginning, and with it makes the rest visible.
func (w *imageWriter) writeHead(context.Context) error {
	first := min(firstSize, int64(len(w.head)))
	if rest := w.head[first:]; len(rest) > 0 {
		if err := w.writeCompared(rest, first); err != nil {
			return err
		}
	}
	if err := w.writeCompared(w.head[:first], 0); err != nil {
		return err
	}
	w.told(Comparing, int64(len(w.head)))
	return nil
}

// writeCompared writes b, and reads it back.
func (w *imageWriter) writeCompared(b []byte, off int64) error {
	if _, err := w.m.WriteAt(b, off); err != nil {
		return err
	}
	if err := w.m.flush(); err != nil {
		return err
	}
	back := make([]byte, len(b))
	if _, err := w.m.ReadAt(back, off); err != nil {
		return err
	}
	if !bytes.Equal(back, b) {
		return differs(off, off+int64(len(b)))
	}
	return nil
}

// sums are the SHA-256 of pieces of an image. Blocks of zeros are not hashed, which is
// most of the work on an empty disk; each of the others is, with where it is, so that
// the sums of two images agree only if the images do.
type sums struct {
	done  [][sha256.Size]byte
	piece hash.Hash // nil: begins with the next block
}

// add takes the next block, at off.
func (s *sums) add(b []byte, off int64) {
	if s.piece == nil {
		s.piece = sha256.New()
	}
	if !allZero(b) {
		s.piece.Write(binary.BigEndian.AppendUint64(nil, uint64(off)))
		s.piece.Write(b)
	}
	if end := off + int64(len(b)); end%pieceSize == 0 || len(b) < blockSize {
		s.end()
	}
}

func (s *sums) end() {
	if s.piece != nil {
		s.done = append(s.done, [sha256.Size]byte(s.piece.Sum(nil)))
		s.piece = nil
	}
}

// differs is the number of the first piece that is not the same, -1 if all are.
func (s *sums) differs(other *sums) int64 {
	s.end()
	other.end()
	for i := range s.done {
		if i >= len(other.done) || s.done[i] != other.done[i] {
			return int64(i)
		}
	}
	return -1
}

var zeroBlock [64 << 10]byte

func allZero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeroBlock))
		if !bytes.Equal(b[:n], zeroBlock[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}
