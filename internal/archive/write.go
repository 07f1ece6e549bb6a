package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"tinybackup/internal/source"
)

// formatVersion is part of every frame's key: other bytes for the same entries
// need another number.
const formatVersion = 1

// Options say how an archive is written.
type Options struct {
	Codec string // one of Codecs
	Level int    // as its command's; 0: its default
	// FrameSize is how many bytes before compression a frame has at most; 0: the
	// codec's default. The source's PieceSize must be the same.
	FrameSize int64
	Top       string               // of a tree: the directory all entries are under
	Workers   int                  // frames compressed at a time; 0: one per core
	Decode    bool                 // decode each frame again, and compare
	Warn      func(source.Warning) // told of each problem, from any goroutine
	Progress  func(raw int64)      // told how many more bytes, before compression, are written
}

// FrameSize is the default of Options.FrameSize for a compression, in bytes.
func FrameSize(codec string, level int) (int64, error) {
	c, err := codecByName(codec)
	if err != nil {
		return 0, err
	}
	level, err = CheckCodec(codec, level)
	return int64(c.frame(level)), err
}

// Write writes src as an archive to w and returns its manifest, in which the
// caller fills in Archive, Job, Host, Policy and the times. It stops at the
// first error of src, w or ctx; what w has by then is no archive.
//
// Memory is bounded whatever the size of the source: about two frames for each
// worker and two more, before and after compression.
func Write(ctx context.Context, w io.Writer, src *source.Source, opt Options) (*Manifest, error) {
	c, err := codecByName(opt.Codec)
	if err != nil {
		return nil, err
	}
	if opt.Level, err = CheckCodec(opt.Codec, opt.Level); err != nil {
		return nil, err
	}
	if opt.FrameSize == 0 {
		opt.FrameSize = int64(c.frame(opt.Level))
	}
	if opt.Workers == 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	wr := &writer{Options: opt, codec: c, src: src, out: w, whole: sha256.New()}
	wr.keys.options = fmt.Sprint("tinybackup", formatVersion, src.Kind, opt.Codec, opt.Level, opt.FrameSize, opt.Top)
	if src.Kind == source.Dir {
		wr.tar = &tarEncoder{top: opt.Top, warn: opt.Warn}
		wr.keys.tar = wr.tar
	}
	return wr.run(ctx)
}

// writer is one archive on its way: a planner cuts frames, workers make them,
// and the caller's goroutine writes them in order.
type writer struct {
	Options
	codec codec
	src   *source.Source
	out   io.Writer
	tar   *tarEncoder // nil for a file or a device
	keys  keyer
	whole hash.Hash
	raws  sync.Pool // *[]byte, for what is not compressed yet
	outs  sync.Pool // *[]byte, for what is
	zeros zeroFrames
}

// task is a frame on its way through a worker.
type task struct {
	plan    *plan
	frame   Frame
	entries int
	out     *[]byte
	err     error
	done    chan struct{}
}

func (w *writer) run(ctx context.Context) (*Manifest, error) {
	compressors := make([]compressor, w.Workers)
	for i := range compressors {
		var err error
		if compressors[i], err = w.codec.compressorWith(w.Level); err != nil {
			return nil, fmt.Errorf("compress with %s: %w", w.Codec, err)
		}
	}
	parent := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	work := make(chan *task)
	order := make(chan *task, w.Workers)
	var walkErr error
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		defer close(order)
		defer close(work)
		p := &planner{size: w.FrameSize, tree: w.tar != nil, emit: func(f *plan) bool {
			t := &task{plan: f, done: make(chan struct{})}
			select {
			case order <- t:
			case <-ctx.Done():
				f.release()
				return false
			}
			// Workers take what comes until the channel is closed, so this can't hang;
			// and they take frames in order, so that a hard link waits only for frames
			// that are being made.
			work <- t
			return true
		}}
		walkErr = p.run(ctx, w.src)
	})
	for _, c := range compressors {
		all.Go(func() {
			for t := range work {
				if t.err = ctx.Err(); t.err == nil {
					t.err = w.make(c, t)
				}
				t.plan.release()
				close(t.done)
			}
		})
	}

	m := w.manifest()
	var err error
	for t := range order {
		<-t.done
		if err == nil {
			if err = t.err; err == nil {
				err = w.write(m, t)
			}
			if err != nil {
				cancel()
			}
		}
		if t.out != nil {
			w.outs.Put(t.out)
		}
	}
	// The context's error hides what made us cancel it, and the other way round.
	switch {
	case parent.Err() != nil:
		return nil, context.Cause(parent)
	case err != nil:
		return nil, err
	case walkErr != nil:
		return nil, walkErr
	}
	m.SHA256 = hex.EncodeToString(w.whole.Sum(nil))
	return m, nil
}

