package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

const (
	probeSize = 4 << 10 // a block: an empty file would fit on a full disk
	probeName = ".tinybackup.probe" + TempSuffix
)

// Probe implements Store: the file is also made durable, and locked. A killed Probe
// leaves a file that the next one removes.
func (l *Local) Probe(ctx context.Context) (err error) {
	const op = "write to"
	if err := l.begin(ctx, op); err != nil {
		return err
	}
	dir := l.side("") // where archives are written; made only when there is one
	if err := l.checkSideDir(op); errors.Is(err, fs.ErrNotExist) {
		dir = l.dir
	} else if err != nil {
		return err
	}
	path := filepath.Join(dir, probeName)
	f, err := l.createNew(path)
	if err != nil {
		return err
	}
	defer func() {
		// Another Probe may have removed it: we had the file all the same.
		if gone := l.calls.remove(path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, fail("remove", path, gone))
		}
	}()
	if _, err := l.calls.write(f, bytes.Repeat([]byte("tinybackup probe"), probeSize/16)); err != nil {
		return errors.Join(fail(op, path, err), l.calls.close(f))
	}
	if err := l.calls.syncFile(f); err != nil {
		return errors.Join(fail(op, path, err), l.calls.close(f))
	}
	if err := retry(func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		return errors.Join(fail("lock", path, err), l.calls.close(f))
	}
	return fail("close", path, l.calls.close(f))
}
