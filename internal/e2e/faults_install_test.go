//go:build linux && (amd64 || arm64)

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tinybackup/internal/e2e/faults"
)

// ownSpools gives the calling test, and what it starts, spools and a /run of its own:
// a mount namespace that goes with the test's thread.
func ownSpools(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	check(t, unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS))
	check(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""))
	for _, dir := range []string{"/run", "/var/spool/cron"} {
		check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"))
	}
	tool(t, "sh", "-ec", `
		install -d -m 1770 -o daemon -g daemon /var/spool/cron/atjobs /var/spool/cron/atspool
		install -m 600 -o daemon -g daemon /dev/null /var/spool/cron/atjobs/.SEQ
		install -d -m 1730 -o root -g crontab /var/spool/cron/crontabs`)
	// Stand-ins for the daemons: nothing is to be started here. At sends atd a signal.
	for _, name := range []string{"cron", "atd"} {
		path := filepath.Join(newDir(t), name)
		tool(t, "cp", "/bin/sleep", path)
		daemon := begin(t, exec.Command("sh", "-c", `trap "" HUP; exec "$0" 1d`, path))
		write(t, filepath.Join("/run", name+".pid"), fmt.Sprintln(daemon.cmd.Process.Pid))
		waitFor(t, hangs, "the stand-in of "+name, func() bool {
			got, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", daemon.cmd.Process.Pid))
			return err == nil && string(got) == name+"\n"
		})
	}
}

// installLabs are what is broken of a job's way into a scheduler, and out of it.
var installLabs = []struct {
	name, scheduler string
	installed       bool // before
	args            func(source, dest string) []string
}{
	{"install on cron", "cron", false, nil},
	{"install on at", "at", false, nil},
	{"install again on cron", "cron", true, nil},
	{"install again on at", "at", true, nil},
	{"uninstall on cron", "cron", true, func(source, dest string) []string { return []string{"uninstall", source, dest} }},
	{"uninstall on at", "at", true, func(source, dest string) []string { return []string{"uninstall", source, dest} }},
}

// An installLab is a lab whose command has to do with a scheduler.
type installLab struct {
	*lab
	install []string
}

func newInstallLab(t *testing.T, n int) *installLab {
	t.Helper()
	c := installLabs[n]
	ownSpools(t)
	setCrontab(t, foreign+"\n")
	l := newLab(t)
	l.spool = "/var/spool/cron"
	install := []string{"install", "--scheduler", c.scheduler, "--time", "4:30", l.source, l.dest}
	l.args = install
	if c.installed {
		l.p.run(t, install...)
		l.args = []string{"install", "--scheduler", c.scheduler, "--time", "5:30", l.source, l.dest}
	}
	if c.args != nil {
		l.args = c.args(l.source, l.dest)
	}
	l.save()
	return &installLab{l, install}
}

// entries are how many job files there are, and how many entries schedulers have.
// Lines of others are all there.
func (l *installLab) entries() (files, entries int, err error) {
	l.t.Helper()
	ini, err := filepath.Glob(filepath.Join(l.p.dir(), "jobs", "[0-9a-f]*.ini"))
	check(l.t, err)
	var others strings.Builder
	for line := range strings.Lines(crontab(l.t)) {
		switch {
		case !strings.Contains(line, l.p.dir()):
			others.WriteString(line)
		case !strings.Contains(line, ","): // the line that asks has four minutes
			entries++
		}
	}
	if got := others.String(); got != foreign+"\n" {
		err = fmt.Errorf("other lines of the crontab: %q", got)
	}
	for _, job := range waiting(l.t) {
		number, _, _ := strings.Cut(job, "\t")
		text, _ := exec.Command("at", "-c", number).Output()
		if strings.Contains(string(text), l.p.dir()) { // else at was killed before it wrote the job
			entries++
		}
	}
	return len(ini), entries, err
}

// mends is what is wrong after repair, after the command once more, and when all jobs
// are gone.
func (l *installLab) mends() error {
	l.t.Helper()
	var errs []error
	step := func(want int, code int, args ...string) {
		o := l.p.try(l.t, args...)
		files, entries, err := l.entries()
		if want < 0 {
			want = files
		}
		if o.code > code || err != nil || files != want || entries != want {
			errs = append(errs, fmt.Errorf("%s: exit %d, %d jobs, %d entries, %v, want as many: %s%s", args[0], o.code, files, entries, err, o.stdout, o.stderr))
		}
	}
	step(-1, 0, "repair")
	step(1, 0, l.install...)
	if left := l.left(); len(left) > 0 {
		errs = append(errs, fmt.Errorf("left behind: %q", left))
	}
	step(0, 0, "uninstall", "--all")
	return errors.Join(errs...)
}

// afterInstall is what is wrong after a broken command, before anything mends it.
func (l *installLab) afterInstall(o faults.Outcome) error {
	l.t.Helper()
	files, entries, err := l.entries()
	switch {
	case err != nil:
	case files > 1 || entries > 2 || entries > files && !strings.Contains(strings.Join(l.args, " "), " at "):
		err = fmt.Errorf("%d jobs, %d entries", files, entries)
	case o.Killed:
	case o.Code == 0:
		want := 1
		if l.args[0] == "uninstall" {
			want = 0
		}
		if files != want || entries != want {
			err = fmt.Errorf("exit 0, %d jobs, %d entries", files, entries)
		}
	case !strings.Contains("\n"+o.Stderr, "\ntinybackup: error: "):
		err = fmt.Errorf("exit %d: %s", o.Code, o.Stderr)
	case files != entries && (files < entries || l.args[0] != "uninstall"): // that says that the job stays
		err = fmt.Errorf("exit %d, %d jobs, %d entries: %s", o.Code, files, entries, o.Stderr)
	}
	return err
}

// TestInstallBroken kills installs and uninstalls before and after every call that
// changes something, also within crontab(1) and at(1), and makes every other call
// of them fail: of their own, at(1) and crontab(1) do not notice all.
func TestInstallBroken(t *testing.T) {
	inside(t)
	need(t, "cron", "crontab", "at", "atd")
	t.Parallel()
	for n, c := range installLabs {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newInstallLab(t, n)
			o := l.run(asItIs)
			l.wrong("nothing broken", l.afterInstall(o), l.mends())
			tally("calls enumerated", len(o.Calls))
			for _, k := range some(t, changes(o.Calls), 2) {
				for _, a := range []faults.Action{faults.KillBefore, faults.KillAfter} {
					o := l.run(atChange(k, a))
					tally("kills", 1)
					l.wrong(l.where(o, len(o.Calls), a), l.afterInstall(o), l.mends())
				}
			}
			own := slices.DeleteFunc(errorsIn(o.Calls), func(f fault) bool { return strings.HasPrefix(o.Calls[f.call-1].Path, l.spool) })
			l.eachError(some(t, own, 4), func(o faults.Outcome, f fault, a faults.Action) {
				l.wrong(l.where(o, f.call, a), l.afterInstall(o), l.mends())
			})
		})
	}
}
