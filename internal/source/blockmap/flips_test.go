//go:build linux

package blockmap

import (
	"bytes"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// flips is how many random damages each of the images gets: some, or, with
// TINYBACKUP_TORTURE=1, a hundred thousand in all.
func flips(images int) int {
	if os.Getenv("TINYBACKUP_TORTURE") != "" {
		return 100_000/images + 1
	}
	return 500
}

// flipped are the file systems that are damaged.
var flipped = []struct {
	name, args string
	mib        int64
}{
	{"ext4-1k", "-t ext4 -b 1024", 20},
	{"ext4-4k", "-t ext4 -b 4096 -g 1024", 20},
	{"ext4-uninit", "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg", 40},
	{"ext4-no-csum", "-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg", 20},
	{"ext3-1k", "-t ext3 -b 1024", 20},
	{"ext2-1k", "-t ext2 -b 1024", 20},
	{"ext2-4k", "-t ext2 -b 4096 -g 1024", 20},
	{"meta_bg", "-t ext4 -b 1024 -O meta_bg,^resize_inode", 20},
	{"FAT32", "-F 32 -s 1", 40},
	{"FAT16", "-F 16 -s 4", 20},
}

// TestFlips damages what says where files are, and holds that no block is called
// free that was not called so before. Damage that nothing in the file system could
// tell is left out: within a bitmap without a checksum, as many blocks that become
// free as become used.
func TestFlips(t *testing.T) {
	need(t, "mke2fs", "debugfs", "mkfs.fat", "mcopy", "mdel")
	for i, v := range flipped {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			image, from := filepath.Join(dir, "image"), filepath.Join(dir, "from")
			gone := tree(t, from, 4<<20)
			if v.args[1] == 'F' {
				mkfat(t, image, v.mib, v.args, from, gone)
			} else {
				mkext(t, image, v.mib, v.args, from, gone)
			}
			disk, err := os.ReadFile(image)
			check(t, err)
			d := newDamager(t, disk, uint64(i))
			if whole := d.want.Parts[0].Whole; whole != "" {
				t.Fatalf("read whole: %s", whole)
			}
			for range flips(len(flipped)) {
				d.damage(t)
			}
			t.Logf("%d damages: %d were seen, %d changed nothing, %d could not be seen", d.seen+d.harmless+d.unseen, d.seen, d.harmless, d.unseen)
			if d.seen == 0 {
				t.Error("no damage was seen")
			}
			if !bytes.Equal(disk, d.clean) {
				t.Error("the image was not put back") // a fault of the test
			}
		})
	}
}

// damager flips bits of what a file system says of itself.
type damager struct {
	disk, clean            []byte
	want                   Map
	used                   []bool // by sector: not free, and so never to be
	areas, bitmaps         []Range
	rng                    *rand.Rand
	seen, harmless, unseen int
}

func newDamager(t testing.TB, disk []byte, seed uint64) *damager {
	d := &damager{disk: disk, clean: bytes.Clone(disk), rng: rand.New(rand.NewPCG(seed, 11))}
	r := bytes.NewReader(disk)
	d.want = Find(r, int64(len(disk)), 512)
	d.used = make([]bool, len(disk)/512)
	for i := range d.used {
		d.used[i] = true
	}
	for _, x := range d.want.Free {
		for at := x.Off; at < x.Off+x.Len; at += 512 {
			d.used[at/512] = false
		}
	}
	if looksFAT(disk) {
		f := &fat{r: r, boot: disk[:512]}
		check(t, f.geometry(int64(len(disk))))
		table := f.reserved * f.sector
		// The boot sector, the information sector, the backup, the start of both tables.
		d.areas = []Range{{11, 85}, {512, 512}, {6*512 + 11, 85}, {table, 4096}, {table + f.sectors*f.sector, 4096}, {f.data - f.rootLen, max(f.rootLen, 4096)}}
		return d
	}
	e := &ext{r: r}
	var err error
	e.super, err = read(r, 1024, 1024)
	check(t, err)
	e.compat, e.incompat, e.readonlyCompat = e.u32(0x5c), e.u32(0x60), e.u32(0x64)
	check(t, e.checkSum())
	check(t, e.geometry(int64(len(disk))))
	check(t, e.readGroups())
	// Twice what matters most: the superblock's first half.
	d.areas = []Range{{1024, 1024}, {1024, 512}, {int64(e.desc[0].table) * e.blockSize, 8 * e.inodeSize}}
	for g := uint64(0); g < e.groups; g += uint64(e.blockSize / e.descSize) {
		at := int64(e.descBlock(g/uint64(e.blockSize/e.descSize))) * e.blockSize
		n := min(int64(e.groups-g), e.blockSize/e.descSize) * e.descSize
		d.areas = append(d.areas, Range{at, n}, Range{at, n})
	}
	for g, x := range e.desc {
		if x.unset {
			continue
		}
		n := min(e.perGroup, e.blocks-e.groupStart(uint64(g)))
		d.areas = append(d.areas, Range{int64(x.bitmap) * e.blockSize, int64(n / 8)})
		if e.readonlyCompat&roMetadataCSum == 0 {
			d.bitmaps = append(d.bitmaps, Range{int64(x.bitmap) * e.blockSize, int64(n / 8)})
		}
	}
	return d
}

// damage flips one to three bits, looks, and flips them back.
func (d *damager) damage(t *testing.T) {
	var at []int64
	for range 1 + d.rng.IntN(3) {
		area := d.areas[d.rng.IntN(len(d.areas))]
		off := area.Off + d.rng.Int64N(area.Len)
		d.disk[off] ^= 1 << d.rng.IntN(8)
		at = append(at, off)
	}
	m := Find(bytes.NewReader(d.disk), int64(len(d.disk)), 512)
	checkOrder(t, m, int64(len(d.disk)))
	switch bad := d.wrong(m); {
	case bad < 0 && total(m) < total(d.want):
		d.seen++
	case bad < 0:
		d.harmless++
	case d.balanced():
		d.unseen++
	default:
		var what []byte
		for _, off := range at {
			what = append(what, d.clean[off], d.disk[off])
		}
		t.Errorf("with the bytes at %#x damaged (from, to: %x), the used sector %d is free", at, what, bad)
	}
	for _, off := range at {
		d.disk[off] = d.clean[off]
	}
}

// wrong is the first sector that is free by m, and is used; -1: none.
func (d *damager) wrong(m Map) int64 {
	for _, x := range m.Free {
		for at := x.Off / 512; at < (x.Off+x.Len)/512; at++ {
			if d.used[at] {
				return at
			}
		}
	}
	return -1
}

// balanced says that a bitmap without a checksum is damaged in a way that leaves
// its number of free blocks.
func (d *damager) balanced() bool {
	for _, x := range d.bitmaps {
		now, was := d.disk[x.Off:x.Off+x.Len], d.clean[x.Off:x.Off+x.Len]
		if !bytes.Equal(now, was) && ones(now) == ones(was) {
			return true
		}
	}
	return false
}

func ones(b []byte) (n int) {
	for _, c := range b {
		n += bits.OnesCount8(c)
	}
	return n
}
