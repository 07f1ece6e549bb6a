package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Link implements Store, by a hard link.
func (l *Local) Link(ctx context.Context, old, new string) error {
	const op = "link"
	for _, name := range []string{old, new} {
		if err := checkName(op, name); err != nil {
			return err
		}
	}
	if err := l.begin(ctx, op); err != nil {
		return err
	}
	info, err := os.Lstat(l.path(old))
	if err != nil {
		return fail(op, l.path(old), err)
	}
	if !info.Mode().IsRegular() {
		return fail(op, l.path(old), errNotRegular)
	}
	err = l.naming(func() error { return l.calls.link(l.path(old), l.path(new)) })
	// EPERM: no hard links on this file system (link(2); FAT, exFAT), or not of this
	// file. EMLINK: it has as many as it can.
	if anyOf(err, syscall.EPERM, syscall.EMLINK, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS) {
		return errors.ErrUnsupported
	}
	if err != nil {
		return fail(op, l.path(new), err)
	}
	if err := l.calls.syncDir(l.dir); err != nil {
		return errors.Join(err, fail("remove", l.path(new), l.calls.remove(l.path(new))))
	}
	return nil
}

// ShareUnit implements Store. It tries, where the file system is of a kind that
// might: whether XFS can was decided when it was made.
func (l *Local) ShareUnit(ctx context.Context) int64 {
	if !sharesBlocks(l.dir) || l.begin(ctx, "probe") != nil || l.ensureSide() != nil {
		return 0
	}
	unit := blockSize(l.dir)
	a, err := unnamed(l.side(""))
	if err != nil {
		return 0
	}
	defer a.Close() // nothing of it is wanted
	if _, err := a.Write(make([]byte, unit)); err != nil {
		return 0
	}
	b, err := unnamed(l.side(""))
	if err != nil {
		return 0
	}
	defer b.Close()
	if l.calls.clone(b, a, 0, unit, 0) != nil {
		return 0
	}
	return unit
}

// CopyRange implements Pending.
func (p *pending) CopyRange(src io.ReaderAt, off, n int64) (bool, error) {
	const op = "share"
	r, ok := src.(*localReader)
	switch {
	case p.err != nil:
		return false, p.err
	case p.ctx.Err() != nil:
		return false, p.fail(op, context.Cause(p.ctx))
	case p.f == nil:
		return false, fail(op, p.partial, errSettled)
	case !ok || n <= 0:
		return false, nil
	}
	// ioctl_ficlonerange(2): whole blocks only. EXDEV: src is on another file system.
	err := p.l.calls.clone(p.f, r.f, off, n, p.size)
	if anyOf(err, syscall.EINVAL, syscall.EXDEV, syscall.ENOTTY, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EPERM, syscall.ETXTBSY) {
		return false, nil
	}
	if err != nil {
		return false, p.fail(op, err)
	}
	p.size += n
	// Write goes on behind it.
	if _, err := p.f.Seek(p.size, io.SeekStart); err != nil {
		return false, p.fail(op, err)
	}
	return true, p.pace()
}

// own is how much of an archive's space it shares with no other.
func (l *Local) own(info fs.FileInfo, shares bool) int64 {
	if links(info) > 1 {
		return 0
	}
	all := allocated(info)
	if !shares {
		return all
	}
	shared, err := sharedBytes(l.path(info.Name()))
	if err != nil {
		return all
	}
	return max(0, all-shared)
}
