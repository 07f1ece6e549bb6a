//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A health is what statusof --json prints, as far as the tests of systemd ask for it.
type health struct {
	Jobs []struct {
		ID       string    `json:"id"`
		State    string    `json:"state"`
		Where    string    `json:"where"`
		Next     time.Time `json:"next"`
		Problems []struct {
			Why string `json:"why"`
		} `json:"problems"`
	} `json:"jobs"`
}

// TestSystemd lets the real systemd run jobs of root: in time, and after the power
// was off over a slot; also one whose paths have all that a unit file gives a
// meaning to, and one that fails.
func TestSystemd(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	dir := newDir(t)
	minutely, daily, missing := mkdir(t, dir, "minutely"), mkdir(t, dir, "daily"), mkdir(t, dir, "missing")
	source, vanishing := mkdir(t, dir, "notes"), mkdir(t, dir, "vanishing")
	write(t, filepath.Join(source, "a.txt"), "a")
	write(t, filepath.Join(vanishing, "a.txt"), "a")

	p := &program{path: filepath.Join(work, "bin", "tinybackup"), home: "/root", enter: m.enter()}
	oddBinary := filepath.Join(mkdir(t, dir, `o p$x ${HOME} %h %%`), "tinybackup")
	tool(t, "cp", p.path, oddBinary)
	odd := &program{path: oddBinary, home: "/root", enter: m.enter(), env: []string{"TINYBACKUP_DIR=" + filepath.Join(dir, `t b$x $$ ${HOME} %h %% 'q' "d" \n ;`)}}

	// No cron and no atd run there: auto finds systemd by itself.
	install := func(p *program, args ...string) installedJob {
		t.Helper()
		var in installed
		p.json(t, &in, append([]string{"install"}, args...)...)
		return in.Jobs[0]
	}
	if now := time.Now(); now.Second() > 40 { // all is to be in place before the first slot
		time.Sleep(time.Until(now.Truncate(time.Minute).Add(time.Minute)))
	}
	first := install(p, "--time", "* * * * *", source, minutely)
	if first.Scheduler != "systemd" || !strings.Contains(first.Line, "\nOnCalendar=*-*-* *:*:00 UTC\n") {
		t.Fatalf("install: got %+v", first)
	}
	slot := first.Next[0].Add(time.Minute)
	at := fmt.Sprintf("%d %d * * *", slot.UTC().Minute(), slot.UTC().Hour())
	oddJob := install(odd, "--scheduler", "systemd", "--time", at, source, daily)
	failing := install(p, "--scheduler", "systemd", "--time", at, "--name", "gone", vanishing, missing)
	for _, program := range []*program{p, odd} {
		var h health
		program.json(t, &h, "statusof")
		for _, j := range h.Jobs {
			if (j.State != "ok" && j.State != "due") || j.Where != "unit tinybackup-"+j.ID+".timer" {
				t.Errorf("statusof: got %+v", j)
			}
		}
	}

	printed := printedUnits(t, p, m, source, mkdir(t, dir, "printed"))
	waitFor(t, time.Until(first.Next[0])+40*time.Second, "the timer fires", func() bool { return len(archives(t, minutely)) > 0 })
	if got := timeOf(t, archives(t, minutely)[0]); got.Before(first.Next[0]) {
		t.Errorf("the archive is of %s, before its slot %s", got, first.Next[0])
	}

	printed(first.Next[0])

	// The power is off at the time of the others.
	m.off()
	check(t, os.RemoveAll(vanishing))
	time.Sleep(time.Until(slot.Add(time.Second)))
	if got := append(archives(t, daily), archives(t, missing)...); len(got) > 0 {
		t.Fatalf("archives while the machine was off: %q", got)
	}
	m.boot(t)
	p.enter, odd.enter = m.enter(), m.enter()
	waitFor(t, 40*time.Second, "the run that was missed", func() bool { return len(archives(t, daily)) > 0 })
	odd.exits(t, 0, "statusof")

	// The one that fails is tried again, by a timer of its own.
	retry := "tinybackup-" + failing.ID + "-retry.timer"
	waitFor(t, 40*time.Second, "the next try of the one that failed", func() bool {
		return m.command("systemctl", "is-active", retry).Run() == nil
	})
	shown := m.run(t, "systemctl", "show", "--property=NextElapseUSecRealtime,UnitFileState", retry)
	next, err := time.Parse("Mon 2006-01-02 15:04:05 MST", property(shown, "NextElapseUSecRealtime"))
	if err != nil || next.Before(slot) || next.After(slot.Add(30*time.Minute)) || property(shown, "UnitFileState") != "enabled" {
		t.Errorf("the next try: got %s(%v), want it soon after %s", shown, err, slot)
	}
	p.exits(t, 5, "statusof", failing.ID)

	p.exits(t, 0, "uninstall", "--all")
	odd.exits(t, 0, "uninstall", oddJob.ID)
	nothingLeft(t, m, filepath.Join(m.disk, "etc/systemd/system"), filepath.Join(m.disk, "var/lib/systemd/timers"))
	if got := m.run(t, "systemctl", "list-units", "--all", "--no-legend", "--plain", "tinybackup-*.timer"); got != "" {
		t.Errorf("timers after uninstall: %s", got)
	}
}

