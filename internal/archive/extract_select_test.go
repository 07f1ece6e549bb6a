//go:build linux

package archive

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func selectStream(t testing.TB) []byte {
	return makeTar(t, tar.Header{Typeflag: tar.TypeDir, Name: "notes/", Mode: 0o711}, fileEntry("notes/a", "A"),
		tar.Header{Typeflag: tar.TypeDir, Name: "notes/d/", Mode: 0o710}, tar.Header{Typeflag: tar.TypeDir, Name: "notes/d/e/", Mode: 0o701}, fileEntry("notes/d/e/f", "F"),
		fileEntry("notes/d/g", "G"), fileEntry("notes/dd", "DD"), dirEntry("notes/notes/"), fileEntry("notes/notes/a", "NA"), fileEntry("notes/notes/only", "NO"))
}

func TestExtractSelectedPaths(t *testing.T) {
	t.Parallel()
	stream := selectStream(t)
	all := "a d d/e d/e/f d/g dd notes notes/a notes/only"
	for _, test := range []struct {
		paths, want string
		missing     []string
		warnings    int64
	}{
		{"", all, nil, 0},
		{"a", "a", nil, 0},
		{"notes/dd", "dd", nil, 0},
		{"d", "d d/e d/e/f d/g", nil, 0},
		{"d/", "d d/e d/e/f d/g", nil, 0},
		{"./d//e/", "d d/e d/e/f", nil, 0},
		{"d/e/f", "d d/e d/e/f", nil, 0},
		{"notes/d/e/f", "d d/e d/e/f", nil, 0},
		{"d/g dd", "d d/g dd", nil, 0},
		{"a d/g nothing d/nothing a/b", "a d d/g", []string{"nothing", "d/nothing", "a/b"}, 0},
		{"nothing", "", []string{"nothing"}, 0},
		{"notes/only", "notes notes/only", nil, 0}, // only below notes/notes
		{"notes/notes/only", "notes notes/only", nil, 0},
		{"notes/a", "a notes notes/a", nil, 1}, // there are both
		{".", all, nil, 0},
	} {
		target := filepath.Join(t.TempDir(), "target")
		report, err := Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true, Paths: strings.Fields(test.paths)})
		if len(test.missing) == 0 != (err == nil) || err != nil && !strings.Contains(err.Error(), test.missing[0]) {
			t.Errorf("%q: got %v, want missing %q", test.paths, err, test.missing)
		}
		if !slices.Equal(report.Missing, test.missing) || report.WarningCount != test.warnings {
			t.Errorf("%q: missing %q, want %q; warnings %q", test.paths, report.Missing, test.missing, report.Warnings)
		}
		var got []string
		for path := range files(t, target) {
			got = append(got, path)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != test.want {
			t.Errorf("%q: got %q, want %s", test.paths, got, test.want)
		}
		// Directories above what was selected have their properties too.
		d := describe(t, target)
		for path, mode := range map[string]string{"": "drwx--x--x", "d": "drwx--x---", "d/e": "drwx-----x"} {
			if text, ok := d[path]; ok && !strings.HasPrefix(text, mode) {
				t.Errorf("%q: %q is %s, want %s", test.paths, path, text, mode)
			}
		}
	}
	// Not so if they were there before.
	target := t.TempDir()
	noError(t, os.Chmod(target, 0o750))
	noError(t, os.Mkdir(filepath.Join(target, "d"), 0o750))
	_, err := Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true, Paths: []string{"d/e"}})
	noError(t, err)
	d := describe(t, target)
	for path, mode := range map[string]string{"": "drwxr-x---", "d": "drwxr-x---", "d/e": "drwx-----x"} {
		if !strings.HasPrefix(d[path], mode) {
			t.Errorf("%q was there, and is %s, want %s", path, d[path], mode)
		}
	}
	for _, bad := range []string{"../a", "d/../../x", "/etc"} {
		if _, err := Extract(ctx, newReader(stream), target, ExtractOptions{Paths: []string{bad}}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

// TestExtractStopsEarly: for a file, the rest of the archive need not be read.
func TestExtractStopsEarly(t *testing.T) {
	t.Parallel()
	stream := selectStream(t)
	r := io.MultiReader(newReader(stream[:2048]), failingReader{io.ErrClosedPipe})
	target := t.TempDir()
	if _, err := Extract(ctx, r, target, ExtractOptions{Strip: true, Paths: []string{"a"}}); err != nil {
		t.Errorf("read on after the file that was wanted: %v", err)
	}
	wantFiles(t, target, map[string]string{"a": "A"})

	// But a name that may be meant in two ways is looked for to the end.
	stream = makeTar(t, dirEntry("n/"), dirEntry("n/n/"), fileEntry("n/n/a", "NA"), fileEntry("n/a", "A"))
	target = t.TempDir()
	report, err := Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true, Paths: []string{"n/a"}})
	if err != nil || report.WarningCount != 1 {
		t.Errorf("%v, warnings %q", err, report.Warnings)
	}
	wantFiles(t, target, map[string]string{"n": "dir", "n/a": "NA", "a": "A"})
}

