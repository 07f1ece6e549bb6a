package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// paceBytes is how much is written before it is pushed out to disk and dropped from
// the cache, and read before it is dropped: at most about twice as much is dirty at
// any time, so that the final fsync is short and a backup does not evict what the
// machine has in memory. 16 MiB suits a small computer and is long enough for a disk.
const paceBytes = 16 << 20

// pending implements Pending: a file NAME.partial in .tinybackup, on the same file
// system, which Commit renames.
type pending struct {
	l         *Local
	ctx       context.Context
	name      string
	partial   string      // path until Commit
	f         *os.File    // nil once its bytes are durable, or given up
	pin       *os.File    // the same, open between that and Commit: see finish
	info      fs.FileInfo // of the file, to know it again
	size      int64       // bytes written
	pushed    int64       // of these, the writing to disk was started
	settled   int64       // of these, it has ended
	err       error       // the first error; nothing is done after it
	twoNames  bool        // partial is a second link to the archive
	committed bool
	closed    bool
}

var (
	errSettled   = errors.New("the archive is complete, nothing can be added")
	errCommitted = errors.New("the archive is committed already")
	errReplaced  = errors.New("the file was replaced by somebody else while it was written")
)

// Create implements Store.
func (l *Local) Create(ctx context.Context, name string) (Pending, error) {
	const op = "create"
	if err := checkName(op, name); err != nil {
		return nil, err
	}
	if err := l.begin(ctx, op); err != nil {
		return nil, err
	}
	// Commit is what decides this; but it would do so after all the work.
	if _, err := os.Lstat(l.path(name)); err == nil {
		return nil, fail(op, l.path(name), syscall.EEXIST)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fail(op, l.path(name), err)
	}
	if err := l.ensureSide(); err != nil {
		return nil, err
	}
	p := &pending{l: l, ctx: ctx, name: name, partial: l.side(name + PartialSuffix)}
	f, err := l.createNew(p.partial)
	if err != nil {
		return nil, err
	}
	p.f = f
	if p.info, err = f.Stat(); err != nil {
		return nil, errors.Join(fail("stat", p.partial, err), p.Close())
	}
	return p, nil
}

// createNew creates a file for writing that nobody else has open: what has the name
// now, a file of a killed run or a symbolic link, is removed first. The caller holds
// the lock under which the name is used.
func (l *Local) createNew(path string) (*os.File, error) {
	if err := l.calls.remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fail("remove", path, err)
	}
	f, err := l.calls.open(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, filePerm)
	if err != nil {
		return nil, fail("create", path, err)
	}
	return f, nil
}

// Write implements Pending.
func (p *pending) Write(b []byte) (int, error) {
	const op = "write"
	switch {
	case p.err != nil:
		return 0, p.err
	case p.ctx.Err() != nil:
		return 0, p.fail(op, context.Cause(p.ctx))
	case p.f == nil:
		return 0, fail(op, p.partial, errSettled)
	}
	n, err := p.l.calls.write(p.f, b)
	p.size += int64(n)
	if err != nil {
		return n, p.fail(op, err)
	}
	return n, p.pace()
}

// pace starts writing to disk what Write has gathered, waits for what it started the
// time before, and drops that from the cache: one piece is always under way.
func (p *pending) pace() error {
	if p.size-p.pushed < p.l.pace {
		return nil
	}
	if err := p.l.calls.flush(p.f, p.pushed, p.size-p.pushed, false); err != nil {
		return p.fail("write", err)
	}
	if p.pushed > p.settled {
		if err := p.l.calls.flush(p.f, p.settled, p.pushed-p.settled, true); err != nil {
			return p.fail("write", err)
		}
		p.l.calls.drop(p.f, p.pushed)
	}
	p.settled, p.pushed = p.pushed, p.size
	return nil
}

