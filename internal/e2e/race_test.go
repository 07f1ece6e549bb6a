//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestManyRuns starts fifty runs of one job at once, at its slot: by a shell as cron
// and at have it, beside the service, which fires as well. One archive is made; asked
// for by hand, each is made or refused.
func TestManyRuns(t *testing.T) {
	t.Parallel()
	rounds := 1
	if torture {
		rounds = 20
	}
	for round := range rounds {
		before := newClock(time.Date(2026, 11, 21, 2, 28, 0, 0, time.UTC), 1)
		slot := before
		slot.base = slot.base.Add(2*time.Minute + time.Second)
		p := newProgram(t)
		dir := newDir(t)
		source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
		write(t, filepath.Join(source, "a.txt"), "a")
		var in installed
		p.on(before).json(t, &in, "install", "--scheduler", "service", "--time", "2:30", source, dest)
		job := in.Jobs[0].ID
		p = p.on(slot)
		stopped(t, p)
		const n = 50
		var runs [n]*running
		for i := range runs {
			if i == n/2 {
				p.exits(t, 0, "start")
			}
			cmd := p.command()
			line := "'" + p.path + "' run --job " + job
			cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", line}
			if i%2 == 0 { // as at has it
				cmd.Args = []string{"sh"}
				cmd.Stdin = strings.NewReader("cd / || exit 1\n" + line + "\n")
			}
			runs[i] = begin(t, cmd)
		}
		for i, r := range runs {
			if o := r.wait(t); o.code != 0 || o.stderr != "" {
				t.Errorf("run %d: exit status %d: %s", i, o.code, o.stderr)
			}
		}
		p.exits(t, 0, "stop")
		if got := archives(t, dest); len(got) != 1 {
			t.Errorf("round %d: %d starts for one slot made archives %q, want one", round, n+1, got)
		}
		history, err := os.ReadFile(filepath.Join(p.dir(), "state", job, "history.jsonl"))
		check(t, err)
		if strings.Count(string(history), "\n") != 1 || !strings.Contains(string(history), `"slot":"2026-11-21T02:30:00Z"`) {
			t.Errorf("history: %s", history)
		}

		made := 1
		for i := range runs {
			runs[i] = begin(t, p.command("run", "--now", "--job", job))
		}
		for i, r := range runs {
			switch o := r.wait(t); {
			case o.code == 0:
				made++
			case o.code != 4 || !strings.Contains(o.stderr, "already going on"):
				t.Errorf("run %d by hand: exit status %d: %s", i, o.code, o.stderr)
			}
		}
		if got := archives(t, dest); len(got) != min(made, 14) {
			t.Errorf("%d runs succeeded, and there are archives %q", made, got)
		}
		p.exits(t, 0, "verify", dest)
		tally("runs of one job at once", 2*n+1)
	}
}

// TestUninstallDuringRun takes a job off the schedule while its run is going on: the
// run ends as any other, and does not bring the job back.
func TestUninstallDuringRun(t *testing.T) {
	inside(t)
	need(t, "crontab", "at", "atd", "atq", "faketime")
	standIn(t, "cron") // not parallel: others look at root's crontab
	newClock(time.Now(), 1).daemon(t, "/run/atd.pid", "atd", "-f", "-b", "1")
	for _, scheduler := range []string{"cron", "at", "service"} {
		dir := newDir(t)
		p := newProgram(t)
		source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
		for i := range 3 {
			noiseIn(t, filepath.Join(source, fmt.Sprint("big", i)), 8<<20)
		}
		var in installed
		p.json(t, &in, "install", "--scheduler", scheduler, "--time", "2:30", source, dest)
		run := begin(t, p.command("run", "--now", "--job", in.Jobs[0].ID))
		waitFor(t, time.Minute, "the archive begins", func() bool { return len(partials(t, dest)) > 0 })
		p.run(t, "uninstall", in.Jobs[0].ID)
		if o := run.wait(t); o.code != 0 && o.code != 3 {
			t.Errorf("%s: the run that was going on: exit status %d: %s", scheduler, o.code, o.stderr)
		}
		if got := archives(t, dest); len(got) != 1 {
			t.Errorf("%s: archives %q, want the one", scheduler, got)
		}
		p.exits(t, 0, "verify", dest)
		left, err := os.ReadDir(filepath.Join(p.dir(), "jobs"))
		if err != nil || anyINI(left) || strings.Contains(crontab(t), "run --job") || len(waiting(t)) != 0 {
			t.Errorf("%s: the job is back: %v, %v, %q, %q", scheduler, left, err, crontab(t), waiting(t))
		}
	}
}

