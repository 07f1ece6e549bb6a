//go:build linux

package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestRepair moves the program that lines of the real crontab start, edits them and
// takes them away: each is put back as it was, and the lines of others stay.
func TestRepair(t *testing.T) {
	inside(t)
	need(t, "crontab")
	standIn(t, "cron") // not parallel: another test compares root's crontab with what it wrote
	dir := newDir(t)
	source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")
	p := newProgram(t)
	moved := *p
	moved.path = filepath.Join(dir, "tinybackup")
	tool(t, "cp", p.path, moved.path)

	setCrontab(t, foreign+"\n")
	t.Cleanup(func() { tool(t, "crontab", "-r") })
	before := crontab(t)
	moved.run(t, "install", "--scheduler", "cron", "--time", "2:30", "--name", "cron", source, dest)
	lines := ownLines(t, p)
	if len(lines) != 2 || !strings.Contains(lines[0], moved.path) {
		t.Fatalf("lines: %q", lines)
	}
	tool(t, "rm", moved.path)
	o := p.exits(t, 5, "statusof")
	if !strings.Contains(o.stdout, "tinybackup repair ") {
		t.Errorf("statusof: %s", o.stdout)
	}
	p.repaired(t, `starts the program "`+moved.path+`", which is not there`)
	for i, line := range ownLines(t, p) {
		if want := strings.Replace(lines[i], moved.path, p.path, 1); line != want {
			t.Errorf("line %d: got %q, want %q", i, line, want)
		}
	}
	good := crontab(t)
	setCrontab(t, strings.Replace(good, "30 2 * * *", "@hourly", 1))
	p.repaired(t, "has other times than its job file")
	if got := crontab(t); got != good {
		t.Errorf("crontab: got %q, want %q", got, good)
	}
	setCrontab(t, before)
	p.repaired(t, "its line is missing from cron")
	if got := crontab(t); got != good {
		t.Errorf("crontab: got %q, want %q", got, good)
	}
	p.repaired(t, "")
	p.exits(t, 0, "statusof")
	p.run(t, "uninstall", "--all")
	if got := crontab(t); got != before {
		t.Errorf("crontab at last: got %q, want %q", got, before)
	}
}

// repaired runs repair for the one job there is, which mends what, nothing if that is
// empty.
func (p *program) repaired(t *testing.T, what string) {
	t.Helper()
	var got struct {
		OK   bool
		Jobs []struct {
			Result string
			Found  []string
		}
	}
	if err := json.Unmarshal([]byte(p.run(t, "repair", "--json")), &got); err != nil {
		t.Fatal(err)
	}
	result := "mended"
	if what == "" {
		result = "fine"
	}
	if !got.OK || len(got.Jobs) != 1 || got.Jobs[0].Result != result || !strings.Contains(strings.Join(got.Jobs[0].Found, "; "), what) {
		t.Errorf("repair: got %+v, want it %s: %s", got, result, what)
	}
}

// ownLines are the lines of the crontab that start jobs of p.
func ownLines(t *testing.T, p *program) (own []string) {
	t.Helper()
	for line := range strings.Lines(crontab(t)) {
		if strings.Contains(line, p.dir()) {
			own = append(own, line)
		}
	}
	return own
}
