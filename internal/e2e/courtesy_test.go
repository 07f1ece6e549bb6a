//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCourtesy looks at the threads of a run that is to leave room to others, and
// whether it keeps to its rate.
func TestCourtesy(t *testing.T) {
	inside(t)
	need(t, "ionice")
	t.Parallel()
	p := newProgram(t)
	dir := newDir(t)
	dest := mkdir(t, dir, "dst")
	noiseIn(t, filepath.Join(dir, "big"), 6<<20)
	begun := time.Now()
	run := begin(t, p.command("run", "--nice", "19", "--ionice", "best-effort:6", "--bwlimit", "2MiB", filepath.Join(dir, "big"), dest))
	waitFor(t, time.Minute, "the archive begins", func() bool { return len(partials(t, dest)) > 0 })
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", run.cmd.Process.Pid))
	check(t, err)
	for _, task := range tasks {
		stat, err := os.ReadFile(filepath.Join(task, "stat"))
		if os.IsNotExist(err) { // it has ended
			continue
		}
		check(t, err)
		_, fields, _ := strings.Cut(string(stat), ") ") // proc_pid_stat(5): the 19th is the nice value
		nice := strings.Fields(fields)[16]
		class := strings.TrimSpace(tool(t, "ionice", "-p", filepath.Base(task)))
		if nice != "19" || class != "best-effort: prio 6" {
			t.Errorf("thread %s: got nice %s, %q, want 19, best-effort: prio 6", filepath.Base(task), nice, class)
		}
	}
	if len(tasks) < 2 {
		t.Errorf("got %d threads, want some", len(tasks))
	}
	if o := run.wait(t); o.code != 0 || o.stderr != "" {
		t.Errorf("got exit %d: %s", o.code, o.stderr)
	}
	// Six pieces of 1 MiB, of which the first need not wait, and the same read back.
	if least, took := 5*time.Second, time.Since(begun); took < least {
		t.Errorf("12 MiB at 2 MiB a second took %v, want at least %v", took, least)
	}
}
