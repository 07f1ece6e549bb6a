//go:build linux

package archive

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tinybackup/internal/source"
)

// written is an archive that Write made, and what it said.
type written struct {
	path     string
	manifest *Manifest
	result   *Result
	warnings []source.Warning
}

// writeArchive archives the source at path into a new file.
func writeArchive(t *testing.T, path string, opt Options) written {
	t.Helper()
	w, err := tryWrite(t, path, opt)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func tryWrite(t *testing.T, path string, opt Options) (w written, err error) {
	t.Helper()
	var mu sync.Mutex
	opt.Warn = func(x source.Warning) {
		mu.Lock()
		defer mu.Unlock()
		w.warnings = append(w.warnings, x)
	}
	if opt.FrameSize == 0 {
		if opt.FrameSize, err = FrameSize(opt.Codec, opt.Level); err != nil {
			return w, err
		}
	}
	if opt.Top == "" {
		opt.Top = filepath.Base(path)
	}
	src, err := source.Open(path, source.Options{PieceSize: opt.FrameSize, Warn: opt.Warn})
	if err != nil {
		return w, err
	}
	defer src.Close()
	f, err := os.Create(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		return w, err
	}
	defer f.Close()
	w.path = f.Name()
	res, err := Write(context.Background(), f, src, opt)
	if err == nil {
		w.result, w.manifest = res, res.Manifest
	}
	return w, err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tool runs a program that the tests need, and gives its output.
func tool(t *testing.T, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("needs %s", name)
	}
	cmd := exec.Command(name, args...)
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return stdout.Bytes()
}

// commands are the programs that decode a codec to their standard output.
var commands = map[string][]string{"zstd": {"zstd", "-dcq"}, "xz": {"xz", "-dc"}, "gzip": {"gzip", "-dc"}, "none": {"cat"}}

func decodeWith(t *testing.T, codec, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return tool(t, data, commands[codec][0], commands[codec][1:]...)
}

// fixture fills dir with one of everything that a tree can hold.
func fixture(t *testing.T, dir string) {
	t.Helper()
	file := func(name string, data []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, data, 0o600))
		must(t, os.Chmod(path, mode))
		return path
	}
	noise := make([]byte, 300_000)
	rand.Read(noise)
	file("plain", []byte("hello\n"), 0o640)
	file("empty", nil, 0o644)
	file("noise", noise, 0o600)
	file("setuid", []byte("#!/bin/sh\n"), 0o755|os.ModeSetuid|os.ModeSticky)
	file("sub/dir/deep", []byte("deep"), 0o444)
	file("new\nline", []byte("1"), 0o644)
	file("latin1-\xe9", []byte("2"), 0o644)
	file("ünïcode", []byte("3"), 0o644)
	file(" leading and trailing ", []byte("4"), 0o644)
	file("-rf", []byte("5"), 0o644)
	file("back\\slash", []byte("6"), 0o644)
	file(strings.Repeat("n", 255), []byte("7"), 0o644)
	must(t, os.Mkdir(filepath.Join(dir, "emptydir"), 0o711))
	must(t, os.Symlink("plain", filepath.Join(dir, "link")))
	must(t, os.Symlink("/nowhere/"+strings.Repeat("x", 200), filepath.Join(dir, "dangling")))
	for _, name := range []string{"hard", "hard2", "hard3"} {
		must(t, os.Link(filepath.Join(dir, "plain"), filepath.Join(dir, "sub", name)))
	}
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o620))
	must(t, os.Link(filepath.Join(dir, "link"), filepath.Join(dir, "same link")))
	must(t, os.Link(filepath.Join(dir, "fifo"), filepath.Join(dir, "same fifo")))
	if os.Getuid() == 0 {
		must(t, unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(t, unix.Mknod(filepath.Join(dir, "loop"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 300))))
		must(t, os.Chown(filepath.Join(dir, "sub"), 12345, 3_000_000))
		must(t, os.Lchown(filepath.Join(dir, "link"), 1, 2))
	}

	long := dir
	for range 16 {
		long = filepath.Join(long, strings.Repeat("p", 230))
	}
	// The path is longer than one call may take.
	mkdirAllAt(t, dir, strings.TrimPrefix(long, dir+"/"), "at the end")

	sparse := file("sparse", nil, 0o644)
	f, err := os.OpenFile(sparse, os.O_WRONLY, 0)
	must(t, err)
	must(t, f.Truncate(5<<20+123))
	_, err = f.WriteAt([]byte("middle"), 2<<20)
	must(t, err)
	must(t, f.Close())
	must(t, os.Truncate(file("allhole", nil, 0o644), 1<<20))

	for i, name := range []string{"plain", "sparse", "sub/dir", "link", "fifo", "empty"} {
		ns := []unix.Timespec{{Sec: 1, Nsec: 1}, {Sec: 1_700_000_000 - int64(i)*100_000_000, Nsec: 123456789}}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, name), ns, unix.AT_SYMLINK_NOFOLLOW))
	}
	old := []unix.Timespec{{Sec: -1000, Nsec: 1}, {Sec: -1000, Nsec: 500_000_000}}
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, "noise"), old, 0))
	must(t, unix.Setxattr(filepath.Join(dir, "plain"), "user.a=b%3D", []byte("odd name"), 0))
	for _, name := range []string{"plain", "sparse", "sub"} {
		must(t, unix.Setxattr(filepath.Join(dir, name), "user.test", []byte("value\x00of "+name), 0))
	}
	tool(t, nil, "setfacl", "-m", "u:1234:rwx,g:12:r-x", filepath.Join(dir, "plain"))
	tool(t, nil, "setfacl", "-d", "-m", "u:1234:rwx", filepath.Join(dir, "sub"))
	if os.Getuid() == 0 {
		tool(t, nil, "setcap", "cap_net_raw+ep", filepath.Join(dir, "noise"))
	}
}

