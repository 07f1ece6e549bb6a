package sched

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const (
	ownJob   = "3f2a91c0"
	ownLine  = `30 2 * * * '/usr/local/bin/tinybackup' run --job 3f2a91c0`
	newLine  = `0 5 * * 1 '/opt/tb' run --job 3f2a91c0`
	otherOwn = `1 1 * * * '/usr/local/bin/tinybackup' run --job 00000001`
	nearOwn  = `30 2 * * * '/usr/local/bin/tinybackup' run --job 3f2a91c00`
)

// foreign is what people and programs have in their tables; Debian's crontab takes all of it.
var foreign = []string{
	"",
	"\n",
	"# a comment\n",
	"#" + ownLine + "\n",
	"# " + ownLine + "\n",
	" \t# " + ownLine + "\n",
	"MAILTO=me@example.org\n",
	"X = 1 2 3 " + strings.TrimPrefix(ownLine, "30 2 * * * ") + "\n",
	"A=1 2 3 4 5 '/b' run --job 3f2a91c0\n",
	"PATH=/bin\r\n",
	ownLine + "\r\n",
	ownLine + " >/dev/null 2>&1\n",
	ownLine + " \n",
	"30 2 * * * root '/b' run --job 3f2a91c0\n",
	"30 2 * * * nice '/b' run --job 3f2a91c0\n",
	nearOwn + "\n",
	"\t5\t4 * *\tsun\techo tabs\t\n",
	"@daily echo %hello%world\n",
	"@reboot '/b' --job 3f2a91c0\n",
	"* * * * * tr -d '\\r' \\\\ \\%\n",
	"* * * * * echo \xff\xfe\x80 not utf-8\n",
	"# \x00\x01\x1b[31m\x7f\n",
	"# " + strings.Repeat("long ", 20000) + "\n",
	otherOwn + "\n",
}

// broken is what no crontab(1) installs, but a table may have all the same.
var broken = []string{
	"\x00\x01\x1b[31m\x7f\n",
	"30 2 * * '/b' run --job 3f2a91c0\n",
	"* * * * * echo " + strings.Repeat("long ", 20000) + "\n",
	"\u2028 \u0085 are not newlines " + ownLine + "\n",
}

func TestSetLine(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", newLine + "\n"},
		{"foreign only", "# a\n", "# a\n" + newLine + "\n"},
		{"no final newline", "# a", "# a\n" + newLine + "\n"},
		{"replaced in its place", "# a\n" + ownLine + "\n# b\n", "# a\n" + newLine + "\n# b\n"},
		{"the very line", newLine + "\n# b\n", newLine + "\n# b\n"},
		{"duplicates go", ownLine + "\n# a\n" + ownLine + "\n" + newLine + "\n# b", newLine + "\n# a\n# b"},
		{"last without newline", "# a\n" + ownLine, "# a\n" + newLine + "\n"},
		{"fields changed by hand", "# a\n  */5\t4-6 1,2 jan mon-fri \t" + `'/x' run --job 3f2a91c0` + "\n", "# a\n" + newLine + "\n"},
		{"made @daily by hand", `@daily '/x' run --job 3f2a91c0` + "\n# b\n", newLine + "\n# b\n"},
		{"commented out", "#" + ownLine + "\n", "#" + ownLine + "\n" + newLine + "\n"},
		{"another job", otherOwn + "\n", otherOwn + "\n" + newLine + "\n"},
		{"a longer id", nearOwn + "\n", nearOwn + "\n" + newLine + "\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := setLine(test.text, ownJob, newLine)
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if again := setLine(got, ownJob, newLine); again != got {
				t.Errorf("a second time: got %q, want %q", again, got)
			}
		})
	}
}

func TestDropLines(t *testing.T) {
	for _, test := range []struct {
		name, text, want string
		n                int
	}{
		{"empty", "", "", 0},
		{"only ours", ownLine + "\n", "", 1},
		{"only ours, no newline", ownLine, "", 1},
		{"between", "# a\n" + ownLine + "\n# b", "# a\n# b", 1},
		{"twice", ownLine + "\n# a\n" + ownLine + "\n", "# a\n", 2},
		{"others of ours", otherOwn + "\n" + ownLine + "\n" + nearOwn + "\n", otherOwn + "\n" + nearOwn + "\n", 1},
		{"commented out", "# " + ownLine + "\n", "# " + ownLine + "\n", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, n := dropLines(test.text, ownJob)
			if got != test.want || n != test.n {
				t.Errorf("got %q, %d, want %q, %d", got, n, test.want, test.n)
			}
		})
	}
}