// property is the value of a property in what systemctl show has printed.
func property(shown, name string) string {
	for line := range strings.Lines(shown) {
		if value, found := strings.CutPrefix(line, name+"="); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// nothingLeft says that no file of ours is below directories of the machine's disk.
func nothingLeft(t *testing.T, m *machine, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		check(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if strings.Contains(filepath.Base(path), "tinybackup") {
				t.Errorf("%s is left", path)
			}
			return err
		}))
	}
}

// TestSystemdUser lets the manager of a user run a job, from install to uninstall.
func TestSystemdUser(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	const uid = "4242" // tester
	home, session := "/home/tester", "/run/user/"+uid
	m.run(t, "install", "-d", "-o", uid, "-g", uid, home, home+"/notes", home+"/archives", session)
	write(t, filepath.Join(m.disk, home, "notes", "a.txt"), "a")
	user := []string{"setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"}
	p := &program{path: filepath.Join(work, "bin", "tinybackup"), home: home, enter: append(m.enter(), user...)}

	o := p.exits(t, 1, "install", "--scheduler", "systemd", "--time", "* * * * *", home+"/notes", home+"/archives")
	if !strings.Contains(o.stderr, "loginctl enable-linger tester") {
		t.Errorf("without a manager of the user: got %s", o.stderr)
	}
	// It is started as logind would.
	m.run(t, "systemd-run", "--quiet", "--unit=user-manager", "--uid="+uid, "--property=Delegate=yes",
		"--setenv=XDG_RUNTIME_DIR="+session, "--setenv=HOME="+home, "--setenv=TINYBACKUP_DIR=/nowhere", "/lib/systemd/systemd", "--user", "--log-target=null")
	waitFor(t, 40*time.Second, "the manager of the user", func() bool {
		o = p.try(t, "install", "--dry-run", "--scheduler", "systemd", "--time", "* * * * *", home+"/notes", home+"/archives")
		return o.code == 0
	})
	o = p.exits(t, 0, "install", "--scheduler", "systemd", "--time", "* * * * *", home+"/notes", home+"/archives")
	if !strings.Contains(o.stdout, "loginctl enable-linger") {
		t.Errorf("install does not say what becomes of it without a login:\n%s", o.stdout)
	}
	p.exits(t, 0, "statusof")
	dest := filepath.Join(m.disk, home, "archives")
	waitFor(t, 100*time.Second, "the timer fires", func() bool { return len(archives(t, dest)) > 0 })
	p.exits(t, 0, "statusof")
	p.exits(t, 0, "uninstall", "--all")
	nothingLeft(t, m, filepath.Join(m.disk, home, ".config/systemd"), filepath.Join(m.disk, home, ".local/share/systemd"))
}

// printedUnits does with what install --print makes of a job that runs each minute
// what it says. What it gives says whether systemd runs it, shut in as it is: from a
// time on, when it has done so.
func printedUnits(t *testing.T, p *program, m *machine, source, dest string) (ran func(time.Time)) {
	t.Helper()
	args := []string{"--time", "* * * * *", "--name", "printed", source, dest}
	o := p.exits(t, 0, append([]string{"install", "--print", "job"}, args...)...)
	place := regexp.MustCompile(`\S+/([0-9a-f]{8})\.ini`).FindStringSubmatch(o.stderr)
	if place == nil {
		t.Fatalf("--print job does not say where it belongs: %s", o.stderr)
	}
	put := func(text, command string) {
		t.Helper()
		cmd := m.command("sh", "-ec", command)
		cmd.Stdin = strings.NewReader(text)
		if o := finish(t, cmd); o.code != 0 {
			t.Fatalf("%s: got exit %d\n%s%s", command, o.code, o.stdout, o.stderr)
		}
	}
	put(o.stdout, "install -D -m 600 /dev/stdin "+place[0])
	o = p.exits(t, 0, append([]string{"install", "--print", "systemd"}, args...)...)
	if !strings.Contains(o.stdout, "\nProtectSystem=strict\n") {
		t.Errorf("the service is not shut in:\n%s", o.stdout)
	}
	for line := range strings.Lines(o.stderr) {
		if _, split, found := strings.Cut(line, "… | "); found {
			put(o.stdout, split)
		} else if _, start, found := strings.Cut(line, "start the timer: "); found {
			put("", start)
		}
	}
	timer := "tinybackup-printed-" + place[1] + ".timer"
	return func(from time.Time) {
		t.Helper()
		waitFor(t, time.Until(from)+40*time.Second, "the printed timer fires", func() bool { return len(archives(t, dest)) > 0 })
		p.exits(t, 0, "statusof", place[1])
		waitFor(t, 40*time.Second, "the printed service ends", func() bool {
			return m.command("systemctl", "is-active", strings.TrimSuffix(timer, "timer")+"service").Run() != nil
		})
		if out := m.run(t, "systemctl", "show", "--property=Result", strings.TrimSuffix(timer, "timer")+"service"); property(out, "Result") != "success" {
			t.Errorf("the printed service: got %s", out)
		}
		m.run(t, "systemctl", "disable", "--now", timer)
		m.run(t, "sh", "-ec", "rm /etc/systemd/system/tinybackup-printed-* /var/lib/systemd/timers/stamp-tinybackup-printed-*")
		p.exits(t, 0, "uninstall", place[1])
	}
}
