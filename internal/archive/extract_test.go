//go:build linux

package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var ctx = context.Background()

// TestExtractRestoresEverything compares, as root, all properties of a tree with those of its copy.
func TestExtractRestoresEverything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	makeTree(t, dir)
	want := describe(t, filepath.Join(dir, "notes"))
	for name, args := range map[string][]string{"sparse": fullTar, "dense": fullTar[:4], "bare": {"--format=gnu", "-S"}} {
		stream := gnuTar(t, dir, args...)
		target := filepath.Join(t.TempDir(), "new", "target")
		report, err := Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if report.WarningCount != 0 || report.Kept != 0 {
			t.Errorf("%s: %d warnings, %d kept: %q %q", name, report.WarningCount, report.Kept, report.Warnings, report.KeptPaths)
		}
		if got, want := report.Entries, int64(len(want)); got != want {
			t.Errorf("%s: %d entries, want %d", name, got, want)
		}
		got, want := describe(t, target), want
		if name == "bare" { // the format has whole seconds and no attributes
			if len(got) != len(want) {
				t.Errorf("%s: %d files, want %d", name, len(got), len(want))
			}
		} else {
			compare(t, got, want)
		}
		for file, limit := range map[string]int64{"plain/sparse": 256 << 10, "plain/zeros": 0} {
			if n := allocated(t, filepath.Join(target, file)); n > limit {
				t.Errorf("%s: %s takes %d bytes on the disk, want at most %d", name, file, n, limit)
			}
		}
	}
}

// asUser runs the test again, by its name, as user nobody, with the environment given. It returns the output.
func asUser(t *testing.T, env ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("root is not here: no other user can be had")
	}
	cmd := testAgain(t, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	takeOver(t, cmd)
}

// takeOver runs a command of testAgain, and makes its outcome that of the test. A
// skip ends a process with status 0, as does a test that is not found.
func takeOver(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	switch {
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("in another process: %s", out)
	case err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())):
		t.Errorf("in another process: %v\n%s", err, out)
	}
}

// testAgain is a command that runs the test again.
func testAgain(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	// The place where go test puts the program is closed to others.
	dir, err := os.MkdirTemp("", "tinybackup-test-")
	noError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	noError(t, os.Chmod(dir, 0o755))
	program := filepath.Join(dir, "test")
	data, err := os.ReadFile("/proc/self/exe")
	noError(t, err)
	noError(t, os.WriteFile(program, data, 0o755))
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), append(env, "TMPDIR=/tmp")...)
	return cmd
}

// userDir makes a directory that belongs to nobody.
func userDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tinybackup-test-")
	noError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	noError(t, os.Chmod(dir, 0o755))
	noError(t, os.Chown(dir, 65534, 65534))
	return dir
}

// TestExtractAsUser extracts root's tree as somebody who can't give files away.
func TestExtractAsUser(t *testing.T) {
	if dir := os.Getenv("ARCHIVE_TEST_DIR"); dir != "" {
		extractAsUser(t, dir)
		return
	}
	t.Parallel()
	dir := userDir(t)
	makeTree(t, t.TempDir()) // fails early where there are no tools
	source := t.TempDir()
	makeTree(t, source)
	noError(t, os.WriteFile(filepath.Join(dir, "notes.tar"), gnuTar(t, source, fullTar...), 0o644))
	asUser(t, "ARCHIVE_TEST_DIR="+dir)

	target := filepath.Join(dir, "target")
	want, got := describe(t, filepath.Join(source, "notes")), describe(t, target)
	for path, text := range want {
		fields := strings.Fields(text)
		switch {
		case strings.HasPrefix(path, "nodes/") && path != "nodes/fifo":
			delete(want, path)
			continue
		case path == "plain/program":
			fields[0] = "-rwxr-xr-x" // no setuid for another owner
		case path == "plain/capable" || path == "links/relative":
			fields = slices.DeleteFunc(fields, func(f string) bool {
				return strings.HasPrefix(f, "security.") || strings.HasPrefix(f, "trusted.")
			})
		}
		fields[1] = "65534:65534"
		want[path] = strings.Join(fields, " ")
	}
	// The entry of nodes is in want, without what was in it.
	for path, text := range got {
		got[path] = strings.Join(strings.Fields(text), " ")
	}
	compare(t, got, want)
}

