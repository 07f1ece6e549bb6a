package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

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
	Align     int64                // frames begin at its multiples, so that copies can share blocks; 0: anywhere
	Previous  *Previous            // whose frames are copied where nothing changed; nil: everything is read
	ByContent bool                 // the source is read, and of Previous what has the same bytes is copied
	Unread    bool                 // w, a RangeCopier, copies of Previous by itself: it is not read, nor checked
	Map       bool                 // of a device: make Result.Map
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

// Result is what Write did.
type Result struct {
	// Manifest is that of the archive; the caller fills in Archive, Job, Host, Policy,
	// Serial and the times.
	Manifest *Manifest
	// Unchanged says that the archive would have the same bytes as the previous one,
	// all of whose frames were found again. Nothing was written then.
	Unchanged bool
	Read      int64 // bytes before compression that were made by reading the source
	Reused    int64 // bytes of the archive that came from the previous one
	// Map is that of a device's image, if Options.Map was set.
	Map *BlockMap
}

// Write writes src as an archive to w. It stops at the first error of src, w or
// ctx; what w has by then is no archive. ErrPrevious and ErrChanged say that it has
// to be called again without Previous.
//
// Memory is bounded whatever the size of the source and the number of its files:
// for each worker about ten frames' worth, which is 40 MiB with zstd. Beside that
// are 400 bytes for each frame of the archive, and of the previous one; the names
// in the largest directory; and of each hard-linked inode the path, until all of
// its names were seen.
func Write(ctx context.Context, w io.Writer, src *source.Source, opt Options) (*Result, error) {
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
	wr.keys.options = fmt.Sprint("tinybackup", formatVersion, src.Kind, opt.Codec, opt.Level, opt.FrameSize, opt.Align, opt.Top)
	if wr.padding, err = newPadding(opt.Codec, opt.Align); err != nil {
		return nil, err
	}
	// Frames that were compressed or filled up in another way are none of this archive's.
	if p := opt.Previous; p != nil && p.Manifest.Codec == opt.Codec && p.Manifest.Level == opt.Level && p.Manifest.Align == opt.Align {
		wr.previous = p.index()
	}
	if src.Kind == source.Dir {
		wr.tar = &tarEncoder{top: opt.Top}
		wr.keys.tar = wr.tar
	}
	return wr.run(ctx)
}

// writer is one archive on its way: a planner cuts frames, workers make them,
// and the caller's goroutine writes them in order.
type writer struct {
	Options
	codec    codec
	src      *source.Source
	out      io.Writer
	tar      *tarEncoder // nil for a file or a device
	keys     keyer
	padding  *padding
	previous *previousIndex // nil: there is none
	whole    hash.Hash
	raws     sync.Pool // *[]byte, for what is not compressed yet
	outs     sync.Pool // *[]byte, for what is
	zeros    zeroFrames
	holes    holeFrame
	span     span // of the previous archive: appended next
	unread   bool // something was appended that was not read: the hash of the whole is not known

	result   Result
	diverged atomic.Bool // something differs from the previous archive: what is copied may be loaded ahead
	held     int         // frames of the previous archive, from its first on, that are the new one's too, not written yet
}

// task is a frame on its way through a worker.
type task struct {
	index   int // its number
	plan    *plan
	frame   Frame
	entries int
	blocks  []BlockRange // for the map of the image
	read    bool         // the source was read for it
	reused  int          // the previous archive's frame that it is; -1: none
	out     *[]byte      // nil, for a reused frame only: not loaded
	err     error
	done    chan struct{}
}

// maps says whether a map of the image is made.
func (w *writer) maps() bool { return w.Map && w.src.Kind == source.Device }

func (w *writer) run(ctx context.Context) (*Result, error) {
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
	n := 0
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		defer close(order)
		defer close(work)
		p := newPlanner(w.FrameSize, w.tar != nil, func(f *plan) bool {
			t := &task{index: n, plan: f, reused: -1, done: make(chan struct{})}
			n++
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
		})
		walkErr = p.run(ctx, w.src)
	})
	for _, c := range compressors {
		all.Go(func() {
			for t := range work {
				if t.err = ctx.Err(); t.err == nil {
					t.err = w.make(ctx, c, t)
				}
				t.plan.release()
				close(t.done)
			}
		})
	}

	w.result.Manifest = w.manifest()
	if w.maps() {
		w.result.Map = &BlockMap{Size: w.src.Size}
	}
	var err error
	for t := range order {
		<-t.done
		if err == nil {
			if err = t.err; err == nil {
				err = w.take(ctx, t)
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
	return w.finish(ctx)
}

// finish writes what is held back, or finds that nothing is to be written at all.
func (w *writer) finish(ctx context.Context) (*Result, error) {
	m := w.result.Manifest
	if w.previous != nil && w.held > 0 && w.held == len(w.previous.manifest.Frames) {
		w.result.Unchanged = true
		w.result.Reused = m.Size
		m.SHA256 = w.previous.manifest.SHA256
		return &w.result, nil
	}
	if err := w.writeHeld(ctx); err != nil {
		return nil, err
	}
	if err := w.flush(ctx); err != nil {
		return nil, err
	}
	if !w.unread {
		m.SHA256 = hex.EncodeToString(w.whole.Sum(nil))
	}
	return &w.result, nil
}

// take puts the next frame into the archive.
func (w *writer) take(ctx context.Context, t *task) error {
	m := w.result.Manifest
	if w.tar != nil {
		m.Entries += int64(t.entries)
	} else {
		m.Entries = 1
	}
	if t.frame.Len == 0 { // an empty file, or a hole, that is not compressed
		return nil
	}
	t.frame.Off = m.Size
	m.Size += t.frame.Len
	m.Raw += t.frame.Raw
	m.Frames = append(m.Frames, t.frame)
	if w.Progress != nil {
		w.Progress(t.frame.Raw)
	}
	if w.result.Map != nil {
		w.result.Map.Ranges = append(w.result.Map.Ranges, t.blocks...)
	}
	if t.read {
		w.result.Read += t.frame.Raw
	}
	if t.reused >= 0 && t.reused == w.held && w.held == len(m.Frames)-1 {
		w.held++ // as in the previous archive, up to here
		return nil
	}
	if err := w.writeHeld(ctx); err != nil {
		return err
	}
	switch {
	case t.reused < 0:
		if err := w.flush(ctx); err != nil {
			return err
		}
		return w.write(*t.out)
	case t.out != nil:
		return w.share(w.previous.manifest.Frames[t.reused], *t.out)
	}
	return w.copyFrames(ctx, []int{t.reused})
}

func (w *writer) write(out []byte) error {
	if _, err := w.out.Write(out); err != nil {
		return err
	}
	w.whole.Write(out)
	return nil
}

func (w *writer) manifest() *Manifest {
	m := &Manifest{Version: ManifestVersion, Source: w.src.Path, Kind: string(w.src.Kind), Codec: w.Codec, Level: w.Level, FrameSize: w.FrameSize, Align: w.Align}
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
