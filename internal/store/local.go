package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Local is a destination in a directory of this machine, or of a mounted network file
// system. Everything it creates is readable by its owner only. It follows no symbolic
// link inside the directory, and takes only regular files for archives; in a directory
// like /tmp, only its own.
type Local struct {
	dir      string // absolute
	dev, ino uint64 // of dir when it was opened
	owner    uint32 // of dir
	shared   bool   // anybody may put files into dir, and take away only their own, as in /tmp
	calls    fileCalls
	pace     int64 // see paceBytes
	step     func()
	naming   func(func() error) error
}

var _ Store = (*Local)(nil)

// OpenLocal opens the directory dir, which must exist. Nothing is created before it is
// needed, so a destination that may only be read can be opened, listed and read.
func OpenLocal(dir string) (*Local, error) {
	const op = "open destination"
	if dir == "" { // which filepath.Abs would take for the working directory
		return nil, fail(op, dir, fs.ErrInvalid)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fail(op, dir, err)
	}
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Error{Op: op, Path: abs, Err: cause(err),
			Advice: "if its disk is mounted, create it first: mkdir -p " + shellQuote(abs)}
	case err != nil:
		return nil, fail(op, abs, err)
	case !info.IsDir():
		return nil, &Error{Op: op, Path: abs, Err: syscall.ENOTDIR,
			Advice: "a destination is a directory; archives are named by themselves in it"}
	}
	dev, ino := devIno(info)
	shared := info.Mode()&fs.ModeSticky != 0 && info.Mode()&0o002 != 0
	return &Local{dir: abs, dev: dev, ino: ino, owner: uidOf(info), shared: shared, calls: systemCalls(), pace: paceBytes,
		step: func() {}, naming: func(give func() error) error { return give() }}, nil
}

// Watch implements Store.
func (l *Local) Watch(step func(), naming func(give func() error) error) {
	l.step, l.naming = step, naming
}

// String is the absolute path of the directory.
func (l *Local) String() string { return l.dir }

// Close implements Store: there is nothing to end.
func (l *Local) Close() error { return nil }

// ID returns the device and inode number (as uint64 of the fields of syscall.Stat_t)
// of the directory, so that a walk through the source can leave it out.
func (l *Local) ID() (dev, ino uint64) { return l.dev, l.ino }

// Writable implements Store.
func (l *Local) Writable(ctx context.Context) error {
	const op = "write to"
	if err := l.begin(ctx, op); err != nil {
		return err
	}
	for _, dir := range []string{l.dir, l.side("")} {
		err := retry(func() error {
			return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		})
		if err != nil && !(dir != l.dir && errors.Is(err, fs.ErrNotExist)) {
			return fail(op, dir, err)
		}
	}
	return nil
}

// List implements Store.
func (l *Local) List(ctx context.Context) ([]Object, error) {
	const op = "list"
	if err := l.begin(ctx, op); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, fail(op, l.dir, err)
	}
	objects := []Object{}
	shares := sharesBlocks(l.dir)
	for _, e := range entries {
		if e.Name() == sumsName {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since, by a run of another series: the list is right without it
		}
		if err != nil {
			return nil, fail(op, l.path(e.Name()), err)
		}
		if !info.Mode().IsRegular() || l.planted(info) {
			continue
		}
		objects = append(objects, Object{
			Name: e.Name(), Size: info.Size(), ModTime: info.ModTime(), Allocated: allocated(info), Own: l.own(info, shares),
			File: fileNumber(info),
		})
	}
	// Unmounted meanwhile, entries would have been "removed since" one and all.
	if err := l.begin(ctx, op); err != nil {
		return nil, err
	}
	return objects, nil
}

// Open implements Store.
func (l *Local) Open(ctx context.Context, name string) (Reader, error) {
	const op = "open"
	if err := checkName(op, name); err != nil {
		return nil, err
	}
	if err := l.begin(ctx, op); err != nil {
		return nil, err
	}
	f, info, err := openRegular(l.path(name))
	if err != nil {
		return nil, fail(op, l.path(name), err)
	}
	return &localReader{f: f, size: info.Size()}, nil
}

// ReadBack implements Store. See Settle for how far past the cache goes.
func (l *Local) ReadBack(ctx context.Context, name string) (io.ReadCloser, error) {
	const op = "read back"
	if err := checkName(op, name); err != nil {
		return nil, err
	}
	if err := l.begin(ctx, op); err != nil {
		return nil, err
	}
	f, _, err := openRegular(l.path(name))
	if err != nil {
		return nil, fail(op, l.path(name), err)
	}
	l.calls.drop(f, 0)
	return &backReader{f: f, drop: l.calls.drop, pace: l.pace}, nil
}

