package rclone

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tinybackup/internal/store"
)

// Driver keeps archives in a path of a remote of rclone.
type Driver struct {
	a       address
	program string
	env     []string
	ctx     context.Context // done when it is closed
	close   context.CancelFunc
	below   bool // it was made by At, of another one
	*features
}

// features are what the remote can do, asked once.
type features struct {
	mu     sync.Mutex
	known  bool
	hashes []string // of its objects, as rclone names them
}

var _ store.Driver = (*Driver)(nil)

// staleAfter is the age at which what Put left behind is nobody's work any more, whoever's it was.
const staleAfter = 24 * time.Hour

// Open looks whether the path is there; in a bucket, that the bucket is. The caller closes the
// Driver. Errors are *store.Error with a hint.
func Open(ctx context.Context, dest string, opt Options) (*Driver, error) {
	a, err := parse(dest)
	if err != nil {
		return nil, err
	}
	d := &Driver{a: a, env: opt.Env}
	if d.program, err = program(dest, opt); err != nil {
		return nil, err
	}
	d.ctx, d.close = context.WithCancel(context.Background())
	d.features = new(features)
	if _, err = d.output(ctx, nil, "lsjson", "--no-modtime", "--no-mimetype", "--stat", a.arg()); errors.Is(err, fs.ErrNotExist) {
		err = &store.Error{Op: "open destination", Path: a.String(), Err: fs.ErrNotExist,
			Advice: "if its disk is mounted there, create it first: rclone mkdir " + quoted(a.arg())}
	}
	if err != nil {
		d.close()
		return nil, d.fail("open destination", "", err)
	}
	return d, nil
}

// String implements store.Driver.
func (d *Driver) String() string { return d.a.String() }

// At implements store.Driver.
func (d *Driver) At(below string) store.Driver {
	other := *d
	other.a, other.below = d.a.below(below), true
	return &other
}

// Close implements store.Driver: it ends every rclone that still runs.
func (d *Driver) Close() error {
	if !d.below {
		d.close()
	}
	return nil
}

// arg is a key's object as rclone wants it. Control characters rclone shows as the pictures
// that Unicode has of them, and so they are spelled.
func (d *Driver) arg(key string) string { return d.a.below(pictures.Replace(key)).arg() }

var pictures, noPictures = func() (to, from *strings.Replacer) {
	var pairs, back []string
	for c := rune(1); c < ' '; c++ {
		pairs = append(pairs, string(c), string('\u2400'+c))
		back = append(back, string('\u2400'+c), string(c))
	}
	return strings.NewReplacer(pairs...), strings.NewReplacer(back...)
}()

func sideKey(name string) string { return store.SideDir + "/" + name }

// entry is what lsjson tells of a file.
type entry struct {
	Path    string
	Name    string
	Size    int64
	ModTime time.Time
	IsDir   bool
	Hashes  map[string]string
}

// entries lists files.
func (d *Driver) entries(ctx context.Context, op, dir string, args ...string) ([]entry, error) {
	out, err := d.output(ctx, nil, append(append([]string{"lsjson", "--files-only", "--no-mimetype"}, args...), d.arg(dir))...)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []entry
	if err == nil {
		err = json.Unmarshal(out, &all)
	}
	for i := range all {
		all[i].Name = noPictures.Replace(all[i].Name)
	}
	return all, d.fail(op, dir, err)
}

// stat tells of one file. In a bucket, what is not there looks like an empty directory.
func (d *Driver) stat(ctx context.Context, op, key string, args ...string) (e entry, err error) {
	out, err := d.output(ctx, nil, append(append([]string{"lsjson", "--stat", "--no-mimetype"}, args...), d.arg(key))...)
	if err == nil {
		err = json.Unmarshal(out, &e)
	}
	if err == nil && e.IsDir {
		err = fs.ErrNotExist
	}
	return e, d.fail(op, key, err)
}

