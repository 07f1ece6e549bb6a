package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// MaxCopy is how many bytes one CopyRange appends at most where w copies by itself: whoever
// watches that is to see that it goes on.
const MaxCopy = 1 << 30

// A span is frames of the previous archive that lie side by side in both archives: they
// are copied by one call. Zero: none.
type span struct {
	first, last int // frames
	off, n      int64
}

// copyUnread has w.out append frames of the previous archive by itself. They are
// appended when another one is no neighbour, or with flush.
func (w *writer) copyUnread(ctx context.Context, frames []int) error {
	for _, i := range frames {
		f := w.previous.manifest.Frames[i]
		if s := w.span; s.n > 0 && (f.Off != s.off+s.n || s.n+f.Len > MaxCopy) {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
		if w.span.n == 0 {
			w.span = span{first: i, off: f.Off}
		}
		w.span.last = i
		w.span.n += f.Len
	}
	return nil
}

// flush appends what copyUnread has put off.
func (w *writer) flush(ctx context.Context) error {
	s := w.span
	w.span = span{}
	if s.n == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if c, ok := w.out.(RangeCopier); ok {
		copied, err := c.CopyRange(w.previous.Archive, s.off, s.n)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: %w", ErrPrevious, err)
		case err != nil:
			return err
		case copied:
			w.unread = true
			w.result.Reused += s.n
			return nil
		}
	}
	var frames []int
	for i := s.first; i <= s.last; i++ {
		frames = append(frames, i)
	}
	return w.readFrames(ctx, frames)
}
