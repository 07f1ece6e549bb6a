package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
)

// Remote is a destination on another machine, reached by a Driver.
type Remote struct {
	driver Driver
	step   func()
	naming func(func() error) error
	sums   sync.Mutex // one edit of SHA256SUMS at a time: not all services have conditions
	mu     sync.Mutex
	leases map[*lease]bool // those that we hold
}

var _ Store = (*Remote)(nil)

// NewRemote makes a Store of a driver, which Close closes.
func NewRemote(d Driver) *Remote {
	return &Remote{driver: d, step: func() {}, naming: func(give func() error) error { return give() }, leases: map[*lease]bool{}}
}

// Watch implements Store.
func (r *Remote) Watch(step func(), naming func(give func() error) error) {
	r.step, r.naming = step, naming
}

// String implements Store.
func (r *Remote) String() string { return r.driver.String() }

// Close implements Store.
func (r *Remote) Close() error { return r.driver.Close() }

// begin is what every method does first.
func (r *Remote) begin(ctx context.Context, op string) error {
	r.step()
	if ctx.Err() != nil {
		return fail(op, r.String(), context.Cause(ctx))
	}
	return nil
}

// beginWith is begin of a method that is about an archive.
func (r *Remote) beginWith(ctx context.Context, op string, names ...string) error {
	for _, name := range names {
		if err := checkName(op, name); err != nil {
			return err
		}
	}
	return r.begin(ctx, op)
}

// sideKey is the key of a sidecar, after the check of its name.
func (r *Remote) sideKey(ctx context.Context, op, name string) (string, error) {
	if err := checkSide(op, name); err != nil {
		return "", err
	}
	return SideDir + "/" + name, r.begin(ctx, op)
}

// List implements Store.
func (r *Remote) List(ctx context.Context) ([]Object, error) {
	if err := r.begin(ctx, "list"); err != nil {
		return nil, err
	}
	objects, err := r.driver.List(ctx, "")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(objects, func(o Object) bool { return checkName("list", o.Name) != nil }), nil
}

// Open implements Store.
func (r *Remote) Open(ctx context.Context, name string) (Reader, error) {
	if err := r.beginWith(ctx, "open", name); err != nil {
		return nil, err
	}
	return r.driver.Open(ctx, name)
}

// ReadBack implements Store: what the service sends is past any cache of ours.
func (r *Remote) ReadBack(ctx context.Context, name string) (io.ReadCloser, error) {
	src, err := r.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(src, 0, src.Size()), src}, nil
}

// Link implements Store.
func (r *Remote) Link(ctx context.Context, old, new string) error {
	if err := r.beginWith(ctx, "link", old, new); err != nil {
		return err
	}
	return r.naming(func() error {
		if err := r.stillHeld(ctx); err != nil {
			return err
		}
		return r.driver.Link(ctx, old, new)
	})
}

// ShareUnit implements Store: what the service copies begins and ends anywhere.
func (r *Remote) ShareUnit(ctx context.Context) int64 {
	if r.begin(ctx, "probe") != nil || !r.driver.Copies(ctx) {
		return 0
	}
	return 1
}

// Remove implements Store.
func (r *Remote) Remove(ctx context.Context, name string) error {
	if err := r.beginWith(ctx, "remove", name); err != nil {
		return err
	}
	if err := r.stillHeld(ctx); err != nil {
		return err
	}
	return r.driver.Remove(ctx, name)
}

// ReadSide implements Store.
func (r *Remote) ReadSide(ctx context.Context, name string) ([]byte, error) {
	data, _, err := r.ReadSideHead(ctx, name, -1)
	return data, err
}

// ReadSideHead implements Store.
func (r *Remote) ReadSideHead(ctx context.Context, name string, n int64) ([]byte, bool, error) {
	key, err := r.sideKey(ctx, "read", name)
	if err != nil {
		return nil, false, err
	}
	data, _, err := r.driver.Get(ctx, key, n)
	return data, err == nil && (n < 0 || int64(len(data)) < n), err
}

// WriteSide implements Store.
func (r *Remote) WriteSide(ctx context.Context, name string, data []byte) error {
	key, err := r.sideKey(ctx, "write", name)
	if err != nil {
		return err
	}
	_, err = r.driver.Put(ctx, key, data, "")
	return err
}

// RemoveSide implements Store.
func (r *Remote) RemoveSide(ctx context.Context, name string) error {
	key, err := r.sideKey(ctx, "remove", name)
	if err != nil {
		return err
	}
	if err := r.stillHeld(ctx); err != nil { // it may be another run's by now
		return err
	}
	return r.driver.Remove(ctx, key)
}