// TestCrontabRaces installs, repairs and takes away jobs from many processes, while
// somebody edits the same crontab by hand, without a lock, for there is none. Lines of
// others stay as they are, and repair puts back what the other lost.
func TestCrontabRaces(t *testing.T) {
	inside(t)
	need(t, "crontab", "sh", "sed")
	standIn(t, "cron") // not parallel: others look at root's crontab
	setCrontab(t, foreign+"\n")
	t.Cleanup(func() { tool(t, "crontab", "-r") })
	p := newProgram(t)
	dir := newDir(t)
	const workers = 5
	rounds := 4
	if torture {
		rounds = 60
	}
	stop := make(chan struct{})
	var editor, all sync.WaitGroup
	edits := 0
	editor.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(15 * time.Millisecond):
			}
			edits++
			// What it has read is old when it writes, at times: so are its mistakes.
			script := fmt.Sprintf("{ crontab -l | sed '/^# by hand/d'; echo '# by hand %d'; } | crontab -", edits)
			if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
				t.Errorf("edit by hand: %v: %s", err, out)
			}
		}
	})
	for w := range workers {
		source, dest := mkdir(t, dir, fmt.Sprint("notes", w)), mkdir(t, dir, fmt.Sprint("archives", w))
		write(t, filepath.Join(source, "a.txt"), "a")
		all.Go(func() {
			for i := range rounds {
				args := []string{"install", "--scheduler", "cron", "--time", "2:30", source, dest}
				switch i % 4 {
				case 1:
					args = []string{"install", "--scheduler", "cron", "--time", "3:30", source, dest}
				case 2:
					args = []string{"repair"}
				case 3:
					args = []string{"uninstall", source, dest}
				}
				if out, err := p.command(args...).CombinedOutput(); err != nil && !raced(string(out)) {
					t.Errorf("%q: %v: %s", args, err, out)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	editor.Wait()
	if edits == 0 {
		t.Error("nobody edited by hand")
	}
	for w := range workers {
		p.run(t, "install", "--scheduler", "cron", "--time", "2:30", filepath.Join(dir, fmt.Sprint("notes", w)), filepath.Join(dir, fmt.Sprint("archives", w)))
	}
	// What the other put back of jobs that were gone by then.
	p.exits(t, 0, "repair")
	p.exits(t, 0, "uninstall", "--orphans")
	text := crontab(t)
	if !strings.HasPrefix(text, foreign+"\n") || strings.Count(text, "# by hand") != 1 {
		t.Errorf("lines of others were changed:\n%s", text)
	}
	own := ownLines(t, p)
	if len(own) != 2*workers {
		t.Errorf("%d lines for %d jobs, want two for each: %q", len(own), workers, own)
	}
	p.exits(t, 0, "statusof")
	p.run(t, "uninstall", "--all")
	if got := ownLines(t, p); len(got) != 0 {
		t.Errorf("after all are uninstalled: %q", got)
	}
	tally("edits of one crontab at once", edits+workers*rounds)
}

// raced says whether a command tells that others were faster: the table has changed
// under its hands, or its line is gone once more, or the job is gone, or never came.
func raced(said string) bool {
	said = strings.Join(strings.Fields(said), " ") // lines are broken to fit a screen
	for _, words := range []string{"crontab", "going on", "no job backs up", "does not exist", "is missing from cron"} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}
