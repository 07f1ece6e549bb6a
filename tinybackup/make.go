package tinybackup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/courtesy"
	"tinybackup/internal/rotate"
	"tinybackup/internal/source"
	"tinybackup/internal/store"
)

// rereadEvery is how often, without being asked to, a run reads everything anew
// and decodes every frame that it made to compare it.
const rereadEvery = 30

// makeArchive makes the archive, reads it back, and gives it its name. What did
// not change is copied from the previous archive; if that proves to be damaged,
// everything is read.
func (r *run) makeArchive(ctx context.Context) error {
	previous, name := r.previous(ctx)
	if previous != nil {
		err := r.write(ctx, previous, name)
		err = errors.Join(err, previous.Close())
		if !errors.Is(err, archive.ErrPrevious) {
			return err
		}
		r.warn.again() // what was warned of will be, when it is read once more
		r.warn.addf("%s is not used: %v", name, err)
	}
	return r.write(ctx, nil, "")
}

// previous opens the newest archive that frames can be copied from; nil if there
// is none, or if everything is to be read.
func (r *run) previous(ctx context.Context) (store.Reader, string) {
	if r.last == nil || r.Reread || r.serial()%rereadEvery == 0 || r.last.Source != r.Source {
		return nil, ""
	}
	src, err := r.store.Open(ctx, r.last.Archive)
	if err != nil {
		r.Log.Info("the previous archive is not used: " + err.Error())
		return nil, ""
	}
	return src, r.last.Archive
}

// write makes the archive, with the frames of previous where they serve.
func (r *run) write(ctx context.Context, previous store.Reader, from string) (err error) {
	name := r.newName()
	p, err := r.store.Create(ctx, name.String())
	if err != nil {
		return err
	}
	p = &watchedPending{Pending: p, pulse: r.pulse, step: "writing to " + r.Dest, limit: r.writing}
	r.pulse.begin("reading " + r.Source)
	defer func() {
		switch cerr := p.Close(); {
		case err == nil && cerr != nil: // the archive is stored, as a link
			r.warn.addf("%v", cerr)
		default:
			err = errors.Join(err, cerr)
		}
	}()

	opt := archive.Options{
		Codec: r.Compress.Codec, Level: r.Compress.Level, FrameSize: r.frameSize(), Align: r.store.ShareUnit(ctx),
		Top: topName(r.Source), Decode: r.Verify || r.serial()%rereadEvery == 0, Map: r.Bmap,
		Warn: r.warn.add, Progress: r.teller(phaseReading, r.total()),
	}
	if previous != nil {
		opt.Previous = &archive.Previous{Manifest: r.last, Archive: previous}
	}
	res, err := archive.Write(ctx, p, r.source, opt)
	err = r.checkView(ctx, err) // a snapshot that was full explains what else went wrong
	var gone *source.GoneError
	if errors.As(err, &gone) {
		return &HintError{Err: err, Hint: "see that it is plugged in; a disk that fails: copy it with ddrescue, and back up the copy"}
	}
	if err != nil {
		return err
	}
	if err := r.source.Unchanged(); err != nil {
		return &HintError{Err: err, Hint: "leave it mounted read-only while it is backed up, or unmount it"}
	}
	r.describe(res, name)
	r.blocks = res.Map
	if err := r.checkEmpty(); err != nil {
		return err
	}
	linked := false
	if res.Unchanged {
		if err := r.checkPrevious(ctx, from); err != nil {
			return err
		}
		if linked, err = r.link(ctx, p, previous, from); err != nil {
			return err
		}
	}
	if !linked {
		if err := r.publish(ctx, p); err != nil {
			return err
		}
	}
	m := r.manifest
	r.report.Archive, r.report.SHA256 = m.Archive, m.SHA256
	r.pulse.hasStored(r.report)
	// From here on the archive is stored, and what goes wrong is a warning.
	if err := r.store.SetSums(context.WithoutCancel(ctx), map[string]string{m.Archive: m.SHA256}, nil); err != nil {
		r.warn.addf("SHA256SUMS lacks the new archive until the next run: %v", err)
	}
	r.Log.Info("archive stored", "archive", m.Archive, "size", m.Size, "sha256", m.SHA256, "read", res.Read, "reused", res.Reused)
	return nil
}

