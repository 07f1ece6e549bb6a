package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"tinybackup/internal/archive"
	"tinybackup/internal/store"
)

// This file is about the archive before the new one: what of it serves again.

// rereadEvery is how often, without being asked to, a run reads everything anew
// and decodes every frame that it made to compare it.
const rereadEvery = 30

// reread says whether all of the source is read.
func (r *run) reread() bool { return r.Reread || r.serial()%rereadEvery == 0 }

// copies says whether the destination copies by itself what it has, on another machine:
// what is copied so is not read by us.
func (r *run) copies() bool { return r.unit == 1 }

// previous opens the newest archive that frames can be copied from, or that the new one
// can be another name of; nil if there is none, or if all that is read is to be written,
// too. A destination that copies by itself gets nothing for a second time.
func (r *run) previous(ctx context.Context) (store.Reader, string) {
	var err error
	switch {
	case r.last == nil:
		return nil, ""
	case r.readers != nil:
		r.known = r.remembered()
	case r.last.Sealed == nil && (r.copies() || !r.reread() && r.last.SHA256 != ""):
		err = r.completeLast(ctx)
		r.known = r.last
	}
	if r.known == nil || r.known.Source != r.Source {
		return nil, ""
	}
	var src store.Reader
	if err == nil {
		src, err = r.store.Open(ctx, r.last.Archive)
	}
	if err != nil {
		r.Log.Info("the previous archive is not used: " + err.Error())
		return nil, ""
	}
	return src, r.last.Archive
}

// completeLast reads the frames of the newest manifest, if only its head is known.
func (r *run) completeLast(ctx context.Context) error {
	if r.last.Whole() {
		return nil
	}
	i := slices.IndexFunc(r.before, func(a stored) bool { return a.manifest == r.last })
	m, err := readManifest(ctx, r.store, r.before[i].Object)
	if err == nil && m == nil {
		err = fmt.Errorf("its manifest is gone")
	}
	if err == nil {
		r.before[i].manifest, r.last = m, m
	}
	return err
}

// align is what frames of the new archive begin at the multiples of, in bytes.
func (r *run) align() int64 {
	if r.readers != nil || r.copies() { // before they are encrypted, it is nothing to share by
		return 0
	}
	return r.unit
}

// checkPrevious reads the archive that the new one is to be another name of back
// from the disk, if rotation is to remove archives that are other files: they may
// be the last good ones. From another machine that would be a download of everything
// each night: there, it is for --verify and verify.
func (r *run) checkPrevious(ctx context.Context, from string) (err error) {
	if !isLocal(r.store) {
		return nil
	}
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

// inheritSum takes the checksum of the previous archive, whose bytes the new one will have,
// from where verify has put it, if its manifest does not know it.
func (r *run) inheritSum(ctx context.Context, from string) {
	if r.manifest.SHA256 != "" {
		return
	}
	sums, err := r.store.Sums(ctx)
	if err != nil {
		r.Log.Info("the checksum of the previous archive is not known: " + err.Error())
	}
	r.manifest.SHA256 = sums[from]
}

// link makes the new archive another name of the previous one, as nothing has
// changed. Where the destination has no such thing, it copies the bytes into p
// and returns false; they are compared with their checksums while they pass, as what
// is read back later would only be as damaged as they are.
func (r *run) link(ctx context.Context, p store.Pending, previous store.Reader, from string) (bool, error) {
	err := r.withManifest(ctx, func() error { return r.store.Link(ctx, from, r.manifest.Archive) })
	if !errors.Is(err, errors.ErrUnsupported) {
		return true, err
	}
	copied := int64(0)
	for more := true; more && copied < r.manifest.Size; {
		// In steps, so that a watchdog sees that it goes on; but a file system shares all or nothing.
		n := r.manifest.Size - copied
		if r.copies() {
			n = min(n, archive.MaxCopy)
		}
		if more, err = p.CopyRange(previous, copied, n); err != nil {
			return false, err
		}
		if more {
			copied += n
		}
	}
	if copied > 0 {
		rest := io.NewSectionReader(previous, copied, r.manifest.Size-copied)
		_, err = io.Copy(p, &watched{ctx: ctx, r: rest, told: func(int64) { r.pulse.beat() }})
		return false, err
	}
	c := archive.Copying{Archive: previous, SHA256: r.manifest.SHA256, Progress: func(int64) { r.pulse.beat() }}
	if r.readers == nil {
		c.Frames = r.manifest.AllFrames()
	}
	if _, err = archive.Copy(ctx, p, c); ctx.Err() == nil && (errors.Is(err, archive.ErrDamaged) || errors.Is(err, archive.ErrUnreadable)) {
		err = fmt.Errorf("%w: %w", archive.ErrPrevious, err)
	}
	return false, err
}
