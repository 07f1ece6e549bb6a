package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"

	"tinybackup/internal/store"
)

const (
	blockSize = 4 << 20 // bytes that are read ahead with one request
	blocks    = 3       // that are kept, or on their way, at a time
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

// block is a piece of the object, from a multiple of blockSize on.
type block struct {
	off  int64
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
	var n int
	var err error
	if goesOn && len(p) < blockSize {
		n, err = r.readBlocks(p, off)
	} else {
		n, err = r.d.fetch(r.ctx, r.pinned, p, off)
	}
	if err == nil {
		err = atEnd
	}
	return n, err
}

// readBlocks reads what lies in one block or two, and has the next one read ahead.
func (r *reader) readBlocks(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		start := at - at%blockSize
		b := r.block(start)
		r.block(start + blockSize)
		<-b.done
		if b.err != nil {
			r.forget(b)
			return n, b.err
		}
		n += copy(p[n:], b.data[at-start:])
	}
	return n, nil
}

// block returns the block that begins at off, which may still be on its way.
func (r *reader) block(off int64) *block {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range r.ahead {
		if b.off == off {
			r.ahead = append(append(r.ahead[:i:i], r.ahead[i+1:]...), b)
			return b
		}
	}
	if len(r.ahead) == blocks {
		r.ahead = r.ahead[1:]
	}
	b := &block{off: off, done: make(chan struct{})}
	r.ahead = append(r.ahead, b)
	r.wg.Go(func() {
		defer close(b.done)
		if n := min(blockSize, r.pinned.size-off); n > 0 {
			b.data = make([]byte, n)
			_, b.err = r.d.fetch(r.ctx, r.pinned, b.data, off)
		}
	})
	return b
}

// forget makes a block that could not be read be tried again.
func (r *reader) forget(bad *block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range r.ahead {
		if b == bad {
			r.ahead = append(r.ahead[:i:i], r.ahead[i+1:]...)
			return
		}
	}
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
