//go:build linux

package blockmap

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// padded is an image that goes on with zeros up to its size.
type padded struct {
	*bytes.Reader
	size int64
}

func (p padded) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off >= p.size {
		return 0, io.EOF
	}
	n := min(int64(len(b)), p.size-off)
	clear(b[:n])
	if off < p.Size() {
		if _, err := p.Reader.ReadAt(b[:n], off); err != nil && err != io.EOF {
			return 0, err
		}
	}
	if n < int64(len(b)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// mostMemory is what finding may allocate in all, in bytes, whatever a disk says.
const mostMemory = 256 << 20

// fuzz holds that no disk makes Find panic, name what is not there or take too
// much memory.
func fuzz(t *testing.T, data []byte, more uint32) {
	size := int64(len(data)) + int64(more)*512
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m := Find(padded{bytes.NewReader(data), size}, size, 512)
	runtime.ReadMemStats(&after)
	checkOrder(t, m, size)
	if used := after.TotalAlloc - before.TotalAlloc; used > mostMemory {
		t.Errorf("it took %d bytes of memory", used)
	}
}

// head is the first part of an image, what follows being zeros.
func head(t testing.TB, image string, most int) []byte {
	t.Helper()
	data, err := os.ReadFile(image)
	check(t, err)
	return data[:min(len(data), most)]
}

// fuzzEdits damages one of the images: each four bytes are an offset of three, and
// what is flipped there. A mutated image would be one of a kind that is not known.
func fuzzEdits(f *testing.F, images ...[]byte) {
	f.Add(uint8(0), []byte{}, uint32(1<<12))
	f.Add(uint8(1), []byte{0, 4, 0x20, 0xff, 0, 4, 0x21, 1}, uint32(1<<31))
	f.Add(uint8(1), []byte{0, 0, 13, 0xff, 0, 0, 36, 0x80}, uint32(1<<24))
	f.Fuzz(func(t *testing.T, which uint8, edits []byte, more uint32) {
		data := bytes.Clone(images[int(which)%len(images)])
		for ; len(edits) >= 4; edits = edits[4:] {
			at := int(edits[0])<<16 | int(edits[1])<<8 | int(edits[2])
			data[at%len(data)] ^= edits[3]
		}
		fuzz(t, data, more)
	})
}

func FuzzExt(f *testing.F) {
	need(f, "mke2fs")
	dir := f.TempDir()
	var images [][]byte
	for name, args := range map[string][]string{
		"2": {"-t", "ext2", "-b", "1024"},
		"3": {"-t", "ext3", "-b", "1024", "-g", "256"},
		"4": {"-t", "ext4", "-b", "1024", "-O", "^resize_inode"},
		"m": {"-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^metadata_csum", "-g", "256"},
	} {
		image := filepath.Join(dir, name)
		garbage(f, image, 2<<20, 0)
		run(f, "mke2fs", append(append([]string{"-q", "-F"}, args...), image)...)
		images = append(images, head(f, image, 1<<20))
	}
	fuzzEdits(f, images...)
}

func FuzzFAT(f *testing.F) {
	need(f, "mkfs.fat")
	dir := f.TempDir()
	garbage(f, filepath.Join(dir, "16"), 4<<20, 0)
	run(f, "mkfs.fat", "-F", "16", "-s", "1", "-a", filepath.Join(dir, "16"))
	garbage(f, filepath.Join(dir, "32"), 40<<20, 0)
	run(f, "mkfs.fat", "-F", "32", "-s", "1", filepath.Join(dir, "32"))
	fuzzEdits(f, head(f, filepath.Join(dir, "16"), 128<<10), head(f, filepath.Join(dir, "32"), 640<<10))
}

func FuzzTable(f *testing.F) {
	gpt, mbr := make([]byte, 256<<10), make([]byte, 64<<10)
	writeGPT(gpt, 512, gptPart{64, 100}, gptPart{200, 300})
	copy(mbr[446:], mbrBytes(mbrEntry{kind: 0x83, start: 64, count: 32}, mbrEntry{kind: 5, start: 96, count: 2}))
	fuzzEdits(f, gpt, mbr)
}

// TestHostile gives numbers that would take all memory, or overflow, if they were
// believed.
func TestHostile(t *testing.T) {
	need(t, "mke2fs", "mkfs.fat")
	small := smallExt(t)
	for off := 0; off < 0x180; off += 4 {
		for _, n := range []uint32{0, 1, 0x7fffffff, 0x80000000, 0xffffffff} {
			d := bytes.Clone(small)
			le.PutUint32(d[1024+off:], n)
			fuzz(t, d, 1<<31)
		}
	}
	// More groups than memory is for, all numbers being in order.
	d := bytes.Clone(small)
	const blocks, perGroup, inodes = 1 << 30, 256, 8
	for off, n := range map[int]uint32{0x0: blocks / perGroup * inodes, 0x4: blocks, 0x20: perGroup, 0x24: perGroup, 0x28: inodes} {
		le.PutUint32(d[1024+off:], n)
	}
	m := Find(padded{bytes.NewReader(d), 2 * blocks * 1024}, 2*blocks*1024, 512)
	if want := "it is too large"; m.Parts[0].Whole != want {
		t.Errorf("with %d groups: got %q, want %q", blocks/perGroup, m.Parts[0].Whole, want)
	}
	image := filepath.Join(t.TempDir(), "fat")
	garbage(t, image, 40<<20, 0)
	run(t, "mkfs.fat", "-F", "32", "-s", "1", image)
	fat, err := os.ReadFile(image)
	check(t, err)
	fat = fat[:1<<20]
	for off := 11; off < 90; off++ {
		for _, n := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			d := bytes.Clone(fat)
			d[off] = n
			fuzz(t, d, 1<<31)
		}
	}
}