// List implements store.Driver.
func (d *Driver) List(ctx context.Context, dir string) ([]store.Object, error) {
	all, err := d.entries(ctx, "list", dir)
	if err != nil {
		return nil, err
	}
	objects := []store.Object{}
	for _, e := range all {
		unfinished := dir == store.SideDir && (strings.HasSuffix(e.Name, store.PartialSuffix) || strings.HasSuffix(e.Name, store.TempSuffix))
		if !unfinished {
			objects = append(objects, e.object())
		}
	}
	return objects, nil
}

func (e entry) object() store.Object {
	size := max(e.Size, 0) // negative: not known
	return store.Object{Name: e.Name, Size: size, ModTime: e.ModTime, Allocated: size, Own: size}
}

// Get implements store.Driver. The Version is made of the content.
func (d *Driver) Get(ctx context.Context, key string, limit int64) ([]byte, store.Version, error) {
	args := []string{"cat", d.arg(key)}
	if limit >= 0 {
		args = []string{"cat", "--count", strconv.FormatInt(limit, 10), d.arg(key)}
	}
	data, err := d.output(ctx, nil, args...)
	if err == nil && len(data) == 0 { // which is what cat makes of a name that a bucket doesn't have
		_, err = d.stat(ctx, "read", key)
	}
	if err != nil {
		return nil, "", d.fail("read", key, err)
	}
	return data, versionOf(data), nil
}

func versionOf(data []byte) store.Version {
	sum := sha256.Sum256(data)
	return store.Version(hex.EncodeToString(sum[:]))
}

// Put implements store.Driver. rclone knows no conditions: it looks just before it renames.
func (d *Driver) Put(ctx context.Context, key string, data []byte, only store.Version) (store.Version, error) {
	const op = "write"
	temp := sideKey(path.Base(key) + "." + strings.ToLower(rand.Text()[:13]) + store.TempSuffix)
	_, err := d.output(ctx, data, "rcat", d.arg(temp)) // which compares size and hash, where there is one
	if err == nil && only != "" {
		err = d.look(ctx, key, only)
	}
	if err == nil {
		err = d.rename(ctx, temp, key, int64(len(data)))
	}
	if err == nil {
		return versionOf(data), nil
	}
	_ = d.discard(temp) // found by Unfinished, if that fails
	return "", d.fail(op, key, err)
}

// errDamaged says that what was written is not what is there.
var errDamaged = errors.New("the remote did not store what it was sent")

