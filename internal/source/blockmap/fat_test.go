//go:build linux

package blockmap

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// fatVariants are file systems as mkfs.fat makes them.
var fatVariants = []struct {
	name  string
	mib   int64
	args  string
	whole string // why it is read whole; "": it is not
}{
	{name: "FAT32-512", mib: 40, args: "-F 32 -s 1"},
	{name: "FAT32-1k", mib: 80, args: "-F 32 -s 2"},
	{name: "FAT32-4k", mib: 300, args: "-F 32 -s 8"},
	{name: "FAT32-32k", mib: 2200, args: "-F 32 -s 64"},
	{name: "FAT32-4k-sectors", mib: 300, args: "-F 32 -S 4096 -s 1"},
	{name: "FAT32-reserved", mib: 40, args: "-F 32 -s 1 -R 64"},
	{name: "FAT32-label", mib: 40, args: "-F 32 -s 1 -n BOOTFS -i 1234abcd"},
	{name: "FAT16-512", mib: 20, args: "-F 16 -s 1"},
	{name: "FAT16-2k", mib: 20, args: "-F 16 -s 4"},
	{name: "FAT16-4k", mib: 40, args: "-F 16 -s 8"},
	{name: "FAT16-32k", mib: 300, args: "-F 16 -s 64"},
	{name: "FAT16-label", mib: 20, args: "-F 16 -s 4 -n BOOTFS"},
	{name: "FAT12", mib: 14, args: "-F 12 -s 8", whole: "FAT12"},
	{name: "FAT32-small", mib: 20, args: "-F 32 -s 1", whole: "kind of FAT32"},
	{name: "FAT16-one-table", mib: 20, args: "-F 16 -s 4 -f 1", whole: "two tables"},
	{name: "FAT16-root", mib: 20, args: "-F 16 -s 4 -r 1024", whole: "unknown kind"},
}

// mkfat makes an image as mkext does.
func mkfat(t testing.TB, image string, mib int64, args, from string, gone []string) {
	t.Helper()
	garbage(t, image, mib<<20, 16<<20)
	run(t, "mkfs.fat", append(strings.Fields(args), image)...)
	names, err := filepath.Glob(filepath.Join(from, "*"))
	check(t, err)
	if len(names) == 0 {
		return
	}
	run(t, "mcopy", append(append([]string{"-s", "-i", image}, names...), "::/")...)
	for _, name := range gone {
		run(t, "mdel", "-i", image, "::/"+name)
	}
}

// TestFATVariants compares how much is free with what fsck.fat counts, and restores
// each of the file systems. As no file has lost anything then, what is free is what
// should be.
func TestFATVariants(t *testing.T) {
	need(t, "mkfs.fat", "fsck.fat", "mcopy", "mdel")
	for _, v := range fatVariants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			image, from := filepath.Join(dir, "image"), filepath.Join(dir, "from")
			var gone []string
			if v.whole == "" {
				gone = tree(t, from, 4<<20)
			}
			mkfat(t, image, v.mib, v.args, from, gone)
			m, _ := findIn(t, image)
			if v.whole != "" {
				if len(m.Parts) != 1 || !strings.Contains(m.Parts[0].Whole, v.whole) || len(m.Free) != 0 {
					t.Fatalf("got %+v and %d ranges, want it whole: %s", m.Parts, len(m.Free), v.whole)
				}
				return
			}
			if len(m.Parts) != 1 || m.Parts[0].Whole != "" || m.Parts[0].Format != v.name[:5] {
				t.Fatalf("parts: got %+v, want one of %s", m.Parts, v.name[:5])
			}
			out := run(t, "fsck.fat", "-n", "-v", image)
			got := regexp.MustCompile(`files, (\d+)/(\d+) clusters`).FindStringSubmatch(out)
			size := regexp.MustCompile(`(\d+) bytes per cluster`).FindStringSubmatch(out)
			var numbers [3]int64
			for i, text := range []string{got[1], got[2], size[1]} {
				n, err := strconv.ParseInt(text, 10, 64)
				check(t, err)
				numbers[i] = n
			}
			if want := (numbers[1] - numbers[0]) * numbers[2]; total(m) != want {
				t.Errorf("free: got %d bytes, fsck.fat has %d", total(m), want)
			}
			copied := restored(t, image, m)
			run(t, "fsck.fat", "-n", copied)
			back := filepath.Join(dir, "back")
			check(t, os.Mkdir(back, 0o755))
			run(t, "mcopy", "-s", "-n", "-i", copied, "::/*", back)
			for _, name := range gone {
				check(t, os.Remove(filepath.Join(from, name)))
			}
			sameTree(t, back, from)
		})
	}
}

// edit changes bytes of a file.
func edit(t testing.TB, file string, off int64, b ...byte) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteAt(b, off)
	check(t, err)
	check(t, f.Close())
}

