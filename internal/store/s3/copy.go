package s3

import (
	"context"
	"io"
	"strings"

	"github.com/minio/minio-go/v7"
)

const (
	// copyPart is how much the service is asked to copy at a time, at least: so that a
	// slow one answers before the connection looks dead.
	copyPart = 256 << 20
	maxCopy  = 4 << 30 // and at most; 5 GiB would be allowed
	readSpan = 1 << 20 // bytes of a span that are read and sent at a time
)

// span is a range of an object that is to be copied by the service.
type span struct {
	from pinned
	off  int64
	n    int64 // 0: there is none
}

// cut takes n bytes off its beginning.
func (s *span) cut(n int64) (head span) {
	head = span{s.from, s.off, n}
	s.off += n
	s.n -= n
	return head
}

// CopyRange implements store.Pending. The range waits until it is known what comes after
// it: ranges that lie side by side become one.
func (p *pending) CopyRange(src io.ReaderAt, off, n int64) (bool, error) {
	r, ok := src.(*reader)
	if !ok || r.d != p.d || n <= 0 || off < 0 || off+n > r.pinned.size || p.d.noCopy.Load() {
		return false, nil
	}
	if err := p.trouble(); err != nil {
		return false, err
	}
	if p.span.n == 0 || p.span.from != r.pinned || p.span.off+p.span.n != off {
		if err := p.place(); err != nil {
			return false, err
		}
		p.span = span{from: r.pinned, off: off}
	}
	p.span.n += n
	p.size += n
	return true, nil
}

// place makes parts of the span that is waiting. A part has to have 5 MiB, unless it is
// the last: what the part before the span lacks is taken from its beginning, by reading
// it, and a span that is then too short is read and sent as a whole. From the thousandth
// part on spans have to be longer, so that parts do not run out.
func (p *pending) place() error {
	if p.span.n == 0 {
		return nil
	}
	s := p.span
	p.span = span{}
	worth := max(minPart, sizeOf(p.next())/2)
	lack := int64(0)
	if filled := int64(len(p.buf)); filled > 0 && filled < minPart {
		lack = minPart - filled
	}
	if p.d.noCopy.Load() || s.n-lack < worth {
		return p.reread(s)
	}
	if err := p.reread(s.cut(lack)); err != nil {
		return err
	}
	if err := p.send(); err != nil {
		return err
	}
	return p.copy(s)
}

// copy has the service copy a span, in parts of about one size.
func (p *pending) copy(s span) error {
	most := max(copyPart, min(16*sizeOf(p.next()), maxCopy))
	for parts := (s.n + most - 1) / most; parts > 0; parts-- {
		piece := s.cut(s.n / parts)
		if p.d.copied.Load() {
			if err := p.copyLater(piece); err != nil {
				return err
			}
			continue
		}
		// Whether the service copies at all is known after the first time.
		number, err := p.add()
		if err != nil {
			return err
		}
		etag, err := p.copyNow(number, piece)
		if refusesCopy(err) {
			p.d.noCopy.Store(true)
			p.drop(number)
			piece.n += s.n
			return p.reread(piece)
		}
		if err != nil {
			return err
		}
		p.done(number, etag, nil)
		p.d.copied.Store(true)
	}
	return nil
}

// drop gives up the part that was added last.
func (p *pending) drop(number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parts = p.parts[:number-1]
}

// copyLater has one part copied in the background.
func (p *pending) copyLater(s span) error {
	if err := p.trouble(); err != nil {
		return err
	}
	number, err := p.add()
	if err != nil {
		return err
	}
	select {
	case p.copies <- struct{}{}:
	case <-p.ctx.Done():
		return p.d.fail("copy", p.key, context.Cause(p.ctx))
	}
	p.wg.Go(func() {
		defer func() { <-p.copies }()
		etag, err := p.copyNow(number, s)
		p.done(number, etag, p.d.fail("copy", p.key, err))
	})
	return nil
}

// refusesCopy reports whether the error of the first copy that was asked for says that the
// service has no such thing, or not for us: then reading and sending may work, or tell why
// not. An answer without a body is that of a service that took it for something else.
func refusesCopy(err error) bool {
	return err == io.EOF || unconditional(err) || answered(err, minio.AccessDenied)
}

// copyNow has one part copied. That the service does not copy is its error as it is.
func (p *pending) copyNow(number int, s span) (etag string, err error) {
	pin := map[string]string{}
	if s.from.etag != "" {
		pin["x-amz-copy-source-if-match"] = s.from.etag
	}
	var refused error
	err = p.d.try(p.ctx, "copy", p.key, func(*trial) error {
		part, err := p.d.client.CopyObjectPart(p.ctx, p.d.bucket, p.d.object(s.from.key),
			p.d.bucket, p.d.object(p.key), p.upload, number, s.off, s.n, pin)
		switch {
		case !p.d.copied.Load() && refusesCopy(err):
			refused = err
			return nil
		case answered(err, minio.PreconditionFailed):
			return errReplaced
		case err == nil && part.ETag == "": // an error that came with status 200
			return errTryAgain
		}
		etag = strings.Trim(part.ETag, `"`)
		return err
	})
	if err == nil {
		err = refused
	}
	return etag, err
}

// reread reads a span and sends it, which is what is left where it can't be copied.
func (p *pending) reread(s span) error {
	buf := make([]byte, min(s.n, readSpan))
	for s.n > 0 {
		piece := s.cut(min(s.n, readSpan))
		b := buf[:piece.n]
		if _, err := p.d.fetch(p.ctx, piece.from, b, piece.off); err != nil {
			return err
		}
		if _, err := p.fill(b); err != nil {
			return err
		}
	}
	return nil
}
