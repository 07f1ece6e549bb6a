package rotate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func date(y int, mo time.Month, d, h, mi, s int) time.Time {
	return time.Date(y, mo, d, h, mi, s, 0, time.UTC)
}

var nov21 = date(2026, time.November, 21, 2, 30, 0)

func TestNameString(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name Name
		want string
	}{
		{Name{"notes", nov21, KindDir, "zstd", false}, "notes-20261121T023000Z.tar.zst"},
		{Name{"notes", nov21, KindDir, "xz", false}, "notes-20261121T023000Z.tar.xz"},
		{Name{"notes", nov21, KindDir, "gzip", false}, "notes-20261121T023000Z.tar.gz"},
		{Name{"notes", nov21, KindDir, "none", false}, "notes-20261121T023000Z.tar"},
		{Name{"todo.txt", nov21, KindFile, "zstd", false}, "todo.txt-20261121T023000Z.zst"},
		{Name{"todo.txt", nov21, KindFile, "xz", false}, "todo.txt-20261121T023000Z.xz"},
		{Name{"todo.txt", nov21, KindFile, "gzip", false}, "todo.txt-20261121T023000Z.gz"},
		{Name{"todo.txt", nov21, KindFile, "none", false}, "todo.txt-20261121T023000Z"},
		{Name{"sdcard", nov21, KindDevice, "zstd", false}, "sdcard-20261121T023000Z.img.zst"},
		{Name{"sdcard", nov21, KindDevice, "xz", false}, "sdcard-20261121T023000Z.img.xz"},
		{Name{"sdcard", nov21, KindDevice, "gzip", false}, "sdcard-20261121T023000Z.img.gz"},
		{Name{"sdcard", nov21, KindDevice, "none", false}, "sdcard-20261121T023000Z.img"},
		// What looks like a stamp or a suffix belongs to the series if it is not at the end.
		{Name{"a-20261121T023000Z.tar", nov21, KindDir, "zstd", false}, "a-20261121T023000Z.tar-20261121T023000Z.tar.zst"},
		{Name{"a-20261121T023000Z", nov21, KindFile, "none", false}, "a-20261121T023000Z-20261121T023000Z"},
		{Name{"a.tar.zst", nov21, KindFile, "none", false}, "a.tar.zst-20261121T023000Z"},
		{Name{"a-", nov21, KindFile, "none", false}, "a--20261121T023000Z"},
		{Name{"Z", nov21, KindFile, "xz", false}, "Z-20261121T023000Z.xz"},
		{Name{"Büro & mehr €", nov21, KindDir, "zstd", false}, "Büro & mehr €-20261121T023000Z.tar.zst"},
		{Name{"first", date(1970, 1, 1, 0, 0, 0), KindFile, "none", false}, "first-19700101T000000Z"},
		{Name{"last", date(9999, 12, 31, 23, 59, 59), KindFile, "none", false}, "last-99991231T235959Z"},
		{Name{"notes", nov21, KindDir, "zstd", true}, "notes-20261121T023000Z.tar.zst.age"},
		{Name{"todo.txt", nov21, KindFile, "none", true}, "todo.txt-20261121T023000Z.age"},
		{Name{"sdcard", nov21, KindDevice, "xz", true}, "sdcard-20261121T023000Z.img.xz.age"},
		{Name{"a.age", nov21, KindFile, "gzip", true}, "a.age-20261121T023000Z.gz.age"},
		{Name{"leap", date(2028, 2, 29, 23, 59, 59), KindFile, "none", false}, "leap-20280229T235959Z"},
	} {
		if got := tc.name.String(); got != tc.want {
			t.Errorf("%#v.String(): got %q, want %q", tc.name, got, tc.want)
		}
		got, ok := ParseName(tc.want)
		if !ok || got != tc.name {
			t.Errorf("ParseName(%q): got %#v, %v, want %#v", tc.want, got, ok, tc.name)
		}
	}
}

func TestNameStringNormalises(t *testing.T) {
	t.Parallel()
	local := time.Date(2026, time.November, 21, 3, 30, 0, 999_999_999, time.FixedZone("CET", 3600))
	got := Name{"notes", local, KindDir, "zstd", false}.String()
	if want := "notes-20261121T023000Z.tar.zst"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNameCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name Name
		want string // part of the error
	}{
		{Name{}, "is empty"},
		{Name{"a/b", nov21, KindDir, "zstd", false}, `contains "/"`},
		{Name{"a", time.Time{}, KindDir, "zstd", false}, "the year 1 "},
		{Name{"a", date(1969, 12, 31, 23, 59, 59), KindDir, "zstd", false}, "the year 1969"},
		{Name{"a", date(10000, 1, 1, 0, 0, 0), KindDir, "zstd", false}, "the year 10000"},
		{Name{"a", nov21, "", "zstd", false}, "kind"},
		{Name{"a", nov21, "tar", "zstd", false}, "kind"},
		{Name{"a", nov21, KindDir, "", false}, "codec"},
		{Name{"a", nov21, KindDir, "zst", false}, "codec"},
	} {
		err := tc.name.Check()
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%#v.Check(): got %v, want an error with %q", tc.name, err, tc.want)
		}
		if got := tc.name.String(); got != "" {
			t.Errorf("%#v.String(): got %q, want nothing", tc.name, got)
		}
	}
	// The year that counts is the one of UTC.
	edge := time.Date(1970, 1, 1, 0, 30, 0, 0, time.FixedZone("CET", 3600))
	if err := (Name{"a", edge, KindDir, "zstd", false}).Check(); err == nil {
		t.Errorf("Check of %v: got nil, want an error", edge)
	}
}

