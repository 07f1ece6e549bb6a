package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// listing is what a walk gave, and what it said.
type listing struct {
	mu       sync.Mutex
	warnings []Warning
	segments []Segment
}

func (l *listing) warn(w Warning) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.warnings = append(l.warnings, w)
}

func (l *listing) paths() []string {
	var out []string
	for _, s := range l.segments {
		if s.First {
			out = append(out, s.Entry.Path)
		}
	}
	return out
}

func (l *listing) texts() string {
	var out []string
	for _, w := range l.warnings {
		out = append(out, w.String())
	}
	return strings.Join(out, "\n")
}

// walkAll opens and walks the source at path; it is closed when the test ends.
func walkAll(t *testing.T, path string, opt Options) *listing {
	t.Helper()
	l := &listing{}
	opt.Warn = l.warn
	if opt.PieceSize == 0 {
		opt.PieceSize = 1 << 20
	}
	src, err := Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	for s, err := range src.Segments(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		l.segments = append(l.segments, s)
	}
	t.Cleanup(func() {
		for _, s := range l.segments {
			s.Done()
		}
		src.Close()
	})
	return l
}

func (l *listing) find(t *testing.T, path string) Segment {
	t.Helper()
	for _, s := range l.segments {
		if s.Entry.Path == path {
			return s
		}
	}
	t.Fatalf("%q is not among %q", path, l.paths())
	return Segment{}
}

