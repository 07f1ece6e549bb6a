package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tinybackup/internal/store"
)

// Memory is a service that keeps its objects in memory: for tests of what is built upon
// a store.Driver.
type Memory struct {
	// Sent counts the bytes that were written to it, Requests its calls by method.
	// Fail is asked before each, and may answer for it; nil: never. Set it before use.
	Fail func(method, key string) error

	mu         sync.Mutex
	sent       int64
	requests   map[string]int
	objects    map[string]memoryObject
	unfinished map[string]bool
	version    int
	retained   bool
	ahead      time.Duration
}

type memoryObject struct {
	data    []byte
	version store.Version
	time    time.Time
}

var _ store.Driver = (*Memory)(nil)

// NewMemory returns an empty one.
func NewMemory() *Memory {
	return &Memory{objects: map[string]memoryObject{}, unfinished: map[string]bool{}, requests: map[string]int{}}
}

// Sent is how many bytes of archives were written to it.
func (m *Memory) Sent() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sent
}

// Requests is how often a method was called.
func (m *Memory) Requests(method string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests[method]
}

// Retain makes Remove answer with store.ErrRetained from now on.
func (m *Memory) Retain(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.retained = on
}

// SetClock sets its clock so far before the one of this machine.
func (m *Memory) SetClock(ahead time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead = ahead
}

// Keys are those of all objects, sorted.
func (m *Memory) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key := range m.objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// begin locks, counts, and asks Fail; the caller unlocks.
func (m *Memory) begin(ctx context.Context, method, key string) error {
	m.mu.Lock()
	m.requests[method]++
	if ctx.Err() != nil {
		return &store.Error{Op: method, Path: key, Err: context.Cause(ctx)}
	}
	if m.Fail != nil {
		return m.Fail(method, key)
	}
	return nil
}

func missing(method, key string) error {
	return &store.Error{Op: method, Path: "memory:" + key, Err: fs.ErrNotExist}
}

// List implements store.Driver.
func (m *Memory) List(ctx context.Context, dir string) ([]store.Object, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, "list", dir); err != nil {
		return nil, err
	}
	if dir != "" {
		dir += "/"
	}
	m.requests["list"] += len(m.objects) / pageOf
	objects := []store.Object{}
	for key, o := range m.objects {
		if name, ok := strings.CutPrefix(key, dir); ok && !strings.Contains(name, "/") {
			size := int64(len(o.data))
			objects = append(objects, store.Object{Name: name, Size: size, ModTime: o.time, Allocated: size, Own: size})
		}
	}
	return objects, nil
}

// Open implements store.Driver.
func (m *Memory) Open(ctx context.Context, key string) (store.Reader, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, "open", key); err != nil {
		return nil, err
	}
	o, ok := m.objects[key]
	if !ok {
		return nil, missing("open", key)
	}
	return &memoryReader{ctx: ctx, m: m, key: key, data: bytes.NewReader(o.data)}, nil
}

type memoryReader struct {
	ctx  context.Context
	m    *Memory
	key  string
	data *bytes.Reader
}

func (r *memoryReader) ReadAt(p []byte, off int64) (int, error) {
	err := r.m.begin(r.ctx, "read", r.key)
	r.m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return r.data.ReadAt(p, off)
}
func (r *memoryReader) Size() int64  { return r.data.Size() }
func (r *memoryReader) Close() error { return nil }

// Get implements store.Driver.
func (m *Memory) Get(ctx context.Context, key string, limit int64) ([]byte, store.Version, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, "get", key); err != nil {
		return nil, "", err
	}
	o, ok := m.objects[key]
	if !ok {
		return nil, "", missing("get", key)
	}
	data := o.data
	if limit >= 0 {
		data = data[:min(int64(len(data)), limit)]
	}
	return bytes.Clone(data), o.version, nil
}

// Put implements store.Driver.
func (m *Memory) Put(ctx context.Context, key string, data []byte, only store.Version) (store.Version, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, "put", key); err != nil {
		return "", err
	}
	o, ok := m.objects[key]
	if only == store.NotThere && ok || only != "" && only != store.NotThere && o.version != only {
		return "", &store.Error{Op: "put", Path: "memory:" + key, Err: store.ErrConflict}
	}
	return m.set(key, bytes.Clone(data)), nil
}

