package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"tinybackup/internal/store"
	"tinybackup/internal/store/storetest"
)

// Where archives can share blocks, they do, and List says what each has for itself.
func TestSharing(t *testing.T) {
	if !store.InNamespace(t) {
		return
	}
	for kind, want := range map[string]int64{"xfs": 4096, "btrfs": 4096, "ext4": 0} {
		t.Run(kind, func(t *testing.T) {
			_, dir := store.MountImage(t, kind, 320<<20, "rw")
			sub := func(name string) *store.Local {
				t.Helper()
				dir := filepath.Join(dir, name)
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				l, err := store.OpenLocal(dir)
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
			storetest.Sharing(t, func(name string) store.Store { return sub(name) })
			l := sub("own")
			if got := l.ShareUnit(t.Context()); got != want {
				t.Errorf("ShareUnit: got %d, want %d", got, want)
			}
			const size, unit = 1 << 20, 4096
			storetest.Put(t, l, "old", storetest.Random(8, size))
			if got := store.Tree(t, filepath.Join(l.String(), store.SideDir)); len(got) > 0 {
				t.Errorf("ShareUnit left behind %q", got)
			}
			old, err := l.Open(t.Context(), "old")
			if err != nil {
				t.Fatal(err)
			}
			defer old.Close()
			p, err := l.Create(t.Context(), "new")
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if ok, err := p.CopyRange(old, 0, size-unit); err != nil || ok != (want > 0) {
				t.Errorf("CopyRange: got %v, %v", ok, err)
			} else if !ok {
				p.Write(storetest.Random(8, size)[:size-unit])
			}
			p.Write(storetest.Random(9, unit))
			if err := p.Commit(); err != nil {
				t.Fatal(err)
			}
			objects, err := l.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range objects {
				own := int64(size)
				switch {
				case kind == "btrfs" && o.Name == "old":
					own = 0 // btrfs keeps an extent whole as long as any of it is in use
				case want > 0:
					own = unit
				}
				if o.Allocated != size || o.Own != own {
					t.Errorf("%s: got %d bytes allocated, %d of its own; want %d, %d", o.Name, o.Allocated, o.Own, size, own)
				}
			}
		})
	}
}
