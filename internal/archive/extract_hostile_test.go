//go:build linux

package archive

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func symlinkEntry(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

func linkEntry(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
}

// TestExtractRefusesToLeaveTheTarget extracts what would write elsewhere, and looks at elsewhere.
func TestExtractRefusesToLeaveTheTarget(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("../", 30)
	for name, test := range map[string]struct {
		headers []tar.Header
		want    string // in the error; empty if there is none, but a warning
		warning string
	}{
		"dots":                  {[]tar.Header{fileEntry("../evil", "x")}, `entry "../evil"`, ""},
		"dots inside":           {[]tar.Header{fileEntry("a/../../evil", "x")}, `entry "a/../../evil"`, ""},
		"dots and back":         {[]tar.Header{fileEntry("../target/evil", "x")}, `entry "../target/evil"`, ""},
		"dots at the end":       {[]tar.Header{dirEntry("a/..")}, `entry "a/.."`, ""},
		"absolute":              {[]tar.Header{fileEntry("/OUT/evil", "x")}, `/outside/evil"`, ""},
		"absolute dir":          {[]tar.Header{dirEntry("/OUT/evil/")}, `/outside/evil`, ""},
		"link up":               {[]tar.Header{symlinkEntry("l", "../outside"), fileEntry("l/evil", "x")}, `restore "l/evil": "l" is a symbolic link`, ""},
		"link absolute":         {[]tar.Header{symlinkEntry("l", "OUT"), fileEntry("l/evil", "x")}, `restore "l/evil"`, ""},
		"link dir below":        {[]tar.Header{symlinkEntry("l", "OUT"), dirEntry("l/evil/")}, `restore "l/evil"`, ""},
		"link to itself":        {[]tar.Header{symlinkEntry("l", "."), fileEntry("l/x", "x")}, `restore "l/x"`, ""},
		"link, node behind":     {[]tar.Header{symlinkEntry("l", "OUT"), {Typeflag: tar.TypeFifo, Name: "l/evil"}}, `restore "l/evil"`, ""},
		"link, link behind":     {[]tar.Header{symlinkEntry("l", "OUT"), symlinkEntry("l/evil", "x")}, `restore "l/evil"`, ""},
		"link in the middle":    {[]tar.Header{dirEntry("a/"), symlinkEntry("a/l", "../../outside"), fileEntry("a/l/b/evil", "x")}, `"a/l" is a symbolic link`, ""},
		"link, then dir":        {[]tar.Header{symlinkEntry("l", "OUT"), dirEntry("l/"), fileEntry("l/evil", "x")}, "", `restore "l": exists and is no directory`},
		"link, then file":       {[]tar.Header{symlinkEntry("l", "OUT/secret"), fileEntry("l", "evil")}, "", ""},
		"hard link up":          {[]tar.Header{linkEntry("h", "../outside/secret"), fileEntry("h", "evil")}, `entry "h": name "../outside/secret"`, ""},
		"hard link absolute":    {[]tar.Header{linkEntry("h", "/OUT/secret")}, `entry "h"`, ""},
		"hard link behind link": {[]tar.Header{symlinkEntry("l", "OUT"), linkEntry("h", "l/secret"), fileEntry("h", "evil")}, `link "h": "l" is a symbolic link`, ""},
		"hard link to link":     {[]tar.Header{symlinkEntry("l", "OUT/secret"), linkEntry("h", "l"), fileEntry("h", "evil")}, "", ""},
		"hard link to dir":      {[]tar.Header{dirEntry("a/"), linkEntry("h", "a")}, "", `restore "h": hard link to "a", which is a directory`},
		"hard link to itself":   {[]tar.Header{linkEntry("h", "h")}, "", `restore "h": hard link to "h": no such file`},
		"hard link to target":   {[]tar.Header{linkEntry("h", ".")}, `a hard link to ""`, ""},
		"mode of link's target": {[]tar.Header{symlinkEntry("l", "OUT/secret"), {Typeflag: tar.TypeSymlink, Name: "l", Linkname: "OUT/secret", Mode: 0o777}}, "", ""},
		"temporary name":        {[]tar.Header{symlinkEntry(tempName("f"), "OUT/secret"), fileEntry("f", "evil")}, "", ""},
		"temporary name, dir":   {[]tar.Header{dirEntry(tempName("f")), symlinkEntry(tempName("f")+"/x", "y"), fileEntry("f", "evil")}, "", `restore "f": directory not empty`},
		"deep dots":             {[]tar.Header{fileEntry(deep+"tmp/evil", "x")}, `leads out of the target`, ""},
		"fifo as dir":           {[]tar.Header{{Typeflag: tar.TypeFifo, Name: "p"}, fileEntry("p/x", "x")}, "", `restore "p/x": "p" exists and is no directory`},
		"hard link behind fifo": {[]tar.Header{{Typeflag: tar.TypeFifo, Name: "p"}, linkEntry("h", "p/x")}, "", `link "h": not a directory`},
		"file as dir":           {[]tar.Header{fileEntry("p", "x"), fileEntry("p/x", "x")}, "", `restore "p/x": "p" exists and is no directory`},
		"unknown type":          {[]tar.Header{{Typeflag: 'V', Name: "label"}}, "", `restore "label": unknown type 'V'`},
	} {
		for _, overwrite := range []bool{false, true} {
			base := t.TempDir()
			target, outside := filepath.Join(base, "target"), filepath.Join(base, "outside")
			noError(t, os.Mkdir(target, 0o755))
			noError(t, os.Mkdir(outside, 0o755))
			noError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
			var headers []tar.Header
			for _, h := range test.headers {
				h.Name = strings.Replace(h.Name, "/OUT", outside, 1)
				h.Linkname = strings.Replace(strings.Replace(h.Linkname, "/OUT", outside, 1), "OUT", outside, 1)
				headers = append(headers, h)
			}
			stream := makeTar(t, headers...)
			for _, strip := range []bool{false, true} {
				if strip { // the same, in a directory
					for i := range headers {
						if !strings.HasPrefix(headers[i].Name, "/") {
							headers[i].Name = "top/" + headers[i].Name
						}
						if headers[i].Typeflag == tar.TypeLink && !strings.HasPrefix(headers[i].Linkname, "/") {
							headers[i].Linkname = "top/" + headers[i].Linkname
						}
					}
					stream = makeTar(t, append([]tar.Header{dirEntry("top/")}, headers...)...)
					noError(t, os.RemoveAll(target))
				}
				before := describe(t, outside)
				report, err := Extract(ctx, newReader(stream), target, ExtractOptions{Strip: strip, Overwrite: overwrite})
				want := test.want
				if strip {
					want = strings.Replace(want, `"../`, `"top/../`, 1)
					want = strings.Replace(want, `entry "`, `entry "top/`, 1)
					want = strings.Replace(want, `top/top/`, `top/`, 1)
				}
				if want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), strings.TrimPrefix(want, `entry "top/`)) {
					t.Errorf("%s, strip %v, overwrite %v: got %v, want %s", name, strip, overwrite, err, want)
				}
				if warnings := strings.Join(report.Warnings, "\n"); !overwrite && !strings.Contains(warnings, test.warning) {
					t.Errorf("%s, strip %v: warnings %q, want %s", name, strip, warnings, test.warning)
				}
				compare(t, describe(t, outside), before)
				entries, err := os.ReadDir(base)
				if err != nil || len(entries) != 2 {
					t.Errorf("%s, strip %v, overwrite %v: beside the target: %v, %v", name, strip, overwrite, entries, err)
				}
			}
		}
	}
}

