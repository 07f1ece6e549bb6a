//go:build linux

package archive

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace runs the test again with mounts of its own.
func inNamespace(t *testing.T, env ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("root is not here: nothing can be mounted")
	}
	cmd := testAgain(t, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	takeOver(t, cmd)
}

// mountTmpfs mounts a small file system, in inNamespace only.
func mountTmpfs(t *testing.T, dir, options string) {
	t.Helper()
	noError(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	noError(t, os.MkdirAll(dir, 0o755))
	noError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, options))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}

// TestExtractFullDisk extracts to a file system that is too small, in bytes and in inodes.
func TestExtractFullDisk(t *testing.T) {
	if os.Getenv("ARCHIVE_TEST_CHILD") == "" {
		t.Parallel()
		inNamespace(t, "ARCHIVE_TEST_CHILD=1")
		return
	}
	block := strings.Repeat("x", 500_000)
	many := []tar.Header{tar.Header{Typeflag: tar.TypeDir, Name: "n/", Mode: 0o711}}
	for i := range 50 {
		many = append(many, symlinkEntry(fmt.Sprintf("n/l%02d", i), "x"))
	}
	for name, test := range map[string]struct {
		options string
		headers []tar.Header
		want    string
		files   int
	}{
		"bytes":  {"size=1m", []tar.Header{many[0], fileEntry("n/a", block), fileEntry("n/b", block), fileEntry("n/c", block), fileEntry("n/d", "x")}, `restore "c": no space left on device`, 2},
		"inodes": {"nr_inodes=20", many, `: no space left on device`, 0},
		"holes":  {"size=1m", []tar.Header{many[0], fileEntry("n/a", strings.Repeat("\x00", 8<<20)), fileEntry("n/b", block)}, "", 2},
	} {
		dir := filepath.Join(t.TempDir(), "small")
		mountTmpfs(t, dir, test.options)
		target := filepath.Join(dir, "target")
		_, err := Extract(ctx, newReader(makeTar(t, test.headers...)), target, ExtractOptions{Strip: true})
		if test.want == "" != (err == nil) || err != nil && (!errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
		got := files(t, target)
		for path, data := range got {
			if strings.Contains(path, ".tinybackup") || data != "link" && len(data) != 500_000 && len(data) != 8<<20 {
				t.Errorf("%s: %s of %d bytes was left", name, path, len(data))
			}
		}
		if test.files > 0 && len(got) != test.files {
			t.Errorf("%s: %d files, want %d", name, len(got), test.files)
		}
		// The directory is as it should be, all the same.
		if text := describe(t, target)[""]; !strings.HasPrefix(text, "drwx--x--x") {
			t.Errorf("%s: the target is %s", name, text)
		}
	}
}

// TestExtractOverMounts has another file system in the target, and one that takes no changes.
func TestExtractOverMounts(t *testing.T) {
	if os.Getenv("ARCHIVE_TEST_CHILD") == "" {
		t.Parallel()
		inNamespace(t, "ARCHIVE_TEST_CHILD=1")
		return
	}
	target := t.TempDir()
	mountTmpfs(t, filepath.Join(target, "m"), "size=1m")
	stream := makeTar(t, dirEntry("n/"), fileEntry("n/a", "A"), dirEntry("n/m/"), fileEntry("n/m/b", "B"), linkEntry("n/m/h", "n/a"))
	report, err := Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true})
	if err != nil || report.WarningCount != 1 || !strings.Contains(report.Warnings[0], `restore "m/h": invalid cross-device link`) {
		t.Errorf("%v, warnings %q", err, report.Warnings)
	}
	wantFiles(t, target, map[string]string{"a": "A", "m": "dir", "m/b": "B"})

	noError(t, unix.Mount("", filepath.Join(target, "m"), "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err = Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true, Overwrite: true})
	if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), `"m/b"`) {
		t.Errorf("read-only: got %v", err)
	}
}