// tree makes files and, with a slash at the end, directories.
func tree(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			must(t, os.MkdirAll(path, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte("content of "+name), 0o644))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWalkOrder(t *testing.T) {
	dir := t.TempDir()
	// In the order of bytes, "a.b" is before "a/c": the walk goes by components.
	tree(t, dir, "b", "a/c", "a.b", "a/", "\xff", "a/é", "a/c.d/x", "empty/")
	got := walkAll(t, dir, Options{}).paths()
	want := []string{"", "a", "a/c", "a/c.d", "a/c.d/x", "a/é", "a.b", "b", "empty", "\xff"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestExcludes(t *testing.T) {
	names := []string{"a.o", "build/x", "doc/a.pdf", "doc/sub/b.pdf", "doc/sub/cache/c", "src/build/y", "keep.o", "tmp"}
	tests := []struct {
		patterns []string
		out      []string
	}{
		{[]string{"*.o"}, []string{"a.o", "keep.o"}},
		{[]string{"*.o", "!keep.o"}, []string{"a.o"}},
		{[]string{"!keep.o", "*.o"}, []string{"a.o", "keep.o"}},
		{[]string{"/build"}, []string{"build", "build/x"}},
		{[]string{"build"}, []string{"build", "build/x", "src/build", "src/build/y"}},
		{[]string{"build/"}, []string{"build", "build/x", "src/build", "src/build/y"}},
		{[]string{"tmp/"}, nil},
		{[]string{"doc/*.pdf"}, []string{"doc/a.pdf"}},
		{[]string{"doc/**/*.pdf"}, []string{"doc/a.pdf", "doc/sub/b.pdf"}},
		{[]string{"**/cache/*"}, []string{"doc/sub/cache/c"}},
		{[]string{"ROOT/doc"}, []string{"doc", "doc/a.pdf", "doc/sub", "doc/sub/b.pdf", "doc/sub/cache", "doc/sub/cache/c"}},
		{[]string{"{a,keep}.o", "t?p"}, []string{"a.o", "keep.o", "tmp"}},
		// What lies in a directory that is left out is not looked at.
		{[]string{"doc", "!a.pdf"}, []string{"doc", "doc/a.pdf", "doc/sub", "doc/sub/b.pdf", "doc/sub/cache", "doc/sub/cache/c"}},
	}
	dir := t.TempDir()
	tree(t, dir, names...)
	all := walkAll(t, dir, Options{}).paths()
	for _, tt := range tests {
		t.Run(strings.Join(tt.patterns, " "), func(t *testing.T) {
			var patterns []string
			for _, p := range tt.patterns {
				patterns = append(patterns, strings.Replace(p, "ROOT", dir, 1))
			}
			x, err := NewExcludes(dir, patterns)
			must(t, err)
			got := walkAll(t, dir, Options{Excludes: x}).paths()
			want := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return slices.Contains(tt.out, p) })
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
	for _, bad := range []string{"", "!", "/", "a[", "{a"} {
		if _, err := NewExcludes(dir, []string{bad}); err == nil {
			t.Errorf("pattern %q is accepted", bad)
		}
	}
}

func TestExcludeCaches(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, "cache/a", "cache/sub/b", "fake/a", "link/a")
	must(t, os.WriteFile(filepath.Join(dir, "cache/CACHEDIR.TAG"), []byte(cacheTag+"\n# made by a test"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "fake/CACHEDIR.TAG"), []byte("not a signature"), 0o644))
	must(t, os.Symlink("../cache/CACHEDIR.TAG", filepath.Join(dir, "link/CACHEDIR.TAG")))
	got := walkAll(t, dir, Options{ExcludeCaches: true}).paths()
	want := []string{"", "cache", "cache/CACHEDIR.TAG", "fake", "fake/CACHEDIR.TAG", "fake/a", "link", "link/CACHEDIR.TAG", "link/a"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// What the kernel makes up is left out of what it is mounted in, but for the directory;
// who asks for it alone gets it.
func TestKernelFileSystems(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	x, err := NewExcludes("/", []string{"/*", "!/proc"})
	must(t, err)
	l := walkAll(t, "/", Options{Excludes: x})
	if got := l.paths(); !slices.Equal(got, []string{"", "proc"}) || !strings.Contains(l.texts(), "proc: left out: what is in it is the kernel's (proc)") {
		t.Errorf("got %d entries, %.100q; said %.300q", len(got), got, l.texts())
	}
	if got := walkAll(t, "/proc/sys/kernel/random", Options{}).paths(); len(got) < 2 {
		t.Errorf("asked for, got %q", got)
	}

	// The same in a view.
	dir := t.TempDir()
	tree(t, dir, "a", "proc/")
	l = walkAll(t, dir, Options{View: dir, Instead: func(rel string, ino uint64) string {
		if rel == "proc" {
			return "/proc"
		}
		return ""
	}})
	if got := l.paths(); !slices.Equal(got, []string{"", "a", "proc"}) {
		t.Errorf("in a view: got %d entries, %.100q", len(got), got)
	}
}

func TestSkip(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, "a", "backups/x", "z")
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(dir, "backups"), &st))
	l := walkAll(t, dir, Options{Skip: []ID{{uint64(st.Dev), st.Ino}}})
	if got, want := l.paths(), []string{"", "a", "z"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(l.warnings) != 1 || l.warnings[0].Class != Note {
		t.Errorf("got %q, want one note", l.texts())
	}
}

func TestPieces(t *testing.T) {
	dir := t.TempDir()
	content := make([]byte, 10_000)
	for i := range content {
		content[i] = byte(rand.IntN(256))
	}
	must(t, os.WriteFile(filepath.Join(dir, "f"), content, 0o600))
	for _, path := range []string{dir, filepath.Join(dir, "f")} {
		l := walkAll(t, path, Options{PieceSize: 4096})
		var got []byte
		n := 0
		for _, s := range l.segments {
			if s.Entry.Type() != unix.S_IFREG {
				continue
			}
			n++
			_, err := s.Entry.Content()
			must(t, err)
			got, err = s.AppendRaw(got, l.warn)
			must(t, err)
		}
		if !bytes.Equal(got, content) || n != 3 {
			t.Errorf("%s: %d bytes in %d pieces, want %d in 3; equal: %v", path, len(got), n, len(content), bytes.Equal(got, content))
		}
		if l.warnings != nil {
			t.Errorf("warnings: %s", l.texts())
		}
	}
}

// Only data is read of a file with holes; read raw, the holes are zeros.
func TestHoles(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	must(t, f.Truncate(3<<20))
	_, err = f.WriteAt(bytes.Repeat([]byte("x"), 4096), 1<<20)
	must(t, err)
	must(t, f.Close())
	want, err := os.ReadFile(f.Name())
	must(t, err)

	l := walkAll(t, dir, Options{PieceSize: 512 << 10})
	var raw, data []byte
	for _, s := range l.segments {
		if s.Entry.Type() != unix.S_IFREG {
			continue
		}
		c, err := s.Entry.Content()
		must(t, err)
		if want := []Extent{{1 << 20, 4096}}; !slices.Equal(c.Extents, want) {
			t.Fatalf("extents %v, want %v", c.Extents, want)
		}
		raw, err = s.AppendRaw(raw, l.warn)
		must(t, err)
		data = s.AppendData(data, l.warn)
	}
	if !bytes.Equal(raw, want) {
		t.Error("read raw, it is another file")
	}
	if !bytes.Equal(data, bytes.Repeat([]byte("x"), 4096)) {
		t.Errorf("%d bytes of data, want 4096", len(data))
	}
}

// What happens to a file between the walk and its reading costs a warning.
func TestMovingFiles(t *testing.T) {
	tests := []struct {
		name   string
		change func(path string) error
		class  Class
		text   string // "" if the file is stored without a word
		opens  bool
	}{
		{"vanishes", os.Remove, Changed, "f: vanished before it was read", false},
		{"grows before", func(p string) error { return os.WriteFile(p, make([]byte, 500), 0o600) }, 0, "", true},
		{"becomes a FIFO", func(p string) error {
			return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o600))
		}, Changed, "f: became another type of file", false},
		{"becomes a link", func(p string) error {
			return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p))
		}, Changed, "f: became another type of file", false},
		{"becomes a directory", func(p string) error {
			return errors.Join(os.Remove(p), os.Mkdir(p, 0o700))
		}, Changed, "f: became another type of file", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tree(t, dir, "f")
			l := walkAll(t, dir, Options{})
			must(t, tt.change(filepath.Join(dir, "f")))
			s := l.find(t, "f")
			_, err := s.Entry.Content()
			if opens := err == nil; opens != tt.opens {
				t.Fatalf("Content: %v", err)
			}
			if err != nil {
				w := Problem("f", err)
				if w.Class != tt.class || w.String() != tt.text {
					t.Errorf("got %d %q, want %d %q", w.Class, w, tt.class, tt.text)
				}
			}
		})
	}

	t.Run("while it is read", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		must(t, os.WriteFile(path, bytes.Repeat([]byte("a"), 1000), 0o600))
		l := walkAll(t, dir, Options{})
		s := l.find(t, "f")
		_, err := s.Entry.Content()
		must(t, err)
		must(t, os.Truncate(path, 300))
		got, err := s.AppendRaw(nil, l.warn)
		must(t, err)
		want := append(bytes.Repeat([]byte("a"), 300), make([]byte, 700)...)
		if !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, want the 300 that are left and zeros", len(got))
		}
		if got, want := l.texts(), "f: changed while it was read: 1000 bytes are stored, it has 300"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A directory that is swapped for a link to another must not lead there.