// TestExtractDoesNotFollowWhatWasThere: a link in the target is not the archive's, and leads out nevertheless.
func TestExtractDoesNotFollowWhatWasThere(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	target, outside := filepath.Join(base, "target"), filepath.Join(base, "outside")
	noError(t, os.Mkdir(target, 0o755))
	noError(t, os.Mkdir(outside, 0o755))
	noError(t, os.Symlink(outside, filepath.Join(target, "d")))
	noError(t, os.WriteFile(filepath.Join(outside, "f"), []byte("theirs"), 0o600))
	noError(t, os.Symlink("../outside/f", filepath.Join(target, "f")))
	before := describe(t, outside)
	report, err := Extract(ctx, newReader(makeTar(t, dirEntry("d/"), fileEntry("d/x", "mine"), fileEntry("f", "mine"))), target, ExtractOptions{})
	if err != nil || report.WarningCount != 1 || report.Kept != 1 {
		t.Errorf("%v, warnings %q, kept %q", err, report.Warnings, report.KeptPaths)
	}
	compare(t, describe(t, outside), before)
	report, err = Extract(ctx, newReader(makeTar(t, dirEntry("d/"), fileEntry("d/x", "mine"), fileEntry("f", "mine"))), target, ExtractOptions{Overwrite: true})
	if err != nil || report.WarningCount != 0 {
		t.Errorf("%v, warnings %q", err, report.Warnings)
	}
	compare(t, describe(t, outside), before)
	wantFiles(t, target, map[string]string{"d": "dir", "d/x": "mine", "f": "mine"})
}