func TestParseNameRefuses(t *testing.T) {
	t.Parallel()
	for _, file := range []string{
		"",
		"Z",
		"notes",
		"SHA256SUMS",
		"20261121T023000Z",
		"20261121T023000Z.tar.zst",
		"-20261121T023000Z.tar.zst",    // no series
		"notes20261121T023000Z.tar",    // no dash
		"notes_20261121T023000Z.tar",   // not a dash
		".notes-20261121T023000Z.tar",  // a series we would not take
		"-notes-20261121T023000Z.tar",  //
		"a/notes-20261121T023000Z.tar", // a path is no name
		"/20261121T023000Z",
		"a\nb-20261121T023000Z.tar",
		"a\xff-20261121T023000Z.tar",
		strings.Repeat("x", 201) + "-20261121T023000Z.tar",
		"notes-20261341T023000Z.tar.zst", // month 13, day 41
		"notes-20261100T023000Z.tar.zst",
		"notes-20260229T023000Z.tar.zst", // not a leap year
		"notes-20261131T023000Z.tar.zst", // November has 30 days
		"notes-20261121T240000Z.tar.zst",
		"notes-20261121T026000Z.tar.zst",
		"notes-20261121T235960Z.tar.zst", // a leap second
		"notes-19691231T235959Z.tar.zst",
		"notes-00001121T023000Z.tar.zst",
		"notes-+0261121T023000Z.tar.zst",
		"notes-2026 121T023000Z.tar.zst",
		"notes-2026112T0230001Z.tar.zst",
		"notes-20261121T2300.5Z.tar.zst", // time.Parse takes a fraction of a second
		"notes-20261121T23000.5Z.tar",
		"notes-20261121T023000,5Z.tar.zst",
		"notes-120261121T023000Z.tar.zst", // five digits of a year
		"notes-20261121t023000Z.tar.zst",
		"notes-20261121T023000z.tar.zst",
		"notes-20261121T023000.tar.zst", // not UTC
		"notes-20261121T023000+0000.tar.zst",
		"notes-20261121T023000Z.tar.zs",
		"notes-20261121T023000Z.tar.zst ",
		"notes-20261121T023000Z.tar.zst\n",
		"notes-20261121T023000Z.tar.zst.sha256", // sidecars, partial files and what others add
		"notes-20261121T023000Z.tar.zst.partial",
		"notes-20261121T023000Z.tar.zst~",
		"notes-20261121T023000Z.tar.ZST",
		"notes-20261121T023000Z.zst.tar",
		"notes-20261121T023000Z.tar.img",
		"notes-20261121T023000Z.tar.bz2",
		"notes-20261121T023000Z.age.zst",
		"notes-20261121T023000Z.tar.age.age",
		"notes-20261121T023000Z.tar.zst.AGE",
		"notes-20261121T023000Z.tar.zst.age.asc",
		"notes-20261121T023000Z.tgz",
		"notes-20261121T023000Z.",
		"notes-20261121T023000Z.tar.",
		"notes-20261121T023000Z (1).tar.zst",
		"notes-20261121T023000Z-2.tar.zst",
		"notes-20261121T023000Z.Z",
		"notes-20261121T023000ZZ",
		"notes-٢٠٢٦١١٢١T٠٢٣٠٠٠Z.tar", // digits, but not ours
	} {
		if got, ok := ParseName(file); ok {
			t.Errorf("ParseName(%q): got %#v, want false", file, got)
		} else if got != (Name{}) {
			t.Errorf("ParseName(%q): got %#v beside false, want the zero Name", file, got)
		}
	}
}

func TestCheckSeries(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"a", "notes", "todo.txt", "host-home", "my files", "Büro", "日本語", "a.b-c_d~e", "a\\b", `"quoted"`, "%", "a:b", "👩‍💻",
		"20261121T023000Z", "a-20261121T023000Z.tar", strings.Repeat("x", 200), strings.Repeat("ü", 100), "a-", "a.", "\uFFFD",
	} {
		if err := CheckSeries(name); err != nil {
			t.Errorf("CheckSeries(%q): got %v, want nil", name, err)
		}
	}
	for _, tc := range []struct{ name, want string }{
		{"", `name "": is empty`},
		{".", `name ".": begins with ".", which would hide its archives`},
		{"..", `name "..": begins with ".", which would hide its archives`},
		{".ssh", `name ".ssh": begins with ".", which would hide its archives`},
		{"-rf", `name "-rf": begins with "-", which commands take for an option`},
		{"a/b", `name "a/b": contains "/"`},
		{"/", `name "/": contains "/"`},
		{"a\x00b", `name "a\x00b": contains the control character U+0000`},
		{"a\nb", `name "a\nb": contains the control character U+000A`},
		{"a\tb", `name "a\tb": contains the control character U+0009`},
		{"\x1b[31m", `name "\x1b[31m": contains the control character U+001B`},
		{"a\x7f", `name "a\x7f": contains the control character U+007F`},
		{"a\u0085", `name "a\u0085": contains the control character U+0085`},
		{"a\xffb", `name "a\xffb": is not valid UTF-8`},
		{"a\xed\xa0\x80", `name "a\xed\xa0\x80": is not valid UTF-8`}, // a surrogate
		{strings.Repeat("ü", 101), fmt.Sprintf("name %q: is 202 bytes long, and at most 200 fit into a file name", strings.Repeat("ü", 101))},
	} {
		err := CheckSeries(tc.name)
		if err == nil || err.Error() != tc.want {
			t.Errorf("CheckSeries(%q):\n got %v\nwant %s", tc.name, err, tc.want)
		}
	}
}

