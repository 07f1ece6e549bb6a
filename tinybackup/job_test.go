package tinybackup

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/rotate"
)

// testDirs are directories of a test's own.
func testDirs(t *testing.T) Dirs {
	t.Helper()
	dir := t.TempDir()
	return DirsOf(func(key string) string {
		if key == "TINYBACKUP_DIR" {
			return dir
		}
		return ""
	}, os.Geteuid(), "/nowhere")
}

// testJob is a job that may be written to dirs.
func testJob(t *testing.T, dirs Dirs, id string) Job {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	j := Job{
		ID: id, Path: filepath.Join(dirs.Jobs, id+".ini"), Time: "30 2 * * *", Scheduler: "cron",
		Installed: time.Date(2026, 11, 21, 9, 7, 11, 123456789, zone),
		Options:   Options{Source: "/home/anna/notes", Dest: "/mnt/stick"},
	}
	j.Options.fillDefaults()
	j.StateDir, j.LogFile = jobDefaults(dirs, id, j.Options.Name)
	return j
}

// sameJob compares two jobs; a time is the same only with the same zone.
func sameJob(a, b Job) bool {
	same := a.Installed.Equal(b.Installed) && a.Installed.Location().String() == b.Installed.Location().String()
	a.Installed, b.Installed = time.Time{}, time.Time{}
	return same && reflect.DeepEqual(a, b)
}

