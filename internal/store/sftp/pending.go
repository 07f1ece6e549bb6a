package sftp

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tinybackup/internal/store"
)

const (
	pieceSize  = 256 << 10        // what is written at once: eight packets
	pieces     = 8                // pieces under way at a time; so an upload takes 2 MiB of memory
	copyAtOnce = 64 << 20         // what the server is asked to copy by one request
	discardFor = 10 * time.Second // how long a run that failed tries to remove what it wrote
)

// pending is an archive that is being written, to NAME.partial in SideDir. What a connection
// broke is sent again by the next one to the same place of the same file.
//
// Writing several pieces at once may, after an error, leave a hole: but then nothing of the
// file is kept.
type pending struct {
	d      *Driver
	ctx    context.Context
	cancel context.CancelCauseFunc
	key    string
	file   *opened // .partial
	began  int     // connections, before the first copy

	off    int64     // bytes appended
	buf    []byte    // the last of them, not under way yet
	sent   []span    // where bytes of ours are, in order
	hash   hash.Hash // of these
	copies []copied  // what the server was asked to copy, in order
	copier copySession

	slots chan struct{} // one for each piece under way
	wg    sync.WaitGroup

	ours      fs.FileInfo // of .partial, when all was there
	named     atomic.Bool // it may have its final name
	committed bool
	closed    bool
}

// span is a range of the archive.
type span struct{ off, n int64 }

// copied is a range of another archive, and where it goes.
type copied struct {
	src        *reader
	from, n    int64
	to         int64
	unfinished bool // it may still grow
}

// Create implements store.Driver.
func (d *Driver) Create(ctx context.Context, key string) (store.Pending, error) {
	const op = "create"
	file := d.side(key + store.PartialSuffix)
	inner, cancel := context.WithCancelCause(ctx)
	p := &pending{
		d: d, ctx: inner, cancel: cancel, key: key, hash: sha256.New(), slots: make(chan struct{}, pieces),
		file: &opened{d: d, ctx: inner, key: key, path: file, flags: os.O_WRONLY},
	}
	_, err := do(inner, d, op, key, func(c *conn, _ bool) (struct{}, error) {
		var none struct{}
		if _, err := c.main.Lstat(d.file(key)); err == nil {
			return none, fs.ErrExist // as Commit would say, after all the work
		} else if !errors.Is(err, fs.ErrNotExist) {
			return none, err
		}
		if err := d.needSide(c); err != nil {
			return none, err
		}
		// What a killed run left may still be written to, by a process of the server.
		if err := c.removeAny(file); err != nil {
			return none, err
		}
		f, err := c.main.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if err != nil {
			return none, c.explainWrite(err, d.a.dir)
		}
		return none, errors.Join(ignoreAnswer(f.Chmod(filePerm)), f.Close())
	})
	if err != nil {
		cancel(err)
		return nil, err
	}
	return p, nil
}

// Write implements store.Pending.
func (p *pending) Write(b []byte) (int, error) {
	if err := p.err("write"); err != nil {
		return 0, err
	}
	if err := p.endCopy(); err != nil {
		return 0, err
	}
	for rest := b; len(rest) > 0; {
		n := min(len(rest), pieceSize-len(p.buf))
		p.buf = append(p.buf, rest[:n]...)
		rest = rest[n:]
		if len(p.buf) == pieceSize {
			p.flush(p.off + int64(len(b)-len(rest)))
		}
	}
	p.hash.Write(b)
	p.sent = grown(p.sent, p.off, int64(len(b)))
	p.off += int64(len(b))
	return len(b), nil
}

// grown adds a range to those that there are: to the last one, if it follows that.
func grown(spans []span, off, n int64) []span {
	if n == 0 {
		return spans
	}
	if last := len(spans) - 1; last >= 0 && spans[last].off+spans[last].n == off {
		spans[last].n += n
		return spans
	}
	return append(spans, span{off, n})
}

// flush sends what was gathered, which ends at byte end of the archive.
func (p *pending) flush(end int64) {
	piece := p.buf
	p.buf = nil
	if len(piece) == 0 {
		return
	}
	off := end - int64(len(piece))
	p.start("write", func(c *conn) error {
		f, err := p.file.on(c)
		if err != nil {
			return err
		}
		if _, err = f.WriteAt(piece, off); err != nil {
			return c.explainWrite(err, p.d.a.dir)
		}
		return nil
	})
}

// start does something beside what follows, when there is a slot for it. Its error ends all.
func (p *pending) start(op string, f func(c *conn) error) {
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		return
	}
	p.wg.Go(func() {
		defer func() { <-p.slots }()
		if err := p.do(op, f); err != nil {
			p.cancel(err)
		}
	})
}

func (p *pending) do(op string, f func(c *conn) error) error {
	_, err := do(p.ctx, p.d, op, p.key, func(c *conn, _ bool) (struct{}, error) { return struct{}{}, f(c) })
	return err
}

// err is the first error of what was started, or of the context.
func (p *pending) err(op string) error { return p.d.fail(op, p.key, context.Cause(p.ctx)) }

// CopyRange implements store.Pending. Ranges that follow each other on both sides are copied
// as one.
func (p *pending) CopyRange(src io.ReaderAt, off, n int64) (bool, error) {
	const op = "copy"
	if err := p.err(op); err != nil {
		return false, err
	}
	r, ok := src.(*reader)
	if !ok || r.d.server != p.d.server || n <= 0 || off < 0 || off+n > r.size || !p.d.Copies(p.ctx) {
		return false, p.err(op)
	}
	p.flush(p.off)
	if last := len(p.copies) - 1; last >= 0 {
		if c := &p.copies[last]; c.unfinished && c.src == r && c.from+c.n == off {
			c.n += n
			p.off += n
			return true, nil
		}
	}
	if err := p.endCopy(); err != nil {
		return false, err
	}
	if len(p.copies) == 0 {
		p.began = p.d.connections()
	}
	p.copies = append(p.copies, copied{src: r, from: off, n: n, to: p.off, unfinished: true})
	p.off += n
	return true, nil
}

// endCopy has the server copy what CopyRange gathered.
func (p *pending) endCopy() error {
	if last := len(p.copies) - 1; last >= 0 && p.copies[last].unfinished {
		p.copies[last].unfinished = false
		r := p.copies[last]
		p.start("copy", func(c *conn) error { return p.copy(c, r) })
	}
	return p.err("copy")
}
