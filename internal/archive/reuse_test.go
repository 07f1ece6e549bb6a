//go:build linux

package archive

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tinybackup/internal/source"
)

var sequences = flag.Int("sequences", 40, "how many random sequences of edits TestReuseIsExact tries")

// fileSource is a file as the Source that it is.
type fileSource struct {
	*os.File
	size int64
}

func (f fileSource) Size() int64 { return f.size }

// again archives path with w as the previous archive.
func (w written) again(t *testing.T, path string, opt Options) (written, error) {
	t.Helper()
	f, err := os.Open(w.path)
	must(t, err)
	defer f.Close()
	fi, err := f.Stat()
	must(t, err)
	opt.Previous = &Previous{Manifest: w.manifest, Archive: fileSource{f, fi.Size()}}
	return tryWrite(t, path, opt)
}

// settle says that w's run began long after the last change, so that its keys
// are trusted.
func (w written) settle() written {
	w.manifest.Start = time.Now().Add(time.Hour)
	return w
}

func equalFiles(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	must(t, err)
	y, err := os.ReadFile(b)
	must(t, err)
	return bytes.Equal(x, y)
}

func TestReuseUnchanged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	must(t, os.Mkdir(dir, 0o755))
	fixture(t, dir)
	for _, codec := range Codecs() {
		for _, align := range []int64{0, 4096} {
			opt := Options{Codec: codec, FrameSize: 64 << 10, Align: align}
			first := writeArchive(t, dir, opt).settle()
			second, err := first.again(t, dir, opt)
			must(t, err)
			m := second.manifest
			if !second.result.Unchanged || second.result.Read != 0 || m.SHA256 != first.manifest.SHA256 || m.Entries != first.manifest.Entries {
				t.Errorf("%s: %+v, want it unchanged", codec, second.result)
			}
			if data, _ := os.ReadFile(second.path); len(data) != 0 {
				t.Errorf("%s: %d bytes were written", codec, len(data))
			}
			m.Tool = "test"
			if _, err := m.Encode(); err != nil {
				t.Errorf("%s: manifest: %v", codec, err)
			}
		}
	}
}

// One changed file costs a frame or two, the rest is copied, and the archive is
// the same as if all had been read.
func TestReuseOneFileChanged(t *testing.T) {
	dir := t.TempDir()
	for i := range 400 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d", i)), bytes.Repeat([]byte(fmt.Sprint(i)), 3000), 0o600))
	}
	opt := Options{Codec: "zstd", FrameSize: 64 << 10}
	first := writeArchive(t, dir, opt).settle()
	must(t, os.WriteFile(filepath.Join(dir, "200"), []byte("other"), 0o600))
	second, err := first.again(t, dir, opt)
	must(t, err)
	full := writeArchive(t, dir, opt)
	if !equalFiles(t, second.path, full.path) || second.manifest.SHA256 != full.manifest.SHA256 {
		t.Error("it is another archive than without reuse")
	}
	if read := second.result.Read; read == 0 || read > 5*opt.FrameSize {
		t.Errorf("%d bytes were read, of %d", read, second.manifest.Raw)
	}
}

// A frame whose entries only look changed is read, but not compressed again.
func TestReuseByContent(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a"), bytes.Repeat([]byte("text"), 10_000), 0o600))
	opt := Options{Codec: "zstd", FrameSize: 64 << 10}
	first := writeArchive(t, dir, opt) // its keys are too young to be trusted
	second, err := first.again(t, dir, opt)
	must(t, err)
	if !second.result.Unchanged || second.result.Read != 0 && second.result.Reused == 0 {
		t.Errorf("%+v, want all of it found by content", second.result)
	}
}

// A file that was changed in the moment of the previous run, without its times
// telling, is read again.
func TestReuseRacy(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	must(t, os.WriteFile(path, []byte("one"), 0o600))
	opt := Options{Codec: "zstd", FrameSize: 64 << 10}
	first := writeArchive(t, dir, opt)
	first.manifest.Start = time.Now()
	// As a clock with coarse steps would have it: the times and the size are those
	// that the manifest's key was made of.
	for i := range first.manifest.Frames {
		first.manifest.Frames[i].Content = [32]byte{1}
	}
	second, err := first.again(t, dir, opt)
	must(t, err)
	if second.result.Reused != 0 || second.result.Read == 0 {
		t.Errorf("%+v, want everything read", second.result)
	}
}

