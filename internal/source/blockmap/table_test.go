//go:build linux

package blockmap

import (
	"bytes"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeMBR writes a partition table.
func writeMBR(t testing.TB, file string, entries ...mbrEntry) {
	t.Helper()
	edit(t, file, 446, mbrBytes(entries...)...)
}

func mbrBytes(entries ...mbrEntry) []byte {
	b := make([]byte, 66)
	for i, e := range entries {
		b[16*i], b[16*i+4] = e.status, e.kind
		le.PutUint32(b[16*i+8:], e.start)
		le.PutUint32(b[16*i+12:], e.count)
	}
	b[64], b[65] = 0x55, 0xaa
	return b
}

// gptPart is a partition of a GPT, in sectors.
type gptPart struct{ first, last uint64 }

// writeGPT writes a GPT with its backup, and the boot sector.
func writeGPT(disk []byte, sector int64, parts ...gptPart) {
	sectors := uint64(int64(len(disk)) / sector)
	copy(disk[446:], mbrBytes(mbrEntry{kind: mbrProtective, start: 1, count: uint32(sectors - 1)}))
	entries := make([]byte, 128*gptEntrySize)
	for i, p := range parts {
		e := entries[i*gptEntrySize:]
		e[0] = 1 // some type
		le.PutUint64(e[32:], p.first)
		le.PutUint64(e[40:], p.last)
	}
	table := uint64(int64(len(entries)) / sector)
	for _, h := range []struct{ at, other, entries uint64 }{{1, sectors - 1, 2}, {sectors - 1, 1, sectors - 1 - table}} {
		b := disk[int64(h.at)*sector:][:sector]
		clear(b)
		copy(b, gptSignature)
		le.PutUint32(b[8:], 0x10000)
		le.PutUint32(b[12:], 92)
		le.PutUint64(b[24:], h.at)
		le.PutUint64(b[32:], h.other)
		le.PutUint64(b[40:], 2+table)
		le.PutUint64(b[48:], sectors-2-table)
		copy(b[56:], "disk's own name.")
		le.PutUint64(b[72:], h.entries)
		le.PutUint32(b[80:], 128)
		le.PutUint32(b[84:], gptEntrySize)
		le.PutUint32(b[88:], crc32.ChecksumIEEE(entries))
		le.PutUint32(b[16:], crc32.ChecksumIEEE(b[:92]))
		copy(disk[int64(h.entries)*sector:], entries)
	}
}

// smallExt is an ext2 of 1 MiB, with a part of it free.
func smallExt(t testing.TB) []byte {
	t.Helper()
	image := filepath.Join(t.TempDir(), "small")
	garbage(t, image, 1<<20, 1<<20)
	run(t, "mke2fs", "-q", "-F", "-E", "nodiscard", "-t", "ext2", "-b", "1024", image)
	b, err := os.ReadFile(image)
	check(t, err)
	return b
}

const mib = 1 << 20

// disk makes one of 16 MiB of noise with small at these offsets.
func disk(small []byte, at ...int64) []byte {
	d := noise(16*mib, 5)
	clear(d[:4096*4])
	for _, off := range at {
		copy(d[off:], small)
	}
	return d
}

// moved is what is free in small, at each of the offsets.
func moved(small []byte, at ...int64) (out []Range) {
	free := Find(bytes.NewReader(small), int64(len(small)), 512).Free
	for _, off := range at {
		for _, x := range free {
			out = append(out, Range{off + x.Off, x.Len})
		}
	}
	return out
}

// TestTables finds partitions in each kind of table.
func TestTables(t *testing.T) {
	need(t, "mke2fs")
	small := smallExt(t)
	if len(moved(small, 0)) == 0 {
		t.Fatal("nothing is free in the small one")
	}
	linux := func(start, count uint32) mbrEntry { return mbrEntry{kind: 0x83, start: start, count: count} }
	boot := func(d []byte, entries ...mbrEntry) { copy(d[446:], mbrBytes(entries...)) }
	for _, c := range []struct {
		name   string
		sector int64
		at     []int64 // of the file systems
		free   []int64 // those of them that are found
		why    string  // why all of it is whole
		part   string  // why a part of it is
		make   func(d []byte)
	}{
		{name: "mbr", at: []int64{mib, 4 * mib}, free: []int64{mib, 4 * mib}, make: func(d []byte) { boot(d, linux(2048, 2048), linux(8192, 4096)) }},
		{name: "mbr, not in order", at: []int64{mib, 4 * mib}, free: []int64{mib, 4 * mib}, make: func(d []byte) { boot(d, linux(8192, 4096), linux(2048, 2048)) }},
		{name: "mbr, 4096", sector: 4096, at: []int64{mib}, free: []int64{mib}, make: func(d []byte) { boot(d, linux(256, 256)) }},
		{name: "outside of partitions", at: []int64{mib, 4 * mib}, free: []int64{4 * mib}, make: func(d []byte) { boot(d, linux(8192, 4096)) }},
		{name: "extended", at: []int64{mib, 4 * mib}, free: []int64{mib}, part: "extended", make: func(d []byte) {
			boot(d, linux(2048, 2048), mbrEntry{kind: 0x05, start: 8192, count: 4096})
		}},
		{name: "unknown", at: []int64{mib}, free: []int64{mib}, part: "no file system", make: func(d []byte) { boot(d, linux(2048, 2048), linux(8192, 4096)) }},
		{name: "cut off", at: []int64{mib}, part: "larger than its partition", make: func(d []byte) { boot(d, linux(2048, 2047)) }},
		{name: "tiny", at: []int64{mib}, part: "no file system", make: func(d []byte) { boot(d, linux(2048, 100)) }},
		{name: "overlap", at: []int64{mib}, why: "overlap", make: func(d []byte) { boot(d, linux(2048, 2048), linux(4095, 2048)) }},
		{name: "beyond the end", at: []int64{mib}, why: "beyond", make: func(d []byte) { boot(d, linux(2048, 2048), linux(8192, 32768)) }},
		{name: "senseless", at: []int64{mib}, why: "no sense", make: func(d []byte) { boot(d, linux(2048, 2048), mbrEntry{status: 7, kind: 1, start: 1, count: 1}) }},
		{name: "two claims", at: []int64{mib, 0}, why: "", part: "and a partition table", make: func(d []byte) { boot(d, linux(2048, 2048)) }},
		{name: "two claims, gpt", at: []int64{0}, why: "and is a file system", make: func(d []byte) { copy(d[512:], gptSignature) }},
		{name: "RAID of disks", at: []int64{mib}, why: "traces of RAID", make: func(d []byte) {
			boot(d, linux(2048, 2048))
			copy(d[4096:], "\xfc\x4e\x2b\xa9")
		}},
		{name: "table in a partition", at: []int64{mib}, part: "and a partition table", make: func(d []byte) {
			boot(d, linux(2048, 2048))
			boot(d[mib:], linux(1, 1))
		}},
		{name: "no table", why: "", part: "no file system", make: func(d []byte) {}},
		{name: "gpt", at: []int64{mib, 4 * mib}, free: []int64{mib, 4 * mib}, make: func(d []byte) { writeGPT(d, 512, gptPart{2048, 4095}, gptPart{8192, 9000 + 2048}) }},
		{name: "gpt, 4096", sector: 4096, at: []int64{mib}, free: []int64{mib}, make: func(d []byte) { writeGPT(d, 4096, gptPart{256, 511}) }},
		{name: "gpt, 4096 on 512", at: []int64{mib}, free: []int64{mib}, make: func(d []byte) { writeGPT(d, 4096, gptPart{256, 511}) }},
		{name: "gpt overlap", at: []int64{mib}, why: "overlap", make: func(d []byte) { writeGPT(d, 512, gptPart{2048, 4095}, gptPart{4095, 5000}) }},
		{name: "gpt out of bounds", at: []int64{mib}, why: "none may be", make: func(d []byte) { writeGPT(d, 512, gptPart{2048, 4095}, gptPart{8192, 1 << 40}) }},
		{name: "gpt upside down", at: []int64{mib}, why: "none may be", make: func(d []byte) { writeGPT(d, 512, gptPart{4095, 2048}) }},
		{name: "gpt header", at: []int64{mib}, why: "in doubt: its checksum", make: func(d []byte) { writeGPT(d, 512, gptPart{2048, 4095}); d[512+40]++ }},
		{name: "gpt entries", at: []int64{mib}, why: "entries is wrong", make: func(d []byte) { writeGPT(d, 512, gptPart{2048, 4095}); d[1024+33]++ }},
		{name: "gpt backup", at: []int64{mib}, why: "backup", make: func(d []byte) { writeGPT(d, 512, gptPart{2048, 4095}); d[len(d)-512+88]++ }},
		{name: "gpt without boot sector", at: []int64{mib}, why: "without the boot sector", make: func(d []byte) { writeGPT(d, 512, gptPart{2048, 4095}); clear(d[:512]) }},
		{name: "gpt gone", at: []int64{mib}, why: "there is none", make: func(d []byte) { writeGPT(d, 512, gptPart{2048, 4095}); clear(d[512:1024]) }},
		{name: "gpt under mbr", at: []int64{mib}, why: "without the boot sector", make: func(d []byte) { writeGPT(d, 512, gptPart{2048, 4095}); boot(d, linux(2048, 2048)) }},
		{name: "hybrid", at: []int64{mib}, why: "hybrid", make: func(d []byte) {
			writeGPT(d, 512, gptPart{2048, 4095})
			boot(d, mbrEntry{kind: mbrProtective, start: 1, count: 2047}, linux(2048, 2048))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := disk(small, c.at...)
			c.make(d)
			m := Find(bytes.NewReader(d), int64(len(d)), c.sector)
			checkOrder(t, m, int64(len(d)))
			if want := moved(small, c.free...); !slices.Equal(m.Free, want) {
				t.Errorf("free: got %v, want %v", m.Free, want)
			}
			why := ""
			for _, p := range m.Parts {
				if p.Whole != "" {
					why = p.Whole
				}
			}
			want := c.why + c.part
			if !strings.Contains(why, want) || want == "" && why != "" {
				t.Errorf("read whole: got %q, want %q in %+v", why, want, m.Parts)
			}
			if c.why != "" && (len(m.Parts) != 1 || m.Parts[0].Len != int64(len(d))) {
				t.Errorf("parts: got %+v, want the whole disk", m.Parts)
			}
		})
	}
}

// TestFreeList forgets the shortest ranges when there are too many.
func TestFreeList(t *testing.T) {
	l := freeList{limit: 100}
	var long []Range
	for i := range int64(10_000) {
		n := int64(512)
		if i%200 == 0 {
			n = 64 << 10
			long = append(long, Range{i << 20, n})
		}
		l.add(i<<20, n)
	}
	got := l.done()
	if len(got) > 100 {
		t.Errorf("%d ranges, want at most 100", len(got))
	}
	for _, x := range long {
		if !slices.Contains(got, x) {
			t.Errorf("the long range %v is forgotten", x)
		}
	}
	l = freeList{}
	l.add(10, 5)
	l.add(15, 5)
	if want := []Range{{10, 10}}; !slices.Equal(l.done(), want) {
		t.Errorf("got %v, want %v", l.done(), want)
	}
}
