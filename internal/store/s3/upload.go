package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"tinybackup/internal/store"
)

const (
	sending = 2 // parts that are sent at a time; one more is being filled
	copying = 4 // parts that the service copies at a time

	minPart  = 5 << 20 // bytes; what services want of every part but the last
	maxParts = 10_000
	maxPart  = min(4<<30, math.MaxInt/4) // 5 GiB would be allowed; a part is in memory as a whole

	partSize  = 8 << 20  // of the first parts
	partsEach = 1000     // of one size; those after them are twice as large
	evenPart  = 32 << 20 // of all parts, where they have to be alike: 312 GiB of them

	// endWait is how long putting things right may take when the run has been ended.
	endWait = 30 * time.Second
)

// sizeOf is how many bytes the part with the number, from 1, has at most. Ten thousand
// parts are 8 TiB so (2.5 TiB on a 32-bit machine), and the three of them that are in
// memory less than a hundredth of what was sent.
func sizeOf(number int) int64 {
	return min(int64(partSize)<<((number-1)/partsEach), maxPart)
}

// sizeOf is that of the function, unless the service wants all parts but the last alike.
func (d *Driver) sizeOf(number int) int64 {
	if d.even {
		return evenPart
	}
	return sizeOf(number)
}

// pending implements store.Pending: what is shorter than a part is sent by Commit, as one
// object; the rest as parts of a multipart upload, in the background.
type pending struct {
	d     *Driver
	outer context.Context // of Create
	ctx   context.Context // ends with the pending, too
	stop  context.CancelFunc
	key   string
	token string // see tokenMeta

	upload string        // its ID; empty: nothing was begun
	strays bool          // the service may have begun one that we do not know of
	buf    []byte        // the part being filled
	span   span          // what is to be copied after it
	size   int64         // of all
	slots  chan struct{} // of parts on their way
	copies chan struct{} // of parts being copied
	wg     sync.WaitGroup

	mu     sync.Mutex
	parts  []minio.CompletePart
	spare  [][]byte // buffers to be used again
	failed error    // of a part

	committed, closed bool
}

// Create implements store.Driver.
func (d *Driver) Create(ctx context.Context, key string) (store.Pending, error) {
	const op = "create"
	info, err := d.look(ctx, op, key) // Commit is what decides; but it would do so after all the work
	if err != nil {
		return nil, err
	}
	if info != nil {
		return nil, d.fail(op, key, fs.ErrExist)
	}
	p := &pending{
		d: d, outer: ctx, key: key, token: rand.Text(),
		slots: make(chan struct{}, sending), copies: make(chan struct{}, copying),
	}
	p.ctx, p.stop = context.WithCancel(ctx)
	return p, nil
}

// Write implements store.Pending.
func (p *pending) Write(b []byte) (int, error) {
	if err := p.place(); err != nil {
		return 0, err
	}
	n, err := p.fill(b)
	p.size += int64(n)
	return n, err
}

// fill appends to the part being filled, and sends those that are full.
func (p *pending) fill(b []byte) (n int, err error) {
	for {
		if err := p.trouble(); err != nil {
			return n, err
		}
		if p.buf == nil && p.upload != "" {
			p.buf = p.buffer(p.next())
		}
		room := p.d.sizeOf(p.next()) - int64(len(p.buf))
		if int64(len(b)-n) <= room { // a full part may be the last: it waits for what comes
			p.buf = append(p.buf, b[n:]...)
			return len(b), nil
		}
		p.buf = append(p.buf, b[n:n+int(room)]...)
		n += int(room)
		if err := p.send(); err != nil {
			return n, err
		}
	}
}

// next is the number of the part being filled.
func (p *pending) next() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.parts) + 1
}

// trouble is why nothing more can be done.
func (p *pending) trouble() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.outer.Err() != nil:
		return p.d.fail("write", p.key, context.Cause(p.outer))
	case p.failed != nil:
		return p.failed
	case p.committed, p.closed:
		return p.d.fail("write", p.key, fs.ErrClosed)
	}
	return nil
}

// begin begins the upload, if it has not been.
func (p *pending) begin() error {
	if p.upload != "" {
		return nil
	}
	const op = "begin to upload"
	return p.d.try(p.ctx, op, p.key, func(t *trial) (err error) {
		p.upload, err = p.d.client.NewMultipartUpload(p.ctx, p.d.bucket, p.d.object(p.key),
			minio.PutObjectOptions{ContentType: contentType, UserMetadata: map[string]string{tokenMeta: p.token}})
		if err == nil && p.upload == "" {
			err = errTryAgain
		}
		_, answered := errors.AsType[minio.ErrorResponse](err)
		p.strays = p.strays || t.lost || err != nil && !answered
		return err
	})
}

// add makes room for one more part, and returns its number.
func (p *pending) add() (int, error) {
	if err := p.begin(); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.parts) == maxParts {
		return 0, p.d.fail("write", p.key, errTooLarge)
	}
	p.parts = append(p.parts, minio.CompletePart{PartNumber: len(p.parts) + 1})
	return len(p.parts), nil
}

// done notes what became of a part.
func (p *pending) done(number int, etag string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parts[number-1].ETag = etag
	if p.failed == nil {
		p.failed = err
	}
}

