package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"tinybackup/internal/source"
)

// Previous is the archive that a new one may copy frames from: the newest one of
// the same source.
type Previous struct {
	Manifest *Manifest // as ReadManifest gave it
	// Archive has its bytes, and stays open until Write returns. Nil: they cannot be read,
	// and Write finds out whether anything has changed at all.
	Archive Source
}

// ErrPrevious says that the previous archive is not what its manifest says.
// Nothing of it may be copied.
var ErrPrevious = errors.New("the previous archive is damaged")

// ErrChanged says that not everything is as in the previous archive, whose bytes cannot
// be read. Write has to be called again without Previous.
var ErrChanged = errors.New("something has changed, and nothing can be copied")

// RangeCopier is a writer that can share what another file holds: CopyRange
// appends bytes of src that are where n and off say, without their being
// written again. It returns false, having done nothing, if it can't.
type RangeCopier interface {
	CopyRange(src io.ReaderAt, off, n int64) (bool, error)
}

// clockSlack is how much a file's times may lie before the moment that it was
// changed: file systems keep times in steps, of which FAT's two seconds are the
// longest, and their clock may not be ours.
const clockSlack = 2 * time.Second

// previousIndex finds frames of the previous archive.
type previousIndex struct {
	*Previous
	manifest  *Manifest
	byKey     map[[32]byte]int
	byContent map[[32]byte]int
	young     int64 // ns since 1970: what was changed since may have been changed again, unseen
}

func (p *Previous) index() *previousIndex {
	x := &previousIndex{
		Previous: p, manifest: p.Manifest, byKey: map[[32]byte]int{}, byContent: map[[32]byte]int{},
		young: p.Manifest.Start.Add(-clockSlack).UnixNano(),
	}
	for i, f := range p.Manifest.Frames {
		if f.Key != [32]byte{} {
			x.byKey[f.Key] = i
		}
		if f.Content != [32]byte{} {
			x.byContent[f.Content] = i
		}
	}
	return x
}

// withKey finds a frame of that key, if it can be the i-th.
func (x *previousIndex) withKey(key [32]byte, i int) (int, bool) {
	found, ok := x.byKey[key]
	if f := x.manifest.Frames; ok && i < len(f) && f[i].Key == key {
		return i, true
	}
	return found, ok
}

// withContent finds a frame of these bytes, if it can be the i-th: there may be
// many, of zeros.
func (x *previousIndex) withContent(content [32]byte, i int) (int, bool) {
	found, ok := x.byContent[content]
	if f := x.manifest.Frames; ok && i < len(f) && f[i].Content == content {
		return i, true
	}
	return found, ok
}

// trusts says whether the identity of the plan's entries tells that their content
// is what it was. A file changed twice within one step of its clock, once before
// and once after the previous run read it, looks as if nothing had happened
// (git calls such an entry racy); so what was young then is read again.
func (x *previousIndex) trusts(p *plan) bool {
	for _, s := range p.segments {
		if e := s.Entry; e.MTime >= x.young || e.CTime >= x.young {
			return false
		}
	}
	return true
}

// piecesOpen says whether all large files can be opened of which the plan has a
// piece. One that can't is left out as a whole: a piece of it that was copied would
// be one without a header, or a header without the rest.
func (p *plan) piecesOpen() bool {
	for _, s := range p.segments {
		if !pieceOpens(s) {
			return false
		}
	}
	return true
}

// pieceOpens is false for a piece of a file that can't be opened.
func pieceOpens(s source.Segment) bool {
	if s.First && s.Last {
		return true
	}
	_, err := s.Entry.Content()
	return err == nil
}

// linksHold says whether all hard links in the plan are links to the name that
// they were planned to be links to. It waits for the frames before.
func (p *plan) linksHold() bool {
	for _, s := range p.segments {
		if s.First && s.Entry.LinkedTo() != "" && !p.linkHolds(s) {
			return false
		}
	}
	return true
}

func (p *plan) linkHolds(s source.Segment) bool {
	// An earlier name in the same frame is settled only when the frame is made.
	for _, other := range p.segments {
		if other.First && other.Entry.Path == s.Entry.LinkedTo() {
			return true
		}
	}
	first, ok := s.Entry.HardLink()
	return ok && first == s.Entry.LinkedTo()
}

// claim says of the plan's entries that their content is in the archive, and
// returns how many there are.
func (p *plan) claim() int {
	n := 0
	for _, s := range p.segments {
		if !s.First {
			continue
		}
		n++
		if s.Entry.LinkedTo() == "" {
			s.Entry.Stored()
		}
	}
	return n
}

// writeHeld writes the frames that were held back while everything was as in
// the previous archive.
func (w *writer) writeHeld(ctx context.Context) error {
	if w.previous != nil && w.previous.Archive == nil {
		return ErrChanged
	}
	w.diverged.Store(true)
	if w.held <= 0 {
		w.held = -1 // from now on, frames are written as they come
		return nil
	}
	frames := make([]int, w.held)
	for i := range frames {
		frames[i] = i
	}
	w.held = -1
	return w.copyFrames(ctx, frames)
}

// copyFrames appends frames of the previous archive.
func (w *writer) copyFrames(ctx context.Context, frames []int) error {
	if w.Unread {
		return w.copyUnread(ctx, frames)
	}
	return w.readFrames(ctx, frames)
}

// readFrames appends frames of the previous archive, each checked against its
// checksum; several are read at a time.
func (w *writer) readFrames(ctx context.Context, frames []int) error {
	type loaded struct {
		buf *[]byte
		err error
	}
	order := make(chan chan loaded, w.Workers)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		defer close(order)
		for _, i := range frames {
			one := make(chan loaded, 1)
			select {
			case order <- one:
				go func() {
					buf, err := w.load(i)
					one <- loaded{buf, err}
				}()
			case <-stop:
				return
			}
		}
	}()
	for _, i := range frames {
		one := <-<-order
		err := one.err
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = w.share(w.previous.manifest.Frames[i], *one.buf)
		}
		if one.buf != nil {
			w.outs.Put(one.buf)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// load reads a frame of the previous archive, and checks it.
func (w *writer) load(i int) (*[]byte, error) {
	f := w.previous.manifest.Frames[i]
	buf := getBuffer(&w.outs, int(f.Len))
	*buf = (*buf)[:f.Len]
	if n, err := w.previous.Archive.ReadAt(*buf, f.Off); int64(n) < f.Len {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return buf, fmt.Errorf("%w: frame %d at byte %d: %v", ErrPrevious, i, f.Off, err)
	}
	if sha256.Sum256(*buf) != f.SHA256 {
		return buf, fmt.Errorf("%w: frame %d at byte %d has another checksum", ErrPrevious, i, f.Off)
	}
	return buf, nil
}

// share appends a frame of the previous archive whose bytes are in buf, by
// sharing its blocks where the destination can.
func (w *writer) share(f Frame, buf []byte) error {
	w.result.Reused += f.Len
	if c, ok := w.out.(RangeCopier); ok && w.Align > 0 {
		shared, err := c.CopyRange(w.previous.Archive, f.Off, f.Len)
		if err != nil {
			return err
		}
		if shared {
			w.whole.Write(buf)
			return nil
		}
	}
	return w.write(buf)
}
