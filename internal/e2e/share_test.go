//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mounted makes a file system of size bytes on a loop device and mounts it, until
// the test ends.
func mounted(t *testing.T, size int64, mkfs ...string) string {
	t.Helper()
	need(t, mkfs[0])
	dir := newDir(t)
	image := filepath.Join(dir, "disk.img")
	f, err := os.Create(image)
	check(t, err)
	check(t, f.Truncate(size))
	check(t, f.Close())
	device := loop(t, image)
	tool(t, mkfs[0], append(slices.Clone(mkfs[1:]), device)...)
	mnt := mkdir(t, dir, "mnt")
	tool(t, "mount", device, mnt)
	t.Cleanup(func() { tool(t, "umount", mnt) })
	return mnt
}

// used is how many bytes of a file system are taken, after all is on the disk.
func used(t *testing.T, dir string) int64 {
	t.Helper()
	tool(t, "sync", "-f", dir)
	var st unix.Statfs_t
	check(t, unix.Statfs(dir, &st))
	return int64(st.Blocks-st.Bfree) * int64(st.Bsize)
}

type verdict struct {
	Archive string
	Size    int64
	Own     int64
}

// TestReflinks keeps fourteen archives of a tree that changes a little each time:
// where files can share blocks, they take little more room than one, whatever the
// codec, and every one of them is whole.
func TestReflinks(t *testing.T) {
	inside(t)
	need(t, "sync", "tar", "zstd", "xz", "gzip")
	systems := map[string][]string{
		"btrfs": {"mkfs.btrfs", "-q"},
		"xfs":   {"mkfs.xfs", "-q", "-m", "reflink=1"},
	}
	for name, mkfs := range systems {
		for _, codec := range []string{"zstd", "gzip", "xz"} {
			t.Run(name+" "+codec, func(t *testing.T) {
				t.Parallel()
				dst := mounted(t, 400<<20, mkfs...)
				src := mkdir(t, newDir(t), "tree")
				size, frame := 60_000, "256KiB"
				if codec == "xz" { // noise is what our xz is slowest at
					size, frame = 12_000, "64KiB"
				}
				for i := range 200 {
					check(t, os.WriteFile(filepath.Join(src, fmt.Sprintf("f%03d", i)), noise(size, uint64(i)), 0o644))
				}
				p := newProgram(t)
				before := used(t, dst)
				p.run(t, "run", "--compress", codec, "--block-size", frame, src, dst)
				one := used(t, dst) - before
				for i := range 13 {
					check(t, os.WriteFile(filepath.Join(src, fmt.Sprintf("f%03d", i*7)), noise(size, uint64(1000+i)), 0o644))
					p.run(t, "run", "--compress", codec, "--block-size", frame, src, dst)
				}
				all := used(t, dst) - before
				t.Logf("one archive takes %d bytes, fourteen take %d", one, all)
				if all > 2*one {
					t.Errorf("fourteen archives take %d bytes, one takes %d", all, one)
				}
				var l struct{ Archives []verdict }
				p.json(t, &l, "list", dst)
				for _, v := range l.Archives {
					if v.Own > v.Size/2 {
						t.Errorf("%s of %d bytes has %d of its own", v.Archive, v.Size, v.Own)
					}
				}
				toolIn(t, dst, "sha256sum", "--strict", "-c", "SHA256SUMS")
				p.run(t, "verify", dst)
				// The newest one, by other people's tools.
				out := newDir(t)
				tool(t, "tar", "-C", out, "-xf", filepath.Join(dst, l.Archives[0].Archive))
				tool(t, "diff", "-r", src, filepath.Join(out, "tree"))
			})
		}
	}
}

// TestUnchanged makes archives of a tree that does not change: on any file system
// with hard links they are one file with several names.
func TestUnchanged(t *testing.T) {
	inside(t)
	t.Parallel()
	dst := mkdir(t, newDir(t), "dst")
	src := mkdir(t, newDir(t), "tree")
	for i := range 50 {
		check(t, os.WriteFile(filepath.Join(src, fmt.Sprint(i)), noise(10_000, uint64(i)), 0o644))
	}
	p := newProgram(t)
	for range 3 {
		p.run(t, "run", src, dst)
	}
	files, err := filepath.Glob(filepath.Join(dst, "tree-*"))
	check(t, err)
	var st unix.Stat_t
	check(t, unix.Stat(files[0], &st))
	if len(files) != 3 || st.Nlink != 3 {
		t.Errorf("%d archives, the first has %d names, want 3 and 3", len(files), st.Nlink)
	}
	out := toolIn(t, dst, "sha256sum", "--strict", "-c", "SHA256SUMS")
	if n := strings.Count(out, ": OK"); n != 3 {
		t.Errorf("%d good archives, want 3:\n%s", n, out)
	}
	// One goes, the others stay whole.
	p.run(t, "run", "--keep", "2", "--reread", src, dst)
	p.run(t, "verify", dst)
}
