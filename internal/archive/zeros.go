package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"sync"
)

// zeroFrames keeps the frame that a run of zeros became: holes and free space
// are many frames of the same zeros, and compressing them is most of the work.
type zeroFrames struct {
	mu     sync.Mutex
	length int
	frame  []byte
}

func (z *zeroFrames) appendFrame(ctx context.Context, c compressor, dst, raw []byte) ([]byte, error) {
	if !allZero(raw) {
		return c.appendFrame(ctx, dst, raw)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.frame == nil || z.length != len(raw) {
		frame, err := c.appendFrame(ctx, nil, raw)
		if err != nil {
			return dst, err
		}
		z.length, z.frame = len(raw), frame
	}
	return append(dst, z.frame...), nil
}

// zeroBlock is compared against: bytes.Equal is some ten times as fast as a loop.
var zeroBlock = make([]byte, 64<<10)

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

// holeFrame keeps the frame that a piece became which is all hole, with its sums:
// of an almost empty disk, hashing its zeros would be all the work.
type holeFrame struct {
	mu    sync.Mutex
	frame Frame
	out   []byte
}

// makeHole makes the frame of a piece of a file or device that is all hole; false
// if it is no such piece.
func (w *writer) makeHole(ctx context.Context, c compressor, t *task, key [32]byte) (bool, error) {
	if w.tar != nil || len(t.plan.segments) != 1 {
		return false, nil
	}
	s := t.plan.segments[0]
	// Reading the last piece is what tells of a file that has moved.
	if s.Last || !pieceOpens(s) || !s.Hole() {
		return false, nil
	}
	frame, out, err := w.hole(ctx, c, s.Len)
	if err != nil {
		return false, err
	}
	t.entries++
	s.Done()
	t.plan.done++
	t.frame = frame
	t.frame.Key = key
	if w.previous != nil {
		if i, ok := w.previous.withContent(frame.Content, t.index); ok {
			return true, w.reuse(t, i, key)
		}
	}
	t.out = getBuffer(&w.outs, len(out))
	*t.out = append((*t.out)[:0], out...)
	return true, nil
}

// hole is the frame of n zeros.
func (w *writer) hole(ctx context.Context, c compressor, n int64) (Frame, []byte, error) {
	h := &w.holes
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.frame.Raw != n {
		raw := make([]byte, n)
		t := &task{}
		if err := w.compress(ctx, c, t, raw); err != nil {
			return Frame{}, nil, err
		}
		h.frame = Frame{Len: t.frame.Len, Raw: n, SHA256: t.frame.SHA256, Content: sha256.Sum256(raw)}
		h.out = *t.out
	}
	return h.frame, h.out, nil
}