// checkPrevious reads the archive that the new one is to be another name of back
// from the disk, if rotation is to remove archives that are other files: they may
// be the last good ones.
func (r *run) checkPrevious(ctx context.Context, from string) (err error) {
	file := uint64(0)
	after := append([]stored{}, r.before...)
	for _, a := range r.before {
		if a.Name == from {
			file = a.File
			a.Name, a.name = r.manifest.Archive, r.newName()
			after = append(after, a)
		}
	}
	others := false
	for _, it := range decide(after, r.Options, r.Now()).Remove() {
		i := slices.IndexFunc(r.before, func(a stored) bool { return a.name == it.Name })
		others = others || file == 0 || i < 0 || r.before[i].File != file
	}
	if !others {
		return nil
	}
	back, err := r.store.ReadBack(ctx, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, back.Close()) }()
	if err := r.compare(ctx, back); err != nil {
		return fmt.Errorf("%w: %w", archive.ErrPrevious, err)
	}
	return nil
}

// link makes the new archive another name of the previous one, as nothing has
// changed. Where the destination has no such thing, it copies the bytes into p
// and returns false.
func (r *run) link(ctx context.Context, p store.Pending, previous store.Reader, from string) (bool, error) {
	err := r.withManifest(ctx, func() error { return r.store.Link(ctx, from, r.manifest.Archive) })
	if !errors.Is(err, errors.ErrUnsupported) {
		return true, err
	}
	if shared, err := p.CopyRange(previous, 0, r.manifest.Size); err != nil || shared {
		return false, err
	}
	_, err = io.Copy(p, &watched{ctx: ctx, r: io.NewSectionReader(previous, 0, r.manifest.Size), told: func(int64) { r.pulse.beat() }})
	return false, err
}

// publish reads the archive back and gives it its name.
func (r *run) publish(ctx context.Context, p store.Pending) error {
	if err := r.readBack(ctx, p); err != nil {
		return err
	}
	return r.withManifest(ctx, p.Commit)
}

// withManifest writes the manifest, and the map of blocks if one is wanted, and then
// has commit give the archive its name: so an archive is never without. A manifest or
// a map without an archive is taken away again, here or by the next run.
func (r *run) withManifest(ctx context.Context, commit func() error) error {
	r.pulse.begin("giving the archive its name in " + r.Dest)
	side, err := r.manifest.Encode()
	if err != nil {
		return err
	}
	name := archive.SideName(r.manifest.Archive)
	if err := r.store.WriteSide(ctx, name, side); err != nil {
		return err
	}
	err = r.writeMap(ctx)
	if err == nil {
		err = commit()
	}
	if err != nil {
		ctx := context.WithoutCancel(ctx)
		return errors.Join(err, ignoreMissing(r.store.RemoveSide(ctx, name)), r.removeMap(ctx))
	}
	return nil
}

// serial is the number of the new archive.
func (r *run) serial() int64 {
	if r.last == nil {
		return 1
	}
	return r.last.Serial + 1
}

// newName is the name of an archive made now. It is later than all that are
// there, so that rotation takes it for the newest: also if the clock was set back
// a little, or runs follow each other within a second. Archives farther in the
// future are another clock's; with them, rotation removes nothing.
func (r *run) newName() rotate.Name {
	n := rotate.Name{Series: r.Name, Time: r.Now().UTC().Truncate(time.Second), Kind: rotate.Kind(r.source.Kind), Codec: r.Compress.Codec}
	for _, a := range slices.Backward(r.before) { // the oldest first
		if ahead := a.name.Time.Sub(r.Now()); !n.Time.After(a.name.Time) && ahead <= rotate.Ahead {
			n.Time = a.name.Time.Add(time.Second)
		}
	}
	return n
}

// topName is the directory that all entries of a tree's archive are under.
func topName(source string) string {
	if source == "/" {
		return "root"
	}
	return filepath.Base(source)
}