// TestExtractWithFewDescriptors has more directories above each other than descriptors.
func TestExtractWithFewDescriptors(t *testing.T) {
	if os.Getenv("ARCHIVE_TEST_CHILD") == "" {
		t.Parallel()
		takeOver(t, testAgain(t, "ARCHIVE_TEST_CHILD=1"))
		return
	}
	const limit, depth = 200, 1000
	target := t.TempDir()
	var rlimit unix.Rlimit
	noError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &rlimit))
	noError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: rlimit.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &rlimit) // os.RemoveAll needs more
	var headers []tar.Header
	path := "n"
	headers = append(headers, dirEntry(path))
	for range depth {
		path += "/d"
		headers = append(headers, dirEntry(path), fileEntry(path+"/f", "x"))
	}
	for up := path; up != "n"; up = filepath.Dir(up) { // and back
		headers = append(headers, fileEntry(up+"/g", "y"))
	}
	headers = append(headers, linkEntry(path+"/h", "n/d/f"), linkEntry("n/d/h", path+"/f"))
	report, err := Extract(ctx, newReader(makeTar(t, headers...)), target, ExtractOptions{Strip: true})
	if err != nil || report.WarningCount > 0 || report.Entries != 1+3*depth+2 {
		t.Errorf("%v, %d entries, warnings %q", err, report.Entries, report.Warnings)
	}
	root, err := os.OpenRoot(target)
	noError(t, err)
	defer root.Close()
	for _, file := range []string{"/f", "/g", "/h"} {
		if data, err := root.ReadFile(strings.TrimPrefix(path, "n/") + file); err != nil || len(data) != 1 {
			t.Errorf("%s at the end: %q, %v", file, data, err)
		}
	}
}

// TestExtractKilled kills an extraction in the middle of a file. A file is there in full or not at all, and the next
// extraction makes everything right.
func TestExtractKilled(t *testing.T) {
	if target := os.Getenv("ARCHIVE_TEST_TARGET"); target != "" {
		_, err := Extract(ctx, os.Stdin, target, ExtractOptions{Strip: true, Progress: func(int64) { fmt.Println("read") }})
		t.Fatalf("not killed: %v", err)
	}
	t.Parallel()
	big := string(sample(3<<20, 1))
	stream := makeTar(t, tar.Header{Typeflag: tar.TypeDir, Name: "n/", Mode: 0o711}, fileEntry("n/a", "A"), tar.Header{Typeflag: tar.TypeDir, Name: "n/d/", Mode: 0o500},
		fileEntry("n/d/big", big), fileEntry("n/d/z", "Z"))
	target := filepath.Join(t.TempDir(), "target")
	cmd := testAgain(t, "ARCHIVE_TEST_TARGET="+target)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	noError(t, err)
	stdout, err := cmd.StdoutPipe()
	noError(t, err)
	noError(t, cmd.Start())
	go stdin.Write(stream[:len(stream)-1<<20])
	// The temporary file grows while the child waits for the rest.
	temp := filepath.Join(target, "d", tempName("big"))
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if fi, err := os.Stat(temp); err == nil && fi.Size() > 1<<20 {
			break
		}
	}
	noError(t, cmd.Process.Kill())
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended with %v", err)
	}
	got := files(t, target)
	if len(got) != 3 || got["a"] != "A" || got["d"] != "dir" || len(got["d/"+tempName("big")]) < 1<<20 {
		t.Errorf("after the kill: %d files", len(got))
	}

	report, err := Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true})
	if err != nil || report.WarningCount != 0 || report.Kept != 1 {
		t.Errorf("%v, warnings %q, kept %q", err, report.Warnings, report.KeptPaths)
	}
	wantFiles(t, target, map[string]string{"a": "A", "d": "dir", "d/big": big, "d/z": "Z"})
	d := describe(t, target)
	if !strings.HasPrefix(d[""], "drwx--x--x") || !strings.HasPrefix(d["d"], "dr-x------") {
		t.Errorf("directories are %s and %s", d[""], d["d"])
	}
}

// TestExtractOwners restores owners by name or by number.
func TestExtractOwners(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("root is not here: nothing can be given away")
	}
	number := int64(math.MaxUint32) // no file can belong to it; more than an int, in places
	large := int(number)
	var out strings.Builder
	w := tar.NewWriter(&out)
	for _, h := range []tar.Header{
		{Name: "known", Uid: 7777, Gid: 8888, Uname: "daemon", Gname: "bin"},
		{Name: "unknown", Uid: 7777, Gid: 8888, Uname: "no-such-user", Gname: "no-such-group"},
		{Name: "large", Uid: large - 1, Gid: large - 2},
		{Name: "impossible", Uid: large, Gid: 0},
	} {
		h.Mode, h.Format = 0o6711, tar.FormatPAX
		noError(t, w.WriteHeader(&h))
	}
	noError(t, w.Close())
	for numeric, want := range map[bool]map[string]string{
		false: {"known": "ugrwx--x--x 1:2", "unknown": "ugrwx--x--x 7777:8888", "large": "ugrwx--x--x 4294967294:4294967293", "impossible": "grwx--x--x 0:0"},
		true:  {"known": "ugrwx--x--x 7777:8888", "unknown": "ugrwx--x--x 7777:8888", "large": "ugrwx--x--x 4294967294:4294967293", "impossible": "grwx--x--x 0:0"},
	} {
		target := t.TempDir()
		report, err := Extract(ctx, strings.NewReader(out.String()), target, ExtractOptions{NumericOwner: numeric})
		noError(t, err)
		if report.WarningCount != 2 || !strings.HasPrefix(report.Warnings[0], `chown "impossible"`) || !strings.HasPrefix(report.Warnings[1], `chmod "impossible"`) {
			t.Errorf("numeric %v: warnings %q", numeric, report.Warnings)
		}
		got := describe(t, target)
		for name, text := range want {
			if !strings.HasPrefix(got[name], text) {
				t.Errorf("numeric %v: %s is %s, want %s", numeric, name, got[name], text)
			}
		}
	}
}