// wholeAfter says that an image whose bytes are changed is read whole, and why.
func wholeAfter(t *testing.T, image, why string, change func(file string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "changed")
	run(t, "cp", "--sparse=always", image, file)
	change(file)
	m, _ := findIn(t, file)
	if len(m.Free) != 0 || len(m.Parts) != 1 || !strings.Contains(m.Parts[0].Whole, why) {
		t.Errorf("got %d ranges and %+v, want it whole: %s", len(m.Free), m.Parts, why)
	}
}

// TestFATDoubt is what makes a FAT doubtful.
func TestFATDoubt(t *testing.T) {
	need(t, "mkfs.fat", "mcopy", "mdel")
	dir := t.TempDir()
	image, from := filepath.Join(dir, "image"), filepath.Join(dir, "from")
	gone := tree(t, from, 4<<20)
	mkfat(t, image, 40, "-F 32 -s 1", from, gone)
	old := filepath.Join(dir, "old")
	mkfat(t, old, 20, "-F 16 -s 4", from, gone)
	for _, c := range []struct {
		image, why string
		off        int64
		b          []byte
	}{
		{image, "not unmounted", 0x41, []byte{1}},
		{image, "not unmounted", 0x41, []byte{2}},
		{old, "not unmounted", 0x25, []byte{1}},
		{image, "tables differ", 32*512 + 4*1000 + 1, []byte{0x55}},
		{image, "information sector", 512, []byte{0}},
		{image, "number of free clusters", 512 + 488, []byte{1, 0, 0, 0}},
		{image, "backup", 6*512 + 13, []byte{2}},
		{image, "kind of FAT32", 42, []byte{1}},
		{image, "kind of FAT32", 40, []byte{0x80}},
		{image, "two tables", 16, []byte{1}},
		{image, "clusters have", 13, []byte{3}},
		{image, "larger than", 35, []byte{1}},
		{image, "traces of LVM", 1024, []byte("LABELONE")},
		{image, "both ext and FAT", 1024 + 0x38, []byte{0x53, 0xef}},
	} {
		t.Run(fmt.Sprint(c.why, c.off), func(t *testing.T) {
			wholeAfter(t, c.image, c.why, func(file string) { edit(t, file, c.off, c.b...) })
		})
	}
	f := readFAT(t, image)
	both := func(t *testing.T, why string, entry int64, value uint32) {
		wholeAfter(t, image, why, func(file string) {
			b := le.AppendUint32(nil, value)
			for i := range int64(2) {
				edit(t, file, (f.reserved+i*f.sectors)*f.sector+4*entry, b...)
			}
		})
	}
	t.Run("windows", func(t *testing.T) { both(t, "not unmounted", 1, 0x07ffffff) })
	t.Run("begin", func(t *testing.T) { both(t, "begin", 0, 0x0ffffff0) })
	t.Run("short table", func(t *testing.T) {
		wholeAfter(t, old, "too short", func(file string) {
			check(t, os.Truncate(file, 60<<20))
			edit(t, file, 19, 0, 0)
			edit(t, file, 32, bytes32(60<<11)...)
		})
	})
	t.Run("dot", func(t *testing.T) {
		data, err := os.ReadFile(image)
		check(t, err)
		at := bytes.Index(data, []byte(".          \x10"))
		wholeAfter(t, image, "damaged", func(file string) { edit(t, file, int64(at)+26, data[at+26]+1) })
	})
	// A file's first cluster becomes free, the end, bad, and another file's, in both tables.
	first := int64(0)
	for c := int64(3); c < f.clusters && first == 0; c++ {
		if next := f.entry(c); next == uint32(c+1) {
			first = c
		}
	}
	for _, value := range []uint32{0, 0x0fffffff, 0x0ffffff7, 2, 1, 0x0fff0000, uint32(first)} {
		t.Run(fmt.Sprintf("chain-%x", value), func(t *testing.T) {
			wholeAfter(t, image, "damaged", func(file string) {
				// Not even the number of free clusters tells.
				edit(t, file, 512+488, 0xff, 0xff, 0xff, 0xff)
				b := le.AppendUint32(nil, value)
				for i := range int64(2) {
					edit(t, file, (f.reserved+i*f.sectors)*f.sector+4*first, b...)
				}
			})
		})
	}
}

// readFAT is the file system in an image.
func readFAT(t testing.TB, image string) *fat {
	t.Helper()
	file, err := os.Open(image)
	check(t, err)
	t.Cleanup(func() { file.Close() })
	info, err := file.Stat()
	check(t, err)
	f := &fat{r: file}
	f.boot, err = read(file, 0, 512)
	check(t, err)
	check(t, f.geometry(info.Size()))
	check(t, f.readTable())
	return f
}
