package tinybackup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/sched"
)

// What a scheduler has is compared with what it should have, and each difference
// is told once.
func TestFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary, copied, other, plain := filepath.Join(dir, "tb"), filepath.Join(dir, "copy"), filepath.Join(dir, "other"), filepath.Join(dir, "plain")
	for path, text := range map[string]string{binary: "v2", copied: "v2", other: "v1", plain: "v2"} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(plain, 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 9, 7, 0, 0, time.UTC)
	spec := func(text string) *sched.Spec {
		s, err := newSpec(text, false, now)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	next := time.Date(2026, 11, 22, 2, 30, 0, 0, time.UTC)
	want := sched.Entry{Job: "0000000a", Binary: binary, Spec: spec("2:30"), Next: next}
	line := func(where, binary, text string) sched.Entry {
		e := sched.Entry{Job: "0000000a", Binary: binary, Where: where}
		if text != "" {
			e.Spec = spec(text)
		}
		return e
	}
	queued := func(where string, next time.Time, running bool) sched.Entry {
		return sched.Entry{Job: "0000000a", Binary: binary, Where: where, Next: next, Running: running}
	}
	second := line("line 1", binary, "30 2 * * *")
	second.CatchUp = true
	for _, c := range []struct {
		name, scheduler string
		have            []sched.Entry
		want            string // the sentences; a harmless one in brackets
	}{
		{"good", "cron", []sched.Entry{line("line 1", binary, "30 2 * * *")}, ""},
		{"typed in another way", "cron", []sched.Entry{line("line 1", binary, "30 2 */1 * *")}, ""},
		{"none", "cron", nil, "its line is missing from cron"},
		{"other times", "cron", []sched.Entry{line("line 1", binary, "31 2 * * *")}, "line 1 has other times than its job file"},
		{"unreadable", "cron", []sched.Entry{line("line 1", binary, "")}, "line 1 has other times than its job file"},
		{"twice", "cron", []sched.Entry{line("line 1", binary, "2:30"), line("line 4", binary, "2:30")}, "it is there twice: line 1 and line 4"},
		{"twice, edited", "cron", []sched.Entry{line("line 1", binary, "2:31"), line("line 4", binary, "2:30")}, "line 1 has other times than its job file"},
		{"a copy", "cron", []sched.Entry{line("line 1", copied, "2:30")}, ""},
		{"another version", "cron", []sched.Entry{line("line 1", other, "2:30")}, "(line 1 starts \"" + other + "\", which is another version than this one)"},
		{"gone", "cron", []sched.Entry{line("line 1", dir+"/gone", "2:30")}, "line 1 starts the program \"" + dir + "/gone\", which is not there"},
		{"not executable", "cron", []sched.Entry{line("line 1", plain, "2:30")}, "line 1 starts the program \"" + plain + "\", which is not there"},
		{"a directory", "cron", []sched.Entry{line("line 1", dir, "2:30")}, "line 1 starts the program \"" + dir + "\", which is not there"},
		{"a second line that is not wanted", "cron", []sched.Entry{second}, "(line 1 has a second line, for what is missed, that it need not have)"},
		{"good", "at", []sched.Entry{queued("at job 1", next, false)}, ""},
		{"earlier, to try again", "at", []sched.Entry{queued("at job 1", now.Add(time.Hour), false)}, ""},
		{"none", "at", nil, "the chain is broken, at has no run of it"},
		{"too late", "at", []sched.Entry{queued("at job 1", next.Add(time.Hour), false)}, "at job 1 is later than its next run should be, Sun 2026-11-22 02:30"},
		{"running", "at", []sched.Entry{queued("at job 1", now, true)}, ""},
		{"twice", "at", []sched.Entry{queued("at job 1", next, false), queued("at job 2", next, false)}, "(it is there twice: at job 1 and at job 2)"},
		{"none", "service", nil, "its entry is missing from service"},
		{"good", "service", []sched.Entry{line("file", binary, "2:30")}, ""},
	} {
		var got []string
		for _, f := range faults(&memoryScheduler{name: c.scheduler}, want, c.have) {
			if f.harmless {
				f.text = "(" + f.text + ")"
			}
			got = append(got, f.text)
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s, %s: got %q, want %q", c.scheduler, c.name, text, c.want)
		}
	}
}

// A job that catches up has a second line in a crontab, if its schedule leaves
// room for one; without it the job runs in time all the same.
func TestFaultsOfSecondLines(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "tb")
	if err := os.WriteFile(binary, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		times string
		has   bool
		want  string
	}{
		{"2:30", true, ""},
		{"2:30", false, "line 1 lacks the second line, for what is missed"},
		{"*/10 * * * *", false, ""},
	} {
		spec, err := newSpec(c.times, false, time.Date(2026, 11, 21, 9, 7, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		want := sched.Entry{Job: "0000000a", Binary: binary, Spec: spec, CatchUp: true}
		have := want
		have.CatchUp, have.Where = c.has, "line 1"
		got := ""
		for _, f := range faults(&sched.Cron{}, want, []sched.Entry{have}) {
			got += f.text
			if !f.harmless {
				t.Errorf("%s: %q is said to keep the job from running", c.times, f.text)
			}
		}
		if got != c.want {
			t.Errorf("%s, second line %v: got %q, want %q", c.times, c.has, got, c.want)
		}
	}
}
