package tinybackup

import (
	"context"
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

// makeArchive makes the archive, reads it back, and gives it its name. What did
// not change is copied from the previous archive; if that proves to be damaged,
// everything is read.
func (r *run) makeArchive(ctx context.Context) error {
	r.unit = r.store.ShareUnit(ctx)
	previous, name := r.previous(ctx)
	if previous != nil {
		err := r.write(ctx, previous, name)
		err = errors.Join(err, previous.Close())
		// What was warned of will be, when it is read once more.
		switch {
		case errors.Is(err, archive.ErrChanged):
			r.warn.again()
		case errors.Is(err, archive.ErrPrevious):
			r.warn.again()
			r.warn.addf("%s is not used: %v", name, err)
		default:
			return err
		}
	}
	return r.write(ctx, nil, "")
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
		Codec: r.Compress.Codec, Level: r.Compress.Level, FrameSize: r.frameSize(), Align: r.align(),
		Top: topName(r.Source), Decode: r.Verify || r.serial()%rereadEvery == 0, Map: r.Bmap,
		ByContent: r.reread(), Unread: r.copies() && r.readers == nil,
		Warn: r.warn.add, Progress: r.teller(phaseReading, r.total()),
	}
	if previous != nil {
		opt.Previous = &archive.Previous{Manifest: r.known}
		if r.readers == nil {
			opt.Previous.Archive = previous
		} else {
			r.warn.hold()
		}
	}
	out, sealed := r.sealing(p)
	res, err := archive.Write(ctx, out, r.source, opt)
	if !errors.Is(err, archive.ErrChanged) {
		r.warn.release()
	}
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
	if err := r.conceal(sealed, res.Unchanged); err != nil {
		return err
	}
	linked := false
	if res.Unchanged {
		r.inheritSum(ctx, from)
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
	if err := r.checkStored(ctx); err != nil {
		return err
	}
	m := r.manifest
	r.report.Archive, r.report.SHA256 = m.Archive, m.SHA256
	r.pulse.hasStored(r.report)
	r.remember()
	// From here on the archive is stored, and what goes wrong is a warning.
	if m.SHA256 != "" { // else verify will know it
		if err := r.store.SetSums(context.WithoutCancel(ctx), map[string]string{m.Archive: m.SHA256}, nil); err != nil {
			r.warn.addf("SHA256SUMS lacks the new archive until the next run: %v", err)
		}
	}
	r.Log.Info("archive stored", "archive", m.Archive, "size", m.Size, "sha256", m.SHA256, "read", res.Read, "reused", res.Reused)
	return nil
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
	side, err := r.encodeManifest()
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
		return errors.Join(err, ignoreKept(r.store.RemoveSide(ctx, name)), r.removeMap(ctx))
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
	n := rotate.Name{Series: r.Name, Time: r.Now().UTC().Truncate(time.Second), Kind: rotate.Kind(r.source.Kind), Codec: r.Compress.Codec, Sealed: r.readers != nil}
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
	m.Incomplete, m.Warnings, m.WarningCount = r.report.Incomplete, r.report.Warnings, int64(r.report.WarningCount)
	r.manifest = m
	r.report.Raw, r.report.Read, r.report.Entries = m.Raw, res.Read, m.Entries
	r.report.Written, r.report.Reused = m.Size, res.Reused
}

// checkEmpty refuses to archive nothing where there was something: as a rule it
// is a disk that is not mounted.
func (r *run) checkEmpty() error {
	if r.Yes || !r.manifest.Empty() || r.last != nil && r.last.Empty() {
		return nil
	}
	return r.emptyError()
}

func (r *run) emptyError() error {
	err := fmt.Errorf("source %q is empty", r.Source)
	if r.last != nil {
		err = fmt.Errorf("%w, and was not in the last backup%s", err, howMuch(r.last))
	}
	return &HintError{Err: err, Hint: "if its disk is not mounted, mount it; if it is meant to be empty, run once with --yes"}
}

// howMuch is how much an archive holds, in brackets; nothing, if that is a secret.
func howMuch(m *archive.Manifest) string {
	if m.Sealed != nil {
		return ""
	}
	return fmt.Sprintf(" (%s, %s)", plural(m.Entries, "entry", "entries"), Size(m.Raw))
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
