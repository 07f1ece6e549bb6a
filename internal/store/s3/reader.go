package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"

	"tinybackup/internal/store"
)

const (
	blockSize = 4 << 20 // bytes that are read ahead with one request
	blocks    = 4       // that are kept, or on their way, at a time
)

// pinned is an object of one content.
type pinned struct {
	key, etag string
	size      int64
}

// reader implements store.Reader. What is read in one go is one request for just that:
// so a single file of a large archive costs little more than its own bytes. What goes on
// where a reading ended, in small pieces, is served from blocks that are read ahead.
type reader struct {
	d      *Driver
	pinned pinned
	ctx    context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	end   int64    // of the last reading
	ahead []*block // the least recently used first
}

// block is a piece of the object.
type block struct {
	off  int64
	size int64
	left int64         // of it, what was not read yet
	done chan struct{} // closed when the rest is set
	data []byte
	err  error
}

// Open implements store.Driver.
func (d *Driver) Open(ctx context.Context, key string) (store.Reader, error) {
	const op = "open"
	info, err := d.look(ctx, op, key)
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, d.fail(op, key, fs.ErrNotExist)
	}
	r := &reader{d: d, pinned: pinned{key, info.ETag, info.Size}, end: -1}
	r.ctx, r.stop = context.WithCancel(ctx)
	return r, nil
}

// Size implements store.Reader.
func (r *reader) Size() int64 { return r.pinned.size }

// Close implements store.Reader.
func (r *reader) Close() error {
	r.stop()
	r.wg.Wait()
	return nil
}

// ReadAt implements io.ReaderAt.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, r.d.fail("read", r.pinned.key, errors.New("negative offset"))
	}
	if off >= r.pinned.size {
		return 0, io.EOF
	}
	var atEnd error
	if left := r.pinned.size - off; int64(len(p)) > left {
		p, atEnd = p[:left], io.EOF
	}
	r.mu.Lock()
	goesOn := off == r.end
	r.end = off + int64(len(p))
	r.mu.Unlock()
	n, err := r.read(p, off, goesOn)
	if err == nil {
		err = atEnd
	}
	return n, err
}

// read takes from blocks what they have: also for one of several that read at once, each
// a little before or after the others. What they don't have is read ahead in blocks, if it
// is little that goes on where a reading ended; else for itself.
func (r *reader) read(p []byte, off int64, goesOn bool) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		b := r.block(at, goesOn && len(p)-n < blockSize)
		if b == nil {
			m, err := r.d.fetch(r.ctx, r.pinned, p[n:], at)
			return n + m, err
		}
		<-b.done
		if b.err != nil {
			r.forget(b)
			return n, b.err
		}
		m := copy(p[n:], b.data[at-b.off:])
		r.took(b, m)
		n += m
		goesOn = true
	}
	return n, nil
}

// block returns the block that has the byte at off, which may still be on its way, and has
// the one after it read ahead. If there is none it is begun there, or nil.
func (r *reader) block(off int64, begin bool) *block {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.find(off)
	switch {
	case i >= 0:
		b := r.ahead[i]
		r.ahead = append(slices.Delete(r.ahead, i, i+1), b)
	case begin:
		r.begin(off)
	default:
		return nil
	}
	b := r.ahead[len(r.ahead)-1]
	if next := b.off + b.size; next < r.pinned.size && r.find(next) < 0 {
		r.begin(next)
	}
	return b
}

// find returns which block has the byte at off, or -1; the caller has locked.
func (r *reader) find(off int64) int {
	return slices.IndexFunc(r.ahead, func(b *block) bool { return b.off <= off && off < b.off+b.size })
}

// begin has a block read from off on, as far as the next that there is; the caller has
// locked.
func (r *reader) begin(off int64) {
	size := min(blockSize, r.pinned.size-off)
	for _, b := range r.ahead {
		if b.off > off {
			size = min(size, b.off-off)
		}
	}
	if len(r.ahead) == blocks {
		r.ahead = slices.Delete(r.ahead, 0, 1)
	}
	b := &block{off: off, size: size, left: size, done: make(chan struct{})}
	r.ahead = append(r.ahead, b)
	r.wg.Go(func() {
		defer close(b.done)
		b.data = make([]byte, size)
		_, b.err = r.d.fetch(r.ctx, r.pinned, b.data, off)
	})
}

// took notes that n bytes of a block were read; one that all was read of is done with.
func (r *reader) took(b *block, n int) {
	r.mu.Lock()
	b.left -= int64(n)
	over := b.left <= 0
	r.mu.Unlock()
	if over {
		r.forget(b)
	}
}

// forget makes what is in a block be asked for again.
func (r *reader) forget(b *block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ahead = slices.DeleteFunc(r.ahead, func(a *block) bool { return a == b })
}

// fetch reads all of p from off on, going on where a connection broke.
func (d *Driver) fetch(ctx context.Context, from pinned, p []byte, off int64) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	err = d.try(ctx, "read", from.key, func(t *trial) error {
		got, err := d.get(ctx, from, p[n:], off+int64(n))
		if got > 0 {
			n += got
			t.progress()
		}
		return err
	})
	return n, err
}

// get is one request of fetch.
func (d *Driver) get(ctx context.Context, from pinned, p []byte, off int64) (int, error) {
	last := off + int64(len(p)) - 1
	var opts minio.GetObjectOptions
	if err := opts.SetRange(off, last); err != nil {
		return 0, err
	}
	if from.etag != "" {
		if err := opts.SetMatchETag(from.etag); err != nil {
			return 0, err
		}
	}
	body, _, header, err := d.client.GetObject(ctx, d.bucket, d.object(from.key), opts)
	if err != nil {
		if answered(err, minio.PreconditionFailed, minio.InvalidRange) {
			return 0, errReplaced
		}
		return 0, err
	}
	defer body.Close() // all of it that matters has been read
	if !strings.HasPrefix(header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/", off, last)) {
		return 0, errNoRange
	}
	return io.ReadFull(body, p)
}