// Settle implements Pending. How far "past the cache" goes: the file is fsynced and
// closed, the kernel is told to drop it from its cache, and it is opened anew. Linux
// then reads it from the device, on ext4, xfs and btrfs (a test looks with mincore(2),
// another damages the disk underneath). The device's own cache may still answer; on
// file systems in memory, and on network file systems whose server caches, so does
// theirs; and so does macOS's for what it cached while writing.
func (p *pending) Settle() (io.ReadCloser, error) {
	const op = "read back"
	if p.committed {
		return nil, fail(op, p.l.path(p.name), errCommitted)
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	f, info, err := openRegular(p.partial)
	if err != nil {
		return nil, p.fail(op, err)
	}
	if !os.SameFile(info, p.info) {
		_ = f.Close() // not ours
		return nil, p.fail(op, errReplaced)
	}
	p.l.calls.drop(f, 0)
	return &backReader{f: f, drop: p.l.calls.drop, pace: p.l.pace}, nil
}

// finish makes the bytes durable, checks that the file has all of them, and closes it.
// A descriptor for reading stays open: as long as it is, no other file can have the
// inode number by which Commit knows the file again; nor can FAT and FUSE, which make up
// inode numbers as they go, give it another one.
func (p *pending) finish() error {
	if p.err != nil {
		return p.err
	}
	if p.err = p.l.begin(p.ctx, "sync"); p.err != nil || p.f == nil {
		return p.err
	}
	if err := p.l.calls.syncFile(p.f); err != nil {
		return p.fail("sync", err)
	}
	info, err := p.f.Stat()
	if err != nil {
		return p.fail("stat", err)
	}
	if info.Size() != p.size {
		return p.fail("sync", fmt.Errorf("the file has %d bytes, not the %d written", info.Size(), p.size))
	}
	if p.pin, _, err = openRegular(p.partial); err != nil {
		return p.fail("open", err)
	}
	f := p.f
	p.f = nil
	// close(2): a network file system may report a failed write, or a full quota, here.
	if err := p.l.calls.close(f); err != nil {
		return p.fail("close", err)
	}
	return nil
}

// Commit implements Pending.
func (p *pending) Commit() error {
	const op = "commit"
	final := p.l.path(p.name)
	if p.committed {
		return fail(op, final, errCommitted)
	}
	if err := p.finish(); err != nil {
		return err
	}
	if info, err := os.Lstat(p.partial); err != nil {
		return p.fail(op, err)
	} else if !os.SameFile(info, p.info) {
		return p.fail(op, errReplaced)
	}
	if p.err = p.l.naming(func() error { return p.publish(final) }); p.err != nil {
		return p.err
	}
	for _, dir := range []string{p.l.dir, p.l.side("")} {
		if p.err = p.l.calls.syncDir(dir); p.err != nil {
			// A name that may be gone after a power cut is no backup; and a run that
			// fails leaves no archive.
			return errors.Join(p.err, fail("remove", final, p.l.calls.remove(final)))
		}
	}
	p.committed = true
	return nil
}

// publish moves the partial file to its final name, never replacing a file. An error of
// a call that did its work all the same is no error: on a network file system the answer
// can get lost, and the request that is sent again meets what the first one did.
func (p *pending) publish(final string) error {
	calls := &p.l.calls
	err := calls.renameExcl(p.partial, final)
	if err == nil || p.is(final) {
		return nil
	}
	// EINVAL: the file system can't do it (renameat2(2); NFS, some FUSE). ENOSYS: the
	// kernel can't. ENOTSUP: the same from macOS.
	if !anyOf(err, syscall.EINVAL, syscall.ENOSYS, syscall.ENOTSUP, syscall.EOPNOTSUPP) {
		return fail("rename", final, err)
	}

	// link(2) fails if the name exists, so link and unlink does the same in two steps.
	// In between, the archive has two names; a partial left so is for Sweep.
	err = calls.link(p.partial, final)
	if err == nil || p.is(final) {
		p.unpin() // NFS keeps a hidden name of a file that is unlinked while open
		p.twoNames = calls.remove(p.partial) != nil
		return nil
	}
	// EPERM: the file system has no hard links (link(2); FAT, exFAT).
	if !anyOf(err, syscall.EPERM, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS) {
		return fail("link", final, err)
	}

	// Neither: look first, then rename. Only a run of the same series could take the
	// name in between, and the lock of the series keeps that away. (Taking the name
	// with O_EXCL first would show others an empty archive.)
	if _, err := os.Lstat(final); err == nil {
		return fail("rename", final, syscall.EEXIST)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fail("rename", final, err)
	}
	err = calls.rename(p.partial, final)
	if err == nil || p.is(final) {
		return nil
	}
	return fail("rename", final, err)
}

// is reports whether path is the file that we wrote.
func (p *pending) is(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && os.SameFile(info, p.info)
}

// Close implements Pending.
func (p *pending) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	if p.err == nil {
		p.err = fail("write", p.partial, fs.ErrClosed)
	}
	if p.f != nil {
		_ = p.l.calls.close(p.f) // its bytes are not wanted any more
		p.f = nil
	}
	p.unpin()
	if p.committed && !p.twoNames {
		return nil
	}
	err := p.l.calls.remove(p.partial)
	if p.committed || errors.Is(err, fs.ErrNotExist) {
		return nil // a second name of a complete archive does no harm
	}
	return fail("remove", p.partial, err)
}

func (p *pending) unpin() {
	if p.pin != nil {
		_ = p.pin.Close() // was not written to
		p.pin = nil
	}
}

// fail keeps the first error.
func (p *pending) fail(op string, err error) error {
	p.err = fail(op, p.partial, err)
	return p.err
}

// backReader reads a file once, from start to end, and leaves none of it in the cache.
type backReader struct {
	f            *os.File
	drop         func(f *os.File, n int64)
	off, dropped int64
	pace         int64
}

func (r *backReader) Read(b []byte) (int, error) {
	n, err := r.f.Read(b)
	r.off += int64(n)
	if r.off-r.dropped >= r.pace {
		r.drop(r.f, r.off)
		r.dropped = r.off
	}
	if err != nil && err != io.EOF {
		err = fail("read back", r.f.Name(), err)
	}
	return n, err
}

func (r *backReader) Close() error {
	r.drop(r.f, 0)
	return fail("close", r.f.Name(), r.f.Close())
}
