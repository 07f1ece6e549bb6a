//go:build linux

package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where the partitions of a card are, in bytes.
const (
	cardFAT  = 1 << 20
	fatSize  = 40 << 20
	cardExt  = cardFAT + fatSize
	extSize  = 64 << 20
	cardSize = cardExt + extSize + 3<<20 // something follows them
)

// A card is a disk like that of a Raspberry Pi: an MBR, a FAT32, an ext4 that the
// kernel wrote, things between and behind them, and the traces of deleted files in
// their free blocks.
type card struct {
	device, image string
	fat, tree     string // directories with what the file systems hold
}

func newCard(t *testing.T) card {
	t.Helper()
	inside(t)
	need(t, "mkfs.fat", "mcopy", "mdel", "fsck.fat", "e2fsck", "debugfs", "diff")
	dir := newDir(t)
	c := card{image: filepath.Join(dir, "card.img"), fat: mkdir(t, dir, "fat"), tree: mkdir(t, dir, "tree")}

	check(t, os.WriteFile(filepath.Join(c.fat, "kernel.img"), noise(2<<20, 3), 0o644))
	check(t, os.WriteFile(filepath.Join(c.fat, "gone"), noise(9<<20, 4), 0o644))
	fat := filepath.Join(dir, "fat.img")
	check(t, os.WriteFile(fat, nil, 0o600))
	check(t, os.Truncate(fat, fatSize))
	tool(t, "mkfs.fat", "-F", "32", "-s", "1", fat)
	tool(t, "mcopy", "-i", fat, filepath.Join(c.fat, "gone"), filepath.Join(c.fat, "kernel.img"), "::/")
	tool(t, "mdel", "-i", fat, "::/gone")
	check(t, os.Remove(filepath.Join(c.fat, "gone")))

	device := ext4(t, extSize, func(mnt string) {
		for i := range 40 {
			name := fmt.Sprintf("%d/file %d", i%7, i)
			for _, root := range []string{mnt, c.tree} {
				check(t, os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755))
				check(t, os.WriteFile(filepath.Join(root, name), noise(i*5000, uint64(i)), 0o644))
			}
			check(t, os.WriteFile(filepath.Join(mnt, name+".gone"), noise(400_000, uint64(100+i)), 0o644))
		}
		tool(t, "sync", "-f", mnt)
		for i := range 40 {
			check(t, os.Remove(filepath.Join(mnt, fmt.Sprintf("%d/file %d.gone", i%7, i))))
		}
	})

	disk := make([]byte, cardSize)
	copy(disk[512:], noise(cardFAT-512, 1)) // a boot loader
	copy(disk[cardExt+extSize:], noise(cardSize-cardExt-extSize, 2))
	part, err := os.ReadFile(fat)
	check(t, err)
	copy(disk[cardFAT:], part)
	part, err = os.ReadFile(device)
	check(t, err)
	copy(disk[cardExt:], part)
	for i, p := range []struct {
		kind       byte
		start, end int
	}{{0x0c, cardFAT, cardExt}, {0x83, cardExt, cardExt + extSize}} {
		entry := disk[446+16*i:]
		entry[4] = p.kind
		binary.LittleEndian.PutUint32(entry[8:], uint32(p.start/512))
		binary.LittleEndian.PutUint32(entry[12:], uint32((p.end-p.start)/512))
	}
	disk[510], disk[511] = 0x55, 0xaa
	check(t, os.WriteFile(c.image, disk, 0o600))
	c.device = loop(t, c.image)
	return c
}

// same says that an image holds what the card does, but for free blocks.
func (c card) same(t *testing.T, image string) {
	t.Helper()
	dir := newDir(t)
	disk, err := os.ReadFile(image)
	check(t, err)
	was, err := os.ReadFile(c.image)
	check(t, err)
	if len(disk) != cardSize || string(disk[:cardFAT]) != string(was[:cardFAT]) || string(disk[cardExt+extSize:]) != string(was[cardExt+extSize:]) {
		t.Error("what is outside of the partitions is not what it was")
	}
	fat, ext := filepath.Join(dir, "fat.img"), filepath.Join(dir, "ext.img")
	check(t, os.WriteFile(fat, disk[cardFAT:cardExt], 0o600))
	check(t, os.WriteFile(ext, disk[cardExt:cardExt+extSize], 0o600))
	tool(t, "fsck.fat", "-n", fat)
	tool(t, "e2fsck", "-fn", ext)
	out := mkdir(t, dir, "fat")
	tool(t, "mcopy", "-s", "-i", fat, "::/", out)
	tool(t, "diff", "-r", c.fat, out)
	out = mkdir(t, dir, "tree")
	tool(t, "debugfs", "-R", "rdump / "+out, ext)
	check(t, os.RemoveAll(filepath.Join(out, "lost+found")))
	tool(t, "diff", "-r", c.tree, out)
}