// mkdirAllAt makes a path that is longer than PATH_MAX, and a file at its end.
func mkdirAllAt(t *testing.T, base, rel, content string) {
	t.Helper()
	fd, err := unix.Open(base, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	for _, name := range strings.Split(rel, "/") {
		must(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	file, err := unix.Openat(fd, "end", unix.O_CREAT|unix.O_WRONLY, 0o644)
	must(t, err)
	_, err = unix.Write(file, []byte(content))
	must(t, err)
	unix.Close(file)
	unix.Close(fd)
}

// state describes all of a tree that a backup keeps, one line for each entry.
func state(t *testing.T, dir string) string {
	t.Helper()
	find := tool(t, nil, "find", dir, "-printf", `%P %y %m %U %G %s %T@ %l\0`)
	sums := tool(t, nil, "sh", "-c", `cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum`, "sh", dir)
	acls := tool(t, nil, "sh", "-c", `cd "$1" && find . ! -type l -print0 | sort -z | xargs -0 getfacl -pn 2>/dev/null; getfattr -Rhd -m - . 2>/dev/null | sort; find . -links +1 ! -type d -printf '%P %n\n' | sort`, "sh", dir)
	var out []string
	for _, line := range strings.Split(string(find), "\x00") {
		fields := strings.SplitN(line, " d ", 2)
		if len(fields) == 2 { // the size of a directory is the file system's
			parts := strings.Fields(fields[1])
			line = fields[0] + " d " + strings.Join(append(parts[:3], parts[4:]...), " ")
		}
		out = append(out, line)
	}
	sorted := strings.Split(string(tool(t, []byte(strings.Join(out, "\x00")), "sort", "-z")), "\x00")
	return strings.Join(sorted, "\n") + "\n" + string(sums) + string(acls)
}

// What GNU tar extracts is the tree again, to the last attribute, with each codec.
func TestWriteTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	must(t, os.Mkdir(dir, 0o755))
	fixture(t, dir)
	want := state(t, dir)
	for _, codec := range Codecs() {
		for _, frame := range []int64{0, 64 << 10} {
			t.Run(fmt.Sprint(codec, frame), func(t *testing.T) {
				w := writeArchive(t, dir, Options{Codec: codec, FrameSize: frame, Decode: frame > 0})
				if len(w.warnings) > 0 {
					t.Errorf("warnings: %v", w.warnings)
				}
				raw := decodeWith(t, codec, w.path)
				if got := int64(len(raw)); got != w.manifest.Raw {
					t.Errorf("it decodes to %d bytes, the manifest says %d", got, w.manifest.Raw)
				}
				out := t.TempDir()
				tool(t, raw, "tar", "-C", out, "-xpf", "-", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--same-owner")
				if got := state(t, filepath.Join(out, "tree")); got != want {
					t.Errorf("extracted, it differs:\n%s", diff(t, want, got))
				}
				var st unix.Stat_t
				must(t, unix.Stat(filepath.Join(out, "tree", "sparse"), &st))
				if st.Blocks*512 > 1<<20 {
					t.Errorf("the sparse file has %d bytes on disk", st.Blocks*512)
				}
				if enc, err := w.manifest.Encode(); err != nil || len(enc) == 0 {
					t.Errorf("manifest: %v", err)
				}
			})
		}
	}
}

// A frame may hold more files than can be open at a time.
func TestWriteWithFewDescriptors(t *testing.T) {
	if os.Getenv("ARCHIVE_TEST_CHILD") == "" {
		t.Parallel()
		takeOver(t, testAgain(t, "ARCHIVE_TEST_CHILD=1"))
		return
	}
	dir := filepath.Join(t.TempDir(), "tree")
	must(t, os.Mkdir(dir, 0o755))
	for i := range 1000 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("x"), 0o600))
	}
	var rlimit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &rlimit))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: rlimit.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &rlimit)
	w := writeArchive(t, dir, Options{Codec: CodecNone})
	if len(w.warnings) > 0 || w.manifest.Entries != 1001 {
		t.Errorf("%d entries of 1001, %d warnings", w.manifest.Entries, len(w.warnings))
	}
}

