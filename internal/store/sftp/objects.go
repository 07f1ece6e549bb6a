package sftp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	wire "github.com/pkg/sftp"

	"tinybackup/internal/store"
)

// headSize is what is read of a small object before anything is known of its size.
const headSize = 64 << 10

// maxObject is more than any sidecar has: what says so of itself is not read into memory.
const maxObject = 1 << 30

// Get implements store.Driver. The Version is made of the content: SFTP tells times in
// seconds, in which much may happen.
func (d *Driver) Get(ctx context.Context, key string, limit int64) ([]byte, store.Version, error) {
	data, err := do(ctx, d, "read", key, func(c *conn, _ bool) ([]byte, error) { return c.read(d.file(key), limit) })
	if err != nil {
		return nil, "", err
	}
	return data, versionOf(data), nil
}

func versionOf(data []byte) store.Version {
	sum := sha256.Sum256(data)
	return store.Version(hex.EncodeToString(sum[:]))
}

// read returns the first limit bytes of a file, all if limit is negative.
func (c *conn) read(file string, limit int64) ([]byte, error) {
	f, err := c.main.Open(file)
	if err != nil {
		return nil, err
	}
	data, err := readHead(f, limit)
	// The end of the file and the end of the connection look alike: if the closing is
	// answered, it was the file's.
	return data, errors.Join(err, f.Close())
}

