package store

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var (
	sumA = strings.Repeat("a", 64)
	sumB = strings.Repeat("b", 64)
)

func TestParseSum(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line, name, digest string
	}{
		{sumA + "  x\n", "x", sumA},
		{sumA + "  x", "x", sumA},
		{sumA + "  x\r\n", "x", sumA},
		{sumA + " *x\n", "x", sumA},
		{sumA + "  *x\n", "*x", sumA},
		{sumA + "   x \n", " x ", sumA},
		{strings.ToUpper(sumA) + "  x\n", "x", sumA},
		{sumA + "  a\\nb\n", `a\nb`, sumA}, // not announced: a backslash
		{`\` + sumA + `  a\nb\\c\rd` + "\n", "a\nb\\c\rd", sumA},
		// foreign
		{`\` + sumA + `  a\tb` + "\n", "", ""},
		{`\` + sumA + `  a\` + "\n", "", ""},
		{`\` + sumA + `  a\n..` + "/\n", "", ""},
		{sumA + " x\n", "", ""},
		{sumA + "\tx\n", "", ""},
		{sumA + "  \n", "", ""},
		{sumA + "  sub/x\n", "", ""},
		{sumA + "  ../x\n", "", ""},
		{sumA + "  .\n", "", ""},
		{sumA + "  SHA256SUMS\n", "", ""},
		{sumA[1:] + "  x\n", "", ""},
		{sumA + "a  x\n", "", ""},
		{strings.Repeat("g", 64) + "  x\n", "", ""},
		{"# comment\n", "", ""},
		{"SHA256 (x) = " + sumA + "\n", "", ""},
		{" " + sumA + "  x\n", "", ""},
		{"\n", "", ""},
		{"", "", ""},
	} {
		name, digest, ok := parseSum([]byte(c.line))
		if ok != (c.name != "") || ok && (name != c.name || digest != c.digest) {
			t.Errorf("parseSum(%q): got %q, %q, %v; want %q, %q", c.line, name, digest, ok, c.name, c.digest)
		}
	}
}

func TestEditSums(t *testing.T) {
	t.Parallel()
	lineA, lineB, newA := sumA+"  a\n", sumB+"  b\n", sumB+"  a\n"
	for _, c := range []struct {
		what, old string
		set       map[string]string
		drop      []string
		want      string
	}{
		{"first", "", map[string]string{"b": sumB, "a": sumA}, nil, lineA + lineB},
		{"appended", lineB, map[string]string{"a": sumA}, nil, lineB + lineA},
		{"in place", lineA + lineB, map[string]string{"a": sumB}, nil, newA + lineB},
		{"the same", sumA + " *a\r\n", map[string]string{"a": sumA}, nil, sumA + " *a\r\n"},
		{"twice", lineA + lineB + newA, map[string]string{"a": sumA}, nil, lineA + lineB},
		{"twice, the first wrong", newA + lineB + lineA, map[string]string{"a": sumA}, nil, lineA + lineB},
		{"dropped", lineA + lineB + newA, nil, []string{"a", "c"}, lineB},
		{"dropped and set", lineA + lineB, map[string]string{"a": sumA}, []string{"a"}, lineB + lineA},
		{"all dropped", lineA + lineB, nil, []string{"b", "a"}, ""},
		{"nothing to do", "# x\n\n" + lineA, nil, nil, "# x\n\n" + lineA},
		{"foreign lines", "# x\r\n\n" + sumA + "  sub/a\nSHA256 (a) = " + sumA + "\n\xff\x00\n" + lineA + " tail",
			map[string]string{"b": sumB}, []string{"a"},
			"# x\r\n\n" + sumA + "  sub/a\nSHA256 (a) = " + sumA + "\n\xff\x00\n tail\n" + lineB},
		{"last line without end, kept", lineA + sumB + "  b", map[string]string{"a": sumB}, nil, newA + sumB + "  b"},
	} {
		if got := string(editSums([]byte(c.old), c.set, c.drop)); got != c.want {
			t.Errorf("%s: got\n%q, want\n%q", c.what, got, c.want)
		}
	}
}

// An existing file keeps what it says to others, and who may read it.
func TestSumsOfSomebodyElse(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	path := l.path(sumsName)
	foreign := "# made by hand\r\n" + sumA + " *photos.tar"
	write(t, path, foreign)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := l.SetSums(t.Context(), map[string]string{"a": sumA}, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, path), foreign+"\n"+sumA+"  a\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("got %v, %v; want mode 0640 kept", info.Mode(), err)
	}
	before := inode(t, path)
	if err := l.SetSums(t.Context(), map[string]string{"a": sumA, "photos.tar": sumA}, []string{"other"}); err != nil {
		t.Fatal(err)
	}
	if after := inode(t, path); after != before {
		t.Error("SetSums without a change: the file was written again")
	}
}

var oddNames = []string{
	"notes-20261121T023000Z.tar.zst", "a b", " lead", "trail ", "*star", "#hash", "-dash", `back\slash`, `\n`,
	"new\nline", "carriage\rreturn", "tab\tä€", "\xff\xfe", "a\\\nb", `ends\`,
}

// What sha256sum(1) makes of our lines, and we of its.
func TestSumsAndCoreutils(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("sha256sum")
	if err != nil {
		t.Skip("sha256sum is not installed")
	}
	l := openDir(t, t.TempDir())
	set := map[string]string{}
	for _, name := range oddNames {
		put(t, l, name, []byte(name))
		set[name] = digestOf([]byte(name))
	}
	if err := l.SetSums(t.Context(), set, nil); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command(tool, args...)
		cmd.Dir = l.dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("--strict", "-c", "SHA256SUMS")
	if err != nil || strings.Count(out, ": OK\n") != len(oddNames) {
		t.Errorf("sha256sum -c: %v\n%s", err, out)
	}
	if out, err := run(append([]string{"--"}, oddNames...)...); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	} else {
		for line := range strings.Lines(out) {
			name, digest, ok := parseSum([]byte(line))
			if !ok || set[name] != digest || formatSum(name, digest) != line {
				t.Errorf("line of sha256sum %q: got %q, %q, %v", line, name, digest, ok)
			}
		}
	}
	write(t, l.path("a b"), "damaged")
	if out, err := run("-c", "SHA256SUMS"); err == nil || !strings.Contains(out, "a b: FAILED") {
		t.Errorf("sha256sum -c of a damaged archive: got %v\n%s", err, out)
	}
}

func FuzzSums(f *testing.F) {
	for _, name := range oddNames {
		f.Add([]byte("# x\n"+sumA+"  "+name+"\n"+formatSum("kept", sumB)), name)
	}
	f.Add([]byte("no end"), "a")
	f.Add([]byte(sumA+"  a\r\n"+sumA+" *a"), "a")
	f.Fuzz(func(t *testing.T, old []byte, name string) {
		if checkName("", name) != nil {
			return
		}
		if got, digest, ok := parseSum([]byte(formatSum(name, sumA))); !ok || got != name || digest != sumA {
			t.Errorf("parseSum(formatSum(%q)): got %q, %v", name, got, ok)
		}
		set := map[string]string{name: sumA}
		added := editSums(old, set, nil)
		want := sumsOf(old)
		want[name] = sumA
		if got := sumsOf(added); !maps.Equal(got, want) {
			t.Errorf("set %q in %q: got %q, want %q", name, old, got, want)
		}
		if got := editSums(added, set, nil); !bytes.Equal(got, added) {
			t.Errorf("set %q twice in %q: got %q, then %q", name, old, added, got)
		}
		dropped := editSums(added, nil, []string{name})
		delete(want, name)
		if got := sumsOf(dropped); !maps.Equal(got, want) {
			t.Errorf("drop %q from %q: got %q, want %q", name, added, got, want)
		}
		if got, want := othersIn(dropped, name), othersIn(old, name); !strings.HasPrefix(got, want) || len(got) > len(want)+1 {
			t.Errorf("other lines of %q: got %q, want them untouched", old, got)
		}
	})
}

func sumsOf(data []byte) map[string]string {
	sums := map[string]string{}
	for line := range bytes.Lines(data) {
		if name, digest, ok := parseSum(line); ok {
			sums[name] = digest
		}
	}
	return sums
}

// othersIn returns the lines that are not about name.
func othersIn(data []byte, name string) string {
	var b strings.Builder
	for line := range bytes.Lines(data) {
		if got, _, ok := parseSum(line); !ok || got != name {
			b.Write(line)
		}
	}
	return b.String()
}