// Remove implements Store.
func (l *Local) Remove(ctx context.Context, name string) error {
	const op = "remove"
	if err := checkName(op, name); err != nil {
		return err
	}
	if err := l.begin(ctx, op); err != nil {
		return err
	}
	path := l.path(name)
	info, err := os.Lstat(path)
	if err != nil {
		return fail(op, path, err)
	}
	if !info.Mode().IsRegular() {
		return fail(op, path, errNotRegular)
	}
	if err := l.calls.remove(path); err != nil {
		return fail(op, path, err)
	}
	return l.calls.syncDir(l.dir)
}

// Free implements Store.
func (l *Local) Free(ctx context.Context) (int64, error) {
	const op = "ask for free space of"
	if err := l.begin(ctx, op); err != nil {
		return 0, err
	}
	n, err := free(l.dir)
	return n, fail(op, l.dir, err)
}

// path is where the file of that name is, side where it is in .tinybackup.
func (l *Local) path(name string) string { return filepath.Join(l.dir, name) }
func (l *Local) side(name string) string { return filepath.Join(l.dir, SideDir, name) }

var (
	errNotRegular = errors.New("not a regular file")
	errPlanted    = errors.New("it belongs to another user")
	errMoved      = errors.New("another file system is mounted here than when the run began")
)

// begin is how every method starts. Besides a cancelled context it notices a
// destination that was unmounted, or mounted over: what we would find and write there
// is not the destination. Only the device is compared: FAT gives a directory another
// inode number whenever it was out of memory in between.
func (l *Local) begin(ctx context.Context, op string) error {
	l.step()
	if ctx.Err() != nil {
		return fail(op, l.dir, context.Cause(ctx))
	}
	info, err := os.Stat(l.dir)
	if err != nil {
		return fail(op, l.dir, err)
	}
	if dev, _ := devIno(info); dev != l.dev {
		return &Error{Op: op, Path: l.dir, Err: errMoved, Advice: "is its disk still mounted?"}
	}
	return nil
}

// ensureSide makes .tinybackup if it is not there.
func (l *Local) ensureSide() error {
	const op = "create directory"
	dir := l.side("")
	err := l.calls.mkdir(dir, sidePerm)
	if err == nil {
		return l.calls.syncDir(l.dir)
	}
	if !errors.Is(err, fs.ErrExist) {
		return fail(op, dir, err)
	}
	return l.checkSideDir(op)
}

// checkSideDir returns why .tinybackup can't be used: fs.ErrNotExist, or it is something
// else than a directory. A symbolic link would have us sweep where somebody else points.
func (l *Local) checkSideDir(op string) error {
	dir := l.side("")
	info, err := os.Lstat(dir)
	if err != nil {
		return fail(op, dir, err)
	}
	if !info.IsDir() {
		return &Error{Op: op, Path: dir, Err: syscall.ENOTDIR,
			Advice: "this name must be a directory, not a link to one either: move it away"}
	}
	if l.planted(info) {
		return &Error{Op: op, Path: dir, Err: errPlanted,
			Advice: "anybody may write to the destination, and somebody made this first: remove it, or take a directory of your own"}
	}
	return nil
}

// planted says whether a file in a directory like /tmp is somebody else's: neither
// ours nor root's, nor that of the directory's owner, who can do as they like there.
// An archive of a later time would have rotation remove ours. Where everybody may
// remove everything, or the owner of all files is whom the mount says, it is no
// question.
func (l *Local) planted(info fs.FileInfo) bool {
	uid := uidOf(info)
	return l.shared && uid != 0 && uid != l.owner && uid != uint32(os.Geteuid())
}

// openRegular opens an existing regular file for reading. Not through a symbolic link,
// which somebody may have planted; and without waiting for the other end of a FIFO.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		if anyOf(err, syscall.ELOOP, syscall.EMLINK) { // EMLINK: open(2) of FreeBSD
			err = errNotRegular
		}
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		_ = f.Close() // only read from
		return nil, nil, err
	}
	return f, info, nil
}

type localReader struct {
	f    *os.File
	size int64
}

func (r *localReader) Size() int64 { return r.size }

func (r *localReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.f.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = fail("read", r.f.Name(), err)
	}
	return n, err
}

func (r *localReader) Close() error { return fail("close", r.f.Name(), r.f.Close()) }

// shellQuote quotes s for a POSIX shell, for hints that are made to be pasted.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
