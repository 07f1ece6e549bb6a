package sftp

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"tinybackup/internal/store"
)

// Driver keeps archives in a directory of an SFTP server.
type Driver struct {
	a address
	*server
	below bool // it was made by At, of another one

	mu      sync.Mutex
	hasSide bool // SideDir was seen
}

// server is the connection of a Driver and of those below it. Several goroutines may ask at
// once.
type server struct {
	opt    Options
	a      address
	turn   chan struct{} // held while a connection is made
	closed chan struct{}

	lock     sync.Mutex // over what follows
	c        *conn      // nil: none
	made     int        // connections so far
	ahead    time.Duration
	hasAhead bool // the server's clock was looked at
}

var _ store.Driver = (*Driver)(nil)

const (
	dirPerm  = 0o700
	filePerm = 0o600 // archives hold whatever the source held, also what only root could read there
)

// Open connects to the server of dest and looks whether the directory is there. The caller
// closes the Driver. Errors are *store.Error with a hint.
func Open(ctx context.Context, dest string, opt Options) (*Driver, error) {
	a, err := parse(dest)
	if err != nil {
		return nil, err
	}
	d := &Driver{a: a, server: &server{a: a, opt: opt.filled(), turn: make(chan struct{}, 1), closed: make(chan struct{})}}
	info, err := do(ctx, d, "open destination", "", func(c *conn, _ bool) (fs.FileInfo, error) { return c.main.Stat(a.dir) })
	if err == nil && !info.IsDir() {
		err = d.fail("open destination", "", hinted(syscall.ENOTDIR, "a destination is a directory; archives are named by themselves in it"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = &store.Error{Op: "open destination", Path: a.String(), Err: fs.ErrNotExist,
			Advice: "if its disk is mounted there, create it first: " + a.mkdir()}
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// mkdir is the command that makes the directory.
func (a address) mkdir() string {
	login := a.login()
	if port, rest, ok := strings.Cut(login, " "); ok && port == "-p" { // scp(1) and sftp(1) spell it otherwise
		login = "-P " + rest
	}
	return "echo mkdir " + quoted(a.dir) + " | sftp -b - " + login
}

// String implements store.Driver.
func (d *Driver) String() string { return d.a.String() }

// At implements store.Driver.
func (d *Driver) At(below string) store.Driver {
	a := d.a
	a.dir = path.Join(a.dir, below)
	return &Driver{a: a, server: d.server, below: true}
}

// Close implements store.Driver.
func (d *Driver) Close() error {
	if !d.below {
		d.server.close()
	}
	return nil
}

// file is where a key's object is on the server.
func (d *Driver) file(key string) string { return path.Join(d.a.dir, key) }

func (d *Driver) side(name string) string { return d.file(store.SideDir + "/" + name) }

// List implements store.Driver: by one reading of the directory.
func (d *Driver) List(ctx context.Context, dir string) ([]store.Object, error) {
	entries, err := d.readDir(ctx, "list", dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	objects := []store.Object{}
	for _, e := range entries {
		name := e.Name()
		unfinished := path.Base(dir) == store.SideDir && (strings.HasSuffix(name, store.PartialSuffix) || strings.HasSuffix(name, store.TempSuffix))
		if !e.Mode().IsRegular() || unfinished {
			continue
		}
		objects = append(objects, store.Object{Name: name, Size: e.Size(), ModTime: e.ModTime(), Allocated: e.Size(), Own: e.Size()})
	}
	return ownOf(objects), nil
}

// ownOf finds the names of one file, as Link makes them. The protocol does not tell them;
// but two archives of one size are hardly ever written in the same second. So if it errs, it
// promises too little of what removing one of them frees.
func ownOf(objects []store.Object) []store.Object {
	type look struct {
		size, second int64
	}
	names := map[look]int{}
	for _, o := range objects {
		names[look{o.Size, o.ModTime.Unix()}]++
	}
	for i := range objects {
		if o := &objects[i]; names[look{o.Size, o.ModTime.Unix()}] > 1 {
			o.Own = 0
		}
	}
	return objects
}

// readDir returns all that is in a directory.
func (d *Driver) readDir(ctx context.Context, op, dir string) ([]fs.FileInfo, error) {
	return do(ctx, d, op, dir, func(c *conn, _ bool) ([]fs.FileInfo, error) { return c.readDir(d.file(dir)) })
}

// readDir returns all that is in a directory, or an error. For the library, a connection that
// ends while it reads is the end of the directory: so the server is asked whether it is there.
func (c *conn) readDir(dir string) ([]fs.FileInfo, error) {
	entries, err := c.main.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	_, err = c.main.RealPath(".")
	return entries, err
}

// Copies implements store.Driver.
func (d *Driver) Copies(ctx context.Context) bool {
	can, err := do(ctx, d, "ask", "", func(c *conn, _ bool) (bool, error) { return c.copies() })
	return err == nil && can
}

// The extensions, as a server names them (PROTOCOL, section 4.)
const (
	extCopyData = "copy-data"
	extFsync    = "fsync@openssh.com"
	extLink     = "hardlink@openssh.com"
	extRename   = "posix-rename@openssh.com"
	extStatVFS  = "statvfs@openssh.com"
)

func (c *conn) has(extension string) bool {
	_, ok := c.main.HasExtension(extension)
	return ok
}

// Link implements store.Driver.
func (d *Driver) Link(ctx context.Context, old, new string) error {
	_, err := do(ctx, d, "link", new, func(c *conn, again bool) (struct{}, error) {
		var none struct{}
		if !c.has(extLink) {
			return none, errors.ErrUnsupported
		}
		from, err := c.main.Lstat(d.file(old))
		if err != nil {
			return none, err
		}
		to, err := c.main.Lstat(d.file(new))
		if err == nil {
			if again && alike(from, to) {
				return none, nil // the answer to it was lost
			}
			return none, fs.ErrExist
		} else if !errors.Is(err, fs.ErrNotExist) {
			return none, err
		}
		err = c.main.Link(d.file(old), d.file(new))
		if isFailure(err) { // EXDEV, EMLINK, or a file system without links; or somebody was quicker
			if _, err := c.main.Lstat(d.file(new)); err == nil {
				return none, fs.ErrExist
			}
			return none, errors.ErrUnsupported
		}
		if err != nil {
			return none, err
		}
		return none, c.syncDir(d.a.dir)
	})
	return err
}

// alike says that two names may be those of one file: as sure as the protocol can be.
func alike(a, b fs.FileInfo) bool {
	return a.Mode() == b.Mode() && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// Remove implements store.Driver.
func (d *Driver) Remove(ctx context.Context, key string) error {
	return d.remove(ctx, key, d.file(key))
}

func (d *Driver) remove(ctx context.Context, key, file string) error {
	_, err := do(ctx, d, "remove", key, func(c *conn, again bool) (struct{}, error) {
		err := c.remove(file)
		switch {
		case again && errors.Is(err, fs.ErrNotExist):
			err = nil // the answer to it was lost
		case errors.Is(err, fs.ErrPermission):
			err = hinted(errors.Join(store.ErrRetained, fs.ErrPermission), "if that is not intended, see ls -ld and lsattr -d of the directory, there")
		}
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, c.syncDir(path.Dir(file))
	})
	return err
}

// syncDir makes durable what was done to the names in a directory, as far as the server can.
// OpenSSH opens a directory like a file for reading, and fsyncs what is open; what others
// refuse is no error.
func (c *conn) syncDir(dir string) error {
	if !c.has(extFsync) {
		return nil
	}
	f, err := c.main.Open(dir)
	if err != nil {
		return ignoreAnswer(err)
	}
	err = f.Sync()
	return errors.Join(ignoreAnswer(err), ignoreAnswer(f.Close()))
}

// ignoreAnswer is nil for an error that the server answered.
func ignoreAnswer(err error) error {
	if err != nil && isAnswer(err) {
		return nil
	}
	return err
}

// Free implements store.Driver.
func (d *Driver) Free(ctx context.Context) (int64, error) {
	return do(ctx, d, "ask for free space of", "", func(c *conn, _ bool) (int64, error) { return c.free(d.a.dir) })
}

func (c *conn) free(dir string) (int64, error) {
	if !c.has(extStatVFS) {
		return 0, errors.ErrUnsupported
	}
	vfs, err := c.main.StatVFS(dir)
	if err != nil {
		return 0, err
	}
	return int64(vfs.Bavail * vfs.Frsize), nil
}

// explainWrite finds the cause that a server does not tell of a failed write.
func (c *conn) explainWrite(err error, dir string) error {
	if !isFailure(err) {
		return err
	}
	if c.full(dir) {
		return hinted(syscall.ENOSPC, "the destination is full: df -h shows its space, there, df -i the number of files it can take")
	}
	return hinted(plain(err), "perhaps a quota, or a limit on the size of files, there")
}

// full says whether a disk has no room for another packet, or for another file.
func (c *conn) full(dir string) bool {
	if !c.has(extStatVFS) {
		return false
	}
	vfs, err := c.main.StatVFS(dir)
	return err == nil && (vfs.Bavail*vfs.Frsize < 256<<10 || vfs.Files > 0 && vfs.Favail == 0)
}

// Now implements store.Driver: the server's clock shows in the time of a file that it wrote.
func (d *Driver) Now(ctx context.Context) (time.Time, error) {
	if ahead, known := d.clock(); known {
		return time.Now().Add(ahead), nil
	}
	return do(ctx, d, "write to", "", func(c *conn, _ bool) (time.Time, error) {
		dir := d.side("")
		if _, err := c.main.Lstat(dir); err != nil {
			dir = d.a.dir // nothing is made there but what is taken away again
		}
		temp := path.Join(dir, "clock."+random()+store.TempSuffix)
		if _, err := d.writeFile(c, temp, nil); err != nil {
			return time.Time{}, err
		}
		ahead, _ := d.clock()
		return time.Now().Add(ahead), ignoreAnswer(c.main.Remove(temp)) // where that is not allowed, an empty file stays
	})
}

// needSide makes SideDir, if it is not there.
func (d *Driver) needSide(c *conn) error {
	d.mu.Lock()
	has := d.hasSide
	d.mu.Unlock()
	if has {
		return nil
	}
	dir := d.side("")
	info, err := c.main.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = c.main.Mkdir(dir); err == nil {
			err = errors.Join(ignoreAnswer(c.main.Chmod(dir, dirPerm)), c.syncDir(d.a.dir)) // some servers have no modes
		} else if isFailure(err) { // somebody was quicker
			_, err = c.main.Lstat(dir)
		}
	} else if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hasSide = true
	return nil
}
