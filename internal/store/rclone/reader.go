package rclone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"tinybackup/internal/store"
)

// reader reads an object. A reading that goes on where the last one ended has one rclone send
// all from there on; any other has one of its own.
type reader struct {
	d    *Driver
	ctx  context.Context
	key  string
	size int64

	mu   sync.Mutex
	last int64 // where the last reading ended
	flow *process
	out  io.Reader // of flow, at last
}

// skip is how much an rclone at work may send for nothing, before another one is started.
const skip = 1 << 20

// Open implements store.Driver.
func (d *Driver) Open(ctx context.Context, key string) (store.Reader, error) {
	e, err := d.stat(ctx, "open", key)
	if err != nil {
		return nil, err
	}
	if e.Size < 0 {
		return nil, d.fail("open", key, errors.New("the remote does not tell its size"))
	}
	return &reader{d: d, ctx: ctx, key: key, size: e.Size, last: -1}, nil
}

// Size implements store.Reader.
func (r *reader) Size() int64 { return r.size }

// Close implements io.Closer.
func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop()
	return nil
}

// stop ends the rclone at work.
func (r *reader) stop() {
	if r.flow != nil {
		r.flow.stop()
		r.flow = nil
	}
}

// ReadAt implements io.ReaderAt.
func (r *reader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, r.d.fail("read", r.key, errors.New("before its beginning"))
	}
	want := p[:max(0, min(int64(len(p)), r.size-off))]
	if len(want) > 0 {
		n, err = r.readAt(want, off)
	}
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (r *reader) readAt(p []byte, off int64) (int, error) {
	if r.ctx.Err() != nil {
		return 0, r.d.fail("read", r.key, context.Cause(r.ctx))
	}
	r.mu.Lock()
	follows := off == r.last || r.flow != nil && off >= r.last && off-r.last <= skip
	if !follows && r.flow == nil { // the next one may follow this
		r.last = off + int64(len(p))
	}
	if !follows {
		r.mu.Unlock()
		return r.readOnce(p, off)
	}
	defer r.mu.Unlock()
	for again := false; ; again = true {
		n, err := r.readOn(p, off)
		if err == nil {
			return n, nil
		}
		r.stop()
		if again || r.ctx.Err() != nil {
			return n, r.d.fail("read", r.key, err)
		}
	}
}

// readOnce has an rclone send just this.
func (r *reader) readOnce(p []byte, off int64) (int, error) {
	data, err := r.d.output(r.ctx, nil, "cat", "--offset", strconv.FormatInt(off, 10), "--count", strconv.Itoa(len(p)), r.d.arg(r.key))
	if err == nil && len(data) != len(p) {
		err = fmt.Errorf("%w: it ends at byte %d of %d", errDamaged, off+int64(len(data)), r.size)
	}
	return copy(p, data), r.d.fail("read", r.key, err)
}

// readOn reads what the rclone at work sends; without one, it starts one. The caller has locked.
func (r *reader) readOn(p []byte, off int64) (int, error) {
	if r.flow == nil {
		var err error
		if r.flow, r.out, err = r.d.stream(r.ctx, "cat", "--offset", strconv.FormatInt(off, 10), r.d.arg(r.key)); err != nil {
			return 0, err
		}
		r.last = off
	}
	if _, err := io.CopyN(io.Discard, r.out, off-r.last); err != nil {
		return 0, r.ended(err)
	}
	n, err := io.ReadFull(r.out, p)
	r.last = off + int64(n)
	if err != nil {
		return n, r.ended(err)
	}
	if r.last == r.size {
		r.stop()
	}
	return n, nil
}

// ended explains an output that ended too early.
func (r *reader) ended(err error) error {
	flow := r.flow
	r.flow = nil
	if werr := flow.wait(); werr != nil {
		return werr
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}
