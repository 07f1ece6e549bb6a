package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
)

// ErrDamaged says that an archive that was to be copied is not what its manifest, or
// its checksum, says.
var ErrDamaged = errors.New("the archive is damaged")

// ErrUnreadable says that an archive that was to be copied could not be read. What was
// written before is not to blame.
var ErrUnreadable = errors.New("the archive cannot be read")

// copyBuffer is how much is read at once, in bytes.
const copyBuffer = 1 << 20

// Copying is an archive that is to be written once more, byte for byte.
type Copying struct {
	// Archive is where it is read from.
	Archive Source
	// Frames are those of its manifest; none if they are not known: then only SHA256
	// says whether what was read is right.
	Frames []Frame
	// SHA256 is that of the whole, in lower-case hex; empty if it is not known.
	SHA256 string
	// Previous is an archive where the copy goes, whose frames need not be sent again; nil:
	// there is none, or nothing can be shared with it.
	Previous *Previous
	// Progress is told how many more bytes are there; nil: nobody asks.
	Progress func(n int64)
}

// Copied is what Copy did, in bytes.
type Copied struct {
	Sent   int64 // read, checked and written
	Shared int64 // that the copy has from Previous, unread
	// SHA256 is that of the whole, in lower-case hex; empty if it was not known, and
	// not all of it was read.
	SHA256 string
}

// Copy appends the archive to dst. What of it Previous holds as well dst may take from
// there, if it is a RangeCopier; the rest is compared with its checksums while it
// passes. ErrDamaged says that it is not what they say; nothing is worth keeping of dst
// after this or any other error. It holds a megabyte of the archive at a time.
func Copy(ctx context.Context, dst io.Writer, c Copying) (Copied, error) {
	w := duplicator{ctx: ctx, dst: dst, Copying: c, check: NewCheck(c.Frames, c.SHA256), buf: make([]byte, copyBuffer)}
	size := c.Archive.Size()
	if n := len(c.Frames); n > 0 && c.Frames[n-1].Off+c.Frames[n-1].Len != size {
		return w.done, fmt.Errorf("%w: it has %d bytes, and its manifest tells of %d", ErrDamaged, size, c.Frames[n-1].Off+c.Frames[n-1].Len)
	}
	if err := w.copy(size); err != nil {
		return w.done, err
	}
	sum, err := w.check.End()
	w.done.SHA256 = sum
	return w.done, err
}

// duplicator is a Copy on its way.
type duplicator struct {
	Copying
	ctx   context.Context
	dst   io.Writer
	check *Check
	buf   []byte
	done  Copied
}

// copy takes what can be shared from Previous, and sends what is between.
func (w *duplicator) copy(size int64) error {
	sharer, can := w.dst.(RangeCopier)
	if !can || w.Previous == nil {
		return w.send(0, size)
	}
	at := int64(0)
	for _, r := range sharedRuns(w.Frames, w.Previous.Manifest.Frames) {
		if err := w.send(at, r.to); err != nil {
			return err
		}
		at = r.to
		if err := w.ctx.Err(); err != nil {
			return context.Cause(w.ctx)
		}
		shared, err := sharer.CopyRange(w.Previous.Archive, r.from, r.n)
		if err != nil {
			return err
		}
		if shared {
			w.check.Skip(r.n)
			w.done.Shared += r.n
			w.tell(r.n)
			at += r.n
		}
	}
	return w.send(at, size)
}

// send reads the bytes from one place up to another, and writes them.
func (w *duplicator) send(from, to int64) error {
	for from < to {
		if err := w.ctx.Err(); err != nil {
			return context.Cause(w.ctx)
		}
		buf := w.buf[:min(int64(len(w.buf)), to-from)]
		if n, err := w.Archive.ReadAt(buf, from); n < len(buf) {
			return fmt.Errorf("%w at byte %d: %w", ErrUnreadable, from+int64(n), noEOF(err))
		}
		if _, err := w.check.Write(buf); err != nil {
			return err
		}
		if _, err := w.dst.Write(buf); err != nil {
			return err
		}
		from += int64(len(buf))
		w.done.Sent += int64(len(buf))
		w.tell(int64(len(buf)))
	}
	return nil
}

func (w *duplicator) tell(n int64) {
	if w.Progress != nil {
		w.Progress(n)
	}
}

