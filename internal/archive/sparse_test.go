//go:build linux

package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tinybackup/internal/source"
)

// hugeFile makes a file of 8 TiB, of which nearly nothing is data.
func hugeFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(8<<40+123))
	for _, off := range []int64{1 << 20, 3 << 40, 3<<40 + 1<<20, 8<<40 - 4096} {
		_, err := f.WriteAt(bytes.Repeat(fmt.Appendf(nil, "data at %d\n", off), 300), off)
		must(t, err)
	}
	_, err = f.WriteAt(bytes.Repeat([]byte("in more than one piece\n"), 20_000), 5<<40)
	must(t, err)
}

// dataOf is a file without its holes.
func dataOf(t *testing.T, path string) string {
	t.Helper()
	src, err := source.Open(filepath.Dir(path), source.Options{PieceSize: 1 << 20, Warn: func(source.Warning) {}})
	must(t, err)
	defer src.Close()
	var out []byte
	for s, err := range src.Segments(ctx) {
		must(t, err)
		if s.Entry.Path == filepath.Base(path) {
			_, err := s.Entry.Content()
			must(t, err)
			if s.First {
				out = fmt.Append(out, s.Entry.Size, s.Layout())
			}
			out = s.AppendData(out, func(w source.Warning) { t.Error(w) })
		}
		s.Done()
	}
	return string(out)
}

// Holes cost nothing: neither frames, nor time to write, read or restore them. A
// run that went over them would take an hour.
func TestTerabytesOfHoles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	must(t, os.Mkdir(dir, 0o755))
	hugeFile(t, filepath.Join(dir, "huge"))
	must(t, os.WriteFile(filepath.Join(dir, "next"), []byte("what follows"), 0o600))
	must(t, os.Truncate(filepath.Join(dir, "next"), 7<<40))
	opt := Options{Codec: CodecZstd, FrameSize: 128 << 10}
	w := writeArchive(t, dir, opt).settle()
	if len(w.warnings) > 0 || len(w.manifest.Frames) > 15 || w.manifest.Raw > 1<<20 {
		t.Fatalf("%d frames, %d bytes, warnings %v", len(w.manifest.Frames), w.manifest.Raw, w.warnings)
	}
	f, err := os.Open(w.path)
	must(t, err)
	defer f.Close()
	if _, err := Verify(ctx, fileSource{f, w.manifest.Size}, w.manifest, "", "", nil); err != nil {
		t.Errorf("verify: %v", err)
	}
	back := filepath.Join(t.TempDir(), "back")
	raw := decodeWith(t, CodecZstd, w.path)
	if _, err := Extract(ctx, newReader(raw), back, ExtractOptions{Strip: true}); err != nil {
		t.Fatal(err)
	}
	gnu := t.TempDir()
	tool(t, raw, "tar", "-C", gnu, "-xpf", "-")
	for _, name := range []string{"huge", "next"} {
		want := dataOf(t, filepath.Join(dir, name))
		if dataOf(t, filepath.Join(back, name)) != want {
			t.Errorf("%s: restored, it is another file", name)
		}
		if dataOf(t, filepath.Join(gnu, "tree", name)) != want {
			t.Errorf("%s: extracted by GNU tar, it is another file", name)
		}
	}

	// What is written into a hole changes the frame with the map, and the one that it is in.
	huge, err := os.OpenFile(filepath.Join(dir, "huge"), os.O_WRONLY, 0)
	must(t, err)
	_, err = huge.WriteAt([]byte("new"), 6<<40)
	must(t, errors.Join(err, huge.Close()))
	again, err := w.again(t, dir, opt)
	must(t, err)
	old := map[[32]byte]bool{}
	for _, f := range w.manifest.Frames {
		old[f.Content] = true
	}
	fresh := slices.DeleteFunc(slices.Clone(again.manifest.Frames), func(f Frame) bool { return old[f.Content] })
	if n := len(fresh); n == 0 || n > 3 {
		t.Errorf("%d of %d frames are new", n, len(again.manifest.Frames))
	}
	if full := writeArchive(t, dir, opt); full.manifest.SHA256 != again.manifest.SHA256 {
		t.Error("reading everything gives another archive")
	}
}

// sparseTar is an archive of one file with these parts of data, all "x".
func sparseTar(t *testing.T, size int64, data []source.Extent) []byte {
	t.Helper()
	h := &tar.Header{Name: "top/sparse", Size: size, Mode: 0o600, ModTime: time.Unix(1e9, 0)}
	raw, err := appendSparseHeader(nil, h, data)
	must(t, err)
	n := int64(0)
	for _, x := range data {
		n += x.Len
	}
	raw = append(raw, strings.Repeat("x", int(n))...)
	return append(pad(raw, n), tarEnd...)
}