// A job that is a path may be the beginning of another one's.
func TestLinesOfJobsWithACommonBeginning(t *testing.T) {
	const short, long = "1 1 * * * '/b' run --job '/j/a'\n", "2 2 * * * '/b' run --job '/j/a.ini'\n"
	if got, want := setLine(long+short, "/j/a", "3"+short[1:len(short)-1]), long+"3"+short[1:]; got != want {
		t.Errorf("setLine: got %q, want %q", got, want)
	}
	if got, n := dropLines(long+short, "/j/a"); got != long || n != 1 {
		t.Errorf("dropLines: got %q, %d, want %q, 1", got, n, long)
	}
}

// Whatever the table, adding and removing touches nothing foreign, and the two cancel out.
func TestForeignLinesStay(t *testing.T) {
	lines := slices.Concat(foreign, broken)
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var text string
		for range random.IntN(12) {
			text += lines[random.IntN(len(lines))]
		}
		if random.IntN(4) == 0 {
			text = strings.TrimSuffix(text, "\n")
		}
		checkRoundTrip(t, text)
	}
}

func TestForeignLinesAreNotOurs(t *testing.T) {
	for _, line := range slices.Concat(foreign, broken) {
		if own := ownLines(line); len(own) != 0 && line != otherOwn+"\n" {
			t.Errorf("%.100q is taken for ours: %+v", line, own)
		}
	}
}

func FuzzTable(f *testing.F) {
	for _, line := range slices.Concat(foreign, broken) {
		f.Add(line)
	}
	f.Add(ownLine + "\n" + otherOwn + "\n" + ownLine)
	f.Fuzz(checkRoundTrip)
}

func checkRoundTrip(t *testing.T, text string) {
	t.Helper()
	without, n := dropLines(text, ownJob)
	if n == 0 && without != text {
		t.Errorf("nothing dropped, but %q became %q", text, without)
	}
	with := setLine(without, ownJob, ownLine)
	var mine []tableLine
	for _, l := range ownLines(with) {
		if l.job == ownJob {
			mine = append(mine, l)
		}
	}
	if len(mine) != 1 {
		t.Fatalf("%q has %d lines of the job, want 1", with, len(mine))
	}
	if got := with[mine[0].start:mine[0].end]; got != ownLine+"\n" {
		t.Errorf("the line in the table: got %q, want %q", got, ownLine)
	}
	want := without
	if want != "" && !strings.HasSuffix(want, "\n") {
		want += "\n"
	}
	if got, _ := dropLines(with, ownJob); got != want {
		t.Errorf("add and remove: got %q, want %q", got, want)
	}
	// In place, too: the same foreign bytes around the line.
	moved := setLine(with, ownJob, newLine)
	if got, _ := dropLines(moved, ownJob); got != want {
		t.Errorf("replace and remove: got %q, want %q", got, want)
	}
	// With a second line, too.
	both := setLine(text, ownJob, ownLine+"\n"+ownAsk)
	if got, n := dropLines(both, ownJob); n != 1 || got != without && got != want {
		t.Errorf("both lines in %q and remove: got %q, %d, want %q, 1", text, got, n, without)
	}
	if got, n := dropLines(setLine(text, ownJob, newLine), ownJob); n != 1 || got != without && got != want {
		t.Errorf("replace in %q and remove: got %q, want %q", text, got, without)
	}
}

func TestCutHeader(t *testing.T) {
	const header = "# DO NOT EDIT THIS FILE - edit the master and reinstall.\n# (/tmp/x installed on Sat Nov 21 11:16:40 2026)\n# (Cron version V5.0 -- $Id: crontab.c)\n"
	for _, test := range []struct{ text, header, rest string }{
		{"", "", ""},
		{header, header, ""},
		{header + "# a\n", header, "# a\n"},
		{header + header + "x", header, header + "x"},
		{"# a\n" + header, "", "# a\n" + header},
		{strings.TrimSuffix(header, "\n"), "", strings.TrimSuffix(header, "\n")},
		{"# DO NOT EDIT THIS FILE - edit the master and reinstall.\n# mine\n# too\n", "", "# DO NOT EDIT THIS FILE - edit the master and reinstall.\n# mine\n# too\n"},
	} {
		if got, rest := cutHeader(test.text); got != test.header || rest != test.rest {
			t.Errorf("cutHeader(%q): got %q, %q, want %q, %q", test.text, got, rest, test.header, test.rest)
		}
	}
}
