package tinybackup

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// golden compares got with a file of testdata/golden, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestStatusTable(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	at := time.Date(2026, 11, 22, 2, 30, 0, 0, time.UTC)
	run := func(result string) *HistoryEntry { return &HistoryEntry{Start: at, Result: result} }
	failed := Problem{State: StateFailed, Why: "it failed 3 times since Fri 2026-11-20 02:30; next try at 03:10: read \"/c/x\":\nbadly", Mend: "tinybackup run --now --job 00000003"}
	s := Status{
		Jobs: []JobStatus{
			{Number: 1, ID: "00000001", Name: "notes", State: StateOK, OK: true, Source: "/home/anna/notes", Dest: "/mnt/stick", Time: "2:30", Scheduler: "cron", Next: at.AddDate(0, 0, 1), Archives: 14, Bytes: 123456789, Last: run(ResultOK), LastGood: run(ResultOK)},
			{Number: 2, ID: "00000002", Name: "odd\nname ü", State: StateRunning, OK: true, Why: "since 08:59, reading, 1.0 GiB of 2.0 GiB", Source: "/a\x1b[2J", Dest: "/b\tc", Time: "+7 min", Scheduler: "at", Running: true, LastGood: run(ResultWarnings)},
			{Number: 3, ID: "00000003", Name: "once", State: StateFailed, Source: "/c", Dest: "/d", Time: "noon", Scheduler: "service", Done: true, Last: run(ResultFailed), Problems: []Problem{failed}},
			{Number: 4, ID: "00000004", Name: "a-name-that-is-longer-than-anybody-would-type-it-on-a-good-day", State: StateBroken, Source: "/c", Dest: "/d", Time: "9:00 monday + 2 weeks", Next: at.AddDate(0, 1, 0), Problems: []Problem{
				{State: StateBroken, Why: "its line is missing from cron", Mend: "tinybackup repair 00000004"},
				{State: StateLate, Why: "two"},
			}},
			{Number: 12345, ID: "00000005", State: StateBroken, Problems: []Problem{{State: StateBroken, Why: "its file cannot be used: bad"}}},
		},
		Problems: []Problem{{State: StateBroken, Why: "crontab line 3 starts job 00000009, which is gone", Mend: "tinybackup uninstall --orphans"}},
	}
	var b bytes.Buffer
	if err := s.print(Env{Stdout: &b, Now: func() time.Time { return now }}); err != nil {
		t.Fatal(err)
	}
	golden(t, "status.txt", b.String())
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > helpWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestHelpText(t *testing.T) {
	t.Parallel()
	var line commandLine
	var inv invocation
	for _, args := range append([][]string{{"--help"}}, helpArgs(line.commands(&inv))...) {
		var b bytes.Buffer
		if got := Main(t.Context(), Env{Stdout: &b, Stderr: &b, Now: time.Now}, args); got != 0 {
			t.Errorf("%v: exit status %d", args, got)
		}
		switch args[0] {
		case "--help":
			golden(t, "help.txt", b.String())
		case "stop":
			golden(t, "help-stop.txt", b.String())
		}
		for i, line := range bytes.Split(b.Bytes(), []byte("\n")) {
			if n := len([]rune(string(line))); n > helpWidth {
				t.Errorf("%v: line %d has %d columns: %s", args, i+1, n, line)
			}
		}
	}
}

// helpArgs ask each of the commands for its help.
func helpArgs(commands []command) (all [][]string) {
	for _, c := range commands {
		all = append(all, []string{c.name, "--help"})
	}
	return all
}

// Every command has what its help needs, and every option a text.
func TestHelpIsWhole(t *testing.T) {
	t.Parallel()
	var line commandLine
	var inv invocation
	for _, c := range line.commands(&inv) {
		if c.short == "" || c.long == "" || len(c.usage) == 0 || c.run == nil || c.data == nil {
			t.Errorf("command %s lacks something: %+v", c.name, c)
		}
		_, keys, names, err := iniSection{name: c.name, data: c.data}.keys()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if keys[name].Description == "" {
				t.Errorf("%s --%s has no text", c.name, name)
			}
		}
	}
}

func TestSelection(t *testing.T) {
	t.Parallel()
	all := []numbered{
		{number: 1, job: Job{ID: "0000000a", Time: "noon", Installed: time.Unix(0, 0).UTC(), Options: Options{Source: "/a", Dest: "/d"}}},
		{number: 2, job: Job{ID: "0000000b", Time: "2:00", Installed: time.Unix(0, 0).UTC(), Options: Options{Source: "/a", Dest: "/d"}}},
		{number: 3, job: Job{ID: "0000000c", Time: "noon", Installed: time.Unix(0, 0).UTC(), Options: Options{Source: "/b", Dest: "/d"}}},
		{number: 4, broken: &BrokenJob{ID: "0000000d"}},
	}
	for _, c := range []struct {
		args []string
		time string
		want string // ids, or an error
	}{
		{nil, "", "0000000a 0000000b 0000000c 0000000d "},
		{[]string{"1"}, "", "0000000a "},
		{[]string{"0000000c", "3", "4"}, "", "0000000c 0000000d "},
		{[]string{"/a", "/d"}, "", "0000000a 0000000b "},
		{[]string{"/a", "/d"}, "12:00", "0000000a "},
		{[]string{"/a", "/d"}, "0 2 * * *", "0000000b "},
		{[]string{"/a", "/d"}, "3:00", `no job backs up "/a" to "/d" at "3:00"`},
		{[]string{"/d", "/a"}, "", `no job backs up "/d" to "/a"`},
		{[]string{"0"}, "", `"0" is neither the id nor the number of a job`},
		{[]string{"01"}, "", `"01" is neither the id nor the number of a job`},
		{[]string{"5"}, "", `there is no job "5"`},
		{[]string{"0000000e"}, "", `there is no job "0000000e"`},
		{[]string{"1", "/a"}, "", `"/a" is neither the id nor the number of a job`},
		{[]string{"/a", "/b", "/c"}, "", `"/a" is neither the id nor the number of a job`},
		{[]string{"1"}, "noon", "--time needs a source and a destination"},
	} {
		got := ""
		s, err := selectArgs{Jobs: c.args}.selection(c.time)
		var picked []numbered
		if err == nil {
			picked, err = s.pick(all)
		}
		if err != nil {
			got = err.Error()
			if hintOf(err) == "" {
				t.Errorf("%q: %v has no hint", c.args, err)
			}
		}
		for _, n := range picked {
			got += n.id() + " "
		}
		if got != c.want {
			t.Errorf("%q at %q: got %q, want %q", c.args, c.time, got, c.want)
		}
	}
}