// A damaged previous archive is found out before any of it is copied on.
func TestReuseDamaged(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d", i)), bytes.Repeat([]byte(fmt.Sprint(i)), 3000), 0o600))
	}
	opt := Options{Codec: "zstd", FrameSize: 64 << 10}
	first := writeArchive(t, dir, opt).settle()
	data, err := os.ReadFile(first.path)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "050"), []byte("other"), 0o600))
	for _, at := range []int{0, len(data) / 5, len(data) - 1} {
		bad := bytes.Clone(data)
		bad[at] ^= 0x10
		must(t, os.WriteFile(first.path, bad, 0o600))
		if _, err := first.again(t, dir, opt); !errors.Is(err, ErrPrevious) {
			t.Errorf("byte %d damaged: %v", at, err)
		}
	}
	must(t, os.WriteFile(first.path, data[:len(data)/2], 0o600))
	if _, err := first.again(t, dir, opt); !errors.Is(err, ErrPrevious) {
		t.Errorf("cut in half: %v", err)
	}
}

// What could not be stored as it was is tried again by the next run, although
// nothing of it has changed.
func TestReuseNotOfWarnings(t *testing.T) {
	dir := t.TempDir()
	gone := filepath.Join(dir, "a file")
	must(t, os.WriteFile(gone, []byte("text"), 0o600))
	must(t, unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o600, 0))
	warned := 0
	warn := func(w source.Warning) {
		if w.Class == source.Note {
			// The walk has passed the file, and nothing of it has been read yet.
			must(t, os.Remove(gone))
		} else {
			warned++
		}
	}
	src, err := source.Open(dir, source.Options{PieceSize: 64 << 10, Warn: warn})
	must(t, err)
	defer src.Close()
	res, err := Write(context.Background(), io.Discard, src, Options{Codec: "zstd", FrameSize: 64 << 10, Top: "x", Warn: warn})
	must(t, err)
	frames := res.Manifest.Frames
	if last := frames[len(frames)-1]; warned != 1 || last.First != "x/a file" || last.Key != [32]byte{} {
		t.Errorf("%d warnings, last frame %q with key %x; want one warning, and no key", warned, last.First, last.Key)
	}
}

// Random trees, random edits, random damage and options: what reuse gives is, to
// the byte, what reading everything gives; and that, TestWriteTree shows, is the
// source.
func TestReuseIsExact(t *testing.T) {
	if testing.Short() {
		*sequences /= 10
	}
	for n := range *sequences {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(n), 42))
			e := &editor{t: t, r: r, dir: filepath.Join(t.TempDir(), "tree")}
			must(t, os.Mkdir(e.dir, 0o755))
			for range 5 + r.IntN(60) {
				e.create()
			}
			opt := e.options(Options{})
			last := writeArchive(t, e.dir, opt)
			for range 4 {
				trusted := r.IntN(3) > 0
				if trusted {
					// Older kernels give what changes within a tick the same time.
					time.Sleep(11 * time.Millisecond)
					last.settle()
				}
				for range r.IntN(4) {
					e.edit()
				}
				if r.IntN(6) == 0 {
					opt = e.options(opt)
				}
				full := writeArchive(t, e.dir, opt)
				damaged := r.IntN(5) == 0 && e.damage(last.path)
				again, err := last.again(t, e.dir, opt)
				switch {
				case damaged && err != nil:
					if !errors.Is(err, ErrPrevious) {
						t.Fatal(err)
					}
					again = full
				case err != nil:
					t.Fatal(err)
				case again.result.Unchanged && again.manifest.SHA256 != full.manifest.SHA256:
					t.Fatal("it is said to be unchanged, and is not")
				case again.result.Unchanged:
					again.path = full.path
				case !equalFiles(t, again.path, full.path) || again.manifest.SHA256 != full.manifest.SHA256:
					t.Fatalf("reuse (trusted %v, %+v) gives another archive", trusted, opt)
				}
				sameManifest(t, again.manifest, full.manifest)
				last = again
			}
		})
	}
}