// A map may be longer than archive/tar takes.
func TestManyHoles(t *testing.T) {
	const base, parts = 10 << 40, 60_000
	var data []source.Extent
	for i := range int64(parts) {
		data = append(data, source.Extent{Off: base + 2*tarBlock*i, Len: tarBlock})
	}
	raw := sparseTar(t, 11<<40, data)
	if n := bytes.Index(raw, []byte("xxx")); n < mib {
		t.Fatalf("the map ends at byte %d, want more than a MiB", n)
	}
	back := t.TempDir()
	_, err := Extract(ctx, newReader(raw), back, ExtractOptions{Strip: true})
	must(t, err)
	gnu := t.TempDir()
	tool(t, raw, "tar", "-C", gnu, "-xf", "-")
	want := bytes.Repeat([]byte(strings.Repeat("x", tarBlock)+strings.Repeat("\x00", tarBlock)), parts)
	for _, path := range []string{filepath.Join(back, "sparse"), filepath.Join(gnu, "top/sparse")} {
		f, err := os.Open(path)
		must(t, err)
		defer f.Close()
		if fi, err := f.Stat(); err != nil || fi.Size() != 11<<40 {
			t.Errorf("%s: %d bytes", path, fi.Size())
		}
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, base); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: other bytes than those stored (%v)", path, err)
		}
	}
}

// A map that is not one of the file's data is an error, and restores nothing.
func TestDamagedMaps(t *testing.T) {
	good := sparseTar(t, 1<<20, []source.Extent{{Off: 0, Len: 4}, {Off: 4096, Len: 4}})
	at := bytes.Index(good, []byte("3\n0\n4\n4096\n4\n1048576\n0\n"))
	if at < 0 {
		t.Fatal("no map")
	}
	for _, c := range []struct{ name, text string }{
		{"not sorted", "3\n4096\n4\n0\n4\n1048576\n0\n"},
		{"overlap", "3\n0\n4\n3\n4\n1048576\n0\n"},
		{"behind the end", "2\n0\n4\n1048573\n4\n"},
		{"too much data", "2\n0\n4\n4096\n5\n"},
		{"too little data", "1\n0\n4\n"},
		{"negative", "2\n-4\n4\n4096\n4\n"},
		{"overflow", "2\n0\n4\n9223372036854775807\n4\n"},
		{"large number", "2\n0\n4\n99999999999999999999\n4\n"},
		{"no number", "2\n0\n\n4096\n4\n"},
		{"letters", "2\n0\n4\n40x6\n4\n"},
		{"more than there is", "999999\n0\n4\n4096\n4\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := bytes.Clone(good)
			clear(raw[at : at+tarBlock])
			copy(raw[at:], c.text)
			back := filepath.Join(t.TempDir(), "back")
			_, err := Extract(ctx, newReader(raw), back, ExtractOptions{Strip: true})
			if err == nil || !strings.Contains(err.Error(), `"top/sparse"`) {
				t.Errorf("got %v, want an error that names the entry", err)
			}
			if _, err := os.Stat(filepath.Join(back, "sparse")); err == nil {
				t.Error("it was restored")
			}
		})
	}
	for n := range len(good) - 2*tarBlock { // cut anywhere
		if n%100 != 0 && n%tarBlock > 1 {
			continue
		}
		if _, err := Extract(ctx, newReader(good[:n]), t.TempDir(), ExtractOptions{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at byte %d: got %v", n, err)
		}
	}
}

// A file that is filled between the walk and its reading is stored as it was, and
// told of.
func TestSparseFileFilled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	must(t, os.Truncate(path, 1<<30))
	var warnings []source.Warning
	src, err := source.Open(dir, source.Options{PieceSize: 1 << 20, Warn: func(source.Warning) {}})
	must(t, err)
	defer src.Close()
	var raw []byte
	enc := &tarEncoder{top: "top"}
	for s, err := range src.Segments(ctx) {
		must(t, err)
		if s.Entry.Path == "f" {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt([]byte("late"), 1<<29)
			must(t, errors.Join(err, f.Close()))
			must(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
		}
		raw, _, err = enc.appendSegment(raw, s, func(w source.Warning) { warnings = append(warnings, w) })
		must(t, err)
		s.Done()
	}
	if len(warnings) != 1 || warnings[0].Class != source.Changed {
		t.Errorf("warnings %v, want one that it changed", warnings)
	}
	var st unix.Stat_t
	back := t.TempDir()
	_, err = Extract(ctx, newReader(append(raw, tarEnd...)), back, ExtractOptions{Strip: true})
	must(t, err)
	must(t, unix.Stat(filepath.Join(back, "f"), &st))
	if st.Size != 1<<30 {
		t.Errorf("%d bytes, want %d", st.Size, 1<<30)
	}
}
