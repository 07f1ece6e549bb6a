package main_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the name of this module, which its own imports begin with.
const module = "tinybackup"

// libraries are the modules of others, each with the one directory that may
// import it, or the two that may.
var libraries = map[string]string{
	"filippo.io/age":                     "internal/seal",
	"github.com/adhocore/gronx":          "internal/sched",
	"github.com/bmatcuk/doublestar/v4":   "internal/source",
	"github.com/gofrs/flock":             "internal/store",
	"github.com/jessevdk/go-flags":       "tinybackup",
	"github.com/klauspost/compress":      "internal/archive",
	"github.com/minio/minio-go/v7":       "internal/store/s3",
	"github.com/nicholas-fedor/shoutrrr": "internal/notify",
	"github.com/pkg/sftp":                "internal/store/sftp",
	"github.com/pkg/xattr":               "internal/source",
	"github.com/schollz/progressbar":     "tinybackup",
	"github.com/ulikunitz/xz":            "internal/archive",
	"golang.org/x/crypto":                "internal/seal internal/store/sftp",
	"golang.org/x/term":                  "tinybackup",
	"gopkg.in/natefinch/lumberjack.v2":   "tinybackup",
}

// testLibraries are in no program: any test may import them, and nothing else.
var testLibraries = map[string]bool{
	"github.com/rogpeppe/go-internal": true,
	"go.yaml.in/yaml/v3":              true,
}

// kernel is the system calls that package syscall lacks: no library that could
// be exchanged for another, so anybody may use it.
const kernel = "golang.org/x/sys"

// allowed are the imports between our own packages: downwards only. Tests may also
// import what is there for tests.
func allowed(from, to string, test bool) bool {
	if driver, ok := strings.CutPrefix(from, "internal/store/"); ok {
		helper := to == "internal/store/storetest" || within(to, from) // its own server
		return to == "internal/store" || test && helper && driver != "storetest"
	}
	switch from {
	case "internal/store":
		return test && to == "internal/store/storetest"
	case ".":
		return to == "tinybackup"
	case "tinybackup":
		return strings.HasPrefix(to, "internal/") && !within(to, "internal/e2e") && (test || !strings.HasSuffix(to, "test"))
	case "internal/archive":
		return to == "internal/source"
	case "internal/source":
		return to == "internal/source/blockmap"
	case "internal/notify":
		return to == "internal/notify/notifytest"
	case "internal/e2e":
		return to == "internal/e2e/faults" || to == "internal/notify/notifytest"
	}
	return false
}

// An imported is one import of one file.
type imported struct {
	file string // from the root of the module
	dir  string // of the file
	test bool   // the file is a test
	path string
}