func TestSwappedDirectory(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	tree(t, dir, "d/secret")
	tree(t, other, "secret")
	must(t, os.WriteFile(filepath.Join(other, "secret"), []byte("of somebody else"), 0o600))
	l := walkAll(t, dir, Options{})
	must(t, os.RemoveAll(filepath.Join(dir, "d")))
	must(t, os.Symlink(other, filepath.Join(dir, "d")))
	s := l.find(t, "d/secret")
	// The directory is open still, as its descriptor is cached: let go of it.
	s.Entry.src.dirs.close(nil)
	if c, err := s.Entry.Content(); err == nil {
		got, _ := s.AppendRaw(nil, l.warn)
		t.Errorf("read %q by way of the link (%d bytes)", got, c.Size)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "none"), Options{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of nothing: %v", err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	if _, err := Open(fifo, Options{}); err == nil || !strings.Contains(err.Error(), "not a directory, a regular file or a block device") {
		t.Errorf("Open of a FIFO: %v", err)
	}
}

func TestHardLinks(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, "a", "other")
	for _, name := range []string{"b", "c"} {
		must(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, name)))
	}
	l := walkAll(t, dir, Options{})
	a, b, c := l.find(t, "a"), l.find(t, "b"), l.find(t, "c")
	if _, ok := a.Entry.HardLink(); ok {
		t.Error("the first name is a link to another")
	}
	if got := c.Entry.LinkedTo(); got != "a" {
		t.Errorf("c is a name of %q", got)
	}
	if _, ok := l.find(t, "other").Entry.HardLink(); ok {
		t.Error("a file with one name is a link")
	}

	// The second waits for the first, and carries the content if that could not.
	got := make(chan string, 2)
	go func() {
		path, ok := b.Entry.HardLink()
		got <- fmt.Sprint("b:", path, " ", ok)
		b.Entry.Stored()
		path, ok = c.Entry.HardLink()
		got <- fmt.Sprint("c:", path, " ", ok)
	}()
	a.Done()
	for _, want := range []string{"b: false", "c:b true"} {
		if g := <-got; g != want {
			t.Errorf("got %q, want %q", g, want)
		}
	}
	l.segments = slices.DeleteFunc(l.segments, func(s Segment) bool { return s.Entry == a.Entry })
}