// TestExtractTimesOutOfRange: what a file system can't store is a warning at most.
func TestExtractTimesOutOfRange(t *testing.T) {
	t.Parallel()
	var stream []byte
	for _, seconds := range []string{"9223372036854775807", "-9223372036854775808", "253402300800.5", "-1.5"} {
		stream = append(stream, paxHeader(t, "mtime="+seconds)...)
		one := makeTar(t, fileEntry("f"+seconds, "x"))
		stream = append(stream, one[:len(one)-1024]...)
	}
	stream = append(stream, make([]byte, 1024)...)
	target := t.TempDir()
	report, err := Extract(ctx, newReader(stream), target, ExtractOptions{})
	if err != nil || report.Entries != 4 {
		t.Errorf("%v, %+v", err, report)
	}
	if got := describe(t, target)["f-1.5"]; !strings.Contains(got, "1969-12-31 23:59:58.5") {
		t.Errorf("f-1.5 is %s", got)
	}
}

// paxHeader returns an extended header of one record.
func paxHeader(t *testing.T, record string) []byte {
	t.Helper()
	n := len(record) + 4
	text := fmt.Sprintf("%d %s\n", n, record)
	if len(text) != n {
		t.Fatalf("record %q has %d bytes", text, len(text))
	}
	one := makeTar(t, fileEntry("PaxHeaders/x", text))
	one = one[:len(one)-1024]
	one[156] = tar.TypeXHeader
	copy(one[148:156], "        ")
	sum := 0
	for _, b := range one[:512] {
		sum += int(b)
	}
	copy(one[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return one
}

// TestExtractWhereAttributesAreUnknown: a file system without extended attributes gets the files, and one warning.
func TestExtractWhereAttributesAreUnknown(t *testing.T) {
	if os.Getenv("ARCHIVE_TEST_CHILD") == "" {
		t.Parallel()
		inNamespace(t, "ARCHIVE_TEST_CHILD=1")
		return
	}
	dir := filepath.Join(t.TempDir(), "m")
	mountTmpfs(t, dir, "size=1m")
	noError(t, os.Mkdir(filepath.Join(dir, "ram"), 0o755))
	noError(t, unix.Mount("ramfs", filepath.Join(dir, "ram"), "ramfs", 0, ""))
	defer unix.Unmount(filepath.Join(dir, "ram"), unix.MNT_DETACH)
	x := map[string]string{"SCHILY.xattr.user.a": "1", "SCHILY.xattr.user.b": "1", "SCHILY.acl.access": "user::rwx,user:1:rwx,group::r-x,mask::r-x,other::r-x"}
	report, err := Extract(ctx, newReader(makeTar(t, tar.Header{Name: "a", Linkname: "A", PAXRecords: x}, tar.Header{Name: "b", Linkname: "B", PAXRecords: x})),
		filepath.Join(dir, "ram"), ExtractOptions{})
	if err != nil || report.WarningCount != 2 || !strings.Contains(strings.Join(report.Warnings, ""), "user.a: not supported here") {
		t.Errorf("%v, warnings %q", err, report.Warnings)
	}
	wantFiles(t, filepath.Join(dir, "ram"), map[string]string{"a": "A", "b": "B"})
}

// TestPlaceNeverReplaces tries both ways to give a file its name.
func TestPlaceNeverReplaces(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]func(*dirHandle, string, string) error{"rename": renameNoReplace, "link": linkNoReplace} {
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		noError(t, err)
		in, err := openHandle(root)
		noError(t, err)
		noError(t, root.WriteFile("temp", []byte("new"), 0o600))
		noError(t, root.WriteFile("there", []byte("old"), 0o600))
		noError(t, root.Symlink("nowhere", "dangling"))
		for _, target := range []string{"there", "dangling"} {
			if err := place(in, "temp", target); !errors.Is(err, os.ErrExist) {
				t.Errorf("%s over %s: got %v", name, target, err)
			}
		}
		wantFiles(t, dir, map[string]string{"temp": "new", "there": "old", "dangling": "link"})
		if err := place(in, "temp", "name"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantFiles(t, dir, map[string]string{"name": "new", "there": "old", "dangling": "link"})
		in.close()
	}
}