// look is store.ErrConflict unless an object has a version.
func (d *Driver) look(ctx context.Context, key string, only store.Version) error {
	there := store.NotThere
	_, version, err := d.Get(ctx, key, -1)
	if err == nil {
		there = version
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if there != only {
		return store.ErrConflict
	}
	return nil
}

// rename gives an object of some size another key, whatever has it: rclone would leave out what
// has the same size and time there. It copies and removes where a remote cannot rename. Of what
// is not there, a bucket makes an empty directory, so that there is nothing to do, and no error:
// so it is looked at.
func (d *Driver) rename(ctx context.Context, from, to string, size int64) error {
	if _, err := d.output(ctx, nil, "moveto", "--ignore-times", d.arg(from), d.arg(to)); err != nil {
		return err
	}
	e, err := d.stat(ctx, "rename", to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: it is not there", errDamaged)
	case err == nil && e.Size >= 0 && e.Size != size:
		return fmt.Errorf("%w: it has %d bytes of the %d written", errDamaged, e.Size, size)
	}
	return err
}

// Copies implements store.Driver: rclone copies whole objects only, no ranges of them.
func (d *Driver) Copies(context.Context) bool { return false }

// Link implements store.Driver.
func (d *Driver) Link(_ context.Context, _, key string) error {
	return d.fail("link", key, errors.ErrUnsupported)
}

// Remove implements store.Driver.
func (d *Driver) Remove(ctx context.Context, key string) error {
	const op = "remove"
	_, err := d.output(ctx, nil, "deletefile", d.arg(key))
	if err == nil || ctx.Err() != nil {
		return d.fail(op, key, err)
	}
	// It says the same of what is not there and of what is no file.
	if _, serr := d.stat(ctx, op, key); errors.Is(serr, fs.ErrNotExist) {
		return serr
	}
	if errors.Is(err, fs.ErrPermission) {
		err = errors.Join(store.ErrRetained, err)
	}
	return d.fail(op, key, err)
}

// discardFor is how long something unfinished is tried to be removed after a failure.
const discardFor = 30 * time.Second

// discard removes an object that may be gone, also when the context of what failed is done.
func (d *Driver) discard(key string) error {
	ctx, cancel := context.WithTimeoutCause(d.ctx, discardFor, errors.New("no answer in time"))
	defer cancel()
	if err := d.Remove(ctx, key); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Unfinished implements store.Driver. What remotes keep hidden of an upload they clear away by
// themselves, or by rclone cleanup.
func (d *Driver) Unfinished(ctx context.Context) ([]string, error) {
	all, err := d.entries(ctx, "list", store.SideDir)
	var keys []string
	for _, e := range all {
		if name, ok := strings.CutSuffix(e.Name, store.PartialSuffix); ok {
			keys = append(keys, name)
			continue
		}
		name, ok := store.TempOf(e.Name)
		switch {
		case !ok:
		case time.Since(e.ModTime) > staleAfter:
			if err := d.Remove(ctx, sideKey(e.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrRetained) {
				return nil, err
			}
		default:
			keys = append(keys, sideKey(name))
		}
	}
	return keys, err
}

// Discard implements store.Driver.
func (d *Driver) Discard(ctx context.Context, key string) error {
	name, isSide := strings.CutPrefix(key, store.SideDir+"/")
	if !isSide {
		return d.Remove(ctx, sideKey(name+store.PartialSuffix))
	}
	all, err := d.entries(ctx, "list", store.SideDir)
	for _, e := range all {
		if final, ok := store.TempOf(e.Name); ok && final == name {
			err = errors.Join(err, d.Remove(ctx, sideKey(e.Name)))
		}
	}
	return err
}

// Now implements store.Driver: rclone gives what it writes our own time.
func (d *Driver) Now(ctx context.Context) (time.Time, error) {
	if ctx.Err() != nil {
		return time.Time{}, d.fail("ask for the time of", "", context.Cause(ctx))
	}
	return time.Now(), nil
}

// Free implements store.Driver.
func (d *Driver) Free(ctx context.Context) (int64, error) {
	const op = "ask for free space of"
	out, err := d.output(ctx, nil, "about", "--json", d.a.arg())
	var about struct{ Free *int64 }
	var f *failed
	if errors.As(err, &f) { // most remotes can't say
		return 0, d.fail(op, "", errors.ErrUnsupported)
	}
	if err == nil {
		err = json.Unmarshal(out, &about)
	}
	if err == nil && about.Free == nil {
		err = errors.ErrUnsupported
	}
	if err != nil {
		return 0, d.fail(op, "", err)
	}
	return *about.Free, nil
}

// findDepth is how many directories below each other Find looks into.
const findDepth = 3

// Find implements store.Driver, by one listing of all below; but for what hidden directories
// have.
func (d *Driver) Find(ctx context.Context, suffix string) ([]store.Found, error) {
	pattern := "**" + store.SideDir + "/*" + globEscape.Replace(suffix)
	all, err := d.entries(ctx, "search", "", "-R", "--max-depth", strconv.Itoa(findDepth+2), "--include", pattern)
	at := map[string][]store.Object{}
	for _, e := range all {
		dir := strings.Split(path.Dir(e.Path), "/")
		last := len(dir) - 1
		hidden := slices.ContainsFunc(dir[:last], func(name string) bool { return strings.HasPrefix(name, ".") })
		if dir[last] == store.SideDir && !hidden && strings.HasSuffix(e.Name, suffix) {
			below := strings.Join(dir[:last], "/")
			at[below] = append(at[below], e.object())
		}
	}
	var found []store.Found
	for below, sides := range at {
		found = append(found, store.Found{Below: below, Sides: sides})
	}
	return found, err
}

// globEscape takes the meaning from the characters that have one in rclone's filters.
var globEscape = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`)