// make reads and compresses a frame.
func (w *writer) make(c compressor, t *task) error {
	rawp := getBuffer(&w.raws, int(w.FrameSize)+int(w.FrameSize)/8)
	defer w.raws.Put(rawp)
	raw, err := w.appendPlan((*rawp)[:0], t)
	*rawp = raw
	if err != nil {
		return err
	}
	t.frame.Raw = int64(len(raw))
	t.frame.Content = sha256.Sum256(raw)
	t.frame.Key = w.keys.key(t.plan)
	if path, ok := t.plan.first(); ok && w.tar != nil {
		t.frame.First = w.tar.name(path)
	}

	t.out = getBuffer(&w.outs, len(raw)/2)
	out, err := w.zeros.appendFrame(c, (*t.out)[:0], raw)
	if err != nil {
		return fmt.Errorf("compress with %s: %w", w.Codec, err)
	}
	*t.out = out
	if w.Decode && len(out) > 0 {
		if err := decodesTo(w.Codec, out, raw); err != nil {
			return fmt.Errorf("compress with %s: decoding gives something else: %w", w.Codec, err)
		}
	}
	t.frame.Len = int64(len(out))
	t.frame.SHA256 = sha256.Sum256(out)
	return nil
}

// appendPlan appends the frame's bytes before compression.
func (w *writer) appendPlan(raw []byte, t *task) ([]byte, error) {
	for _, s := range t.plan.segments {
		if w.tar == nil {
			if _, err := s.Entry.Content(); err != nil {
				return raw, fmt.Errorf("open %q: %w", w.src.Path, err)
			}
			raw = s.AppendRaw(raw, w.Warn)
			t.entries = 1
			continue
		}
		var n int
		var err error
		raw, n, err = w.tar.appendSegment(raw, s)
		if err != nil {
			return raw, err
		}
		t.entries += n
	}
	if w.tar != nil && t.plan.end {
		raw = append(raw, tarEnd...)
	}
	return raw, nil
}

func (w *writer) write(m *Manifest, t *task) error {
	out := *t.out
	if len(out) == 0 { // an empty file that is not compressed
		m.Entries = 1
		return nil
	}
	if _, err := w.out.Write(out); err != nil {
		return err
	}
	w.whole.Write(out)
	t.frame.Off = m.Size
	m.Size += t.frame.Len
	m.Raw += t.frame.Raw
	m.Frames = append(m.Frames, t.frame)
	if w.tar != nil {
		m.Entries += int64(t.entries)
	} else {
		m.Entries = 1
	}
	if w.Progress != nil {
		w.Progress(t.frame.Raw)
	}
	return nil
}

func (w *writer) manifest() *Manifest {
	m := &Manifest{Version: ManifestVersion, Source: w.src.Path, Kind: string(w.src.Kind), Codec: w.Codec, Level: w.Level, FrameSize: w.FrameSize}
	if w.tar != nil {
		return m
	}
	st := w.src.Stat()
	owners := &owners{}
	m.File = &FileMeta{
		Mode: st.Mode & 0o7777, UID: st.UID, GID: st.GID,
		User: owners.user(st.UID), Group: owners.group(st.GID),
		ModTime: st.ModTime(), Size: w.src.Size,
	}
	if st.Type() != unix.S_IFREG {
		return m
	}
	xattrs, err := w.src.Xattrs()
	if err != nil {
		w.Warn(source.Problem("", err))
	}
	for name, value := range xattrs {
		if m.File.Xattrs == nil {
			m.File.Xattrs = map[string][]byte{}
		}
		m.File.Xattrs[name] = []byte(value)
	}
	return m
}

func getBuffer(pool *sync.Pool, size int) *[]byte {
	if b, ok := pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, size)
	return &b
}

// decodesTo compares what a frame decodes to with what it was made of. Only a
// fault of the compressor, or of this machine's memory, makes them differ.
func decodesTo(codec string, frame, raw []byte) error {
	d, err := decoder(codec, bytes.NewReader(frame))
	if err != nil {
		return err
	}
	defer d.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := d.Read(buf)
		if n > len(raw) || !bytes.Equal(buf[:n], raw[:n]) {
			return errors.New("other bytes")
		}
		raw = raw[n:]
		if err == io.EOF && len(raw) == 0 {
			return nil
		}
		if err != nil {
			return noEOF(err)
		}
	}
}

// zeroFrames keeps the frame that a run of zeros became: holes and free space
// are many frames of the same zeros, and compressing them is most of the work.
type zeroFrames struct {
	mu     sync.Mutex
	length int
	frame  []byte
}

func (z *zeroFrames) appendFrame(c compressor, dst, raw []byte) ([]byte, error) {
	if !allZero(raw) {
		return c.appendFrame(dst, raw)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.frame == nil || z.length != len(raw) {
		frame, err := c.appendFrame(nil, raw)
		if err != nil {
			return dst, err
		}
		z.length, z.frame = len(raw), frame
	}
	return append(dst, z.frame...), nil
}

// zeroBlock is compared against: bytes.Equal is some ten times as fast as a loop.
var zeroBlock = make([]byte, 64<<10)

func allZero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeroBlock))
		if !bytes.Equal(b[:n], zeroBlock[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}
