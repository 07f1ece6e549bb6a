//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A codec as a user names it, and the standard tool that undoes it.
type codec struct {
	option, suffix string
	decode         []string // reads the archive, writes what is in it
	test           []string // checks the archive
}

var codecs = []codec{
	{"zstd", ".zst", []string{"zstd", "-qdc"}, []string{"zstd", "-qt"}},
	{"zstd:19", ".zst", []string{"zstd", "-qdc"}, []string{"zstd", "-qt"}},
	{"xz", ".xz", []string{"xz", "-dc"}, []string{"xz", "-t"}},
	{"gzip", ".gz", []string{"gzip", "-dc"}, []string{"gzip", "-t"}},
	{"none", "", []string{"cat"}, []string{"true"}},
}

// hard is a source with everything in it, the tree as it is, and the outcome of
// backing it up. A socket is left out with a note; that is no warning.
func hard(t *testing.T, options ...string) (p *program, source, dest string) {
	t.Helper()
	inside(t)
	need(t, "setfacl", "setcap")
	p = newProgram(t)
	dir := newDir(t)
	source, dest = filepath.Join(dir, "src"), mkdir(t, dir, "dst")
	hardTree(t, source)
	o := p.try(t, append(append([]string{"run"}, options...), source, dest)...)
	if o.code != 0 {
		t.Fatalf("run: got exit %d, want 0\n%s%s", o.code, o.stdout, o.stderr)
	}
	return p, source, dest
}

// TestForeignTar restores archives with GNU tar and with bsdtar, and compares all
// that those tools bring back.
func TestForeignTar(t *testing.T) {
	inside(t)
	need(t, "tar", "bsdtar", "zstd", "xz", "gzip", "sha256sum")
	t.Parallel()
	for _, c := range codecs {
		t.Run(c.option, func(t *testing.T) {
			t.Parallel()
			_, source, dest := hard(t, "--compress", c.option)
			want := tree(t, source)
			archive := newest(t, dest)
			if !strings.HasSuffix(archive, ".tar"+c.suffix) {
				t.Errorf("name: got %q, want it to end in .tar%s", archive, c.suffix)
			}
			tool(t, c.test[0], append(c.test[1:], archive)...)
			toolIn(t, dest, "sha256sum", "--quiet", "-c", "SHA256SUMS")

			to := newDir(t)
			tool(t, "tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf", archive, "-C", to)
			sameTree(t, tree(t, filepath.Join(to, "src")), want, nil)
			if got := ls(t, to); len(got) != 1 {
				t.Errorf("tar -x made %q, want one directory", got)
			}
			if c.option == "zstd" {
				to := newDir(t)
				bsdtar(t, archive, to)
				sameTree(t, tree(t, filepath.Join(to, "src")), want, bsdtarLoses)
			}
		})
	}
}

// bsdtar extracts an archive. Names that are not UTF-8 it takes as they are, and
// complains: PAX demands UTF-8, and file systems do not.
func bsdtar(t *testing.T, archive, to string) {
	t.Helper()
	cmd := exec.Command("bsdtar", "--xattrs", "--acls", "--numeric-owner", "-xpf", archive)
	cmd.Dir = to
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	o := finish(t, cmd)
	for line := range strings.Lines(o.stderr) {
		if !strings.Contains(line, "can't be converted from UTF-8") && !strings.Contains(line, "Error exit delayed") {
			t.Errorf("bsdtar: %s", line)
		}
	}
}

// bsdtarLoses is what the bsdtar of Debian 12 (libarchive 3.6.2) does not bring
// back from any archive: it composes names, and takes a fraction of a second
// before 1970 for one after.
func bsdtarLoses(path, key string) bool {
	return strings.HasSuffix(path, "nfd u\u0308") || strings.HasSuffix(path, "nfd \u00fc") || path == "time/0" && key == "mtime"
}

