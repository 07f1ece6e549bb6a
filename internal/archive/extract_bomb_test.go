//go:build linux

package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// torture is set for "make torture".
var torture = os.Getenv("TINYBACKUP_TORTURE") != ""

// maxBombMemory is what anything hostile may have the program take, beside what it
// has a right to ask for, in bytes.
const maxBombMemory = 64 << 20

// memoryOf is how much f allocated, garbage included: more than it ever held.
func memoryOf(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// zeros is n bytes of zero.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// rawHeader is the block of a header that says size, whatever follows.
func rawHeader(t *testing.T, flag byte, name string, size int64) []byte {
	t.Helper()
	block := make([]byte, tarBlock)
	copy(block, name)
	copy(block[100:], "0000644\x000000000\x000000000\x00")
	if size >= 0 && size < 1<<33 {
		copy(block[124:], fmt.Sprintf("%011o\x00", size))
	} else { // GNU's base-256
		binary.BigEndian.PutUint64(block[128:], uint64(size))
		block[124] = 0x80
		if size < 0 {
			copy(block[124:], "\xff\xff\xff\xff")
		}
	}
	copy(block[136:], "00000001747\x00")
	block[156] = flag
	copy(block[257:], "ustar\x0000")
	return sumHeader(block)
}

// sumHeader sets the checksum of a header.
func sumHeader(block []byte) []byte {
	copy(block[148:], "        ")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
	return block
}

// oldSparse is a header of GNU tar's old format, for a file that is one hole.
func oldSparse(t *testing.T, name string, size int64) []byte {
	block := rawHeader(t, tar.TypeGNUSparse, name, 0)
	copy(block[257:], "ustar  \x00")
	copy(block[386:], fmt.Sprintf("%011o\x00%011o\x00", 0, 0))
	block[483] = 0x80
	binary.BigEndian.PutUint64(block[487:], uint64(size))
	return sumHeader(block)
}

// paxEntry is an empty file with such PAX records.
func paxEntry(t *testing.T, records ...string) []byte {
	var body []byte
	for _, r := range records {
		n := len(r) + 3
		for len(fmt.Sprintf("%d %s\n", n, r)) != n {
			n++
		}
		body = fmt.Appendf(body, "%d %s\n", n, r)
	}
	out := append(rawHeader(t, 'x', "pax", int64(len(body))), body...)
	return append(pad(out, int64(len(body))), rawHeader(t, '0', "f", 0)...)
}

// Headers that lie, and data without an end: an error in words, or a warning, and
// neither memory nor time goes with what they claim.
func TestExtractBombs(t *testing.T) {
	end := string(make([]byte, 1024))
	endless := int64(1) << 62
	for name, c := range map[string]struct {
		stream        io.Reader
		want, warning string // in the error, empty if there is none, and in the warnings
	}{
		"PAX records of gigabytes":     {io.MultiReader(newReader(rawHeader(t, 'x', "x", 4<<30)), zeros(endless)), "tar is damaged", ""},
		"PAX records of exabytes":      {io.MultiReader(newReader(rawHeader(t, 'x', "x", 1<<62)), zeros(endless)), "tar is damaged", ""},
		"global records of gigabytes":  {io.MultiReader(newReader(rawHeader(t, 'g', "g", 4<<30)), zeros(endless)), "tar is damaged", ""},
		"a long name of gigabytes":     {io.MultiReader(newReader(rawHeader(t, 'L', "L", 4<<30)), zeros(endless)), "tar is damaged", ""},
		"a long link of gigabytes":     {io.MultiReader(newReader(rawHeader(t, 'K', "K", 4<<30)), zeros(endless)), "tar is damaged", ""},
		"negative size":                {newReader(append(rawHeader(t, '0', "f", -1), end...)), "tar is damaged", ""},
		"size of exabytes":             {newReader(append(rawHeader(t, '0', "f", 1<<62), end...)), "tar ends too early", ""},
		"size beyond the end":          {newReader(append(rawHeader(t, '0', "f", 5000), end...)), "tar ends too early", ""},
		"size of a directory":          {newReader(append(rawHeader(t, '5', "d", 1<<40), end...)), "", ""},
		"size of a link":               {newReader(append(rawHeader(t, '2', "l", 1<<40), end...)), "", ""},
		"PAX size below zero":          {newReader(append(paxEntry(t, "size=-5"), end...)), "tar is damaged", ""},
		"PAX size of exabytes":         {newReader(append(paxEntry(t, "size=4611686018427387904"), end...)), "tar ends too early", ""},
		"PAX path of nothing":          {newReader(append(paxEntry(t, "path="), end...)), "", ""},
		"PAX path with a zero byte":    {newReader(append(paxEntry(t, "path=a\x00b"), end...)), "tar is damaged", ""},
		"PAX time of another age":      {newReader(append(paxEntry(t, "mtime=99999999999999999"), end...)), "", ""},
		"PAX owner beyond all":         {newReader(append(paxEntry(t, "uid=9223372036854775807"), end...)), "", ""},
		"twenty thousand attributes":   {newReader(append(paxEntry(t, manyRecords(20_000)...), end...)), "", ""},
		"an old map of exabytes":       {newReader(append(oldSparse(t, "f", 1<<62), end...)), "", "an old format"},
		"a map of exabytes, PAX 0.1":   {newReader(append(paxEntry(t, "GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.size=4611686018427387904", "GNU.sparse.numblocks=0"), end...)), "", "an old format"},
		"a map of exabytes, PAX 1.0":   {newReader(append(sparseLie(t, "0\n"), end...)), "", ""},
		"a map that has no end":        {io.MultiReader(newReader(sparseLie(t, "99999999999\n")), zeros(endless)), "map of its holes is damaged", ""},
		"a name of a megabyte":         {newReader(append(paxEntry(t, "path="+strings.Repeat("a/", 500_000)+"f"), end...)), "directories deep", ""},
		"one name of a hundred kB":     {newReader(append(paxEntry(t, "path="+strings.Repeat("a", 100_000)), end...)), "", ""},
		"a link of a hundred kB":       {newReader(append(append(paxEntry(t, "linkpath="+strings.Repeat("a", 100_000))[:2*tarBlock+100_352-tarBlock], rawHeader(t, '2', "l", 0)...), end...)), "", ""},
		"zeros without an end":         {io.MultiReader(newReader(makeTar(t, fileEntry("f", "x"))), newReader([]byte("garbage")), zeros(endless)), "data after its end marker", ""},
		"garbage":                      {strings.NewReader(strings.Repeat("garbage ", 1000)), "tar is damaged", ""},
		"an archive behind an archive": {newReader(append(makeTar(t, fileEntry("f", "x")), makeTar(t, fileEntry("g", "x"))...)), "data after its end marker", ""},
		"links in a circle":            {newReader(makeTar(t, symlinkEntry("a", "b"), symlinkEntry("b", "a"), fileEntry("a/f", "x"))), "symbolic link", ""},
		"hard links in a circle":       {newReader(makeTar(t, linkEntry("a", "b"), linkEntry("b", "a"))), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			outside := filepath.Join(base, "outside")
			noError(t, os.Mkdir(outside, 0o755))
			before := describe(t, outside)
			given := &byteCounter{r: c.stream}
			var report ExtractReport
			var err error
			used := memoryOf(func() { report, err = Extract(ctx, given, filepath.Join(base, "target"), ExtractOptions{}) })
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %.300v, want %q", err, c.want)
			}
			if used > maxBombMemory {
				t.Errorf("it took %d MiB of memory", used>>20)
			}
			if given.n > maxBombMemory {
				t.Errorf("it read %d MiB", given.n>>20)
			}
			if warnings := strings.Join(report.Warnings, "\n"); !strings.Contains(warnings, c.warning) {
				t.Errorf("warnings %.300q, want %q", warnings, c.warning)
			}
			compare(t, describe(t, outside), before)
			if entries, err := os.ReadDir(base); err != nil || len(entries) != 2 {
				t.Errorf("beside the target: %v, %v", entries, err)
			}
		})
	}
}

