package sched

import (
	"os/exec"
	"strings"
	"testing"
)

func TestCommand(t *testing.T) {
	for _, test := range []struct{ binary, job, want string }{
		{"/usr/local/bin/tinybackup", "3f2a91c0", `'/usr/local/bin/tinybackup' run --job 3f2a91c0`},
		{"/opt/my tools/tb", "00000000", `'/opt/my tools/tb' run --job 00000000`},
		{"/a'b", "3f2a91c0", `'/a'\''b' run --job 3f2a91c0`},
		{"/''", "3f2a91c0", `'/'\'''\''' run --job 3f2a91c0`},
		{"/b", "/home/me/j 1.ini", `'/b' run --job '/home/me/j 1.ini'`},
		{"/b", "/it's", `'/b' run --job '/it'\''s'`},
		{"/b$(id)`x`\"\\", "/%\\$", `'/b$(id)` + "`x`" + `"\' run --job '/%\$'`},
		{"/\xff\xfeé", "3f2a91c0", "'/\xff\xfeé' run --job 3f2a91c0"},
	} {
		got := Command(test.binary, test.job)
		if got != test.want {
			t.Errorf("Command(%q, %q): got %q, want %q", test.binary, test.job, got, test.want)
		}
		binary, job, ok := ParseCommand(got)
		if !ok || binary != test.binary || job != test.job {
			t.Errorf("ParseCommand(%q): got %q, %q, %v", got, binary, job, ok)
		}
		// A real shell reads the same words.
		out, err := exec.Command("/bin/sh", "-c", `printf '%s\n' `+got).Output()
		if want := test.binary + "\nrun\n--job\n" + test.job + "\n"; err != nil || string(out) != want {
			t.Errorf("sh reads %s as %q (%v), want %q", got, out, err, want)
		}
	}
}

func TestParseCommandIsExact(t *testing.T) {
	const good = `'/usr/local/bin/tinybackup' run --job 3f2a91c0`
	if _, _, ok := ParseCommand(good); !ok {
		t.Fatalf("ParseCommand(%q) is false", good)
	}
	for _, line := range []string{
		"",
		"'",
		"''",
		" " + good,
		good + " ",
		good + "\n",
		good + "\r",
		good + bodyEnd,
		good + "0",
		good + " --dry-run",
		good + "; id",
		good + " # mine",
		"nice " + good,
		`/usr/local/bin/tinybackup run --job 3f2a91c0`,
		`"/usr/local/bin/tinybackup" run --job 3f2a91c0`,
		`'tinybackup' run --job 3f2a91c0`,
		`'/b'  run --job 3f2a91c0`,
		`'/b' run  --job 3f2a91c0`,
		`'/b' run --job=3f2a91c0`,
		`'/b' run --job '3f2a91c0'`,
		`'/b' run --job 3F2A91C0`,
		`'/b' run --job 3f2a91c`,
		`'/b' run --job 3f2a91cg`,
		`'/b' run --job /x.ini`,
		`'/b' run --job 'x.ini'`,
		`'/b' run --job '/x.ini`,
		`'/b' run --job '/x.ini'y`,
		`'/b' run --job `,
		`'/b' run --job`,
		`'/b' --job 3f2a91c0`,
		`'/b''c' run --job 3f2a91c0`,
		`'/b`,
		"'/b\n' run --job 3f2a91c0",
		"'/b\x1b' run --job 3f2a91c0",
		"'/b' run --job '/x\x7f'",
	} {
		if binary, job, ok := ParseCommand(line); ok || binary != "" || job != "" {
			t.Errorf("ParseCommand(%q): got %q, %q, %v, want nothing", line, binary, job, ok)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	for _, seed := range []string{`'/b' run --job 3f2a91c0`, `'/a'\''b' run --job '/it'\''s'`, `''\''' run --job '/`, "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		binary, job, ok := ParseCommand(line)
		if !ok {
			return
		}
		if got := Command(binary, job); got != line {
			t.Errorf("Command(%q, %q): got %q, want %q", binary, job, got, line)
		}
		if !strings.HasPrefix(binary, "/") || strings.ContainsAny(binary+job, "\n\r\x00") {
			t.Errorf("ParseCommand(%q) took binary %q, job %q", line, binary, job)
		}
	})
}

func FuzzCommand(f *testing.F) {
	f.Add("/usr/bin/tb", "3f2a91c0")
	f.Add("/'", "/'\\''")
	f.Fuzz(func(t *testing.T, binary, job string) {
		if checkCommand(binary, job) != nil {
			return // no line is made of it
		}
		gotBinary, gotJob, ok := ParseCommand(Command(binary, job))
		if !ok || gotBinary != binary || gotJob != job {
			t.Errorf("ParseCommand(Command(%q, %q)): got %q, %q, %v", binary, job, gotBinary, gotJob, ok)
		}
	})
}
