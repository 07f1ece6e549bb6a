package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	wire "github.com/pkg/sftp"

	"tinybackup/internal/store"
)

const (
	minAhead = 64 << 10 // what is read for the first of small readings
	maxAhead = 4 << 20  // at most, when they follow each other
)

// reader reads one file of the server. Large readings go to the server as they are, in many
// requests at once; of small ones that follow each other, it reads ahead.
type reader struct {
	*opened
	size int64

	mu    sync.Mutex // over what was read ahead
	ahead []byte
	off   int64 // of ahead in the file
	grow  int   // how much to read next
}

// opened is a file that is opened again by each new connection.
type opened struct {
	d     *Driver
	ctx   context.Context
	key   string // for errors
	path  string // on the server
	flags int    // of os.OpenFile

	mu     sync.Mutex
	c      *conn
	f      *wire.File
	as     fs.FileInfo // as it was at first; nil: nobody cares
	closed bool
}

// Open implements store.Driver.
func (d *Driver) Open(ctx context.Context, key string) (store.Reader, error) {
	r, err := d.openReader(ctx, key, d.file(key))
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (d *Driver) openReader(ctx context.Context, key, file string) (*reader, error) {
	o := &opened{d: d, ctx: ctx, key: key, path: file}
	info, err := do(ctx, d, "open", key, func(c *conn, _ bool) (fs.FileInfo, error) {
		f, err := o.on(c)
		if err != nil {
			return nil, err
		}
		return f.Stat()
	})
	if err == nil && !info.Mode().IsRegular() {
		err = d.fail("open", key, errors.New("not a plain file"))
	}
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	o.as = info
	return &reader{opened: o, size: info.Size()}, nil
}

// on returns the file as opened by a connection, which must still be the same one.
func (o *opened) on(c *conn) (*wire.File, error) {
	client := c.forBulk()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, fs.ErrClosed
	}
	if o.c == c {
		return o.f, nil
	}
	f, err := client.OpenFile(o.path, o.flags)
	if err != nil {
		return nil, err
	}
	if o.as != nil {
		info, err := f.Stat()
		if err == nil && !alike(info, o.as) {
			err = fmt.Errorf("%w: it was replaced meanwhile", errDamaged)
		}
		if err != nil {
			_ = f.Close() // for reading, or not written to
			return nil, err
		}
	}
	o.c, o.f = c, f
	return f, nil
}

// end closes the file that a connection has open: what it says is about the bytes written.
func (o *opened) end(c *conn) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.f
	if o.c != c || f == nil {
		return nil
	}
	o.c, o.f = nil, nil
	return f.Close()
}

// give returns the file, if it is open, and opens it no more.
func (o *opened) give() *wire.File {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.f
	o.c, o.f, o.closed = nil, nil, true
	return f
}

// Close implements io.Closer.
func (o *opened) Close() error {
	if f := o.give(); f != nil {
		go f.Close() // whose answer nobody needs; the connection's end ends it, too
	}
	return nil
}

// Size implements store.Reader.
func (r *reader) Size() int64 { return r.size }

// ReadAt implements io.ReaderAt.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, r.d.fail("read", r.key, errors.New("before its beginning"))
	}
	want := p[:max(0, min(int64(len(p)), r.size-off))]
	n, err := r.readAt(want, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (r *reader) readAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(p) >= minAhead {
		data, err := r.fetch(off, len(p))
		return copy(p, data), err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.off + int64(len(r.ahead))
	done := 0
	if off >= r.off && off < end {
		if done = copy(p, r.ahead[off-r.off:]); done == len(p) {
			return done, nil
		}
		off = end
	}
	if off == end && end > 0 { // one follows the other
		r.grow = min(2*max(r.grow, minAhead/2), maxAhead)
	} else {
		r.grow = 0
	}
	n := max(len(p)-done, r.grow)
	data, err := r.fetch(off, int(min(int64(n), r.size-off)))
	if err != nil {
		return done, err
	}
	r.ahead, r.off = data, off
	return done + copy(p[done:], data), nil
}

// fetch returns n bytes from off on, which the file has.
func (r *reader) fetch(off int64, n int) ([]byte, error) {
	return do(r.ctx, r.d, "read", r.key, func(c *conn, _ bool) ([]byte, error) {
		f, err := r.on(c)
		if err != nil {
			return nil, err
		}
		data := make([]byte, n)
		got, err := f.ReadAt(data, off)
		if got == n {
			return data, nil
		}
		if err == io.EOF && c.ask(r.ctx) { // else the connection's
			err = fmt.Errorf("%w: it ends at byte %d of %d", errDamaged, off+int64(got), r.size)
		}
		return nil, err
	})
}
