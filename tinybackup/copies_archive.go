package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
)

// An original is an archive at hand, open, with all that is known of it.
type original struct {
	stored
	src      store.Reader
	side     []byte            // its manifest as it stands there; nil: it has none
	manifest *archive.Manifest // nil: what it says is not known, as if it is encrypted
	sum      string            // SHA-256 of the whole, in hex; empty: not known
}

// frames are those of the archive; none if they are not known.
func (o *original) frames() []archive.Frame {
	if o.manifest == nil {
		return nil
	}
	return o.manifest.AllFrames()
}

// original opens an archive at hand. Its manifest is copied as it stands, also if it cannot
// be read.
func (s *sending) original(ctx context.Context, a stored) (*original, error) {
	o := &original{stored: a}
	var err error
	if o.side, err = s.from.ReadSide(ctx, archive.SideName(a.Name)); ignoreMissing(err) != nil {
		return nil, fmt.Errorf("%w: %w", archive.ErrUnreadable, err)
	}
	if m, err := archive.ReadManifest(o.side); o.side != nil && err == nil && m.Archive == a.Name {
		if m.Size != a.Size {
			return nil, fmt.Errorf("%w: it has %d bytes, and its manifest tells of %d", archive.ErrDamaged, a.Size, m.Size)
		}
		if fits(m, a.Object) == nil {
			o.manifest, o.sum = m, m.SHA256
		}
	}
	if o.sum == "" {
		sums, err := s.from.Sums(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", archive.ErrUnreadable, err)
		}
		o.sum = sums[a.Name]
	}
	switch o.src, err = s.from.Open(ctx, a.Name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errGone
	case err != nil:
		return nil, fmt.Errorf("%w: %w", archive.ErrUnreadable, err)
	}
	return o, nil
}

// send copies one archive: with what the newest copy holds as well or, if that proves
// to be damaged, without. It returns the copy.
func (s *sending) send(ctx context.Context, a stored) (_ stored, err error) {
	s.pulse.begin("copying " + a.Name + " to " + s.Dest)
	o, err := s.original(ctx, a)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, o.src.Close()) }()
	previous, err := s.previous(ctx, o)
	if err != nil {
		return a, err
	}
	sum, file, err := s.write(ctx, o, previous)
	if previous != nil {
		err = errors.Join(err, previous.src.Close())
	}
	if errors.Is(err, archive.ErrPrevious) {
		s.warn("%s there is not used: %v", previous.Name, err)
		sum, file, err = s.write(ctx, o, nil)
	}
	if err != nil {
		return a, err
	}
	if sum != "" {
		if err := s.st.SetSums(context.WithoutCancel(ctx), map[string]string{a.Name: sum}, nil); err != nil {
			s.warn("SHA256SUMS lacks %s until the next run: %v", a.Name, err)
		}
	}
	s.Log.Info("archive copied", "archive", a.Name, "dest", s.Dest, "size", a.Size)
	a.held, a.File = false, file
	return a, nil
}

// A shared is a copy, open, that a new one can have frames from.
type shared struct {
	stored
	src      store.Reader
	manifest *archive.Manifest
	same     bool // it has the very bytes of the new one
}

// previous opens the newest copy, if anything of the new one can be had from there
// instead of being sent; nil: nothing can.
func (s *sending) previous(ctx context.Context, o *original) (*shared, error) {
	if o.manifest == nil {
		return nil, nil
	}
	for _, a := range s.there {
		if a.manifest == nil {
			continue
		}
		m, err := readManifest(ctx, s.st, a.Object)
		if err != nil || m == nil {
			return nil, nil // then all is sent
		}
		same := o.manifest.SameBytes(m)
		if !same && s.st.ShareUnit(ctx) == 0 {
			return nil, nil
		}
		src, err := s.st.Open(ctx, a.Name)
		if err != nil {
			return nil, err
		}
		return &shared{stored: a, src: src, manifest: m, same: same}, nil
	}
	return nil, nil
}

// write makes the copy of o, and gives it its name. It returns its SHA-256, as far as
// that is known, and which file it is, as far as it is another name of one.
func (s *sending) write(ctx context.Context, o *original, previous *shared) (sum string, file uint64, err error) {
	if previous != nil && previous.same {
		if err := s.checkPrevious(ctx, o, previous); err != nil {
			return "", 0, err
		}
		err := s.publish(ctx, o, func() error { return s.st.Link(ctx, previous.Name, o.Name) })
		if !errors.Is(err, errors.ErrUnsupported) {
			s.sent(archive.Copied{Shared: o.Size}, err)
			return o.sum, previous.File, err
		}
	}
	p, err := s.st.Create(ctx, o.Name)
	if err != nil {
		return "", 0, err
	}
	p = &watchedPending{Pending: p, pulse: s.pulse, step: "writing " + o.Name + " to " + s.Dest, limit: s.limit}
	defer func() { err = errors.Join(err, p.Close()) }()
	c := archive.Copying{Archive: o.src, Frames: o.frames(), SHA256: o.sum, Progress: s.teller("copying", o.Size)}
	if previous != nil {
		c.Previous = &archive.Previous{Manifest: &archive.Manifest{Frames: previous.manifest.AllFrames()}, Archive: previous.src}
	}
	done, err := archive.Copy(ctx, p, c)
	if err != nil {
		return "", 0, err
	}
	if sum, err = s.readBack(ctx, p, o, done); err != nil {
		return "", 0, err
	}
	err = s.publish(ctx, o, p.Commit)
	s.sent(done, err)
	return sum, 0, err
}

