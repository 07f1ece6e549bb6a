package tinybackup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"tinybackup/internal/archive"
	"tinybackup/internal/store"
)

// readBack reads the archive past the cache, and compares it with what was
// written.
func (r *run) readBack(ctx context.Context, p store.Pending) (err error) {
	back, err := p.Settle()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil // Commit checks what was sent, see store.Driver
	case err != nil:
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

// checkStored reads an archive on another machine back, which has its name by then, and
// takes it away again if it is not what was written. Only --verify asks for it: what the
// service took it has checked, see store.Driver.
func (r *run) checkStored(ctx context.Context) error {
	if !r.Verify || isLocal(r.store) {
		return nil
	}
	err := r.readStored(ctx)
	if err == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	name := r.manifest.Archive
	return errors.Join(err, r.store.Remove(ctx, name), ignoreKept(r.store.RemoveSide(ctx, archive.SideName(name))), r.removeMap(ctx))
}

// readStored reads the archive by its name. Of one of which the service has copied a part
// by itself the checksum of the whole is known then.
func (r *run) readStored(ctx context.Context) (err error) {
	m := r.manifest
	if m.SHA256 != "" {
		back, err := r.store.ReadBack(ctx, m.Archive)
		if err != nil {
			return err
		}
		return errors.Join(r.compare(ctx, back), back.Close())
	}
	r.pulse.begin("reading back from " + r.Dest)
	src, err := r.store.Open(ctx, m.Archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	tell := r.teller("checking", m.Size)
	res, err := archive.Verify(ctx, src, m, m.Kind, m.Codec, func(n int64) {
		r.writing.Wait(int(n))
		tell(n)
	})
	if err != nil && ctx.Err() == nil {
		return &HintError{
			Err:  fmt.Errorf("read back %q: the destination does not hold what was written: %w", m.Archive, err),
			Hint: "see what verify says of the archive before it; --name NAME begins anew",
		}
	}
	m.SHA256 = res.SHA256
	return err
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
