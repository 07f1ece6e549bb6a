package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ReadSide implements Store.
func (l *Local) ReadSide(ctx context.Context, name string) ([]byte, error) {
	const op = "read"
	if err := checkSide(op, name); err != nil {
		return nil, err
	}
	if err := l.begin(ctx, op); err != nil {
		return nil, err
	}
	if err := l.checkSideDir(op); err != nil {
		return nil, err
	}
	data, _, err := readRegular(l.side(name))
	return data, err
}

// ReadSideHead implements Store.
func (l *Local) ReadSideHead(ctx context.Context, name string, _ int64) ([]byte, bool, error) {
	data, err := l.ReadSide(ctx, name)
	return data, err == nil, err
}

// HasSide implements Store.
func (l *Local) HasSide(ctx context.Context) (bool, error) {
	const op = "look at"
	if err := l.begin(ctx, op); err != nil {
		return false, err
	}
	_, err := os.Lstat(l.side(""))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, fail(op, l.side(""), err)
}

// WriteSide implements Store.
func (l *Local) WriteSide(ctx context.Context, name string, data []byte) error {
	const op = "write"
	if err := checkSide(op, name); err != nil {
		return err
	}
	if err := l.begin(ctx, op); err != nil {
		return err
	}
	if err := l.ensureSide(); err != nil {
		return err
	}
	return l.replace(l.side(name+sideTempSuffix), l.side(name), data, nil)
}

// RemoveSide implements Store.
func (l *Local) RemoveSide(ctx context.Context, name string) error {
	const op = "remove"
	if err := checkSide(op, name); err != nil {
		return err
	}
	if err := l.begin(ctx, op); err != nil {
		return err
	}
	if err := l.checkSideDir(op); err != nil {
		return err
	}
	if err := l.calls.remove(l.side(name)); err != nil {
		return fail(op, l.side(name), err)
	}
	return l.calls.syncDir(l.side(""))
}

// ListSide implements Store.
func (l *Local) ListSide(ctx context.Context) ([]string, error) {
	names := []string{}
	entries, err := l.readSideDir(ctx, "list")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && !ownSuffix(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// readSideDir reads .tinybackup, sorted by name; one that does not exist is empty.
func (l *Local) readSideDir(ctx context.Context, op string) ([]fs.DirEntry, error) {
	if err := l.begin(ctx, op); err != nil {
		return nil, err
	}
	if err := l.checkSideDir(op); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(l.side(""))
	if err != nil {
		return nil, fail(op, l.side(""), err) // without those that were read
	}
	return entries, nil
}

// replace gives the file final the given content: written to temp (on the same file
// system), fsynced, renamed. A reader sees the old content or the new, and after a
// power cut it is one of them. If it fails, temp is gone and final is as it was; but if
// only the last step failed, final may be either after a power cut.
func (l *Local) replace(temp, final string, data []byte, like fs.FileInfo) error {
	f, err := l.createNew(temp)
	if err != nil {
		return err
	}
	err = l.fill(f, data, like)
	if err == nil {
		err = fail("rename", final, l.calls.rename(temp, final))
	}
	if err != nil {
		rerr := l.calls.remove(temp)
		if errors.Is(rerr, fs.ErrNotExist) {
			rerr = nil
		}
		return errors.Join(err, fail("remove", temp, rerr))
	}
	// The directory of the new name; that of the old name need not be durable: should
	// temp come back, the next write or Sweep removes it.
	return l.calls.syncDir(filepath.Dir(final))
}

// fill writes data to f, makes it durable and closes f.
func (l *Local) fill(f *os.File, data []byte, like fs.FileInfo) error {
	_, err := l.calls.write(f, data)
	err = fail("write", f.Name(), err)
	if err == nil && like != nil { // courtesies, which FAT may refuse
		if uid := uidOf(like); uid != uint32(os.Geteuid()) {
			_ = f.Chown(int(uid), -1)
		}
		if perm := like.Mode().Perm(); perm != filePerm {
			_ = f.Chmod(perm)
		}
	}
	if err == nil {
		err = fail("sync", f.Name(), l.calls.syncFile(f))
	}
	if cerr := l.calls.close(f); err == nil {
		err = fail("close", f.Name(), cerr)
	}
	return err
}

// readRegular reads a whole regular file.
func readRegular(path string) ([]byte, fs.FileInfo, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, nil, fail("read", path, err)
	}
	defer f.Close() // only read from
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, fail("read", path, err)
	}
	return data, info, nil
}