// manyRecords are n extended attributes.
func manyRecords(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("SCHILY.xattr.user.%d=x", i))
	}
	return out
}

// sparseLie is a file in GNU tar's PAX 1.0, of exabytes, with such a map.
func sparseLie(t *testing.T, text string) []byte {
	out := paxEntry(t, "GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=f", "GNU.sparse.realsize=4611686018427387904")
	stored := int64(tarBlock)
	if strings.HasPrefix(text, "9") {
		stored = 1 << 50
	}
	out = append(out[:len(out)-tarBlock], rawHeader(t, '0', "f", stored)...)
	return append(pad(append(out, text...), int64(len(text))), nil...)
}

// Gigabytes of zeros, in a few kilobytes: they are restored as what they are, and
// take neither memory nor room on the disk.
func TestExtractZeros(t *testing.T) {
	size := int64(256 << 20)
	if torture {
		size = 10 << 30
	}
	var packed bytes.Buffer
	z, err := zstdWriter(&packed)
	noError(t, err)
	_, err = z.Write(rawHeader(t, '0', "zeros", size))
	noError(t, err)
	_, err = io.Copy(z, zeros(size+1024))
	noError(t, err)
	noError(t, z.Close())
	target := filepath.Join(t.TempDir(), "target")
	used := memoryOf(func() {
		r, err := NewReader(ctx, "", memorySource(packed.Bytes()))
		noError(t, err)
		defer r.Close()
		_, err = Extract(ctx, r, target, ExtractOptions{})
		noError(t, err)
	})
	var st unix.Stat_t
	noError(t, unix.Stat(filepath.Join(target, "zeros"), &st))
	if st.Size != size || st.Blocks > 64 {
		t.Errorf("%d bytes in %d blocks, want %d in none", st.Size, st.Blocks, size)
	}
	if used > maxBombMemory {
		t.Errorf("%d bytes of zeros took %d MiB of memory", size, used>>20)
	}
}

type memorySource []byte

func (m memorySource) Size() int64 { return int64(len(m)) }

func (m memorySource) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m).ReadAt(p, off)
}

// Compressed data that ask for gigabytes of memory do not get it.
func TestReaderBombs(t *testing.T) {
	for name, c := range map[string]struct{ data, want string }{
		// A frame with a window of 2 GiB (RFC 8878, 3.1.1.1.2), and one that claims to hold an exabyte.
		"zstd window":    {"\x28\xb5\x2f\xfd\x00\xa8" + "\x01\x00\x00", "zstd data are damaged"},
		"zstd content":   {"\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x00\x00\x10" + "\x01\x00\x00", "zstd data are damaged"},
		"zstd skippable": {"\x50\x2a\x4d\x18\xff\xff\xff\xff", "zstd data end too early"},
		"gzip name":      {"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03" + strings.Repeat("a", 1<<20), "gzip data"},
		"gzip extra":     {"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\x03\xff\xff", "gzip data end too early"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			used := memoryOf(func() {
				var r io.ReadCloser
				if r, err = NewReader(context.Background(), "", memorySource(c.data)); err == nil {
					_, err = io.Copy(io.Discard, r)
					r.Close()
				}
			})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if used > maxBombMemory {
				t.Errorf("it took %d MiB of memory", used>>20)
			}
		})
	}
}
