//go:build linux

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tester's crontab, as root sees it.
func testersCrontab() string {
	out, err := exec.Command("crontab", "-u", "tester", "-l").Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// standIn starts a process of a daemon's name: install asks for no more, and a
// second cron would start the jobs of other tests.
func standIn(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join(newDir(t), name)
	tool(t, "cp", "/bin/sleep", path)
	begin(t, exec.Command(path, "600"))
}

// TestCrontabOfTwoDirectories edits one crontab from many places at once: the
// processes of one user share a lock, whatever TINYBACKUP_DIR and HOME say, and
// also if the home directory cannot be written to.
func TestCrontabOfTwoDirectories(t *testing.T) {
	inside(t)
	need(t, "cron", "crontab", "setpriv")
	t.Parallel()
	standIn(t, "cron")
	for _, mode := range []string{"755", "555"} {
		tool(t, "chmod", mode, "/run/tester")
		const n = 12
		var calls [n]*running
		for i := range calls {
			dir := newDir(t)
			source, dest := mkdir(t, dir, fmt.Sprint("notes", i)), mkdir(t, dir, "archives")
			write(t, filepath.Join(source, "a.txt"), "a")
			tool(t, "chown", "-R", "tester", dir)
			cmd := exec.Command("setpriv", "--reuid=tester", "--regid=tester", "--clear-groups",
				filepath.Join(work, "bin", "tinybackup"), "install", "--scheduler", "cron", "--catch-up", "none", "--time", "2:30", source, dest)
			cmd.Dir = "/"
			cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "TINYBACKUP_DIR=" + filepath.Join(dir, "tb")}
			calls[i] = begin(t, cmd)
		}
		for _, c := range calls {
			if o := c.wait(t); o.code != 0 {
				t.Errorf("install: exit status %d: %s", o.code, o.stderr)
			}
		}
		if got := strings.Count(testersCrontab(), " run --job "); got != n {
			t.Errorf("home of mode %s: %d lines are in the crontab, want %d", mode, got, n)
		}
		tool(t, "crontab", "-u", "tester", "-r")
		tool(t, "rm", "-rf", "/run/tester/.local")
	}
	tool(t, "chmod", "755", "/run/tester")
}
