package source

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A source that is read in a view has its own names and warnings, and the view's
// content; what the view has not is read elsewhere.
func TestView(t *testing.T) {
	dir := t.TempDir()
	live, view, other := filepath.Join(dir, "live"), filepath.Join(dir, "view"), filepath.Join(dir, "other")
	tree(t, live, "a", "boot/live", "gone")
	tree(t, view, "a", "boot/", "boot/.hidden", "sub/b", "sub/boot/c", ".snap/d", "dest/e", "z")
	tree(t, other, "kernel", "sub/module", "boot/f")
	must(t, os.WriteFile(filepath.Join(view, "a"), []byte("as it was"), 0o644))
	excludes, err := NewExcludes(live, []string{live + "/z"})
	must(t, err)
	dest, err := os.Stat(filepath.Join(view, "dest"))
	must(t, err)
	st := dest.Sys().(*syscall.Stat_t)
	opt := Options{
		Excludes: excludes, View: view, Skip: []ID{{Dev: uint64(st.Dev), Ino: st.Ino}},
		Instead: func(rel string, ino uint64) string {
			if rel == "boot" {
				return other
			}
			if strings.HasPrefix(rel, "boot/") {
				t.Errorf("asked for %s, which is not in the view", rel)
			}
			return ""
		},
		IsSnapshot: func(name string, ino uint64) bool { return name == ".snap" },
	}
	l := walkAll(t, live, opt)
	want := []string{"", "a", "boot", "boot/boot", "boot/boot/f", "boot/kernel", "boot/sub", "boot/sub/module", "sub", "sub/b", "sub/boot", "sub/boot/c"}
	if got := l.paths(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, want := range []string{"boot: not in the snapshot: read as it is now", ".snap: left out", "dest: left out"} {
		if !strings.Contains(l.texts(), want) {
			t.Errorf("said %q, want %q", l.texts(), want)
		}
	}
	for path, want := range map[string]string{"a": "as it was", "boot/kernel": "content of kernel"} {
		s := l.find(t, path)
		_, err := s.Entry.Content()
		must(t, err)
		if got, err := s.AppendRaw(nil, l.warn); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", path, got, err, want)
		}
	}
	if s := l.find(t, "a"); s.Entry.src.Path != live {
		t.Errorf("the source is %q, want %q", s.Entry.src.Path, live)
	}

	opt.OneFileSystem = true
	want = []string{"", "a", "boot", "sub", "sub/b", "sub/boot", "sub/boot/c"}
	if got := walkAll(t, live, opt).paths(); !slices.Equal(got, want) {
		t.Errorf("with OneFileSystem: got  %q\nwant %q", got, want)
	}
	opt.OneFileSystem, opt.Instead = false, func(rel string, ino uint64) string { return filepath.Join(dir, "missing") }
	l = walkAll(t, live, opt)
	if got := l.texts(); !strings.Contains(got, "boot: vanished before it was read") {
		t.Errorf("what is to be read instead is gone: said %q", got)
	}

	// A single file has the name of the source, and the content of the view.
	l = walkAll(t, filepath.Join(live, "a"), Options{View: filepath.Join(view, "a")})
	s := l.segments[0]
	_, err = s.Entry.Content()
	must(t, err)
	if got, err := s.AppendRaw(nil, l.warn); err != nil || string(got) != "as it was" || s.Entry.src.Path != filepath.Join(live, "a") {
		t.Errorf("a file: got %q of %s", got, s.Entry.src.Path)
	}
}