// sent notes how many bytes a copy took, if it has its name.
func (s *sending) sent(done archive.Copied, err error) {
	if err == nil {
		s.note(func(c *CopyReport) {
			c.Sent += done.Sent
			c.Shared += done.Shared
		})
	}
}

// checkPrevious reads the copy that the new one is to be another name of back from the
// disk, if rotation is to remove copies that are other files: they may be the last good
// ones. From another machine that would be a download of everything each night: there, it
// is for verify.
func (s *sending) checkPrevious(ctx context.Context, o *original, previous *shared) (err error) {
	if !isLocal(s.st) {
		return nil
	}
	after := append([]stored{o.stored}, s.there...)
	after[0].held = false
	gone := make(map[rotate.Name]bool)
	for _, it := range decide(after, s.Options, s.Now()).Remove() {
		gone[it.Name] = true
	}
	others := false
	for _, a := range s.there {
		others = others || gone[a.name] && (a.File == 0 || a.File != previous.File)
	}
	if !others {
		return nil
	}
	back, err := s.st.ReadBack(ctx, previous.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, back.Close()) }()
	if _, err := s.compare(ctx, back, o, o.sum); errors.Is(err, archive.ErrDamaged) {
		return fmt.Errorf("%w: %w", archive.ErrPrevious, err)
	} else if err != nil {
		return err
	}
	return nil
}

// readBack reads the copy past the cache, where the destination has such a thing before
// it has its name, and compares it with the original. It returns the SHA-256.
func (s *sending) readBack(ctx context.Context, p store.Pending, o *original, done archive.Copied) (sum string, err error) {
	back, err := p.Settle()
	if errors.Is(err, errors.ErrUnsupported) {
		return done.SHA256, nil // Commit checks what was sent, see store.Driver
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, back.Close()) }()
	sum, err = s.compare(ctx, back, o, done.SHA256)
	switch {
	case errors.Is(err, archive.ErrDamaged) && done.Shared > 0:
		return "", fmt.Errorf("%w: %v", archive.ErrPrevious, err)
	case errors.Is(err, archive.ErrDamaged):
		return "", &HintError{
			Err:  fmt.Errorf("read back %q: the destination does not hold what was written", o.Name),
			Hint: "the disk, its cable or the memory may be bad: try another destination",
		}
	}
	return sum, err
}

// compare reads back to its end, and compares it with what is known of o.
func (s *sending) compare(ctx context.Context, back io.Reader, o *original, sum string) (string, error) {
	s.pulse.begin("reading back from " + s.Dest)
	check, tell := archive.NewCheck(o.frames(), sum), s.teller("checking", o.Size)
	n, err := io.Copy(check, &watched{ctx: ctx, r: back, told: func(n int64) {
		s.limit.Wait(int(n))
		s.pulse.beat()
		tell(n)
	}})
	if err != nil {
		return "", fmt.Errorf("read back %q: %w", o.Name, err)
	}
	if n != o.Size {
		return "", fmt.Errorf("%w: it has %d bytes, not %d", archive.ErrDamaged, n, o.Size)
	}
	return check.End()
}

// publish writes the manifest, and the map of blocks if there is one, and has name give
// the copy its name: so it is never without. Either without a copy is taken away again,
// here or by the next run.
func (s *sending) publish(ctx context.Context, o *original, name func() error) error {
	s.pulse.begin("giving " + o.Name + " its name in " + s.Dest)
	var err error
	side := archive.SideName(o.Name)
	if o.side != nil {
		if err := s.st.WriteSide(ctx, side, o.side); err != nil {
			return err
		}
	}
	mapped, err := s.copyMap(ctx, o)
	if err == nil {
		err = name()
	}
	if err == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if o.side != nil {
		err = errors.Join(err, ignoreMissing(s.st.RemoveSide(ctx, side)))
	}
	if mapped {
		err = errors.Join(err, ignoreMissing(s.st.Remove(ctx, o.Name+bmapSuffix)))
	}
	return err
}

// copyMap copies the map of an image's blocks, if there is one.
func (s *sending) copyMap(ctx context.Context, o *original) (mapped bool, err error) {
	if o.name.Kind != rotate.KindDevice {
		return false, nil
	}
	src, err := s.from.Open(ctx, o.Name+bmapSuffix)
	if err != nil {
		return false, ignoreMissing(err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	defer func() {
		if errors.Is(err, fs.ErrExist) { // a killed run's, which the destination does not let go: it is the same
			mapped, err = false, nil
		}
	}()
	p, err := s.st.Create(ctx, o.Name+bmapSuffix)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if _, err := archive.Copy(ctx, p, archive.Copying{Archive: src}); err != nil {
		return false, err
	}
	return true, p.Commit()
}