func extractAsUser(t *testing.T, dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "notes.tar"))
	noError(t, err)
	target := filepath.Join(dir, "target")
	for _, overwrite := range []bool{false, true} { // the second time, directories are there and read-only
		report, err := Extract(ctx, newReader(data), target, ExtractOptions{Strip: true, Overwrite: overwrite})
		noError(t, err)
		var other []string
		for _, w := range report.Warnings {
			known := false
			for _, want := range []string{`restore "nodes/null": make node: operation not permitted`, `restore "nodes/block": make node`,
				`set attribute of "plain/capable": security.capability`, `set attribute of "links/relative": trusted.x`,
				`chmod "plain/program": mode 0755 only, not 6755`} {
				known = known || strings.HasPrefix(w, want)
			}
			if !known {
				other = append(other, w)
			}
		}
		if report.WarningCount != 5 || len(other) > 0 || report.Kept != 0 {
			t.Errorf("overwrite %v: %d warnings, kept %d %q; not expected: %q", overwrite, report.WarningCount, report.Kept, report.KeptPaths, other)
		}
	}
	// Asked for owners, the same user is told.
	report, err := Extract(ctx, newReader(data), filepath.Join(dir, "target2"), ExtractOptions{Strip: true, KeepOwner: true})
	noError(t, err)
	if report.WarningCount < 20 || !slices.ContainsFunc(report.Warnings, func(w string) bool {
		return strings.HasPrefix(w, `chown "plain/empty": to 0:0: operation not permitted`)
	}) {
		t.Errorf("KeepOwner: %d warnings: %q", report.WarningCount, report.Warnings)
	}
}

// makeTar returns a tar of the headers given; a regular file's content is its Linkname.
func makeTar(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		data := ""
		if h.Typeflag == tar.TypeReg || h.Typeflag == 0 {
			data, h.Linkname = h.Linkname, ""
			h.Typeflag, h.Size = tar.TypeReg, int64(len(data))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1000, 0)
		}
		h.Uid, h.Gid, h.Format = os.Geteuid(), os.Getegid(), tar.FormatPAX
		noError(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, data)
		noError(t, err)
	}
	noError(t, w.Close())
	return out.Bytes()
}

func dirEntry(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name} }

func fileEntry(name, data string) tar.Header { return tar.Header{Name: name, Linkname: data} }

// files returns the contents of all regular files in dir, and "dir" or "link" for others.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for path, text := range describe(t, dir) {
		switch text[0] {
		case '-':
			data, err := os.ReadFile(filepath.Join(dir, path))
			noError(t, err)
			all[path] = string(data)
		case 'L':
			all[path] = "link"
		case 'd':
			if path != "" {
				all[path] = "dir"
			}
		default:
			all[path] = "node"
		}
	}
	return all
}

func wantFiles(t testing.TB, dir string, want map[string]string) {
	t.Helper()
	if got := files(t, dir); !maps.Equal(got, want) {
		t.Errorf("in the target:\n got %q\nwant %q", got, want)
	}
}