func readHead(f *wire.File, limit int64) ([]byte, error) {
	if limit == 0 {
		return nil, nil
	}
	size := int64(headSize)
	if limit > 0 {
		size = limit
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err == io.EOF {
		return data[:n], nil
	}
	if err != nil || limit > 0 {
		return data[:n], err
	}
	info, err := f.Stat()
	if err == nil && info.Size() > maxObject {
		err = &refused{fmt.Errorf("it has %d bytes: that is none of ours", info.Size())}
	}
	if err != nil {
		return nil, err
	}
	rest := make([]byte, max(0, info.Size()-size))
	n, err = f.ReadAt(rest, size)
	if err == io.EOF {
		err = nil
	}
	return append(data, rest[:n]...), err
}

// Put implements store.Driver. SFTP knows no conditions but one, that a name is free: so for
// another Version it looks just before it renames.
func (d *Driver) Put(ctx context.Context, key string, data []byte, only store.Version) (store.Version, error) {
	ours := versionOf(data)
	file, aside := d.file(key), d.temp(key)
	return do(ctx, d, "write", key, func(c *conn, again bool) (store.Version, error) {
		if err := d.needSide(c); err != nil {
			return "", err
		}
		if again && !c.has(extRename) {
			_ = c.main.Rename(aside, file) // what an attempt that was cut off had put there; see replace
		}
		temp := d.temp(key)
		_, err := d.writeFile(c, temp, data)
		if err == nil {
			err = d.put(c, temp, file, aside, only)
		}
		if err != nil {
			err = errors.Join(err, ignoreAnswer(c.removeAny(temp)))
		}
		if again && errors.Is(err, store.ErrConflict) {
			if there, rerr := c.read(file, -1); rerr == nil && versionOf(there) == ours {
				err = nil // the answer to it was lost
			}
		}
		if again && err == nil && !c.has(extRename) {
			err = ignoreAnswer(c.removeAny(aside))
		}
		return ours, err
	})
}

// temp is a new name for something that Put needs for a while.
func (d *Driver) temp(key string) string {
	return d.side(path.Base(key) + "." + random() + store.TempSuffix)
}

// put gives a file its name, on a condition.
func (d *Driver) put(c *conn, temp, file, aside string, only store.Version) error {
	switch {
	case only == store.NotThere:
		if _, err := c.main.Lstat(file); err == nil {
			return store.ErrConflict
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// OpenSSH refuses a name that is taken.
		err := c.main.Rename(temp, file)
		if isFailure(err) {
			if _, lerr := c.main.Lstat(file); lerr == nil {
				return store.ErrConflict
			}
		}
		if err != nil {
			return err
		}
		return c.syncDir(path.Dir(file))
	case only != "":
		there, err := c.read(file, -1)
		if errors.Is(err, fs.ErrNotExist) || err == nil && versionOf(there) != only {
			return store.ErrConflict
		} else if err != nil {
			return err
		}
	}
	if err := c.replace(temp, file, aside); err != nil {
		return err
	}
	return c.syncDir(path.Dir(file))
}

// replace renames over what has the name. A server that can't do that at once gets the old
// file out of the way first: for a moment there is none.
func (c *conn) replace(temp, file, aside string) error {
	if c.has(extRename) {
		return c.main.PosixRename(temp, file)
	}
	err := c.main.Rename(temp, file)
	if !isFailure(err) {
		return err
	}
	if aerr := c.main.Rename(file, aside); aerr != nil {
		if isAnswer(aerr) {
			return err
		}
		return aerr
	}
	if err = c.main.Rename(temp, file); err == nil {
		return ignoreAnswer(c.removeAny(aside))
	}
	if isAnswer(err) {
		if back := ignoreAnswer(c.main.Rename(aside, file)); back != nil {
			return back
		}
	}
	return err
}

// writeFile makes a new file with the data, durable.
func (d *Driver) writeFile(c *conn, file string, data []byte) (fs.FileInfo, error) {
	before := time.Now()
	f, err := c.main.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, c.explainWrite(err, d.a.dir)
	}
	info, err := c.fill(f, data)
	if err = errors.Join(c.explainWrite(err, d.a.dir), f.Close()); err != nil {
		return nil, errors.Join(err, ignoreAnswer(c.removeAny(file)))
	}
	d.sawTime(info.ModTime(), before, time.Now())
	return info, nil
}

func (c *conn) fill(f *wire.File, data []byte) (fs.FileInfo, error) {
	if err := ignoreAnswer(f.Chmod(filePerm)); err != nil { // some servers have no modes
		return nil, err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return nil, err
	}
	if err := c.sync(f); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != int64(len(data)) {
		err = fmt.Errorf("%w: it has %d bytes of the %d written", errDamaged, info.Size(), len(data))
	}
	return info, err
}

// errDamaged says that what was written is not what is there.
var errDamaged = errors.New("the server did not store what it was sent")

// sync makes a file durable, where the server can.
func (c *conn) sync(f *wire.File) error {
	if !c.has(extFsync) {
		return nil
	}
	return f.Sync()
}

// removeAny removes a file that may be gone.
func (c *conn) removeAny(file string) error {
	if err := c.remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// remove removes a file. A server that forbids that may do so before it looks for the file.
func (c *conn) remove(file string) error {
	err := c.main.Remove(file)
	if errors.Is(err, fs.ErrPermission) {
		if _, lerr := c.main.Lstat(file); errors.Is(lerr, fs.ErrNotExist) {
			return lerr
		}
	}
	return err
}

// random tells what we write from what others write at the same time.
func random() string { return strings.ToLower(rand.Text()[:13]) }

// staleAfter is the age at which what Put left behind is nobody's work any more, whoever's
// it was.
const staleAfter = 24 * time.Hour

// Unfinished implements store.Driver.
func (d *Driver) Unfinished(ctx context.Context) ([]string, error) {
	entries, err := d.readDir(ctx, "list", store.SideDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var keys []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), store.PartialSuffix); ok && e.Mode().IsRegular() {
			keys = append(keys, name)
			continue
		}
		name, ok := store.TempOf(e.Name())
		if !ok || !e.Mode().IsRegular() {
			continue
		}
		if now, err := d.Now(ctx); err == nil && now.Sub(e.ModTime()) > staleAfter {
			if err := d.remove(ctx, store.SideDir, d.side(e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrRetained) {
				return nil, err
			}
			continue
		}
		keys = append(keys, store.SideDir+"/"+name)
	}
	return keys, nil
}

// Discard implements store.Driver.
func (d *Driver) Discard(ctx context.Context, key string) error {
	name, isSide := strings.CutPrefix(key, store.SideDir+"/")
	if !isSide {
		return d.remove(ctx, key, d.side(name+store.PartialSuffix))
	}
	entries, err := d.readDir(ctx, "list", store.SideDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if final, ok := store.TempOf(e.Name()); ok && final == name {
			err = errors.Join(err, d.remove(ctx, key, d.side(e.Name())))
		}
	}
	return err
}