// send sends the part that was filled, in the background, as soon as there is a slot.
func (p *pending) send() error {
	if len(p.buf) == 0 {
		return nil
	}
	number, err := p.add()
	if err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		return p.d.fail("write", p.key, context.Cause(p.ctx))
	}
	full := p.buf
	p.buf = nil
	p.wg.Go(func() {
		defer func() { <-p.slots }()
		etag, err := p.put(number, full)
		p.done(number, etag, err)
		p.mu.Lock()
		p.spare = append(p.spare, full)
		p.mu.Unlock()
	})
	return nil
}

// buffer returns an empty one for a part.
func (p *pending) buffer(number int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.spare) > 0 {
		last := len(p.spare) - 1
		b := p.spare[last]
		p.spare = p.spare[:last]
		if int64(cap(b)) >= p.d.sizeOf(number) {
			return b[:0]
		}
	}
	return make([]byte, 0, p.d.sizeOf(number))
}

// put sends one part. The service compares the MD5, and says what it has.
func (p *pending) put(number int, data []byte) (etag string, err error) {
	sum := md5.Sum(data)
	err = p.d.try(p.ctx, "write", p.key, func(*trial) error {
		part, err := p.d.client.PutObjectPart(p.ctx, p.d.bucket, p.d.object(p.key), p.upload, number,
			bytes.NewReader(data), int64(len(data)),
			minio.PutObjectPartOptions{Md5Base64: base64.StdEncoding.EncodeToString(sum[:])})
		if err == nil && !p.d.same(part.ETag, sum) {
			err = errDamaged
		}
		etag = part.ETag
		return err
	})
	return etag, err
}

// Settle implements store.Pending: what is not committed can't be read.
func (p *pending) Settle() (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

// Commit implements store.Pending.
func (p *pending) Commit() error {
	const op = "commit"
	if err := p.place(); err != nil {
		return err
	}
	if err := p.trouble(); err != nil {
		return err
	}
	if p.upload == "" {
		_, err := p.d.put(p.ctx, op, p.key, p.buf, store.NotThere, p.token)
		if errors.Is(err, store.ErrConflict) {
			err = p.d.fail(op, p.key, fs.ErrExist)
		}
		return p.named(err)
	}
	if err := p.send(); err != nil {
		return err
	}
	p.wg.Wait()
	if err := p.trouble(); err != nil {
		return err
	}
	return p.named(p.complete(op))
}

// named ends Commit: after an error the name is not there, as far as that can be seen to.
func (p *pending) named(err error) error {
	if err == nil {
		p.committed = true
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.outer), endWait)
	defer cancel()
	const op = "remove"
	if there, lookErr := p.d.look(ctx, op, p.key); lookErr == nil && ours(there, p.token) {
		err = errors.Join(err, p.d.Remove(ctx, p.key))
	}
	return err
}

// complete makes an object of the parts, and looks at it.
func (p *pending) complete(op string) error {
	info, err := p.d.look(p.ctx, op, p.key) // for services that do not heed the condition
	if err != nil {
		return err
	}
	if info != nil {
		return p.d.fail(op, p.key, fs.ErrExist)
	}
	err = p.d.try(p.ctx, op, p.key, func(t *trial) (err error) {
		opts := minio.PutObjectOptions{}
		conditional := !t.plainly && !p.d.plainly.Load()
		if conditional {
			opts.SetMatchETagExcept("*")
		}
		_, err = p.d.client.CompleteMultipartUpload(p.ctx, p.d.bucket, p.d.object(p.key), p.upload, p.parts, opts)
		switch {
		case err == nil:
			return nil
		case conditional && unconditional(err):
			p.d.plainly.Store(true)
			return errTryAgain
		case answered(err, minio.PreconditionFailed, minio.NoSuchUpload):
			there, lookErr := p.d.look(p.ctx, op, p.key)
			switch {
			case lookErr != nil:
				return lookErr
			case ours(there, p.token):
				return nil
			case answered(err, minio.NoSuchUpload):
				return err
			case there == nil && conditional:
				t.plainly = true
				return errTryAgain
			}
			return fs.ErrExist
		}
		return err
	})
	if err != nil {
		return err
	}
	p.upload = ""
	return p.check(op)
}

// check looks whether the object is what was sent: each part was checked when it came, by
// its MD5; now the size of all. A service may need a moment until it shows what it has.
func (p *pending) check(op string) error {
	var info minio.ObjectInfo
	err := p.d.try(p.ctx, op, p.key, func(*trial) (err error) {
		info, err = p.d.stat(p.ctx, p.key)
		if answered(err, minio.NoSuchKey) {
			return errNotShown
		}
		return err
	})
	if err == nil && info.Size != p.size {
		err = p.d.fail(op, p.key, fmt.Errorf("the service has %d bytes, not the %d that were sent", info.Size, p.size))
	}
	return err
}

// Close implements store.Pending.
func (p *pending) Close() error {
	if p.closed {
		return nil
	}
	p.stop()
	p.wg.Wait()
	p.closed = true
	p.buf, p.spare = nil, nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.outer), endWait)
	defer cancel()
	const op = "remove the unfinished upload of"
	var err error
	if p.upload != "" {
		err = p.d.abort(ctx, op, p.key, p.upload)
		p.upload = ""
	}
	if p.strays {
		p.strays = false
		err = errors.Join(err, p.d.Discard(ctx, p.key))
	}
	return err
}