func TestExtractKeepsAndOverwrites(t *testing.T) {
	t.Parallel()
	stream := makeTar(t, dirEntry("n/"), fileEntry("n/a", "new"), dirEntry("n/d/"), fileEntry("n/d/x", "new"),
		fileEntry("n/dir-there", "new"), tar.Header{Typeflag: tar.TypeSymlink, Name: "n/l", Linkname: "a"},
		dirEntry("n/file-there/"), fileEntry("n/file-there/y", "new"), dirEntry("n/link-there/"), fileEntry("n/link-there/z", "new"),
		tar.Header{Typeflag: tar.TypeLink, Name: "n/h", Linkname: "n/a"}, fileEntry("n/c", "new"))
	for _, overwrite := range []bool{false, true} {
		base := t.TempDir()
		target, outside := filepath.Join(base, "target"), filepath.Join(base, "outside")
		for _, dir := range []string{target, outside, filepath.Join(target, "dir-there"), filepath.Join(target, "d")} {
			noError(t, os.Mkdir(dir, 0o755))
		}
		for _, file := range []string{"a", "l", "file-there", "dir-there/q", "d/other", "h"} {
			noError(t, os.WriteFile(filepath.Join(target, file), []byte("old"), 0o600))
		}
		noError(t, os.Symlink(outside, filepath.Join(target, "link-there")))
		report, err := Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true, Overwrite: overwrite})
		noError(t, err)
		want := map[string]string{"a": "old", "c": "new", "d": "dir", "d/x": "new", "d/other": "old", "dir-there": "dir", "dir-there/q": "old",
			"file-there": "old", "h": "old", "l": "old", "link-there": "link"}
		if overwrite {
			maps.Copy(want, map[string]string{"a": "new", "h": "new", "l": "link", "file-there": "dir", "file-there/y": "new",
				"link-there": "dir", "link-there/z": "new"})
			if report.Kept != 0 || report.WarningCount != 1 || !strings.HasPrefix(report.Warnings[0], `restore "dir-there": a directory`) {
				t.Errorf("overwrite: %d kept, warnings %q", report.Kept, report.Warnings)
			}
		} else {
			if !slices.Equal(report.KeptPaths, []string{"a", "dir-there", "l"}) || report.Kept != 3 {
				t.Errorf("kept %d %q", report.Kept, report.KeptPaths)
			}
			if report.WarningCount != 3 || !strings.Contains(report.Warnings[2], `link "h": the archive has it as a hard link to "a", where another file existed`) {
				t.Errorf("warnings %q", report.Warnings)
			}
		}
		wantFiles(t, target, want)
		wantFiles(t, outside, map[string]string{})
		// Once more: nothing is new, and nothing goes wrong that did not before.
		again, err := Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true, Overwrite: overwrite})
		if err != nil || again.WarningCount != report.WarningCount {
			t.Errorf("again: %v, warnings %q", err, again.Warnings)
		}
		wantFiles(t, target, want)
	}
}

// TestExtractAfterAPartOfIt: what an extraction that was killed has made is no obstacle.
func TestExtractAfterAPartOfIt(t *testing.T) {
	t.Parallel()
	stream := makeTar(t, dirEntry("n/"), fileEntry("n/a", "new"), tar.Header{Typeflag: tar.TypeDir, Name: "n/d/", Mode: 0o500},
		tar.Header{Typeflag: tar.TypeLink, Name: "n/d/h", Linkname: "n/a"}, fileEntry("n/d/x", "new"))
	target := t.TempDir()
	noError(t, os.Mkdir(filepath.Join(target, "d"), 0o700))
	noError(t, os.WriteFile(filepath.Join(target, "a"), []byte("new"), 0o755))
	noError(t, os.Chtimes(filepath.Join(target, "a"), time.Unix(1000, 0), time.Unix(1000, 0)))
	noError(t, os.WriteFile(filepath.Join(target, "d", tempName("x")), []byte("half"), 0o600))
	report, err := Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true})
	if err != nil || report.WarningCount != 0 || report.Kept != 1 {
		t.Errorf("%v, warnings %q, kept %q", err, report.Warnings, report.KeptPaths)
	}
	wantFiles(t, target, map[string]string{"a": "new", "d": "dir", "d/h": "new", "d/x": "new"})
	if got := describe(t, target)["d"]; !strings.HasPrefix(got, "dr-x------") {
		t.Errorf("d is %s", got)
	}
}

// TestExtractLeavesAnotherProcessAlone: a temporary file that is locked is not a leftover.
func TestExtractLeavesAnotherProcessAlone(t *testing.T) {
	t.Parallel()
	target := t.TempDir()
	f, err := os.Create(filepath.Join(target, tempName("a")))
	noError(t, err)
	defer f.Close()
	noError(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	report, err := Extract(ctx, newReader(makeTar(t, fileEntry("a", "new"), fileEntry("b", "new"))), target, ExtractOptions{})
	if err != nil || report.WarningCount != 1 || !strings.Contains(report.Warnings[0], `restore "a": another process is restoring it`) {
		t.Errorf("%v, warnings %q", err, report.Warnings)
	}
	wantFiles(t, target, map[string]string{"b": "new", tempName("a"): ""})
}

func TestExtractStopsWithContext(t *testing.T) {
	t.Parallel()
	stream := makeTar(t, fileEntry("a", "new"), fileEntry("b", strings.Repeat("x", 1<<20)), fileEntry("c", "new"))
	why := errors.New("enough")
	target := t.TempDir()
	ctx, cancel := context.WithCancelCause(context.Background())
	n := int64(0)
	_, err := Extract(ctx, newReader(stream), target, ExtractOptions{Progress: func(m int64) {
		if n += m; n > 200_000 {
			cancel(why)
		}
	}})
	if !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
	wantFiles(t, target, map[string]string{"a": "new"})
}
