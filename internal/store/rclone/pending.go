package rclone

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"

	"tinybackup/internal/store"
)

// pending is an archive that an rclone writes to NAME.partial in SideDir, from what it is
// sent.
type pending struct {
	d    *Driver
	ctx  context.Context
	key  string
	temp string // key of .partial
	kind string // of hash, as rclone names it
	hash hash.Hash
	size int64

	work   *process // the rclone that writes; nil: it has ended
	input  io.WriteCloser
	err    error
	named  bool // it may have its final name
	done   bool
	closed bool
}

// Create implements store.Driver.
func (d *Driver) Create(ctx context.Context, key string) (store.Pending, error) {
	const op = "create"
	_, err := d.stat(ctx, op, key)
	if err == nil {
		err = fs.ErrExist // as Commit would say, after all the work
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, d.fail(op, key, err)
	}
	p := &pending{d: d, ctx: ctx, key: key, temp: sideKey(key + store.PartialSuffix)}
	if p.kind, p.hash, err = d.hash(ctx); err != nil {
		return nil, d.fail(op, key, err)
	}
	p.work = d.command(ctx, "rcat", d.arg(p.temp))
	if p.input, err = p.work.cmd.StdinPipe(); err == nil {
		err = p.work.cmd.Start()
	}
	if err != nil {
		p.work.cancel()
		return nil, d.fail(op, key, err)
	}
	return p, nil
}

// hashes are those that we can make, the best first, as rclone names them.
var hashes = []struct {
	kind string
	make func() hash.Hash
}{{"sha256", sha256.New}, {"sha1", sha1.New}, {"md5", md5.New}}

// hash is the best that we have in common with the remote; without any, one of ours.
func (d *Driver) hash(ctx context.Context) (string, hash.Hash, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.known {
		out, err := d.output(ctx, nil, "backend", "features", d.a.arg())
		var told struct{ Hashes []string }
		if err == nil {
			err = json.Unmarshal(out, &told)
		}
		if err != nil {
			return "", nil, err
		}
		d.known, d.features.hashes = true, told.Hashes
	}
	for _, h := range hashes {
		if slices.Contains(d.features.hashes, h.kind) {
			return h.kind, h.make(), nil
		}
	}
	return "", sha256.New(), nil
}

// Write implements store.Pending.
func (p *pending) Write(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	if p.ctx.Err() != nil {
		return 0, p.fail("write", context.Cause(p.ctx))
	}
	n, err := p.input.Write(b)
	p.size += int64(n)
	p.hash.Write(b[:n])
	if err != nil { // rclone has ended, and says why
		if werr := p.end(); werr != nil {
			err = werr
		}
		return n, p.fail("write", err)
	}
	return n, nil
}

// end waits for rclone's end. Closing its input before says that this was all.
func (p *pending) end() error {
	if p.work == nil {
		return nil
	}
	err := p.work.wait()
	p.work = nil
	if err != nil && p.ctx.Err() != nil {
		err = context.Cause(p.ctx)
	}
	return err
}

// fail keeps the first error.
func (p *pending) fail(op string, err error) error {
	p.err = p.d.fail(op, p.key, err)
	return p.err
}

// CopyRange implements store.Pending: see Copies.
func (p *pending) CopyRange(io.ReaderAt, int64, int64) (bool, error) { return false, p.err }

// Settle implements store.Pending.
func (p *pending) Settle() (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

// Commit implements store.Pending.
func (p *pending) Commit() error {
	const op = "commit"
	if p.err != nil {
		return p.err
	}
	if p.ctx.Err() != nil {
		return p.fail(op, context.Cause(p.ctx))
	}
	err := p.input.Close()
	if werr := p.end(); werr != nil {
		err = werr
	}
	for _, step := range []func() error{p.compare, p.publish} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return p.fail(op, err)
	}
	p.done = true
	return nil
}

// compare has the remote tell the hash of what it stored, or reads it back from there.
func (p *pending) compare() error {
	var args []string
	if p.kind != "" {
		args = []string{"--hash", "--hash-type", p.kind}
	}
	e, err := p.d.stat(p.ctx, "read back", p.temp, args...)
	if err != nil {
		return err
	}
	if e.Size >= 0 && e.Size != p.size {
		return fmt.Errorf("%w: it has %d bytes of the %d written", errDamaged, e.Size, p.size)
	}
	want := hex.EncodeToString(p.hash.Sum(nil))
	got := e.Hashes[p.kind]
	if got == "" {
		if got, err = p.readBack(); err != nil {
			return err
		}
	}
	if got != want {
		return fmt.Errorf("%w: the bytes are others", errDamaged)
	}
	return nil
}

// readBack hashes what the remote sends.
func (p *pending) readBack() (string, error) {
	work, out, err := p.d.stream(p.ctx, "cat", p.d.arg(p.temp))
	if err != nil {
		return "", err
	}
	p.hash.Reset()
	_, err = io.Copy(p.hash, out)
	if werr := work.wait(); werr != nil {
		err = werr
	}
	return hex.EncodeToString(p.hash.Sum(nil)), err
}

// publish gives the archive its name. rclone has no renaming that refuses a name that is
// taken: it looks first, and the lock of the series keeps others away.
func (p *pending) publish() error {
	_, err := p.d.stat(p.ctx, "rename", p.key)
	if err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.named = true
	return p.d.rename(p.ctx, p.temp, p.key, p.size) // which compares, if it has to copy
}

// Close implements store.Pending. rclone is killed before its input ends, or it would take
// that for the end of the file.
func (p *pending) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	if p.err == nil {
		p.err = p.d.fail("write", p.key, fs.ErrClosed)
	}
	if p.work != nil {
		p.work.stop()
		p.work = nil
	}
	_ = p.input.Close() // nobody reads it any more
	if p.done {
		return nil
	}
	err := p.d.discard(p.temp)
	if p.named {
		err = errors.Join(err, p.d.discard(p.key))
	}
	return err
}
