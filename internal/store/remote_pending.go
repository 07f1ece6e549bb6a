package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
)

// Create implements Store.
func (r *Remote) Create(ctx context.Context, name string) (Pending, error) {
	if err := r.beginWith(ctx, "create", name); err != nil {
		return nil, err
	}
	p, err := r.driver.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	return &remotePending{Pending: p, r: r, ctx: ctx, name: name}, nil
}

// remotePending holds a driver's Pending to the rules of all.
type remotePending struct {
	Pending
	r       *Remote
	ctx     context.Context
	name    string
	settled bool
	err     error // the first; from then on only Close is left
	closed  bool
}

// ready says why nothing can be done any more.
func (p *remotePending) ready(op string) error {
	if p.err == nil && p.ctx.Err() != nil {
		p.err = fail(op, p.name, context.Cause(p.ctx))
	}
	return p.err
}

// Write implements Pending.
func (p *remotePending) Write(b []byte) (n int, err error) {
	const op = "write"
	if err := p.ready(op); err != nil {
		return 0, err
	}
	if p.settled {
		return 0, fail(op, p.name, errSettled)
	}
	n, p.err = p.Pending.Write(b)
	return n, p.err
}

// CopyRange implements Pending.
func (p *remotePending) CopyRange(src io.ReaderAt, off, n int64) (ok bool, err error) {
	const op = "copy"
	if err := p.ready(op); err != nil {
		return false, err
	}
	if p.settled {
		return false, fail(op, p.name, errSettled)
	}
	if n <= 0 {
		return false, nil
	}
	ok, p.err = p.Pending.CopyRange(src, off, n)
	return ok, p.err
}

// Settle implements Pending: there is nothing to be read before Commit, which checks.
func (p *remotePending) Settle() (io.ReadCloser, error) {
	if err := p.ready("read back"); err != nil {
		return nil, err
	}
	p.settled = true
	return nil, errors.ErrUnsupported
}

// Commit implements Pending.
func (p *remotePending) Commit() error {
	const op = "commit"
	if err := p.ready(op); err != nil {
		return err
	}
	p.err = p.r.naming(func() error {
		if err := p.r.stillHeld(p.ctx); err != nil {
			return err
		}
		return p.Pending.Commit()
	})
	if p.err != nil {
		return p.err
	}
	p.err = fail(op, p.name, errCommitted) // for whatever is asked next
	return nil
}

// Close implements Pending.
func (p *remotePending) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	if p.err == nil {
		p.err = fail("write", p.name, fs.ErrClosed)
	}
	return p.Pending.Close()
}
