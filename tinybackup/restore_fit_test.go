package tinybackup

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"tinybackup/internal/archive"
	"tinybackup/internal/device"
)

const mib = 1 << 20

// mbrImage is an image of size bytes with these partitions, in MiB: from, to.
func mbrImage(size int, parts ...[2]int) []byte {
	b := make([]byte, size)
	for i, p := range parts {
		e := b[446+16*i:]
		e[4] = 0x83
		binary.LittleEndian.PutUint32(e[8:], uint32(p[0]*mib/512))
		binary.LittleEndian.PutUint32(e[12:], uint32((p[1]-p[0])*mib/512))
	}
	b[510], b[511] = 0x55, 0xaa
	return b
}

// gptImage is the same with a GPT (UEFI specification 2.10, 5.3).
func gptImage(size int, parts ...[2]int) []byte {
	le := binary.LittleEndian
	b := make([]byte, size)
	b[446+4] = 0xee
	le.PutUint32(b[446+8:], 1)
	le.PutUint32(b[446+12:], uint32(size/512-1))
	b[510], b[511] = 0x55, 0xaa
	entries := make([]byte, 128*128)
	for i, p := range parts {
		e := entries[128*i:]
		copy(e, "a type and a GUID of a partition")
		le.PutUint64(e[32:], uint64(p[0]*mib/512))
		le.PutUint64(e[40:], uint64(p[1]*mib/512-1))
	}
	last := uint64(size/512 - 1)
	for _, h := range []struct{ my, other, entries uint64 }{{1, last, 2}, {last, 1, last - 32}} {
		copy(b[h.entries*512:], entries)
		head := b[h.my*512:][:92]
		copy(head, "EFI PART")
		le.PutUint32(head[8:], 0x10000)
		le.PutUint32(head[12:], 92)
		le.PutUint64(head[24:], h.my)
		le.PutUint64(head[32:], h.other)
		le.PutUint64(head[40:], 34)
		le.PutUint64(head[48:], last-33)
		le.PutUint64(head[72:], h.entries)
		le.PutUint32(head[80:], 128)
		le.PutUint32(head[84:], 128)
		le.PutUint32(head[88:], crc32.ChecksumIEEE(entries))
		le.PutUint32(head[16:], crc32.ChecksumIEEE(head))
	}
	return b
}

// put puts text into an image.
func put(b []byte, off int, text string) []byte {
	copy(b[off:], text)
	return b
}

// TestFit asks how much of an image goes onto a device.
func TestFit(t *testing.T) {
	for _, c := range []struct {
		what  string
		image []byte
		disk  int64
		want  int64  // 0: it does not fit
		says  string // in the error, the note or the warning
		warns bool
	}{
		{"as large", put(make([]byte, 5*mib), 4*mib, "data"), 5 * mib, 5 * mib, "", false},
		{"larger", put(make([]byte, 5*mib), 4*mib, "data"), 6 * mib, 5 * mib, "", false},
		{"smaller, no table", make([]byte, 5*mib), 4 * mib, 0, "no partition table", false},
		{"smaller, MBR fits", mbrImage(9*mib, [2]int{1, 3}, [2]int{3, 7}), 7 * mib, 7 * mib, "the last 2.0 MiB of that", false},
		{"smaller, MBR fits, data behind", put(mbrImage(9*mib, [2]int{1, 3}, [2]int{3, 7}), 7*mib, "data"), 7 * mib, 7 * mib, "are not empty", true},
		{"smaller, MBR fits, data before the end", put(mbrImage(9*mib, [2]int{1, 3}), 7*mib-4, "data"), 7 * mib, 7 * mib, "the last 2.0 MiB", false},
		{"smaller, MBR does not fit", mbrImage(9*mib, [2]int{1, 3}, [2]int{3, 7}), 7*mib - 512, 0, "its partitions take 7.0 MiB (7340032 bytes)", false},
		{"smaller, bad MBR", mbrImage(9*mib, [2]int{1, 3}, [2]int{2, 5}), 7 * mib, 0, "overlap", false},
		{"smaller, GPT fits", gptImage(9*mib, [2]int{1, 6}), 7 * mib, 7 * mib, "the last 2.0 MiB of that", false},
		{"smaller, GPT fits, data behind", put(gptImage(9*mib, [2]int{1, 6}), 8*mib, "data"), 7 * mib, 7 * mib, "are not empty", true},
		{"smaller, GPT fits without its copy", gptImage(9*mib, [2]int{1, 7}), 7 * mib, 0, "its partitions take 7.0 MiB", false},
		{"smaller, GPT damaged", put(gptImage(9*mib, [2]int{1, 6}), 9*mib-500, "x"), 7 * mib, 0, "in doubt", false},
	} {
		r := &RestoreReport{}
		d := &deviceRestore{report: r, dev: &device.Device{Info: device.Info{Path: "/dev/sdx", Size: c.disk, Sector: 512}}}
		d.seen = &imageScan{limit: c.disk, beyond: -1}
		for chunk := range slices.Chunk(c.image, 100_000) {
			if n, err := d.seen.Write(chunk); n != len(chunk) || err != nil {
				t.Fatal(n, err)
			}
		}
		got, err := d.fit()
		said := strings.Join(append(r.Notes, r.Warnings...), "\n")
		if err != nil {
			said = err.Error()
		}
		if got != c.want || (err == nil) != (c.want > 0) || !strings.Contains(said, c.says) || (r.WarningCount > 0) != c.warns {
			t.Errorf("%s: got %d, %v, %q; want %d and %q", c.what, got, err, said, c.want, c.says)
		}
		if c.want == 0 && (!strings.Contains(said, "onto /dev/sdx") || !strings.Contains(said, Size(c.disk).String())) {
			t.Errorf("%s: %q does not tell both sizes", c.what, said)
		}
	}
}

// TestFitKnown goes by the manifest, when nothing was read yet.
func TestFitKnown(t *testing.T) {
	d := &deviceRestore{dev: &device.Device{Info: device.Info{Size: 10}}}
	d.manifest = &archive.Manifest{Raw: 7}
	if n, err := d.fit(); n != 7 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

// TestFinish tells of a GPT that ends elsewhere, or that the device has other sectors.
func TestFinish(t *testing.T) {
	for _, c := range []struct {
		image        []byte
		disk, sector int64
		note, warn   string
	}{
		{gptImage(3*mib, [2]int{1, 2}), 3 * mib, 512, "", ""},
		{gptImage(3*mib, [2]int{1, 2}), 4 * mib, 512, "sgdisk -e /dev/sdx", ""},
		{gptImage(3*mib, [2]int{1, 2}), 3 * mib, 4096, "", "sectors of 512 bytes"},
		{mbrImage(3*mib, [2]int{1, 2}), 4 * mib, 512, "", ""},
	} {
		r := &RestoreReport{}
		d := &deviceRestore{report: r, dev: &device.Device{Info: device.Info{Path: "/dev/sdx", Size: c.disk, Sector: c.sector}}}
		d.seen = &imageScan{limit: c.disk, beyond: -1}
		if _, err := d.seen.Write(c.image); err != nil {
			t.Fatal(err)
		}
		d.tellGPT()
		notes, warns := strings.Join(r.Notes, "\n"), strings.Join(r.Warnings, "\n")
		if !strings.Contains(notes, c.note) || (notes == "") != (c.note == "") || !strings.Contains(warns, c.warn) || (warns == "") != (c.warn == "") {
			t.Errorf("%d bytes on %d, sectors of %d: got %q, %q", len(c.image), c.disk, c.sector, notes, warns)
		}
	}
}
