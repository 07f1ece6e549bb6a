//go:build linux

package blockmap

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// doubtful is an image of ext that is then changed in one way after the other.
func doubtful(t *testing.T, args string, mib int64) (image string, e *ext) {
	t.Helper()
	dir := t.TempDir()
	image, from := filepath.Join(dir, "image"), filepath.Join(dir, "from")
	gone := tree(t, from, 4<<20)
	if strings.Contains(args, "mmp") {
		gone = nil // debugfs would wait for another machine
	}
	mkext(t, image, mib, args, from, gone)
	if m, _ := findIn(t, image); m.Parts[0].Whole != "" {
		t.Fatalf("it is doubtful already: %s", m.Parts[0].Whole)
	}
	f, err := os.Open(image)
	check(t, err)
	t.Cleanup(func() { f.Close() })
	e = &ext{r: f}
	e.super, err = read(f, 1024, 1024)
	check(t, err)
	e.compat, e.incompat, e.readonlyCompat = e.u32(0x5c), e.u32(0x60), e.u32(0x64)
	check(t, e.checkSum())
	check(t, e.geometry(mib<<20))
	check(t, e.readGroups())
	return image, e
}

// change changes bytes of the superblock, and has its checksum be right.
func (e *ext) change(t *testing.T, file string, off int64, b ...byte) {
	t.Helper()
	s := append([]byte(nil), e.super...)
	copy(s[off:], b)
	if e.readonlyCompat&roMetadataCSum != 0 {
		le.PutUint32(s[0x3fc:], crc32C(^uint32(0), s[:0x3fc]))
	}
	edit(t, file, 1024, s...)
}

func bytes32(n uint32) []byte { return le.AppendUint32(nil, n) }

// TestExtDoubt is what makes an ext4 doubtful, all checksums being right.
func TestExtDoubt(t *testing.T) {
	need(t, "mke2fs", "debugfs")
	image, e := doubtful(t, "-t ext4 -b 1024 -O mmp", 20)
	for _, c := range []struct {
		name, why string
		off       int64
		b         []byte
	}{
		{"recover", "replayed", 0x60, bytes32(e.incompat | incompatRecover)},
		{"not valid", "not unmounted", 0x3a, []byte{0}},
		{"errors", "not unmounted", 0x3a, []byte{3}},
		{"orphans being cleared", "not unmounted", 0x3a, []byte{5}},
		{"error count", "not unmounted", 0x194, bytes32(1)},
		{"orphan", "deleted files", 0xe8, bytes32(12)},
		{"orphan file", "deleted files", 0x64, bytes32(e.readonlyCompat | roOrphanPresent)},
		{"compression", "incompatible 0x1)", 0x60, bytes32(e.incompat | 0x1)},
		{"journal device", "incompatible 0x8)", 0x60, bytes32(e.incompat | 0x8)},
		{"dirdata", "incompatible 0x1000)", 0x60, bytes32(e.incompat | 0x1000)},
		{"future", "incompatible 0x80000000)", 0x60, bytes32(e.incompat | 0x80000000)},
		{"bigalloc", "bigalloc", 0x64, bytes32(e.readonlyCompat | roBigAlloc)},
		{"replica", "read-only 0x800)", 0x64, bytes32(e.readonlyCompat | 0x800)},
		{"shared blocks", "read-only 0x4000)", 0x64, bytes32(e.readonlyCompat | 0x4000)},
		{"two checksums", "two kinds", 0x64, bytes32(e.readonlyCompat | roGDTCSum)},
		{"revision", "revision", 0x4c, bytes32(0)},
		{"block size", "unknown size", 0x18, bytes32(40)},
		{"cluster size", "no blocks", 0x1c, bytes32(2)},
		{"groups", "unknown size", 0x20, make([]byte, 8)},
		{"inode size", "unknown size", 0x58, []byte{255, 0}},
		{"descriptor size", "unknown size", 0xfe, []byte{65, 0}},
		{"first block", "not the first", 0x14, bytes32(0)},
		{"too large", "larger than", 0x4, bytes32(20<<10 + 1)},
		{"enormous", "larger than", 0x150, bytes32(0xffffffff)},
		{"inodes", "number of inodes", 0x0, bytes32(e.u32(0) + 8)},
		{"free blocks", "free blocks, and says", 0xc, bytes32(e.u32(0xc) - 1)},
		{"reserved blocks", "backup", 0xce, []byte{1, 0}},
		{"other journal", "another device", 0xe0, bytes32(9)},
		{"mmp", "two mounts", 0x168, bytes32(0xffffff)},
		{"checksum kind", "checksum of its superblock", 0x175, []byte{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wholeAfter(t, image, c.why, func(file string) { e.change(t, file, c.off, c.b...) })
		})
	}
	t.Run("superblock", func(t *testing.T) {
		wholeAfter(t, image, "checksum of its superblock", func(file string) { edit(t, file, 1024+0x78, 'x') }) // the label
	})
	t.Run("descriptor", func(t *testing.T) {
		wholeAfter(t, image, "checksum of its group 0", func(file string) { edit(t, file, 2048+0x10, 99) }) // the number of directories
	})
	t.Run("bitmap", func(t *testing.T) {
		wholeAfter(t, image, "checksum of its group 0's map", func(file string) {
			edit(t, file, int64(e.desc[0].bitmap)*e.blockSize+1023, 0x3f, 0xff)
		})
	})
	t.Run("mounted elsewhere", func(t *testing.T) {
		wholeAfter(t, image, "another machine", func(file string) {
			edit(t, file, int64(le.Uint64(e.super[0x168:]))*e.blockSize+4, bytes32(0x12345678)...)
		})
	})
	for name, text := range map[string]struct {
		off  int64
		b    string
		what string
	}{
		"lvm":  {512, "LABELONE", "LVM"},
		"luks": {0, "LUKS\xba\xbe", "LUKS"},
		"xfs":  {0, "XFSB", "XFS"},
		"raid": {20<<20 - 65536, "\xfc\x4e\x2b\xa9", "RAID"},
		"ntfs": {3, "NTFS    ", "NTFS"},
	} {
		t.Run(name, func(t *testing.T) {
			wholeAfter(t, image, "traces of "+text.what, func(file string) { edit(t, file, text.off, []byte(text.b)...) })
		})
	}
	t.Run("table", func(t *testing.T) {
		wholeAfter(t, image, "a file system and a partition table", func(file string) { writeMBR(t, file, mbrEntry{kind: 0x83, start: 2048, count: 2048}) })
	})
}