// set stores an object; the caller has locked.
func (m *Memory) set(key string, data []byte) store.Version {
	m.version++
	ver := store.Version("v" + strconv.Itoa(m.version))
	m.objects[key] = memoryObject{data: data, version: ver, time: time.Now().Add(m.ahead)}
	return ver
}

// Create implements store.Driver.
func (m *Memory) Create(ctx context.Context, key string) (store.Pending, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, "create", key); err != nil {
		return nil, err
	}
	m.unfinished[key] = true
	return &memoryPending{m: m, ctx: ctx, key: key}, nil
}

type memoryPending struct {
	m    *Memory
	ctx  context.Context
	key  string
	data []byte
	done bool
}

func (p *memoryPending) Write(b []byte) (int, error) {
	defer p.m.mu.Unlock()
	if err := p.m.begin(p.ctx, "write", p.key); err != nil {
		return 0, err
	}
	p.m.sent += int64(len(b))
	p.data = append(p.data, b...)
	return len(b), nil
}

func (p *memoryPending) CopyRange(src io.ReaderAt, off, n int64) (bool, error) {
	defer p.m.mu.Unlock()
	if err := p.m.begin(p.ctx, "copy", p.key); err != nil {
		return false, err
	}
	r, ok := src.(*memoryReader)
	if !ok || r.m != p.m {
		return false, nil
	}
	piece := make([]byte, n)
	if _, err := r.data.ReadAt(piece, off); err != nil {
		return false, &store.Error{Op: "copy", Path: "memory:" + p.key, Err: err}
	}
	p.data = append(p.data, piece...)
	return true, nil
}

func (p *memoryPending) Settle() (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

func (p *memoryPending) Commit() error {
	defer p.m.mu.Unlock()
	if err := p.m.begin(p.ctx, "commit", p.key); err != nil {
		return err
	}
	if _, taken := p.m.objects[p.key]; taken {
		return &store.Error{Op: "commit", Path: "memory:" + p.key, Err: fs.ErrExist}
	}
	p.m.set(p.key, p.data)
	p.done = true
	delete(p.m.unfinished, p.key)
	return nil
}

func (p *memoryPending) Close() error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if !p.done {
		delete(p.m.unfinished, p.key)
	}
	return nil
}

// Copies implements store.Driver.
func (m *Memory) Copies(context.Context) bool { return true }

// Link implements store.Driver.
func (m *Memory) Link(context.Context, string, string) error { return errors.ErrUnsupported }

// Remove implements store.Driver.
func (m *Memory) Remove(ctx context.Context, key string) error {
	defer m.mu.Unlock()
	if err := m.begin(ctx, "remove", key); err != nil {
		return err
	}
	if _, ok := m.objects[key]; !ok {
		return missing("remove", key)
	}
	if m.retained {
		return &store.Error{Op: "remove", Path: "memory:" + key, Err: store.ErrRetained}
	}
	delete(m.objects, key)
	return nil
}

// Unfinished implements store.Driver.
func (m *Memory) Unfinished(ctx context.Context) ([]string, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, "unfinished", ""); err != nil {
		return nil, err
	}
	var keys []string
	for key := range m.unfinished {
		keys = append(keys, key)
	}
	return keys, nil
}

// Discard implements store.Driver.
func (m *Memory) Discard(ctx context.Context, key string) error {
	defer m.mu.Unlock()
	if err := m.begin(ctx, "discard", key); err != nil {
		return err
	}
	delete(m.unfinished, key)
	return nil
}

// Now implements store.Driver.
func (m *Memory) Now(ctx context.Context) (time.Time, error) {
	defer m.mu.Unlock()
	err := m.begin(ctx, "now", "")
	return time.Now().Add(m.ahead), err
}

// Free implements store.Driver.
func (m *Memory) Free(context.Context) (int64, error) { return 0, errors.ErrUnsupported }

// String implements store.Driver.
func (m *Memory) String() string { return "memory:" }

// Close implements store.Driver.
func (m *Memory) Close() error { return nil }

// Object is what an object holds.
func (m *Memory) Object(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.objects[key].data)
}

// Set stores an object, past all that is counted.
func (m *Memory) Set(key, data string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(key, []byte(data))
}

// Touch gives an object another version.
func (m *Memory) Touch(key string) { m.Set(key, m.Object(key)) }