func sameManifest(t *testing.T, got, want *Manifest) {
	t.Helper()
	if len(got.Frames) != len(want.Frames) || got.Entries != want.Entries || got.Raw != want.Raw || got.Size != want.Size {
		t.Fatalf("reuse gives %d frames, %d entries, %d raw, %d bytes; want %d, %d, %d, %d", len(got.Frames), got.Entries, got.Raw, got.Size,
			len(want.Frames), want.Entries, want.Raw, want.Size)
	}
	for i, f := range got.Frames {
		if f != want.Frames[i] {
			t.Fatalf("reuse gives frame %d of %d as\n%+v, want\n%+v", i, len(got.Frames), f, want.Frames[i])
		}
	}
}

// editor changes a tree at random.
type editor struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	names int
}

// options changes some of the options, or all of none.
func (e *editor) options(o Options) Options {
	if o.Codec == "" || e.r.IntN(2) == 0 {
		o.Codec, o.Level = []string{"zstd", "zstd", "gzip", "none", "xz"}[e.r.IntN(5)], 0
	}
	if o.Codec == "gzip" && e.r.IntN(2) == 0 {
		o.Level = 1 + e.r.IntN(9)
	}
	if o.FrameSize == 0 || e.r.IntN(3) == 0 {
		o.FrameSize = 4096 << e.r.IntN(4)
	}
	o.Align = []int64{0, 512}[e.r.IntN(2)]
	o.Workers = 1 + e.r.IntN(4)
	return o
}

func (e *editor) name() string {
	e.names++
	sub := []string{"", "a", "b", "a/c"}[e.r.IntN(4)]
	must(e.t, os.MkdirAll(filepath.Join(e.dir, sub), 0o755))
	return filepath.Join(e.dir, sub, fmt.Sprintf("%x", e.r.Uint32()))
}

func (e *editor) content() []byte {
	if e.r.IntN(5) == 0 {
		return make([]byte, e.r.IntN(30_000))
	}
	return bytes.Repeat([]byte{byte(e.r.IntN(256)), byte(e.r.IntN(256)), 'x'}, e.r.IntN(6000))
}

func (e *editor) create() {
	name := e.name()
	switch e.r.IntN(8) {
	case 0:
		must(e.t, os.Symlink("target", name))
	case 1:
		if old := e.pick(); old != "" {
			must(e.t, os.Link(old, name))
		}
	case 2:
		must(e.t, os.WriteFile(name, nil, 0o600))
		must(e.t, os.Truncate(name, int64(e.r.IntN(100_000))))
	default:
		must(e.t, os.WriteFile(name, e.content(), 0o600))
	}
}

// pick gives a regular file, or "".
func (e *editor) pick() string {
	var files []string
	must(e.t, filepath.WalkDir(e.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	}))
	if len(files) == 0 {
		return ""
	}
	return files[e.r.IntN(len(files))]
}

func (e *editor) edit() {
	path := e.pick()
	if path == "" {
		e.create()
		return
	}
	switch e.r.IntN(7) {
	case 0:
		e.create()
	case 1:
		must(e.t, os.Remove(path))
	case 2:
		must(e.t, os.Rename(path, e.name()))
	case 3:
		must(e.t, os.Chmod(path, os.FileMode(e.r.IntN(0o1000))|0o400))
	case 4: // same size, other bytes
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(e.t, err)
		if fi, _ := f.Stat(); fi.Size() > 0 {
			_, err = f.WriteAt([]byte{byte(e.r.IntN(256))}, e.r.Int64N(fi.Size()))
			must(e.t, err)
		}
		must(e.t, f.Close())
	case 5: // the time of old, as rsync and tar do
		must(e.t, os.WriteFile(path, e.content(), 0o600))
		must(e.t, os.Chtimes(path, time.Time{}, time.Unix(1_000_000_000, 5)))
	default:
		must(e.t, os.WriteFile(path, e.content(), 0o600))
	}
}

// damage flips a bit of a file; false if it is empty.
func (e *editor) damage(path string) bool {
	data, err := os.ReadFile(path)
	must(e.t, err)
	if len(data) == 0 {
		return false
	}
	data[e.r.IntN(len(data))] ^= 1 << e.r.IntN(8)
	must(e.t, os.WriteFile(path, data, 0o600))
	return true
}
