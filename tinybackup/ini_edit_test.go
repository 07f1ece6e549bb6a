package tinybackup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/rotate"
)

// ownFile is a job's file as a person keeps it.
const ownFile = `; mine
[job]
time = 2:30    
 scheduler=cron
installed = 2026-11-21T09:07:00Z UTC

[options]
dest   =   /mnt/stick
source = /home/anna/notes
# not for ever
lock-wait = 600s
keep = 14
name = notes

# what is built
exclude = *.o
exclude = "*.a"
exclude = /cache/
compress = zstd
verify = false
# the end
`

// ownJob puts a text into the file of a job, and reads it.
func ownJob(t *testing.T, text string) (Dirs, Job) {
	t.Helper()
	dirs := testDirs(t)
	dirs.Plain = true
	path := filepath.Join(dirs.Jobs, "00000001.ini")
	if err := writeWhole(path, []byte(text)); err != nil {
		t.Fatal(err)
	}
	j, err := LoadJob(dirs, "00000001")
	if err != nil {
		t.Fatal(err)
	}
	return dirs, j
}

// Of a file that a person has edited, only the lines of what changes are changed.
func TestJobFileKeepsComments(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit     func(*Job)
		old, new string // in ownFile
	}{
		"nothing":             {func(*Job) {}, "", ""},
		"a value":             {func(j *Job) { j.Scheduler = "at" }, " scheduler=cron\n", " scheduler=at\n"},
		"a value and its gap": {func(j *Job) { j.Options.Dest = "/x y" }, "dest   =   /mnt/stick\n", "dest   =   /x y\n"},
		"one that goes":       {func(j *Job) { j.Options.LockWait = 0 }, "lock-wait = 600s\n", ""},
		"a default that changes": {func(j *Job) { j.Options.Keep = 3 },
			"keep = 14\n", "keep = 3\n"},
		"a default that is another now": {func(j *Job) { j.Options.Compress = Compression{Codec: "xz", Level: 9} },
			"compress = zstd\n", "compress = xz:9\n"},
		"a new one":       {func(j *Job) { j.Options.Jitter = Duration(time.Minute) }, "verify = false\n", "verify = false\njitter = 1m\n"},
		"new in [job]":    {func(j *Job) { j.StateDir = "/s" }, "Z UTC\n", "Z UTC\nstate = /s\n"},
		"true":            {func(j *Job) { j.Options.Verify = true }, "verify = false\n", "verify = true\n"},
		"of a list: last": {func(j *Job) { j.Options.Exclude = append(j.Options.Exclude, "b") }, "exclude = /cache/\n", "exclude = /cache/\nexclude = b\n"},
		"of a list: first": {func(j *Job) { j.Options.Exclude = append([]string{"b"}, j.Options.Exclude...) },
			"# what is built\n", "# what is built\nexclude = b\n"},
		"of a list: inside": {func(j *Job) { j.Options.Exclude = []string{"*.o", "x", "y", "*.a", "/cache/"} },
			"exclude = *.o\n", "exclude = *.o\nexclude = x\nexclude = y\n"},
		"of a list: one goes": {func(j *Job) { j.Options.Exclude = []string{"*.o", "/cache/"} }, "exclude = \"*.a\"\n", ""},
		"of a list: changed":  {func(j *Job) { j.Options.Exclude[1] = "*.lib" }, "exclude = \"*.a\"\n", "exclude = *.lib\n"},
		"of a list: all":      {func(j *Job) { j.Options.Exclude = nil }, "exclude = *.o\nexclude = \"*.a\"\nexclude = /cache/\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, end := range []string{"\n", "\r\n"} {
				dirs, j := ownJob(t, strings.ReplaceAll(ownFile, "\n", end))
				c.edit(&j)
				if err := j.Write(dirs); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(j.Path)
				if err != nil {
					t.Fatal(err)
				}
				if want := strings.ReplaceAll(strings.Replace(ownFile, c.old, c.new, 1), "\n", end); string(got) != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
				if back, err := LoadJob(dirs, j.ID); err != nil || !sameJob(back, j) {
					t.Errorf("read back: %v\n%+v\nwant\n%+v", err, back, j)
				}
			}
		})
	}
}