// A file name has 255 bytes; the longest of ours must leave some for a store's partial files.
func TestNameFits(t *testing.T) {
	t.Parallel()
	n := Name{strings.Repeat("x", 200), nov21, KindDevice, "zstd", true}
	if got, want := len(n.String()), 229; got != want {
		t.Errorf("longest name: got %d bytes, want %d", got, want)
	}
}

// randomName makes valid Names, many of them from pieces that could mislead a parser.
func randomName(rng *rand.Rand) Name {
	pieces := []string{"a", "Z", "-", ".", ".tar", ".img", ".zst", ".xz", ".gz", ".age", "20261121T023000Z", "-19991231T235959Z", "T", "0", " ", "é", "-20261121T023000Z.tar.zst"}
	kinds := []Kind{KindDir, KindFile, KindDevice}
	codecs := []string{"zstd", "xz", "gzip", "none"}
	n := Name{
		Time:  time.Unix(rng.Int64N(253402300800), 0).UTC(),
		Kind:  kinds[rng.IntN(len(kinds))],
		Codec: codecs[rng.IntN(len(codecs))], Sealed: rng.IntN(2) == 0,
	}
	for CheckSeries(n.Series) != nil {
		n.Series = ""
		for range 1 + rng.IntN(8) {
			n.Series += pieces[rng.IntN(len(pieces))]
		}
	}
	return n
}

func TestNameRoundTrip(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	made := map[string]Name{}
	for range 50_000 {
		n := randomName(rng)
		s := n.String()
		got, ok := ParseName(s)
		if !ok || got != n {
			t.Fatalf("ParseName(%q): got %#v, %v, want %#v", s, got, ok, n)
		}
		if other, ok := made[s]; ok && other != n {
			t.Fatalf("%q is the name of both %#v and %#v", s, n, other)
		}
		made[s] = n
	}
}

// What is one byte off a name is either another name or none, never the same one read loosely.
func TestParseNameOneByteOff(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2_000 {
		n := randomName(rng)
		s := []byte(n.String())
		i := rng.IntN(len(s))
		switch rng.IntN(3) {
		case 0:
			s[i] = byte(rng.IntN(256))
		case 1:
			s = append(s[:i], s[i+1:]...)
		case 2:
			s = append(s[:i], append([]byte{byte(rng.IntN(256))}, s[i:]...)...)
		}
		got, ok := ParseName(string(s))
		if ok && got.String() != string(s) {
			t.Fatalf("ParseName(%q).String(): got %q", s, got)
		}
		if ok && got == n && string(s) != n.String() {
			t.Fatalf("ParseName(%q): got %#v, which is %q", s, got, n)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{
		"notes-20261121T023000Z.tar.zst", "todo.txt-20261121T023000Z", "sdcard-20261121T023000Z.img.xz",
		"a-20261121T023000Z.tar-20261122T023000Z.gz", "notes-20261341T023000Z.tar", "notes-20261121T2300.5Z", "Z", "-", "",
		"a\xff-20261121T023000Z", "x-00000000T000000Z.tar.tar", "x-20261121T023000Z.img.tar.zst",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := ParseName(s)
		if !ok {
			if n != (Name{}) {
				t.Errorf("ParseName(%q): got %#v beside false", s, n)
			}
			// As a series it must round-trip all the same.
			n = Name{s, nov21, KindFile, "none", false}
			if CheckSeries(s) != nil {
				if n.String() != "" {
					t.Errorf("%#v.String(): got %q, want nothing", n, n)
				}
				return
			}
			if got, ok := ParseName(n.String()); !ok || got != n {
				t.Errorf("ParseName(%q): got %#v, %v, want %#v", n, got, ok, n)
			}
			return
		}
		if err := n.Check(); err != nil {
			t.Errorf("ParseName(%q): got %#v: %v", s, n, err)
		}
		if got := n.String(); got != s {
			t.Errorf("ParseName(%q).String(): got %q", s, got)
		}
		if again, ok := ParseName(n.String()); !ok || again != n {
			t.Errorf("ParseName(%q): got %#v, want %#v", n, again, n)
		}
	})
}