func ls(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestRestoreTree restores everything with tinybackup itself.
func TestRestoreTree(t *testing.T) {
	t.Parallel()
	p, source, dest := hard(t)
	want := tree(t, source)
	for _, target := range []string{"new", "existing"} {
		to := filepath.Join(newDir(t), target)
		if target == "existing" {
			mkdir(t, to)
		}
		p.exits(t, 0, "restore", dest, to)
		sameTree(t, tree(t, to), want, nil)
	}
	p.exits(t, 0, "verify", dest)
}

// TestRestorePath restores one deep file and one directory of many.
func TestRestorePath(t *testing.T) {
	t.Parallel()
	p, source, dest := hard(t)
	to := filepath.Join(newDir(t), "some")
	p.exits(t, 0, "restore", dest, to, "names/new\nline", "attr/acl-dir", "z-hard/3")
	want := tree(t, source)
	got := tree(t, to)
	for _, path := range []string{"names/new\nline", "attr/acl-dir", "attr/acl-dir/inherits", "z-hard/3"} {
		g, w := got[path], want[path]
		if g == nil {
			t.Errorf("%q is missing", path)
			continue
		}
		for _, key := range []string{"mode", "owner", "mtime", "content", "size"} {
			if g[key] != w[key] {
				t.Errorf("%q %s: got %q, want %q", path, key, g[key], w[key])
			}
		}
	}
	for _, path := range []string{"size", "names/-rf", "z-hard/1", "special"} {
		if got[path] != nil {
			t.Errorf("%q is there, and was not asked for", path)
		}
	}
}

// TestSingleFile backs up one file, and gets it back with standard tools and with
// tinybackup, which also knows its mode, owner, times and attributes.
func TestSingleFile(t *testing.T) {
	inside(t)
	need(t, "zstd", "xz", "gzip")
	t.Parallel()
	for _, c := range codecs {
		t.Run(c.option, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t)
			dir := newDir(t)
			source, dest := filepath.Join(dir, "todo.txt"), mkdir(t, dir, "dst")
			data := append(noise(9<<20, 4), make([]byte, 5<<20)...)
			if err := os.WriteFile(source, data, 0o640); err != nil {
				t.Fatal(err)
			}
			check(t, os.Lchown(source, 4242, 1))
			check(t, unix.Lsetxattr(source, "user.k", []byte("v"), 0))
			check(t, unix.UtimesNanoAt(unix.AT_FDCWD, source, []unix.Timespec{{Sec: 1}, {Sec: 1_234_567_890, Nsec: 123_456_789}}, 0))
			p.exits(t, 0, "run", "--compress", c.option, source, dest)
			archive := newest(t, dest)
			if got := stamp.FindStringSubmatch(filepath.Base(archive)); got[1] != "todo.txt" || got[3] != c.suffix {
				t.Errorf("name: got %q, want todo.txt-TIME%s", filepath.Base(archive), c.suffix)
			}
			tool(t, c.test[0], append(c.test[1:], archive)...)
			toolIn(t, dest, "sha256sum", "--quiet", "-c", "SHA256SUMS")
			same(t, append(c.decode, archive), source)

			want := tree(t, source)
			to := filepath.Join(newDir(t), "back.txt")
			p.exits(t, 0, "restore", dest, to)
			sameTree(t, tree(t, to), want, nil)
			into := newDir(t)
			p.exits(t, 0, "restore", dest, into)
			sameTree(t, tree(t, filepath.Join(into, "todo.txt")), want, nil)
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same says that what a command prints is what a file or a device has, to the byte.
func same(t *testing.T, decode []string, path string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `set -e; "$@" >"$PIPE" & cmp "$PIPE" "$FILE"; wait $!`, "sh")
	cmd.Args = append(cmd.Args, decode...)
	pipe := filepath.Join(newDir(t), "pipe")
	check(t, unix.Mkfifo(pipe, 0o600))
	cmd.Env = append(os.Environ(), "PIPE="+pipe, "FILE="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%q and %s differ: %v %s", decode, path, err, out)
	}
}

// TestSocket is left out, with a note, and costs neither the backup nor the exit status.
func TestSocket(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "src"), mkdir(t, dir, "dst")
	write(t, filepath.Join(source, "file"), "x")
	check(t, unix.Mknod(filepath.Join(source, "socket"), unix.S_IFSOCK|0o600, 0))
	o := p.exits(t, 0, "run", "--debug", source, dest)
	if !strings.Contains(o.stdout+o.stderr, "socket") {
		t.Errorf("--debug does not name the socket:\n%s%s", o.stdout, o.stderr)
	}
	to := filepath.Join(newDir(t), "to")
	p.exits(t, 0, "restore", dest, to)
	if got := ls(t, to); strings.Join(got, " ") != "file" {
		t.Errorf("restored: got %q, want the file alone", got)
	}
}

// TestChangedOptions runs the same source into one destination under options that
// change from run to run: whatever an archive takes over from the one before it,
// each is whole by itself.
func TestChangedOptions(t *testing.T) {
	inside(t)
	need(t, "tar", "zstd", "xz", "gzip")
	t.Parallel()
	p := newProgram(t)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "src"), mkdir(t, dir, "dst")
	write(t, filepath.Join(source, "text"), strings.Repeat("some text\n", 1000))
	check(t, os.WriteFile(filepath.Join(source, "noise"), noise(6<<20, 1), 0o600))
	runs := [][]string{
		{"--compress", "xz"}, {"--compress", "gzip"}, {"--compress", "none"}, {"--compress", "zstd"}, {"--compress", "zstd:1"},
		{"--compress", "gzip:1"}, {"--compress", "gzip:1"}, {"--compress", "xz", "--block-size", "1MiB"}, {"--compress", "xz", "--exclude", "text"}, {"--compress", "xz"},
	}
	for i, options := range runs {
		if i > 0 {
			nextSecond()
		}
		p.exits(t, 0, append(append([]string{"run"}, options...), source, dest)...)
		archive := newest(t, dest)
		to := newDir(t)
		tool(t, "tar", "--numeric-owner", "-xpf", archive, "-C", to)
		want := tree(t, source)
		if len(options) > 2 && options[2] == "--exclude" {
			delete(want, "text")
		}
		sameTree(t, tree(t, filepath.Join(to, "src")), want, nil)
	}
	p.exits(t, 0, "verify", dest)
	if got := len(archives(t, dest)); got != len(runs) {
		t.Errorf("archives: got %d, want %d", got, len(runs))
	}
}