// describe fills in what the archive package can't know.
func (r *run) describe(res *archive.Result, name rotate.Name) {
	m := res.Manifest
	m.Tool, m.Archive, m.Job, m.Host, m.Policy = versionText(), name.String(), r.job, r.host, r.Policy().String()
	m.Source, m.Start, m.End = r.Source, r.report.Start, r.Now()
	m.Serial = r.serial()
	if r.view != nil {
		m.Snapshot = r.report.Snapshot.String()
	}
	r.warn.into(&r.report)
	m.Incomplete, m.Warnings = r.report.Incomplete, r.report.Warnings
	r.manifest = m
	r.report.Raw, r.report.Read, r.report.Entries = m.Raw, res.Read, m.Entries
	r.report.Written, r.report.Reused = m.Size, res.Reused
}

// checkEmpty refuses to archive nothing where there was something: as a rule it
// is a disk that is not mounted.
func (r *run) checkEmpty() error {
	if r.Yes || !isEmpty(r.manifest) || r.last != nil && isEmpty(r.last) {
		return nil
	}
	return r.emptyError()
}

func (r *run) emptyError() error {
	err := fmt.Errorf("source %q is empty", r.Source)
	if r.last != nil {
		err = fmt.Errorf("%w, and was not in the last backup (%d entries, %s)", err, r.last.Entries, Size(r.last.Raw))
	}
	return &HintError{Err: err, Hint: "if its disk is not mounted, mount it; if it is meant to be empty, run once with --yes"}
}

// isEmpty says whether an archive holds nothing but the source's own name.
func isEmpty(m *archive.Manifest) bool {
	if m.Kind == archive.KindDir {
		return m.Entries <= 1
	}
	return m.Raw == 0
}

// readBack reads the archive past the cache, and compares it with what was
// written.
func (r *run) readBack(ctx context.Context, p store.Pending) (err error) {
	back, err := p.Settle()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, back.Close()) }()
	return r.compare(ctx, back)
}

// compare reads back to its end, and compares it with what the manifest says of
// the archive.
func (r *run) compare(ctx context.Context, back io.Reader) error {
	r.pulse.begin("reading back from " + r.Dest)
	sum := sha256.New()
	tell := r.teller("checking", r.manifest.Size)
	n, err := io.Copy(sum, &watched{ctx: ctx, r: back, told: func(n int64) {
		r.writing.Wait(int(n))
		tell(n)
	}})
	if err != nil {
		return fmt.Errorf("read back %q: %w", r.manifest.Archive, err)
	}
	if n != r.manifest.Size || hex.EncodeToString(sum.Sum(nil)) != r.manifest.SHA256 {
		return &HintError{
			Err:  fmt.Errorf("read back %q: the destination does not hold what was written", r.manifest.Archive),
			Hint: "the disk, its cable or the memory may be bad: try another destination",
		}
	}
	return nil
}

// A watchedPending keeps to a rate, and tells a pulse when the destination is at it:
// what stands still then is not the source.
type watchedPending struct {
	store.Pending
	pulse *pulse
	step  string
	limit *courtesy.Limiter
}

func (w *watchedPending) Write(b []byte) (int, error) {
	w.limit.Wait(len(b))
	defer w.pulse.enter(w.step)()
	return w.Pending.Write(b)
}

func (w *watchedPending) CopyRange(src io.ReaderAt, off, n int64) (bool, error) {
	defer w.pulse.enter(w.step)()
	return w.Pending.CopyRange(src, off, n)
}

func (w *watchedPending) Settle() (io.ReadCloser, error) {
	w.pulse.begin(w.step)
	return w.Pending.Settle()
}

func (w *watchedPending) Close() error {
	w.pulse.beat()
	return w.Pending.Close()
}

// watched is a reader that stops with its context, and tells of its progress.
type watched struct {
	ctx  context.Context
	r    io.Reader
	told func(int64)
}

func (w *watched) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, context.Cause(w.ctx)
	}
	n, err := w.r.Read(p)
	w.told(int64(n))
	return n, err
}
