package storetest

import (
	"context"
	"path"
	"strings"

	"tinybackup/internal/store"
)

// pageOf is how many objects a service lists for one request.
const pageOf = 1000

// Find implements store.Driver: it lists everything.
func (m *Memory) Find(ctx context.Context, suffix string) ([]store.Found, error) {
	return m.find(ctx, suffix, "")
}

func (m *Memory) find(ctx context.Context, suffix, prefix string) ([]store.Found, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, "list", prefix); err != nil {
		return nil, err
	}
	m.requests["list"] += len(m.objects) / pageOf
	at := map[string][]store.Object{}
	for key, o := range m.objects {
		dir, name := path.Split(key)
		below, ours := strings.CutPrefix(dir, prefix)
		below, side := strings.CutSuffix("/"+below, "/"+store.SideDir+"/")
		if ours && side && strings.HasSuffix(name, suffix) {
			below = strings.TrimPrefix(below, "/")
			at[below] = append(at[below], store.Object{Name: name, Size: int64(len(o.data)), ModTime: o.time})
		}
	}
	var found []store.Found
	for below, sides := range at {
		found = append(found, store.Found{Below: below, Sides: sides})
	}
	return found, nil
}

// At implements store.Driver.
func (m *Memory) At(below string) store.Driver {
	if below == "" {
		return memoryAt{m, ""}
	}
	return memoryAt{m, below + "/"}
}

// A memoryAt is a destination in a Memory: its keys have a prefix there.
type memoryAt struct {
	*Memory
	prefix string // empty, or ends in a slash
}

func (m memoryAt) List(ctx context.Context, dir string) ([]store.Object, error) {
	return m.Memory.List(ctx, strings.TrimSuffix(m.prefix+dir, "/"))
}

func (m memoryAt) Open(ctx context.Context, key string) (store.Reader, error) {
	return m.Memory.Open(ctx, m.prefix+key)
}

func (m memoryAt) Get(ctx context.Context, key string, limit int64) ([]byte, store.Version, error) {
	return m.Memory.Get(ctx, m.prefix+key, limit)
}

func (m memoryAt) Put(ctx context.Context, key string, data []byte, only store.Version) (store.Version, error) {
	return m.Memory.Put(ctx, m.prefix+key, data, only)
}

func (m memoryAt) Create(ctx context.Context, key string) (store.Pending, error) {
	return m.Memory.Create(ctx, m.prefix+key)
}

func (m memoryAt) Link(ctx context.Context, old, new string) error {
	return m.Memory.Link(ctx, m.prefix+old, m.prefix+new)
}

func (m memoryAt) Remove(ctx context.Context, key string) error {
	return m.Memory.Remove(ctx, m.prefix+key)
}

func (m memoryAt) Discard(ctx context.Context, key string) error {
	return m.Memory.Discard(ctx, m.prefix+key)
}

func (m memoryAt) Unfinished(ctx context.Context) ([]string, error) {
	all, err := m.Memory.Unfinished(ctx)
	var keys []string
	for _, key := range all {
		if key, ours := strings.CutPrefix(key, m.prefix); ours {
			keys = append(keys, key)
		}
	}
	return keys, err
}

func (m memoryAt) Find(ctx context.Context, suffix string) ([]store.Found, error) {
	return m.find(ctx, suffix, m.prefix)
}

func (m memoryAt) At(below string) store.Driver {
	return m.Memory.At(path.Join(m.prefix, below))
}

func (m memoryAt) String() string { return m.Memory.String() + m.prefix }