// partReport is what a run says of a partition.
type partReport struct {
	Number int
	Format string
	Free   int64
	Whole  string
}

// runReport is what the tests of devices want to know of a run.
type runReport struct {
	Raw, Read, Written, Reused int64
	Parts                      []partReport
}

// TestDeviceFree images a card without its free blocks.
func TestDeviceFree(t *testing.T) {
	t.Parallel()
	c := newCard(t)
	p := newProgram(t)
	dest := newDir(t)

	var plan, first runReport
	p.json(t, &plan, "run", "--json", "--dry-run", c.device, dest)
	p.json(t, &first, "run", "--json", "--verify", "--name", "card", c.device, dest)
	if len(first.Parts) != 2 || first.Parts[0].Format != "FAT32" || first.Parts[1].Format != "ext4" || first.Parts[0].Whole+first.Parts[1].Whole != "" {
		t.Fatalf("parts: got %+v, want a FAT32 and an ext4, both known", first.Parts)
	}
	free := first.Parts[0].Free + first.Parts[1].Free
	if first.Raw != cardSize || plan.Raw != 0 && plan.Raw != cardSize || plan.Read != cardSize-free {
		t.Errorf("raw: got %d; planned to read: %d; want %d, %d", first.Raw, plan.Read, cardSize, cardSize-free)
	}
	// What is there is 10 MiB of noise, what was deleted 24 MiB.
	if first.Written > 12<<20 || first.Read > cardSize*3/4 {
		t.Errorf("stored %d bytes of the %d in pieces that are not all free, want at most %d of %d", first.Written, first.Read, 12<<20, cardSize*3/4)
	}
	image := filepath.Join(newDir(t), "back.img")
	p.exits(t, 0, "restore", dest, image)
	c.same(t, image)
	p.exits(t, 0, "verify", dest)
	tool(t, "sh", "-ec", `zstd -qdc "$1" | cmp - "$2"`, "sh", newest(t, dest), image)

	// Nothing has changed: nothing is stored.
	var again runReport
	p.json(t, &again, "run", "--json", "--name", "card", c.device, dest)
	if again.Reused != again.Written || again.Written != first.Written {
		t.Errorf("second run: %d of %d bytes reused, want all of %d", again.Reused, again.Written, first.Written)
	}
	// One place is another: the rest is found by its content.
	f, err := os.OpenFile(c.device, os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteAt(noise(5000, 77), cardSize-1<<20)
	check(t, err)
	check(t, f.Sync())
	check(t, f.Close())
	p.json(t, &again, "run", "--json", "--name", "card", c.device, dest)
	if least := again.Written / 2; again.Reused < least || again.Reused == again.Written {
		t.Errorf("third run: %d of %d bytes reused, want at least %d and not all", again.Reused, again.Written, least)
	}

	// All of it, on request, into other frames.
	all := newDir(t)
	var whole runReport
	p.json(t, &whole, "run", "--json", "--all-blocks", "--name", "card", c.device, all)
	if len(whole.Parts) != 0 || whole.Read != cardSize || whole.Written < 2*first.Written {
		t.Errorf("--all-blocks: got %+v, want everything, and more than twice %d bytes", whole, first.Written)
	}
	same(t, []string{"zstd", "-qdc", newest(t, all)}, c.device)
}

// TestDeviceNotUnmounted takes a copy of a file system that is in use: its bitmaps
// are older than its journal, so that all of it is read, and it is said why.
func TestDeviceNotUnmounted(t *testing.T) {
	t.Parallel()
	inside(t)
	need(t, "zstd", "cmp")
	device := ext4(t, 32<<20, func(string) {})
	mnt := newDir(t)
	tool(t, "mount", device, mnt)
	check(t, os.WriteFile(filepath.Join(mnt, "a"), noise(1<<20, 1), 0o644))
	tool(t, "sync", "-f", mnt)
	image := filepath.Join(newDir(t), "pulled.img")
	b, err := os.ReadFile(device)
	check(t, err)
	check(t, os.WriteFile(image, b, 0o600))
	unmount(t, mnt)

	pulled := loop(t, image)
	p := newProgram(t)
	dest := newDir(t)
	o := p.exits(t, 0, "run", pulled, dest)
	if want := "read whole: its journal has to be replayed"; !strings.Contains(o.stdout+o.stderr, want) {
		t.Errorf("got %q, want it to say %q", o.stdout+o.stderr, want)
	}
	same(t, []string{"zstd", "-qdc", newest(t, dest)}, pulled)
	// The free blocks of the same one, put away in order, are not read.
	o = p.exits(t, 0, "run", "--name", "clean", device, dest)
	if want := "are free and not read"; !strings.Contains(o.stdout+o.stderr, want) {
		t.Errorf("got %q, want it to say %q", o.stdout+o.stderr, want)
	}
}
