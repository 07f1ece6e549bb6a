package sftp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"
)

// copySession is the copier of an archive, begun anew by each new connection.
type copySession struct {
	turn sync.Mutex // one request at a time

	mu sync.Mutex // over what follows
	c  *conn
	s  *copier
}

// on returns the copier of a connection.
func (cs *copySession) on(c *conn) (*copier, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.c == c {
		return cs.s, nil
	}
	s, err := newCopier(c.ssh)
	if err != nil {
		return nil, err
	}
	if cs.s != nil {
		cs.s.close()
	}
	cs.c, cs.s = c, s
	return s, nil
}

func (cs *copySession) close() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.s != nil {
		cs.s.close()
	}
}

// copy has the server copy a range.
func (p *pending) copy(c *conn, r copied) error {
	p.copier.turn.Lock()
	defer p.copier.turn.Unlock()
	s, err := p.copier.on(c)
	if err != nil {
		return err
	}
	for done := int64(0); done < r.n; {
		n := min(r.n-done, copyAtOnce)
		if err := s.copy(r.src.path, r.from+done, n, p.file.path, r.to+done); err != nil {
			return c.explainWrite(err, p.d.a.dir)
		}
		done += n
	}
	return nil
}

// Settle implements store.Pending.
func (p *pending) Settle() (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

// Commit implements store.Pending.
func (p *pending) Commit() error {
	const op = "commit"
	p.flush(p.off)
	if err := p.endCopy(); err != nil {
		return err
	}
	p.wg.Wait()
	for _, step := range []func() error{p.copyAgain, p.settle, p.compare, p.publish} {
		if err := p.err(op); err != nil {
			return err
		}
		if err := step(); err != nil {
			p.cancel(err)
			return err
		}
	}
	p.committed = true
	return nil
}

// copyAgain does so with all that was copied, if there was another connection since: perhaps
// the server was off, and lost what it had not written to disk. What was sent is read back;
// what was copied is not.
func (p *pending) copyAgain() error {
	for len(p.copies) > 0 && p.began != p.d.connections() {
		p.began = p.d.connections()
		for _, r := range p.copies {
			if err := p.do("copy", func(c *conn) error { return p.copy(c, r) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle makes the bytes durable, and looks whether the file has as many as it should. An
// fsync is not tried again: of a write that failed, a system tells once (fsync(2)).
func (p *pending) settle() error {
	const op = "sync"
	asked := false
	_, err := do(p.ctx, p.d, op, p.key, func(c *conn, _ bool) (struct{}, error) {
		var none struct{}
		if asked {
			return none, &refused{errors.New("the connection broke, so it is not known whether all is on disk")}
		}
		f, err := p.file.on(c)
		if err != nil {
			return none, err
		}
		asked = true
		if err := c.sync(f); err != nil {
			return none, c.explainWrite(err, p.d.a.dir)
		}
		held, err := f.Stat()
		if err != nil {
			return none, err
		}
		if err := p.file.end(c); err != nil {
			return none, c.explainWrite(err, p.d.a.dir)
		}
		named, err := c.main.Lstat(p.file.path)
		if err != nil {
			return none, err
		}
		return none, wantSize(p.off, held, named)
	})
	return err
}

// wantSize is an error unless a file has so many bytes, both as it was open and by its name.
// Their times are not compared: some servers set them when a file is closed.
func wantSize(want int64, held, named fs.FileInfo) error {
	for _, info := range []fs.FileInfo{held, named} {
		if info.Size() != want || !info.Mode().IsRegular() {
			return fmt.Errorf("%w: it has %d bytes of the %d written", errDamaged, info.Size(), want)
		}
	}
	return nil
}

// compare reads back what was sent, and compares it with what was to be sent. That goes as
// far as a server lets one see: it may answer from its memory.
func (p *pending) compare() error {
	r, err := p.d.openReader(p.ctx, p.key, p.file.path)
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	buf := make([]byte, min(p.off, maxAhead))
	for _, s := range p.sent {
		if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, io.NewSectionReader(r, s.off, s.n), buf); err != nil {
			return err
		}
	}
	if !bytes.Equal(sum.Sum(nil), p.hash.Sum(nil)) {
		return p.d.fail("read back", p.key, fmt.Errorf("%w: the bytes are others", errDamaged))
	}
	return nil
}

// publish gives the archive its name, durably, and never takes it from another one. With
// OpenSSH, renaming refuses a name that is taken; as other servers may not, it looks first.
func (p *pending) publish() error {
	const op = "rename"
	file := p.d.file(p.key)
	var err error
	if p.ours, err = p.look(p.ctx, op, p.file.path); err != nil {
		return err
	}
	_, err = do(p.ctx, p.d, op, p.key, func(c *conn, again bool) (struct{}, error) {
		var none struct{}
		there, err := c.main.Lstat(file)
		switch {
		case err == nil && again && alike(there, p.ours): // the answer to it was lost
			err = c.removeAny(p.file.path) // perhaps it has both names
		case err == nil:
			p.named.Store(false)
			err = fs.ErrExist
		case errors.Is(err, fs.ErrNotExist):
			p.named.Store(true)
			if err = c.main.Rename(p.file.path, file); isFailure(err) {
				if _, lerr := c.main.Lstat(file); lerr == nil {
					p.named.Store(false)
					err = fs.ErrExist
				}
			}
		}
		if err != nil {
			return none, err
		}
		return none, errors.Join(c.syncDir(p.d.a.dir), c.syncDir(path.Dir(p.file.path)))
	})
	return err
}

// Close implements store.Pending.
func (p *pending) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	p.cancel(fs.ErrClosed)
	p.wg.Wait() // which the line before made short
	p.copier.close()
	f := p.file.give()
	if p.committed {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(p.ctx), discardFor, errors.New("no answer in time"))
	defer cancel()
	if f != nil { // its bytes are not wanted any more, but as long as it is open they take room
		_, _ = await(ctx, func() (struct{}, error) { return struct{}{}, f.Close() })
	}
	// In this order: a renaming that is still under way finds nothing, or was before it.
	err := p.discard(ctx, p.file.path)
	if p.named.Load() {
		err = errors.Join(err, p.unname(ctx))
	}
	return err
}

// unname removes what has the archive's final name, if it is what was written.
func (p *pending) unname(ctx context.Context) error {
	there, err := p.look(ctx, "remove", p.d.file(p.key))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !alike(there, p.ours) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.discard(ctx, p.d.file(p.key))
}

// look tells of a file, with op and the archive's key for errors.
func (p *pending) look(ctx context.Context, op, file string) (fs.FileInfo, error) {
	return do(ctx, p.d, op, p.key, func(c *conn, _ bool) (fs.FileInfo, error) { return c.main.Lstat(file) })
}

func (p *pending) discard(ctx context.Context, file string) error {
	err := p.d.remove(ctx, p.key, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
