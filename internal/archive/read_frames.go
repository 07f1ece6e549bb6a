package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// DamageError says where an archive is damaged.
type DamageError struct {
	Frame    int    // its number, from 0
	Off, Len int64  // where the frame lies in the archive, in bytes
	Entry    string // name of the first tar entry known to suffer; empty if unknown, or if it is no tar
	Err      error  // what is wrong
}

// Error implements error.
func (e *DamageError) Error() string {
	entry := ""
	if e.Entry != "" {
		entry = fmt.Sprintf(", entry %q", e.Entry)
	}
	return fmt.Sprintf("frame %d, bytes %d to %d%s: %v", e.Frame, e.Off, e.Off+e.Len, entry, e.Err)
}

// Unwrap returns what is wrong.
func (e *DamageError) Unwrap() error { return e.Err }

// NewFrameReader returns what frames first to last-1 of src hold, decompressed by several cores. The SHA-256 of
// every frame is checked before any of its bytes are given out; a frame that is not what the manifest says ends the
// reading with a *DamageError. The manifest must be one that ReadManifest gave.
//
// Nothing is read before the first Read. The caller closes the reader, then src. Memory: a few frames, at most 256 MiB
// unless a single frame has more.
func NewFrameReader(ctx context.Context, src Source, m *Manifest, first, last int) (io.ReadCloser, error) {
	if first < 0 || last > len(m.Frames) || first > last {
		return nil, fmt.Errorf("frames %d to %d of %d", first, last, len(m.Frames))
	}
	return newFrameReader(ctx, src, m, first, last), nil
}

// frameReader decodes frames in parallel and gives them out in order.
type frameReader struct {
	ctx         context.Context
	cancel      context.CancelFunc
	src         Source
	m           *Manifest
	first, last int  // frames
	started     bool // so are the workers

	failed  atomic.Int64   // a frame that could not be read: those after it are not needed
	order   chan *frameJob // in the order of the archive
	workers sync.WaitGroup
	buffers sync.Pool // *[]byte

	job  *frameJob // the one that is being read
	left []byte    // of its raw bytes
	err  error

	// For Verify; set before the first Read.
	content  bool        // check the hash of the decoded bytes, too
	whole    hash.Hash   // if not nil, of what was read of src
	progress func(int64) // if not nil, told how many bytes of src more were read
}

// frameJob is one frame on its way.
type frameJob struct {
	i         int
	comp, raw *[]byte
	err       error
	done      chan struct{}
}

// maxFrameMemory is what frames on their way may take together, in bytes.
const maxFrameMemory = 256 << 20

func newFrameReader(ctx context.Context, src Source, m *Manifest, first, last int) *frameReader {
	r := &frameReader{src: src, m: m, first: first, last: last}
	r.failed.Store(int64(last))
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r
}

// start sets the workers to work.
func (r *frameReader) start() {
	largest := int64(1)
	for _, f := range r.m.Frames[r.first:r.last] {
		largest = max(largest, f.Raw+f.Len)
	}
	// One frame is being given out, one waits to be worked on.
	n := int(max(1, min(int64(runtime.GOMAXPROCS(0)), maxFrameMemory/largest-2)))
	work := make(chan *frameJob)
	r.order = make(chan *frameJob, n)
	r.workers.Go(func() {
		defer close(r.order)
		defer close(work)
		for i := r.first; i < r.last; i++ {
			j := &frameJob{i: i, done: make(chan struct{})}
			select {
			case r.order <- j:
				work <- j // workers take until it is closed
			case <-r.ctx.Done():
				return
			}
		}
	})
	for range n {
		r.workers.Go(func() {
			d := &frameDecoder{codec: r.m.Codec}
			defer d.close()
			for j := range work {
				switch {
				case r.ctx.Err() != nil:
					j.err = r.ctx.Err()
				case int64(j.i) > r.failed.Load():
					// Nobody gets to it. Finding out that nothing can be read may take
					// minutes: once is enough.
					j.err = errNotRead
				default:
					if j.err = r.decode(d, j); j.err != nil {
						r.failed.Store(int64(j.i))
					}
				}
				close(j.done)
			}
		})
	}
}

// decode reads, checks and decompresses a frame.
func (r *frameReader) decode(d *frameDecoder, j *frameJob) error {
	f := &r.m.Frames[j.i]
	j.comp, j.raw = r.buffer(f.Len), r.buffer(f.Raw)
	if n, err := r.src.ReadAt(*j.comp, f.Off); int64(n) < f.Len {
		return fmt.Errorf("read %d of %d bytes: %w", n, f.Len, noEOF(err))
	}
	if got := sha256.Sum256(*j.comp); got != f.SHA256 {
		return fmt.Errorf("sha256 is %x, the manifest says %x", got, f.SHA256)
	}
	if err := d.decode(*j.raw, *j.comp); err != nil {
		return fmt.Errorf("its bytes are as they were written, but do not decode: %w", err)
	}
	if r.content && f.Content != [32]byte{} {
		if got := sha256.Sum256(*j.raw); got != f.Content {
			return fmt.Errorf("decodes to bytes with sha256 %x, the manifest says %x", got, f.Content)
		}
	}
	return nil
}

func (r *frameReader) buffer(n int64) *[]byte {
	b, ok := r.buffers.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	if int64(cap(*b)) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}

// Read implements io.Reader.
func (r *frameReader) Read(p []byte) (int, error) {
	if !r.started {
		r.started = true
		r.start()
	}
	for len(r.left) == 0 {
		if r.err == nil {
			r.err = r.next()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// next turns to the next frame.
func (r *frameReader) next() error {
	if r.job != nil {
		r.buffers.Put(r.job.comp)
		r.buffers.Put(r.job.raw)
		r.job = nil
	}
	j, ok := <-r.order
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if !ok {
		return io.EOF
	}
	<-j.done
	if err := j.err; err != nil {
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		f := &r.m.Frames[j.i]
		return &DamageError{Frame: j.i, Off: f.Off, Len: f.Len, Entry: f.First, Err: err}
	}
	if r.whole != nil {
		r.whole.Write(*j.comp)
	}
	if r.progress != nil {
		r.progress(int64(len(*j.comp)))
	}
	r.job, r.left = j, *j.raw
	return nil
}

// Close implements io.Closer. When it returns, src is no longer read.
func (r *frameReader) Close() error {
	r.cancel()
	r.workers.Wait()
	return nil
}

var (
	errLonger  = errors.New("more bytes than the manifest says")
	errNotRead = errors.New("it was not read")
)

// readExactly fills dst with all of r.
func readExactly(dst []byte, r io.Reader) error {
	if n, err := io.ReadFull(r, dst); err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%d bytes, the manifest says %d", n, len(dst))
	} else if err != nil {
		return err
	}
	// Only at the end do decoders compare their checksums.
	n, err := io.Copy(io.Discard, io.LimitReader(r, 1))
	if err == nil && n > 0 {
		err = errLonger
	}
	return err
}

// decode decompresses src, which must give exactly len(dst) bytes.
func (d *frameDecoder) decode(dst, src []byte) error {
	if d.codec == CodecZstd {
		return d.decodeZstd(dst, src)
	}
	r, err := decoderSize(d.codec, bytes.NewReader(src), 64<<10)
	if err != nil {
		return err
	}
	defer r.Close()
	return readExactly(dst, r)
}