func diff(t *testing.T, want, got string) string {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "want"), []byte(want), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "got"), []byte(got), 0o600))
	out, _ := exec.Command("diff", "-a", filepath.Join(dir, "want"), filepath.Join(dir, "got")).Output()
	return string(out[:min(len(out), 4000)])
}

// The same tree gives the same bytes, however many workers there are.
func TestWriteIsDeterministic(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	must(t, os.Mkdir(dir, 0o755))
	fixture(t, dir)
	var first written
	for _, workers := range []int{1, 2, 7} {
		w := writeArchive(t, dir, Options{Codec: "zstd", FrameSize: 64 << 10, Workers: workers})
		if workers == 1 {
			first = w
			continue
		}
		if w.manifest.SHA256 != first.manifest.SHA256 {
			t.Errorf("with %d workers it is another archive", workers)
		}
	}
}

func TestWriteFile(t *testing.T) {
	noise := make([]byte, 1_000_000)
	rand.Read(noise)
	for name, data := range map[string][]byte{"empty": nil, "small": []byte("todo\n"), "noise": noise, "zeros": make([]byte, 3<<20)} {
		for _, codec := range Codecs() {
			t.Run(name+codec, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), name)
				must(t, os.WriteFile(path, data, 0o640))
				must(t, os.Chtimes(path, time.Time{}, time.Unix(1_000_000_000, 987654321)))
				w := writeArchive(t, path, Options{Codec: codec, FrameSize: 256 << 10})
				if got := decodeWith(t, codec, w.path); !bytes.Equal(got, data) {
					t.Errorf("it decodes to %d other bytes, want %d", len(got), len(data))
				}
				m := w.manifest
				if m.File == nil || m.File.Mode != 0o640 || m.File.Size != int64(len(data)) || m.File.ModTime.UnixNano() != 1_000_000_000_987654321 {
					t.Errorf("file metadata %+v", m.File)
				}
				if _, err := m.Encode(); err != nil {
					t.Errorf("manifest: %v", err)
				}
			})
		}
	}
}

// A writer that fails ends the archive with its error, and leaves no goroutine behind
// that still reads.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	for i := range 200 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, 10_000), 0o600))
	}
	for _, after := range []int{0, 1, 5, 20} {
		src, err := source.Open(dir, source.Options{PieceSize: 64 << 10, Warn: func(source.Warning) {}})
		must(t, err)
		_, err = Write(context.Background(), &failing{after: after}, src, Options{Codec: "zstd", FrameSize: 64 << 10, Top: "x", Warn: func(source.Warning) {}})
		if err != unix.ENOSPC {
			t.Errorf("after %d writes: %v", after, err)
		}
		must(t, src.Close())
	}
}

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, unix.ENOSPC
	}
	return len(p), nil
}

func TestDecodesTo(t *testing.T) {
	for _, codec := range Codecs() {
		raw := bytes.Repeat([]byte("some text "), 20_000)
		c, err := codecByName(codec)
		must(t, err)
		comp, err := c.compressorWith(c.std)
		must(t, err)
		frame, err := comp.appendFrame(context.Background(), nil, raw)
		must(t, err)
		if err := decodesTo(codec, frame, raw); err != nil {
			t.Errorf("%s: %v", codec, err)
		}
		for name, other := range map[string][]byte{"longer": append(bytes.Clone(raw), 'x'), "shorter": raw[:len(raw)-1], "other": append([]byte("x"), raw[1:]...)} {
			if decodesTo(codec, frame, other) == nil {
				t.Errorf("%s: it decodes to a %s text too", codec, name)
			}
		}
	}
}

func TestCheckCodec(t *testing.T) {
	tests := []struct {
		name  string
		level int
		want  int
		err   string
	}{
		{"zstd", 0, 3, ""}, {"zstd", 22, 22, ""}, {"xz", 9, 9, ""}, {"gzip", 1, 1, ""}, {"none", 0, 0, ""},
		{"zstd", 23, 0, "compression level 23: zstd has 1 to 22"},
		{"gzip", -1, 0, "compression level -1: gzip has 1 to 9"},
		{"none", 1, 0, `compression "none" has no levels`},
		{"rar", 0, 0, `compression "rar": there are only zstd, xz, gzip, none`},
	}
	for _, tt := range tests {
		got, err := CheckCodec(tt.name, tt.level)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != tt.want || text != tt.err {
			t.Errorf("CheckCodec(%q, %d) = %d, %q; want %d, %q", tt.name, tt.level, got, text, tt.want, tt.err)
		}
	}
}
