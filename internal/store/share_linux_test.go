package store

import (
	"os"
	"path/filepath"
	"testing"
)

// Where archives can share blocks, they do, and List says what each has for itself.
func TestSharing(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for kind, want := range map[string]int64{"xfs": 4096, "btrfs": 4096, "ext4": 0} {
		t.Run(kind, func(t *testing.T) {
			_, dir := mountImage(t, kind, 320<<20, "rw")
			sub := func(name string) *Local {
				t.Helper()
				dir := filepath.Join(dir, name)
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				return openDir(t, dir)
			}
			testLink(t, sub("link"))
			testCopyRange(t, sub("copy"))
			l := sub("own")
			if got := l.ShareUnit(t.Context()); got != want {
				t.Errorf("ShareUnit: got %d, want %d", got, want)
			}
			const size, unit = 1 << 20, 4096
			put(t, l, "old", randomBytes(8, size))
			if got := tree(t, l.side("")); len(got) > 0 {
				t.Errorf("ShareUnit left behind %q", got)
			}
			old, err := l.Open(t.Context(), "old")
			if err != nil {
				t.Fatal(err)
			}
			defer old.Close()
			p := create(t, l, "new")
			defer p.Close()
			if ok, err := p.CopyRange(old, 0, size-unit); err != nil || ok != (want > 0) {
				t.Errorf("CopyRange: got %v, %v", ok, err)
			} else if !ok {
				p.Write(randomBytes(8, size)[:size-unit])
			}
			p.Write(randomBytes(9, unit))
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