func TestExtractWithoutStrip(t *testing.T) {
	t.Parallel()
	target := t.TempDir()
	_, err := Extract(ctx, newReader(makeTar(t, fileEntry("./x/a", "A"), fileEntry("y/b", "B"), fileEntry("c", "C"))), target, ExtractOptions{})
	noError(t, err)
	wantFiles(t, target, map[string]string{"x": "dir", "x/a": "A", "y": "dir", "y/b": "B", "c": "C"})
	for _, dir := range []string{"x", "y"} {
		if got := describe(t, target)[dir]; !strings.HasPrefix(got, "drwxr-xr-x") {
			t.Errorf("%s, which has no entry, is %s", dir, got)
		}
	}

	// Stripped, two directories cannot both become the target.
	target = t.TempDir()
	_, err = Extract(ctx, newReader(makeTar(t, fileEntry("x/a", "A"), fileEntry("y/b", "B"))), target, ExtractOptions{Strip: true})
	if err == nil || !strings.Contains(err.Error(), `entry "y/b": name "y/b" is not in "x"`) {
		t.Errorf("got %v", err)
	}
	_, err = Extract(ctx, newReader(makeTar(t, fileEntry("x", "A"))), target, ExtractOptions{Strip: true})
	if err == nil || !strings.Contains(err.Error(), `entry "x": it is to become the target, but is no directory`) {
		t.Errorf("got %v", err)
	}
	// And "." is the target already.
	target = t.TempDir()
	_, err = Extract(ctx, newReader(makeTar(t, tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o711}, fileEntry("./x/a", "A"), fileEntry("./b", "B"))), target, ExtractOptions{Strip: true})
	noError(t, err)
	wantFiles(t, target, map[string]string{"x": "dir", "x/a": "A", "b": "B"})
	if got := describe(t, target)[""]; !strings.HasPrefix(got, "drwx--x--x") {
		t.Errorf("the target is %s", got)
	}
}

// TestExtractLinkToUnselected selects names whose data are elsewhere in the archive.
func TestExtractLinkToUnselected(t *testing.T) {
	t.Parallel()
	stream := makeTar(t, dirEntry("n/"), dirEntry("n/x/"), fileEntry("n/x/data", "D"), fileEntry("n/x/other", "O"), dirEntry("n/y/"),
		linkEntry("n/y/one", "n/x/data"), linkEntry("n/y/two", "n/x/data"), linkEntry("n/y/three", "n/x/other"), linkEntry("n/y/four", "n/x/gone"))
	again := func() (io.ReadCloser, error) { return io.NopCloser(newReader(stream)), nil }
	target := t.TempDir()
	report, err := Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true, Paths: []string{"y"}, Again: again})
	noError(t, err)
	wantFiles(t, target, map[string]string{"y": "dir", "y/one": "D", "y/two": "D", "y/three": "O"})
	if d := describe(t, target); !strings.HasSuffix(d["y/one"], "same as y/one") || !strings.HasSuffix(d["y/two"], "same as y/one") || strings.Contains(d["y/three"], "same") {
		t.Errorf("hard links: %q", d)
	}
	if report.WarningCount != 1 || report.Warnings[0] != `restore "y/four": it is a hard link to "n/x/gone", which is not selected` {
		t.Errorf("warnings %q", report.Warnings)
	}
	// By name, and although reading would stop early.
	target = t.TempDir()
	report, err = Extract(ctx, newReader(stream), target, ExtractOptions{Strip: true, Paths: []string{"y/two"}, Again: again})
	if err != nil || report.WarningCount != 0 || report.Entries != 1 {
		t.Errorf("%v, %+v", err, report)
	}
	wantFiles(t, target, map[string]string{"y": "dir", "y/two": "D"})
	// Nothing to read it again with.
	report, err = Extract(ctx, newReader(stream), t.TempDir(), ExtractOptions{Strip: true, Paths: []string{"y/two"}})
	if err != nil || report.WarningCount != 1 {
		t.Errorf("without Again: %v, warnings %q", err, report.Warnings)
	}
}
