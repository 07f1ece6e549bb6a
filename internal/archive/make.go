package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"tinybackup/internal/source"
)

// make finds the frame in the previous archive, or reads and compresses it.
func (w *writer) make(ctx context.Context, c compressor, t *task) error {
	key := w.keys.key(t.plan)
	if w.src.Kind == source.Device {
		key = [32]byte{} // nothing but its bytes says whether it has changed
	}
	if path, ok := t.plan.first(); ok && w.tar != nil {
		t.frame.First = w.tar.name(path)
	}
	if w.previous != nil && w.src.Kind != source.Device && !w.ByContent {
		if i, ok := w.previous.withKey(key, t.index); ok && w.previous.trusts(t.plan) && t.plan.piecesOpen() && t.plan.linksHold() {
			t.entries = t.plan.claim()
			return w.reuse(t, i, key)
		}
	}
	if made, err := w.makeHole(ctx, c, t, key); made || err != nil {
		return err
	}
	rawp := getBuffer(&w.raws, int(max(w.FrameSize*9/8, t.plan.size*4/3))) // that it need not grow
	defer w.raws.Put(rawp)
	raw, doubtful, err := w.appendPlan((*rawp)[:0], t)
	*rawp = raw
	if err != nil {
		return err
	}
	if doubtful {
		key = [32]byte{} // nothing is to find it by what it should have held
	}
	t.read = true
	t.frame.Raw = int64(len(raw))
	t.frame.Key = key
	t.frame.Content = sha256.Sum256(raw)
	if w.maps() {
		s := t.plan.segments[0] // all there is in a frame of a device
		t.blocks = blockRanges(s.Off, raw, s.Used())
	}
	if w.previous != nil {
		if i, ok := w.previous.withContent(t.frame.Content, t.index); ok {
			return w.reuse(t, i, key)
		}
	}
	return w.compress(ctx, c, t, raw)
}

// reuse makes the frame that of the previous archive.
func (w *writer) reuse(t *task, i int, key [32]byte) error {
	old := w.previous.manifest.Frames[i]
	t.reused = i
	t.frame = Frame{Len: old.Len, Raw: old.Raw, SHA256: old.SHA256, Key: key, Content: old.Content, First: t.frame.First}
	if w.diverged.Load() && !w.Unread {
		var err error
		t.out, err = w.load(i)
		return err
	}
	return nil
}

func (w *writer) compress(ctx context.Context, c compressor, t *task, raw []byte) error {
	t.out = getBuffer(&w.outs, len(raw)/2)
	out, err := w.zeros.appendFrame(ctx, c, (*t.out)[:0], raw)
	if err != nil {
		return fmt.Errorf("compress with %s: %w", w.Codec, err)
	}
	if w.Decode && len(out) > 0 {
		if err := decodesTo(w.Codec, out, raw); err != nil {
			return fmt.Errorf("compress with %s: decoding gives something else: %w", w.Codec, err)
		}
	}
	out = w.padding.append(out)
	*t.out = out
	t.frame.Len = int64(len(out))
	t.frame.SHA256 = sha256.Sum256(out)
	return nil
}

// appendPlan appends the frame's bytes before compression. They are doubtful if
// anything was warned of, so that the next run tries again.
func (w *writer) appendPlan(raw []byte, t *task) (_ []byte, doubtful bool, err error) {
	warn := func(x source.Warning) {
		doubtful = true
		w.Warn(x)
	}
	for _, s := range t.plan.segments {
		n := 1
		if w.tar != nil {
			raw, n, err = w.tar.appendSegment(raw, s, warn)
		} else if _, err = s.Entry.Content(); err == nil {
			raw, err = s.AppendRaw(raw, warn)
		} else {
			err = fmt.Errorf("open %q: %w", w.src.Path, err)
		}
		if err != nil {
			return raw, doubtful, err
		}
		t.entries += n
		if s.First && s.Entry.LinkedTo() != "" && !t.plan.linkHolds(s) || !pieceOpens(s) {
			doubtful = true
		}
		// Now, as a frame may hold more files than can be open at a time.
		s.Done()
		t.plan.done++
	}
	if w.tar != nil && t.plan.end {
		raw = append(raw, tarEnd...)
	}
	return raw, doubtful, nil
}

// getBuffer returns one with room for size bytes.
func getBuffer(pool *sync.Pool, size int) *[]byte {
	if b, ok := pool.Get().(*[]byte); ok && cap(*b) >= size {
		return b
	}
	b := make([]byte, 0, size)
	return &b
}

// decodesTo compares what a frame decodes to with what it was made of. Only a
// fault of the compressor, or of this machine's memory, makes them differ.
func decodesTo(codec string, frame, raw []byte) error {
	d, err := decoder(codec, bytes.NewReader(frame))
	if err != nil {
		return err
	}
	defer d.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := d.Read(buf)
		if n > len(raw) || !bytes.Equal(buf[:n], raw[:n]) {
			return errors.New("other bytes")
		}
		raw = raw[n:]
		if err == io.EOF && len(raw) == 0 {
			return nil
		}
		if err != nil {
			return noEOF(err)
		}
	}
}