func TestJobFileText(t *testing.T) {
	t.Parallel()
	dirs := testDirs(t)
	dirs.Plain = true
	j := testJob(t, dirs, "3f2a91c0")
	j.Options.KeepDaily, j.Options.KeepWithin = 7, rotate.Span{Months: 2}
	j.Options.Exclude = []string{"*.tmp", `a "b"; #c`}
	j.Options.LockWait = Duration(10 * time.Minute)
	if err := j.Write(dirs); err != nil {
		t.Fatal(err)
	}
	want := `# tinybackup job 3f2a91c0. Edit it as you like: the next run reads it anew.
# The keys of [options] are the long options of tinybackup(1); a list repeats its key; "quotes" may have \n, \" and \xff.
[job]
time = 30 2 * * *
scheduler = cron
installed = 2026-11-21T09:07:11.123456789+01:00 Europe/Berlin

[options]
source = /home/anna/notes
dest = /mnt/stick
name = notes
keep = 14
keep-daily = 7
keep-within = 2m
exclude = *.tmp
exclude = "a \"b\"; #c"
lock-wait = 10m
`
	got, err := os.ReadFile(j.Path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	info, err := os.Stat(j.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v, want 0600", info.Mode(), err)
	}
	files, err := os.ReadDir(dirs.Jobs)
	if err != nil || len(files) != 1 {
		t.Errorf("the directory of jobs holds %v, %v, want one file", files, err)
	}
	back, err := LoadJob(dirs, "3f2a91c0")
	if err != nil || !sameJob(back, j) {
		t.Errorf("read back: got %+v, %v\nwant %+v", back, err, j)
	}
}

// When a scheduler's run would not find the directories by itself, the file says
// where they are, and is found by its path.
func TestJobFileElsewhere(t *testing.T) {
	t.Parallel()
	dirs := testDirs(t)
	j := testJob(t, dirs, "3f2a91c0")
	if err := j.Write(dirs); err != nil {
		t.Fatal(err)
	}
	back, err := LoadJob(Dirs{Jobs: "/etc/x", State: "/var/x", Log: "/log/x", Plain: true}, j.Path)
	if err != nil || !sameJob(back, j) {
		t.Errorf("got %+v, %v\nwant %+v", back, err, j)
	}
	if got := j.ref(dirs); got != j.Path {
		t.Errorf("the scheduler's line would say %q, want %q", got, j.Path)
	}
	dirs.Plain = true
	if got := j.ref(dirs); got != j.ID {
		t.Errorf("the scheduler's line would say %q, want %q", got, j.ID)
	}
}

// Any bytes that a path or a pattern may have come back from the file, and never
// end up in another key.
func FuzzJobFile(f *testing.F) {
	for _, s := range []string{"notes", "a b", " a ", "", "\n[job]\ntime = x", "#x", ";x", `"x"`, `x"`, "\xff\xfe", "a=b", "[x]", "\u2028", "\r", "\ufeff", "'", "`", `\n`, "\u00a0x\u0085"} {
		f.Add(s, s+"2", true)
	}
	f.Fuzz(func(t *testing.T, path, pattern string, flag bool) {
		if strings.ContainsRune(path, 0) || pattern == "" {
			t.Skip("no path, or a pattern that Check refuses")
		}
		dirs := testDirs(t)
		j := testJob(t, dirs, "00000001")
		j.Once, j.Options.ExcludeCaches = flag, flag
		j.Options.Source = "/" + path
		j.Options.Exclude = []string{pattern, "plain", pattern}
		j.Options.ExcludeFrom = []string{"/" + path}
		if err := j.Write(dirs); err != nil {
			t.Fatal(err)
		}
		back, err := LoadJob(dirs, j.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !sameJob(back, j) {
			t.Errorf("got  %+v\nwant %+v", back, j)
		}
	})
}

// What a person may have typed into a job's file by mistake is refused by its line.
func TestJobFileRefused(t *testing.T) {
	t.Parallel()
	const good = `[job]
time = 30 2 * * *
scheduler = cron
installed = 2026-11-21T09:07:11+01:00 Europe/Berlin
[options]
source = /src
dest = /dst
name = notes
`
	for name, c := range map[string]struct{ text, want, hint string }{
		"unknown key":            {good + "kep = 3\n", `:9: unknown key "kep" in section [options]`, "did you mean keep?"},
		"unknown strange key":    {good + "colour = 3\n", `:9: unknown key "colour"`, "the keys are source, dest, name"},
		"key of this run only":   {good + "dry-run = true\n", `:9: unknown key "dry-run"`, ""},
		"Go's name of a key":     {good + "KeepDaily = 3\n", `:9: unknown key "KeepDaily"`, ""},
		"key of another section": {good + "time = noon\n", `:9: unknown key "time"`, ""},
		"bad count":              {good + "keep = many\n", `:9: keep: count "many"`, ""},
		"bad size":               {good + "block-size = 4 MB\n", `:9: block-size: "4 MB" is not a size`, ""},
		"bad flag":               {good + "exclude-caches = yes\n", `:9: exclude-caches: `, ""},
		"bad scheduler":          {strings.Replace(good, "= cron", "= corn", 1), `:3: scheduler: invalid value corn`, ""},
		"twice":                  {good + "name = b\n", `:9: "name" is already in line 8`, "remove one"},
		"no value":               {good + "keep\n", `:9: "keep" is no KEY = VALUE`, ""},
		"unknown section":        {good + "[hooks]\n", `:9: unknown section [hooks]`, "[job] and [options]"},
		"half a section":         {"[job\n", `:1: unknown section [job`, ""},
		"before any section":     {"time = noon\n" + good, `:1: "time" is in no section`, ""},
		"half a quote":           {good + "exclude = \"x\n", `:9: exclude: `, ""},
		"no time":                {strings.Replace(good, "time = 30 2 * * *\n", "", 1), `time: missing`, "put it back"},
		"no source":              {strings.Replace(good, "source = /src\n", "", 1), `source: missing`, "put it back"},
		"relative source":        {strings.Replace(good, "/src", "src", 1), `:6: source: "src" is not absolute`, "whole path"},
		"bad time":               {strings.Replace(good, "30 2 * * *", "30 26 * * *", 1), `:2: time: time "30 26 * * *": `, ""},
		"bad installed":          {strings.Replace(good, "2026-11-21T09", "yesterday", 1), `:4: installed: `, ""},
		"unknown zone":           {strings.Replace(good, "+01:00 Europe/Berlin", "+03:17 Europe/Atlantis", 1), `:4: installed: this machine does not know the time zone "Europe/Atlantis"`, ""},
		"bad name":               {strings.Replace(good, "= notes", "= a/b", 1), `:8: name "a/b"`, ""},
		"remote destination":     {strings.Replace(good, "/dst", "ftp://b", 1), `:7: destination "ftp://b"`, ""},
		"bad block size":         {good + "keep = 3\nblock-size = 5KiB\n", `:10: block size 5.0 KiB is not between`, "leave --block-size out"},
		"bad pair":               {good + "catch-up = none\nverify = true\ngrace = 2h\n", `:9: --grace is for runs that are made up for`, ""},
		"bad item of a list":     {good + "exclude = a\nexclude =\nexclude = b\n", `:10: an --exclude pattern is empty`, ""},
		"bad time of a hook":     {good + "after = x\nhook-timeout = 1 hour\n", `:10: hook-timeout: "1 hour" is not a time`, ""},
		"relative list":          {good + "exclude-from = /a\nexclude-from = b\n", `:10: "b" is not absolute`, "whole path"},
		"empty":                  {"", `time: missing`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dirs := testDirs(t)
			path := filepath.Join(dirs.Jobs, "00000001.ini")
			if err := writeWhole(path, []byte(c.text)); err != nil {
				t.Fatal(err)
			}
			_, err := LoadJob(dirs, "00000001")
			var usage *UsageError
			if !errors.As(err, &usage) {
				t.Fatalf("got %v, want a *UsageError", err)
			}
			if !strings.Contains(usage.Msg, c.want) || !strings.Contains(usage.Msg, path) || !strings.Contains(usage.Hint, c.hint) {
				t.Errorf("got %q, hint %q\nwant %q with the path, hint %q", usage.Msg, usage.Hint, c.want, c.hint)
			}
			jobs, broken, err := Jobs(dirs)
			if err != nil || len(jobs) != 0 || len(broken) != 1 || broken[0].ID != "00000001" {
				t.Errorf("Jobs: got %v, %v, %v, want one broken", jobs, broken, err)
			}
		})
	}
	dirs := testDirs(t)
	path := filepath.Join(dirs.Jobs, "00000001.ini")
	if err := writeWhole(path, []byte("; old style\n\n  # indented\r\n"+good+"exclude-caches = true\n")); err != nil {
		t.Fatal(err)
	}
	if j, err := LoadJob(dirs, "00000001"); err != nil || j.Options.Name != "notes" || !j.Options.ExcludeCaches || j.Options.Keep != DefaultKeep {
		t.Errorf("a good file: got %+v, %v", j, err)
	}
}

// A file that others may write would let them run anything with our rights; one
// they may read could tell them secrets.
func TestJobFilePermissions(t *testing.T) {
	t.Parallel()
	dirs := testDirs(t)
	j := testJob(t, dirs, "00000001")
	if err := j.Write(dirs); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o666, 0o610} {
		if err := os.Chmod(j.Path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadJob(dirs, j.ID)
		if err == nil || !strings.Contains(hintOf(err), "chmod 600 ") {
			t.Errorf("mode %o: got %v, hint %q, want a hint to chmod 600", mode, err, hintOf(err))
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if err := os.Chmod(j.Path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadJob(dirs, j.ID); err != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give a file away")
	}
	if err := os.Chown(j.Path, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadJob(dirs, j.ID); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
		t.Errorf("a stranger's file: got %v", err)
	}
}

func TestLoadJobRefused(t *testing.T) {
	t.Parallel()
	dirs := testDirs(t)
	for ref, want := range map[string]string{
		"":                      "is not the id of a job",
		"3f2a91c":               "is not the id of a job",
		"3F2A91C0":              "is not the id of a job",
		"../00000":              "is not the id of a job",
		"3f2a91c0":              "does not exist",
		dirs.Jobs + "/x.ini":    "the name is not ID.ini",
		dirs.Jobs + "/00000001": "the name is not ID.ini",
	} {
		if _, err := LoadJob(dirs, ref); err == nil || !strings.Contains(err.Error(), want) || hintOf(err) == "" {
			t.Errorf("%q: got %v, hint %q, want %q and a hint", ref, err, hintOf(err), want)
		}
	}
	// Something else in the place of a file must not hang a run.
	path := filepath.Join(dirs.Jobs, "00000001.ini")
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadJob(dirs, "00000001"); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: got %v", err)
	}
}

func TestJobsAreSorted(t *testing.T) {
	t.Parallel()
	dirs := testDirs(t)
	for _, c := range []struct{ id, name string }{{"00000009", "b"}, {"00000003", "b"}, {"00000007", "a"}} {
		j := testJob(t, dirs, c.id)
		j.Options.Name = c.name
		if err := j.Write(dirs); err != nil {
			t.Fatal(err)
		}
	}
	for _, stray := range []string{"README", "00000009.ini~", ".new-123", "0000000g.ini", "000000001.ini"} {
		if err := os.WriteFile(filepath.Join(dirs.Jobs, stray), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	jobs, broken, err := Jobs(dirs)
	if err != nil || len(broken) != 0 {
		t.Fatal(broken, err)
	}
	got := ""
	for _, j := range jobs {
		got += j.ID + " "
	}
	if want := "00000007 00000003 00000009 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if jobs, _, err := Jobs(testDirs(t)); err != nil || len(jobs) != 0 {
		t.Errorf("no directory: got %v, %v, want none", jobs, err)
	}
}