// ListSide implements Store.
func (r *Remote) ListSide(ctx context.Context) ([]string, error) {
	if err := r.begin(ctx, "list"); err != nil {
		return nil, err
	}
	objects, err := r.driver.List(ctx, SideDir)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, o := range objects {
		if checkSide("list", o.Name) == nil {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// HasSide implements Store.
func (r *Remote) HasSide(ctx context.Context) (bool, error) {
	if err := r.begin(ctx, "look at"); err != nil {
		return false, err
	}
	objects, err := r.driver.List(ctx, SideDir)
	return len(objects) > 0, err
}

// Find implements Store.
func (r *Remote) Find(ctx context.Context, suffix string) ([]Found, error) {
	if err := r.begin(ctx, "search"); err != nil {
		return nil, err
	}
	found, err := r.driver.Find(ctx, suffix)
	return tidy(found), err
}

// At implements Store.
func (r *Remote) At(ctx context.Context, below string) (Store, error) {
	if err := r.begin(ctx, "open destination"); err != nil {
		return nil, err
	}
	return NewRemote(r.driver.At(below)), nil
}

// Now implements Store.
func (r *Remote) Now(ctx context.Context) (time.Time, error) {
	if err := r.begin(ctx, "ask for the time of"); err != nil {
		return time.Time{}, err
	}
	return r.driver.Now(ctx)
}

// Sums implements Store.
func (r *Remote) Sums(ctx context.Context) (map[string]string, error) {
	if err := r.begin(ctx, "read"); err != nil {
		return nil, err
	}
	data, _, err := r.driver.Get(ctx, sumsName, -1)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return parseSums(data), nil
}

// SetSums implements Store: what is there is edited and put back on the condition that
// nobody else did so meanwhile; else once more. A file without lines stays: to remove it
// would be a change without that condition.
func (r *Remote) SetSums(ctx context.Context, set map[string]string, drop []string) error {
	const op = "write"
	if err := checkSums(op, set); err != nil {
		return err
	}
	if err := r.begin(ctx, op); err != nil {
		return err
	}
	if len(set) == 0 && len(drop) == 0 {
		return nil
	}
	r.sums.Lock()
	defer r.sums.Unlock()
	end := time.Now().Add(sumsWait)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, leasePoll) {
		if len(drop) > 0 {
			if err := r.stillHeld(ctx); err != nil {
				return err
			}
		}
		old, version, err := r.driver.Get(ctx, sumsName, -1)
		if errors.Is(err, fs.ErrNotExist) {
			version, err = NotThere, nil
		}
		if err != nil {
			return err
		}
		edited := editSums(old, set, drop)
		if bytes.Equal(edited, old) {
			return nil
		}
		_, err = r.driver.Put(ctx, sumsName, edited, version)
		switch {
		case !errors.Is(err, ErrConflict):
			return err
		case time.Now().After(end):
			return fail(op, r.String()+"/"+sumsName, errBusy)
		}
		if err := r.pause(ctx, op, wait); err != nil {
			return err
		}
	}
}

// pause waits, which is a step, too.
func (r *Remote) pause(ctx context.Context, op string, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return fail(op, r.String(), context.Cause(ctx))
	case <-time.After(wait):
		r.step()
		return nil
	}
}

// Sweep implements Store.
func (r *Remote) Sweep(ctx context.Context, series func(name string) bool) ([]string, error) {
	if err := r.begin(ctx, "sweep"); err != nil {
		return nil, err
	}
	keys, err := r.driver.Unfinished(ctx)
	if err != nil {
		return nil, err
	}
	swept := []string{}
	for _, key := range keys {
		name := strings.TrimPrefix(key, SideDir+"/")
		if !series(name) {
			continue
		}
		if err := r.stillHeld(ctx); err != nil {
			return swept, err
		}
		err := r.driver.Discard(ctx, key)
		if errors.Is(err, ErrRetained) {
			continue // whoever may remove it has to
		}
		if err := ignore(err, fs.ErrNotExist); err != nil {
			return swept, err
		}
		swept = append(swept, name)
	}
	return swept, nil
}

// Free implements Store.
func (r *Remote) Free(ctx context.Context) (int64, error) {
	if err := r.begin(ctx, "ask for free space of"); err != nil {
		return 0, err
	}
	return r.driver.Free(ctx)
}

// Writable implements Store. What may be written is not to be known without writing:
// it asks whether the service answers.
func (r *Remote) Writable(ctx context.Context) error {
	if err := r.begin(ctx, "write to"); err != nil {
		return err
	}
	_, err := r.driver.Now(ctx)
	return err
}

// Probe implements Store.
func (r *Remote) Probe(ctx context.Context) error {
	const op = "write to"
	if err := r.begin(ctx, op); err != nil {
		return err
	}
	key := SideDir + "/" + probeName
	data := []byte("tinybackup probe\n")
	if _, err := r.driver.Put(ctx, key, data, ""); err != nil {
		return err
	}
	back, _, err := r.driver.Get(ctx, key, -1)
	switch {
	case errors.Is(err, fs.ErrNotExist): // another Probe removed it: we had it all the same
		return nil
	case err != nil:
		return err
	case !bytes.Equal(back, data):
		return fail(op, r.String(), errors.New("what was written reads otherwise"))
	}
	return ignore(r.driver.Remove(ctx, key), fs.ErrNotExist, ErrRetained)
}

// ignore is nil for an error that is one of these.
func ignore(err error, these ...error) error {
	for _, e := range these {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}