// imports reads the imports of every Go file of the module, whatever its build tags.
func imports(t *testing.T) []imported {
	t.Helper()
	var all []imported
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "testdata" || (strings.HasPrefix(name, ".") && name != ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all = append(all, imported{
				file: file,
				dir:  filepath.ToSlash(filepath.Dir(file)),
				test: strings.HasSuffix(file, "_test.go"),
				path: name,
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("found no imports at all")
	}
	return all
}

// arrow says what is wrong with an import, or "".
func arrow(i imported) string {
	if i.path == "C" {
		return "cgo: the binary must be static"
	}
	if to, ours := strings.CutPrefix(i.path, module+"/"); ours {
		if i.dir == to && i.test { // a test from outside the package
			return ""
		}
		if !allowed(i.dir, to, i.test) {
			return fmt.Sprintf("%s must not import %s", i.dir, to)
		}
		return ""
	}
	if first, _, _ := strings.Cut(i.path, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	if within(i.path, kernel) {
		return ""
	}
	for lib, dirs := range libraries {
		if within(i.path, lib) {
			if !slices.Contains(strings.Fields(dirs), i.dir) {
				return fmt.Sprintf("%s is imported by %s alone", lib, dirs)
			}
			return ""
		}
	}
	for lib := range testLibraries {
		if within(i.path, lib) {
			if !i.test {
				return fmt.Sprintf("%s is for tests", lib)
			}
			return ""
		}
	}
	return "an unknown library: is it worth its weight, and where is its place?"
}

// within says whether an import path is of a module, or of a part of it.
func within(name, lib string) bool {
	return name == lib || strings.HasPrefix(name, lib+"/")
}

// TestImports holds the arrows: main imports the program, the program imports the
// rooms, and the rooms do not know each other; each library has one place.
func TestImports(t *testing.T) {
	seen := make(map[string]bool)
	for _, i := range imports(t) {
		if wrong := arrow(i); wrong != "" {
			t.Errorf("%s imports %q: %s", i.file, i.path, wrong)
		}
		seen[i.path] = true
	}
	for _, lib := range slices.Concat(slices.Collect(maps.Keys(libraries)), slices.Collect(maps.Keys(testLibraries))) {
		used := false
		for name := range seen {
			used = used || within(name, lib)
		}
		if !used {
			t.Errorf("nobody imports %s any more: take it off the list", lib)
		}
	}
}

// TestArrow shows that the rules catch what they are for.
func TestArrow(t *testing.T) {
	for _, c := range []struct {
		dir, path string
		test, bad bool
	}{
		{dir: ".", path: "tinybackup/tinybackup"},
		{dir: ".", path: "tinybackup/internal/sched", bad: true},
		{dir: "tinybackup", path: "tinybackup/internal/store"},
		{dir: "tinybackup", path: "tinybackup/internal/e2e", bad: true},
		{dir: "tinybackup", path: "tinybackup/internal/e2e/faults", bad: true},
		{dir: "internal/e2e", path: "tinybackup/internal/e2e/faults", test: true},
		{dir: "internal/e2e", path: "tinybackup/internal/store", test: true, bad: true},
		{dir: "internal/archive", path: "tinybackup/internal/source"},
		{dir: "internal/source", path: "tinybackup/internal/archive", bad: true},
		{dir: "internal/source", path: "tinybackup/internal/source/blockmap"},
		{dir: "internal/source/blockmap", path: "tinybackup/internal/source", bad: true},
		{dir: "internal/store", path: "tinybackup/internal/rotate", bad: true},
		{dir: "internal/store", path: "tinybackup/internal/rotate", bad: true, test: true},
		{dir: "internal/store", path: "tinybackup/internal/store", test: true},
		{dir: "internal/store", path: "tinybackup/internal/store/storetest", test: true},
		{dir: "internal/store", path: "tinybackup/internal/store/storetest", bad: true},
		{dir: "internal/store", path: "tinybackup/internal/store/s3", bad: true},
		{dir: "internal/store/s3", path: "tinybackup/internal/store"},
		{dir: "internal/store/s3", path: "tinybackup/internal/store/sftp", bad: true},
		{dir: "internal/store/s3", path: "tinybackup/internal/store/storetest", test: true},
		{dir: "internal/store/s3", path: "tinybackup/internal/store/storetest", bad: true},
		{dir: "internal/store/s3", path: "tinybackup/internal/store/s3/s3test", test: true},
		{dir: "tinybackup", path: "tinybackup/internal/store/s3"},
		{dir: "tinybackup", path: "tinybackup/internal/store/s3/s3test", test: true},
		{dir: "tinybackup", path: "tinybackup/internal/store/s3/s3test", bad: true},
		{dir: "internal/sched", path: "tinybackup/tinybackup", bad: true},
		{dir: "internal/source", path: "archive/tar"},
		{dir: "internal/source", path: "C", bad: true},
		{dir: "internal/archive", path: "github.com/klauspost/compress/zstd"},
		{dir: "internal/store", path: "github.com/klauspost/compress/zstd", bad: true},
		{dir: "internal/seal", path: "golang.org/x/crypto/ssh"},
		{dir: "internal/seal", path: "tinybackup/internal/archive", bad: true},
		{dir: "internal/store", path: "golang.org/x/crypto/ssh", bad: true},
		{dir: "internal/archive", path: "github.com/klauspost/compressor", bad: true},
		{dir: "internal/e2e", path: "github.com/rogpeppe/go-internal/testscript", test: true},
		{dir: "internal/e2e", path: "github.com/rogpeppe/go-internal/testscript", bad: true},
		{dir: "internal/store", path: "golang.org/x/sys/unix"},
		{dir: "tinybackup", path: "example.com/left/pad", bad: true},
	} {
		i := imported{file: path.Join(c.dir, "x.go"), dir: c.dir, path: c.path, test: c.test}
		if got := arrow(i); (got != "") != c.bad {
			t.Errorf("%s imports %q (test file: %v): got %q, want an objection: %v", c.dir, c.path, c.test, got, c.bad)
		}
	}
}