func TestExtractDamagedStream(t *testing.T) {
	t.Parallel()
	stream := makeTar(t, tar.Header{Typeflag: tar.TypeDir, Name: "n/", Mode: 0o700}, fileEntry("n/a", strings.Repeat("a", 2000)), fileEntry("n/b", strings.Repeat("b", 2000)))
	boom := errors.New("boom")
	for _, test := range []struct {
		stream io.Reader
		want   string
		files  []string
	}{
		{newReader(stream[:len(stream)-1024]), "tar ends too early, at byte", []string{"a", "b"}},
		{newReader(stream[:len(stream)-1500]), "tar ends too early", []string{"a"}},
		{newReader(stream[:3000]), `in entry "n/a": unexpected EOF`, nil},
		{newReader(nil), "tar ends too early, at byte 0", nil},
		{newReader(append(append([]byte(nil), stream...), 'x')), "data after its end marker", []string{"a", "b"}},
		{io.MultiReader(newReader(stream[:3000]), failingReader{boom}), "boom", nil},
		{io.MultiReader(newReader(stream[:3000]), failingReader{&DamageError{Frame: 3, Err: boom}}), `frame 3, bytes 0 to 0, entry "a": boom`, nil},
		{io.MultiReader(newReader(stream[:512]), failingReader{boom}), "boom", nil},
	} {
		target := t.TempDir()
		_, err := Extract(ctx, test.stream, target, ExtractOptions{Strip: true})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
		got := files(t, target)
		if len(got) != len(test.files) {
			t.Errorf("%v: in the target: %q, want %q", err, got, test.files)
		}
		for _, name := range test.files {
			if len(got[name]) != 2000 {
				t.Errorf("%v: %s has %d bytes", err, name, len(got[name]))
			}
		}
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// FuzzExtract extracts anything. Whatever it is, it stays in the target.
func FuzzExtract(f *testing.F) {
	f.Add(makeTar(f, dirEntry("n/"), fileEntry("n/a", "x"), symlinkEntry("n/l", "../../outside"), linkEntry("n/h", "n/a"), fileEntry("n/l/x", "y")), true)
	f.Add(makeTar(f, fileEntry("../a", "x")), false)
	f.Add(makeTar(f, tar.Header{Typeflag: tar.TypeFifo, Name: "p"}, tar.Header{Typeflag: tar.TypeChar, Name: "c", Devmajor: 1, Devminor: 3},
		tar.Header{Name: "x", Linkname: "data", PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b", "SCHILY.acl.access": "user::rwx,user:1:rwx,group::r--,mask::rwx,other::r--"}}), false)
	f.Fuzz(func(t *testing.T, stream []byte, strip bool) {
		// In memory if there is such a place: syncing a disk takes seconds when others use it.
		base, err := os.MkdirTemp("/dev/shm", "tinybackup-test-")
		if err != nil {
			base = t.TempDir()
		}
		defer os.RemoveAll(base)
		outside := filepath.Join(base, "outside")
		noError(t, os.Mkdir(outside, 0o755))
		before := describe(t, outside)
		report, _ := Extract(ctx, newReader(stream), filepath.Join(base, "target"), ExtractOptions{Strip: strip, Overwrite: true})
		entries, err := os.ReadDir(base)
		noError(t, err)
		for _, e := range entries {
			if e.Name() != "outside" && e.Name() != "target" {
				t.Errorf("beside the target: %q; report %+v", e.Name(), report)
			}
		}
		compare(t, describe(t, outside), before)
	})
}