// More directories than may be open at a time, read from many goroutines.
func TestManyDirectories(t *testing.T) {
	dir := t.TempDir()
	want := 0
	for i := range 3 * maxOpenDirs {
		tree(t, dir, fmt.Sprintf("d%03d/sub/f", i))
		want++
	}
	deep := dir
	for range 2 * maxOpenDirs {
		deep = filepath.Join(deep, "d")
	}
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(filepath.Join(deep, "bottom"), []byte("x"), 0o600))
	want++

	l := walkAll(t, dir, Options{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := 0
	for part := range 8 {
		wg.Go(func() {
			for i := part; i < len(l.segments); i += 8 {
				s := l.segments[i]
				if s.Entry.Type() != unix.S_IFREG {
					continue
				}
				if _, err := s.Entry.Content(); err != nil {
					t.Errorf("%s: %v", s.Entry.Path, err)
					continue
				}
				if data, err := s.AppendRaw(nil, l.warn); err == nil && len(data) > 0 {
					mu.Lock()
					got++
					mu.Unlock()
				}
				unix.Close(s.Entry.content.fd)
			}
		})
	}
	wg.Wait()
	if got != want {
		t.Errorf("read %d files, want %d", got, want)
	}
	src := l.segments[0].Entry.src
	if src.dirs.open > maxOpenDirs {
		t.Errorf("%d directories are open, at most %d may be", src.dirs.open, maxOpenDirs)
	}
}

func TestPrintable(t *testing.T) {
	for path, want := range map[string]string{
		"": ".", "a/b": "a/b", "é": "é", "a\nb": `"a\nb"`, "\xff": `"\xff"`, "\x1b[31m": `"\x1b[31m"`,
	} {
		if got := Printable(path); got != want {
			t.Errorf("Printable(%q) = %s, want %s", path, got, want)
		}
	}
}

func TestCancel(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, "a", "b", "c")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	src, err := Open(dir, Options{PieceSize: 1 << 20, Warn: func(Warning) {}})
	must(t, err)
	defer src.Close()
	n := 0
	for s, err := range src.Segments(ctx) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			return
		}
		s.Done()
		if n++; n == 2 {
			cancel()
		}
	}
	t.Error("the walk went on to its end")
}