// A stretch is a part of an archive that another one holds as well.
type stretch struct {
	to   int64 // where it is in the new one
	from int64 // where it is in the other
	n    int64 // bytes
}

// sharedRuns are the runs of frames that are the same in both, as long as they can be:
// frames that follow each other in both are one, up to MaxCopy bytes.
func sharedRuns(frames, previous []Frame) []stretch {
	at := make(map[[32]byte]int, len(previous))
	for i, f := range previous {
		at[f.SHA256] = i
	}
	var runs []stretch
	next := -1 // the frame of previous that would make the last run longer
	for _, f := range frames {
		if next >= 0 && next < len(previous) && previous[next].SHA256 == f.SHA256 && previous[next].Len == f.Len && runs[len(runs)-1].n+f.Len <= MaxCopy {
			runs[len(runs)-1].n += f.Len
			next++
			continue
		}
		i, found := at[f.SHA256]
		if !found || previous[i].Len != f.Len || f.Len == 0 {
			next = -1
			continue
		}
		runs = append(runs, stretch{to: f.Off, from: previous[i].Off, n: f.Len})
		next = i + 1
	}
	return runs
}

// SameBytes says whether two archives are known to have the same bytes: by their
// checksums, or by all of their frames.
func (m *Manifest) SameBytes(other *Manifest) bool {
	if m.Size != other.Size {
		return false
	}
	if m.SHA256 != "" && other.SHA256 != "" {
		return m.SHA256 == other.SHA256
	}
	return len(m.Frames) > 0 && slices.EqualFunc(m.Frames, other.Frames, func(a, b Frame) bool { return a.Len == b.Len && a.SHA256 == b.SHA256 })
}

// AllFrames are the frames of an archive. One whose frames are not known, as it is
// encrypted, is a single one, if its checksum is known.
func (m *Manifest) AllFrames() []Frame {
	sum, err := parseHash(m.SHA256)
	if len(m.Frames) > 0 || m.Size == 0 || err != nil {
		return m.Frames
	}
	return []Frame{{Len: m.Size, SHA256: sum}}
}

// A Check compares the bytes of an archive, which are written to it in order, with what
// is known of them: the SHA-256 of its frames, and that of the whole.
type Check struct {
	frames  []Frame
	want    string
	at      int64 // bytes so far
	frame   hash.Hash
	whole   hash.Hash
	skipped bool
}

// NewCheck checks against frames, of which there may be none, and the SHA-256 of the
// whole in lower-case hex, which may be empty.
func NewCheck(frames []Frame, whole string) *Check {
	return &Check{frames: frames, want: whole, frame: sha256.New(), whole: sha256.New()}
}

// Write takes the next bytes; ErrDamaged if a frame that ends in them is another one.
func (c *Check) Write(p []byte) (int, error) {
	c.whole.Write(p)
	n := len(p)
	for len(p) > 0 {
		if len(c.frames) == 0 {
			c.at += int64(len(p))
			break
		}
		f := c.frames[0]
		k := min(int64(len(p)), f.Off+f.Len-c.at)
		c.frame.Write(p[:k])
		c.at += k
		p = p[k:]
		if c.at < f.Off+f.Len {
			break
		}
		if [32]byte(c.frame.Sum(nil)) != f.SHA256 {
			return 0, fmt.Errorf("%w: the %d bytes at byte %d have another checksum", ErrDamaged, f.Len, f.Off)
		}
		c.frame.Reset()
		c.frames = c.frames[1:]
	}
	return n, nil
}

// Skip says that the next n bytes are not looked at: whole frames.
func (c *Check) Skip(n int64) {
	c.at += n
	c.skipped = c.skipped || n > 0
	for len(c.frames) > 0 && c.frames[0].Off+c.frames[0].Len <= c.at {
		c.frames = c.frames[1:]
	}
}

// End returns the SHA-256 of the whole: the one that was seen or, if not all was, the
// one that was told, which may be empty. ErrDamaged says that they differ.
func (c *Check) End() (string, error) {
	if c.skipped {
		return c.want, nil
	}
	sum := hex.EncodeToString(c.whole.Sum(nil))
	if c.want != "" && sum != c.want {
		return sum, fmt.Errorf("%w: it has another checksum", ErrDamaged)
	}
	return sum, nil
}