// TestExtDoubtOld is what makes an ext3 doubtful, which has no checksums.
func TestExtDoubtOld(t *testing.T) {
	need(t, "mke2fs", "debugfs")
	image, e := doubtful(t, "-t ext3 -b 1024", 20)
	desc := int64(2048)
	group := func(off int64) int64 { return desc + 32 + off } // of the second one
	for _, c := range []struct {
		name, why string
		off       int64
		b         []byte
	}{
		{"group's free blocks", "group 1 has", group(0xc), []byte{1, 2}},
		{"flag", "flags", group(0x12), []byte{2}},
		{"unknown flag", "flags", group(0x12), []byte{0x80}},
		{"bitmap out of bounds", "out of bounds", group(0), bytes32(0xfffffff0)},
		{"bitmap at the start", "out of bounds", group(0), bytes32(0)},
		{"table beyond the end", "out of bounds", group(8), bytes32(20<<10 - 2)},
		{"another group's bitmap", "overlap", group(0), bytes32(uint32(e.desc[0].bitmap))},
		{"bitmap in the table", "overlap", group(0), bytes32(uint32(e.desc[0].table + 3))},
		{"another bitmap", "", group(0), bytes32(uint32(e.desc[1].table + 1000))},
		{"free beyond the end", "beyond the end", int64(e.desc[2].bitmap)*1024 + 600, []byte{0xfe}},
		{"maps that are free", "calls its own maps free", int64(e.desc[1].bitmap) * 1024, []byte{0xfe}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wholeAfter(t, image, c.why, func(file string) { edit(t, file, c.off, c.b...) })
		})
	}
	// Where the journal begins: an indirect map's first block.
	inode, err := read(e.r, int64(e.desc[0].table)*1024+7*e.inodeSize, 128)
	check(t, err)
	journal, err := e.firstBlock(inode)
	check(t, err)
	for name, c := range map[string]struct {
		why string
		off int64
		b   []byte
	}{
		"journal not empty":     {"not empty", 0x1c, binary.BigEndian.AppendUint32(nil, 1)},
		"journal with an error": {"not empty", 0x20, binary.BigEndian.AppendUint32(nil, 5)},
		"no journal":            {"in doubt", 0, []byte{0}},
	} {
		t.Run(name, func(t *testing.T) {
			wholeAfter(t, image, c.why, func(file string) { edit(t, file, int64(journal)*1024+c.off, c.b...) })
		})
	}
	t.Run("one bit more, one bit less", func(t *testing.T) {
		// What only the sum of all groups tells: a group that says what its wrong map says.
		wholeAfter(t, image, "it has", func(file string) {
			d := e.desc[2]
			b, err := read(e.r, int64(d.bitmap)*1024, 1024)
			check(t, err)
			edit(t, file, int64(d.bitmap)*1024+400, b[400]^1)
			free := uint16(d.free - 1)
			if b[400]&1 != 0 {
				free = uint16(d.free + 1)
			}
			edit(t, file, desc+2*32+0xc, byte(free), byte(free>>8))
		})
	})
}
