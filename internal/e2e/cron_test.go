//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// An installed is what install --json prints, as far as the tests ask for it.
type installed struct {
	Jobs []installedJob `json:"jobs"`
}

type installedJob struct {
	ID        string      `json:"id"`
	Scheduler string      `json:"scheduler"`
	Next      []time.Time `json:"next"`
	Line      string      `json:"line"`
	Path      string      `json:"path"`
	Why       string      `json:"why"`
}

// foreign is a crontab with all that an editor of crontabs likes to break.
const foreign = `# my jobs, do not touch


MAILTO=""
  SPACED = "a value"  
# '/usr/local/bin/tinybackup' run --job 3f2a91c0
30 4 1 1 *	/bin/true	with tabs # and a comment
0 0 1 1 * echo 100\% "grün" > /dev/null
#0 0 1 1 * '/usr/local/bin/tinybackup' run --job 3f2a91c0
0 0 1 1 * /bin/echo tinybackup run --job 3f2a91c0 is not ours
@yearly /bin/true
   # indented, and no empty line follows`

// crontab is the text of root's crontab.
func crontab(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("crontab", "-l").Output()
	if err != nil {
		return ""
	}
	return string(out)
}

func setCrontab(t *testing.T, text string) {
	t.Helper()
	cmd := exec.Command("crontab", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("crontab: %v\n%s", err, out)
	}
}

// TestCron lets the real cron start jobs.
func TestCron(t *testing.T) {
	inside(t)
	need(t, "cron", "crontab", "faketime")
	t.Parallel()
	t.Run("Hourly", cronHourly)
	t.Run("Missed", cronMissed)
}

// cronHourly runs a job hour by hour, from install to uninstall, as root has it: in
// the default directories.
func cronHourly(t *testing.T) {
	c := hourly()
	p := (&program{home: "/root"}).on(c)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")

	setCrontab(t, c.env()+"\n"+foreign+"\n")
	before := crontab(t)
	c.daemon(t, "/run/crond.pid", "cron", "-f", "-L", "0")
	time.Sleep(1200 * time.Millisecond) // cron compares whole seconds to see that a table has changed

	printed := printedCron(t, p, c, source, mkdir(t, dir, "printed"))
	var in installed
	p.json(t, &in, "install", "--scheduler", "cron", "--time", "30 * * * *", "--keep", "2", source, dest)
	job := in.Jobs[0]
	command := " '" + p.path + "' run --job " + job.ID
	line, ask, _ := strings.Cut(job.Line, "\n")
	if want := "30 * * * *" + command; line != want {
		t.Errorf("line: got %q, want %q", line, want)
	}
	if minutes, ours := strings.CutSuffix(ask, " * * * *"+command); !ours || strings.Count(minutes, ",") != 3 {
		t.Errorf("second line: got %q, want four minutes of each hour", ask)
	}
	if got, want := crontab(t), before+job.Line+"\n"; got != want {
		t.Fatalf("crontab after install: got %q, want %q", got, want)
	}
	if want := "/etc/tinybackup/jobs/" + job.ID + ".ini"; job.Path != want {
		t.Errorf("job file: got %q, want %q", job.Path, want)
	}

	found := slots(t, c, dest, 30, 4)
	if got, want := found[0], job.Next[0]; !got.Equal(want) {
		t.Errorf("first slot: got %v, want %v", got, want)
	}
	eachHour(t, p, job.ID)
	eachHour(t, p, printed)
	check(t, os.Remove("/etc/cron.d/tinybackup-printed-"+printed))
	p.exits(t, 0, "uninstall", printed)

	p.exits(t, 0, "uninstall", job.ID)
	if got := crontab(t); got != before {
		t.Errorf("crontab after uninstall: got %q, want %q", got, before)
	}
	if left, err := os.ReadDir("/etc/tinybackup/jobs"); err != nil || anyINI(left) {
		t.Errorf("jobs after uninstall: got %v (%v), want none", left, err)
	}
	// The last run may still be rotating.
	waitFor(t, 20*time.Second, "two archives under --keep 2", func() bool { return len(archives(t, dest)) == 2 })
	if got := partials(t, dest); len(got) != 0 {
		t.Errorf("left in the destination: %q", got)
	}
	toolIn(t, dest, "sha256sum", "--quiet", "-c", "SHA256SUMS")

	// An uninstalled job does not come back.
	last := archives(t, dest)
	time.Sleep(c.lasts(70 * time.Minute))
	if got := archives(t, dest); strings.Join(got, " ") != strings.Join(last, " ") {
		t.Errorf("archives an hour after uninstall: got %q, want %q", got, last)
	}
}

func anyINI(entries []os.DirEntry) bool {
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".ini") {
			return true
		}
	}
	return false
}

// printedCron puts what install --print makes of a job at half past every hour where
// it says that it belongs, and gives the id of the job.
func printedCron(t *testing.T, p *program, c clock, source, dest string) string {
	t.Helper()
	into := regexp.MustCompile(`/dev/stdin (\S+)`)
	var path string
	for what, mode := range map[string]os.FileMode{"job": 0o600, "cron": 0o644} {
		o := p.exits(t, 0, "install", "--print", what, "--time", "30 * * * *", "--name", "printed", "--keep", "2", source, dest)
		place := into.FindStringSubmatch(o.stderr)
		if place == nil {
			t.Fatalf("--print %s does not say where it belongs: %s", what, o.stderr)
		}
		text := o.stdout
		if what == "job" {
			path = place[1]
		} else {
			text = c.env() + "\n" + text // the tests' clock
		}
		check(t, os.MkdirAll(filepath.Dir(place[1]), 0o755))
		check(t, os.WriteFile(place[1], []byte(text), mode))
	}
	return strings.TrimSuffix(filepath.Base(path), ".ini")
}