// The last line of a file need not end in a newline.
func TestJobFileWithoutLastNewline(t *testing.T) {
	t.Parallel()
	dirs, j := ownJob(t, strings.TrimSuffix(ownFile, "# the end\n")+"reread = true")
	j.Options.Jitter = Duration(time.Minute)
	if err := j.Write(dirs); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(j.Path)
	if want := "verify = false\nreread = true\njitter = 1m\n"; err != nil || !strings.HasSuffix(string(got), want) {
		t.Errorf("got %v\n%s\nwant at its end\n%s", err, got, want)
	}
}

// Whatever a file looks like, and whatever changes: what is written into it is read
// as what a new file would say, and all lines but those of what changed are as they
// were, in their order.
func FuzzJobRewritten(f *testing.F) {
	head, options, _ := strings.Cut(ownFile, "[options]\n")
	f.Add(head, options, "*.o", "new", 3, false)
	f.Add("[options]\n[job]\n[options]\n# x\n[job]\n"+head, "[options]\n"+options, "", "\n[job]", 0, true)
	f.Add(strings.ReplaceAll(head, "\n", "\r\n"), strings.ReplaceAll(options, "\n", "\r\n"), "a", "b", 14, true)
	f.Add(head, strings.ReplaceAll(options, " = ", "="), " ", "#", 1, false)
	f.Add(head, "exclude =\n"+strings.Replace(options, "exclude", "exclude-from", 9), "x", "\xff", 2, true)
	f.Fuzz(func(t *testing.T, head, options, exclude, more string, keep int, flag bool) {
		dirs := testDirs(t)
		dirs.Plain = true
		path := filepath.Join(dirs.Jobs, "00000001.ini")
		text := head + "[options]\n" + options
		if err := writeWhole(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		j, err := LoadJob(dirs, "00000001")
		if err != nil {
			return // it is refused, and never rewritten
		}
		before := j.Options
		j.Options.Exclude = slices.DeleteFunc([]string{exclude, "plain", more}, func(s string) bool { return s == "" })
		if flag {
			j.Options.Exclude = append(slices.Clone(before.Exclude), j.Options.Exclude...)
			j.Scheduler, j.Options.Jitter = "at", j.Options.Jitter+Duration(time.Minute)
		}
		j.Options.Keep, j.Options.Verify = rotate.Count(max(1, keep%1000)), !before.Verify
		if err := j.Write(dirs); err != nil {
			t.Fatal(err)
		}
		back, err := LoadJob(dirs, j.ID)
		if err != nil || !sameJob(back, j) {
			t.Errorf("%q\nbecame\n%s\nread as %+v, %v\nwant %+v", text, readText(t, path), back, err, j)
		}
		untouched(t, text, readText(t, path), "exclude", "scheduler", "keep", "verify", "jitter")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := j.Write(dirs); err != nil {
			t.Fatal(err)
		}
		if anew, err := LoadJob(dirs, j.ID); err != nil || !sameJob(anew, back) {
			t.Errorf("%q: rewritten it says %+v, written anew %+v, %v", text, back, anew, err)
		}
	})
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// untouched compares two files, but for the lines of some keys. Nothing is said of a
// newline at the end of the last line.
func untouched(t *testing.T, before, after string, keys ...string) {
	t.Helper()
	rest := func(text string) string {
		var lines []string
		for line := range strings.SplitSeq(text, "\n") {
			key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
			if !slices.Contains(keys, strings.TrimSpace(key)) {
				lines = append(lines, strings.TrimSuffix(line, "\r"))
			}
		}
		return strings.TrimSuffix(strings.Join(lines, "\n"), "\n")
	}
	if a, b := rest(before), rest(after); a != b {
		t.Errorf("other lines changed: before\n%s\nafter\n%s", fmt.Sprintf("%q", a), fmt.Sprintf("%q", b))
	}
}
