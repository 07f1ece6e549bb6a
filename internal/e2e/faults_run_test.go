//go:build linux && (amd64 || arm64)

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tinybackup/internal/e2e/faults"
)

// runLabs are the runs that are broken.
var runLabs = []struct {
	name string
	make func(t *testing.T) *lab
}{
	{"first run", firstRun},
	{"second run", secondRun},
	{"nothing changed", unchangedRun},
	{"job", jobRun},
	{"encrypted", encryptedRun},
}

// frames are small, so that there are some.
var runOptions = []string{"--block-size", "64KiB"}

func firstRun(t *testing.T) *lab {
	l := newLab(t)
	l.args = append([]string{"run", l.source, l.dest}, runOptions...)
	l.save()
	return l
}

// secondRun copies frames of the archive before, and rotation removes one.
func secondRun(t *testing.T) *lab {
	l := newLab(t)
	l.args = append([]string{"run", "--keep", "2", l.source, l.dest}, runOptions...)
	l.keep = 2
	for i := range 2 {
		write(t, filepath.Join(l.source, "texts", "new"), fmt.Sprintln("before", i))
		l.p.run(t, l.args...)
	}
	write(t, filepath.Join(l.source, "texts", "new"), "now\n")
	l.save()
	return l
}

// unchangedRun makes a hard link, and rotation removes another file.
func unchangedRun(t *testing.T) *lab {
	l := newLab(t)
	l.args = append([]string{"run", "--keep", "2", l.source, l.dest}, runOptions...)
	l.keep = 2
	write(t, filepath.Join(l.source, "texts", "new"), "before\n")
	l.p.run(t, l.args...)
	write(t, filepath.Join(l.source, "texts", "new"), "now\n")
	// What was changed a moment ago may have been changed once more, and is read again.
	time.Sleep(1100 * time.Millisecond)
	l.p.run(t, l.args...)
	l.save()
	return l
}

// jobRun is a second run with slots, a history and a log.
func jobRun(t *testing.T) *lab {
	l := newLab(t)
	var in installed
	l.p.json(t, &in, append([]string{"install", "--scheduler", "service", "--time", "3:00", "--keep", "2", l.source, l.dest}, runOptions...)...)
	l.args = []string{"run", "--now", "--job", in.Jobs[0].ID}
	l.keep = 2
	for i := range 2 {
		write(t, filepath.Join(l.source, "texts", "new"), fmt.Sprintln("before", i))
		l.p.run(t, l.args...)
	}
	write(t, filepath.Join(l.source, "texts", "new"), "now\n")
	l.save()
	return l
}

// encryptedRun is a run of a job that cannot read what it wrote before.
func encryptedRun(t *testing.T) *lab {
	l := newLab(t)
	key, recipient := ageKey(t)
	l.key = key
	var in installed
	l.p.json(t, &in, append([]string{"install", "--scheduler", "service", "--time", "3:00", "--keep", "2", "--encrypt", recipient, l.source, l.dest}, runOptions...)...)
	l.args = []string{"run", "--now", "--job", in.Jobs[0].ID}
	l.keep = 2
	for i := range 2 {
		write(t, filepath.Join(l.source, "texts", "new"), fmt.Sprintln("before", i))
		l.p.run(t, l.args...)
	}
	write(t, filepath.Join(l.source, "texts", "new"), "now\n")
	l.save()
	return l
}

// TestKilledAnywhere kills runs before and after every call that changes something.
func TestKilledAnywhere(t *testing.T) {
	inside(t)
	t.Parallel()
	for _, c := range runLabs {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := c.make(t)
			o := l.run(asItIs)
			l.wrong("nothing broken", l.afterRun(o), l.nextRun())
			ks := changes(o.Calls)
			if len(ks) < 20 {
				t.Errorf("got %d calls that change something, want more", len(ks))
			}
			tally("calls enumerated", len(o.Calls))
			for _, k := range some(t, ks, 9) {
				for _, a := range []faults.Action{faults.KillBefore, faults.KillAfter} {
					o := l.run(atChange(k, a))
					if o.Killed {
						tally("kills", 1)
					}
					l.wrong(l.where(o, len(o.Calls), a), l.afterRun(o), l.nextRun())
				}
			}
		})
	}
}

// TestErrorsAnywhere makes every call of a run fail, with every error it can have.
func TestErrorsAnywhere(t *testing.T) {
	inside(t)
	t.Parallel()
	for _, c := range runLabs {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := c.make(t)
			l.eachError(some(t, errorsIn(l.run(asItIs).Calls), 25), func(o faults.Outcome, f fault, a faults.Action) {
				err := l.afterRun(o)
				if (a == faults.Fail(syscall.EINTR) || a == faults.Short) && o.Code != 0 {
					err = errors.Join(err, fmt.Errorf("exit %d, want no notice of it: %s", o.Code, o.Stderr))
				}
				l.wrong(l.where(o, f.call, a), err, l.nextRun())
			})
		})
	}
}

// TestInterruptedLocks has a signal interrupt each call that takes a lock or gives it
// back: a lock that stays is one that the same run waits for.
func TestInterruptedLocks(t *testing.T) {
	inside(t)
	t.Parallel()
	l := unchangedRun(t)
	flocks := func(calls []faults.Call) (n int) {
		for _, c := range calls {
			if c.Name == "flock" {
				n++
			}
		}
		return n
	}
	all := flocks(l.run(asItIs).Calls)
	if all < 4 {
		t.Fatalf("a run made %d calls of flock, want some", all)
	}
	for n := range all {
		nth := 0
		o := l.run(func(c faults.Call) faults.Action {
			if c.Name == "flock" {
				if nth++; nth == n+1 {
					return faults.Fail(syscall.EINTR)
				}
			}
			return faults.Action{}
		})
		if o.Code != 0 || o.Stderr != "" || flocks(o.Calls) != all+1 {
			t.Errorf("flock %d of %d interrupted: exit %d, %d calls of it: %s", n+1, all, o.Code, flocks(o.Calls), o.Stderr)
		}
	}
}

// TestLargeFileNotOpened reads a file of several frames that could not be opened the
// last time, and one that cannot be opened while some of its frames are known: what
// is stored of it is all, or nothing and a warning.
func TestLargeFileNotOpened(t *testing.T) {
	inside(t)
	t.Parallel()
	l := secondRun(t)
	time.Sleep(2100 * time.Millisecond) // what is older than that is not read again
	fail := func(name string, n int) func(c faults.Call) faults.Action {
		return func(c faults.Call) faults.Action {
			if file := filepath.Base(c.Path); c.Name == name && (file == "noise" || file == "twice") {
				if n--; n <= 0 {
					return faults.Fail(syscall.EIO)
				}
			}
			return faults.Action{}
		}
	}
	for _, c := range []struct {
		name   string
		decide []func(c faults.Call) faults.Action
	}{
		{"not opened", []func(c faults.Call) faults.Action{fail("openat", 1)}},
		{"half read, then not opened", []func(c faults.Call) faults.Action{fail("pread64", 2), fail("openat", 1)}},
	} {
		l.reset()
		for _, decide := range c.decide {
			if o := l.trace(decide); o.Code != 3 {
				t.Errorf("%s: got exit %d, want 3: %s", c.name, o.Code, o.Stderr)
			}
			tool(t, "tar", "-tf", newest(t, l.dest))
		}
		l.wrong(c.name, l.nextRun())
	}
}

// afterRun is what is wrong after a run: with its words, and with what is there.
func (l *lab) afterRun(o faults.Outcome) error {
	l.t.Helper()
	made, err := l.intact(!o.Killed && o.Code == 3)
	if o.Killed {
		return err
	}
	err = errors.Join(err, l.said(o, made != ""))
	if o.Code == 0 {
		err = errors.Join(err, l.promised(), l.tidy())
	}
	return err
}

// intact is what is wrong with the archives, whatever happened: the ones from before
// are there unless a new one took their place, and that is whole. With lacking it
// may lack files.
func (l *lab) intact(lacking bool) (made string, err error) {
	l.t.Helper()
	now := l.archives()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, name := range names(now) {
		if l.begun[name] != "" {
			continue
		}
		if made != "" {
			bad("two new archives: %s, %s", made, name)
		}
		made = name
		complete, err := l.isComplete(name, now[name])
		if err != nil || !complete && !lacking {
			bad("%s is not as the source: %v", name, err)
		}
	}
	gone := 0
	for name, sum := range l.begun {
		switch {
		case now[name] == "":
			gone++
		case now[name] != sum:
			bad("%s was changed", name)
		}
	}
	// The oldest go, and only once the new one is there.
	if gone > 0 && (made == "" || gone > len(l.begun)+1-l.keep || now[names(l.begun)[len(l.begun)-1]] == "") {
		bad("%d archives are gone: there were %v, there are %v", gone, names(l.begun), names(now))
	}
	sums, err := l.sums()
	if err != nil {
		bad("%v", err)
	}
	for name, sum := range sums {
		if there := now[name]; there != "" && there != sum {
			bad("SHA256SUMS has a wrong sum of %s", name)
		}
	}
	return made, errors.Join(errs...)
}

// said is what is wrong with the words and the exit status of a run that was not
// killed.
func (l *lab) said(o faults.Outcome, stored bool) error {
	want := ""
	switch o.Code {
	case 0:
		if o.Stderr != "" || !stored {
			return fmt.Errorf("exit 0, stored %v, stderr %q", stored, o.Stderr)
		}
		return nil
	case 1:
		want = "tinybackup: error: "
	case 3:
		want = "tinybackup: warning: "
	default:
		return fmt.Errorf("exit %d: %s", o.Code, o.Stderr)
	}
	if stored != (o.Code == 3) || !strings.Contains("\n"+o.Stderr, "\n"+want) {
		return fmt.Errorf("exit %d, stored %v, stderr %q", o.Code, stored, o.Stderr)
	}
	return nil
}

// promised is what is missing after a run that says that all is well.
func (l *lab) promised() error {
	now := l.archives()
	sums, err := l.sums()
	errs := []error{err}
	if !maps.Equal(now, sums) {
		errs = append(errs, fmt.Errorf("SHA256SUMS has %v, there are %v", names(sums), names(now)))
	}
	if want := min(len(l.begun)+1, l.keep); len(now) != want {
		errs = append(errs, fmt.Errorf("%d archives, want %d", len(now), want))
	}
	for name := range now {
		if _, err := os.Lstat(filepath.Join(l.dest, ".tinybackup", name+".manifest")); err != nil {
			errs = append(errs, err)
		}
		if l.begun[name] == "" && l.isJob() {
			errs = append(errs, l.remembers(name))
		}
	}
	return errors.Join(errs...)
}

// tidy is what a run that says that all is well left behind. A progress.json that
// could not be removed does not count once its run has ended.
func (l *lab) tidy() error {
	l.t.Helper()
	left := slices.DeleteFunc(l.left(), func(path string) bool { return filepath.Base(path) == "progress.json" })
	if len(left) > 0 {
		return fmt.Errorf("left behind: %q", left)
	}
	return nil
}

func (l *lab) isJob() bool { return slices.Contains(l.args, "--job") }

// remembers is what the job has forgotten of the run that made an archive.
func (l *lab) remembers(name string) error {
	state := filepath.Join(l.p.dir(), "state", l.args[len(l.args)-1])
	text, err := os.ReadFile(filepath.Join(state, "history.jsonl"))
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	var last struct {
		Result, Archive string
		Exit            int
	}
	if err := json.Unmarshal([]byte(lines[max(0, len(lines)-2)]), &last); err != nil || last.Result != "ok" || last.Exit != 0 || last.Archive != name {
		return fmt.Errorf("the history does not have %s: %s", name, text)
	}
	text, err = os.ReadFile(filepath.Join(state, "slots.json"))
	if err != nil {
		return err
	}
	var book struct{ Archive string }
	if err := json.Unmarshal(text, &book); err != nil || book.Archive != name {
		return fmt.Errorf("slots.json does not have %s: %v", name, err)
	}
	return nil
}

// nextRun is what is wrong after another run, which nothing happens to: it must find
// all in order, and leave it so.
func (l *lab) nextRun() error {
	l.t.Helper()
	before := l.archives()
	o := l.p.try(l.t, l.args...)
	if o.code != 0 || o.stderr != "" {
		return fmt.Errorf("the next run: exit %d: %s", o.code, o.stderr)
	}
	now := l.archives()
	sums, err := l.sums()
	errs := []error{err}
	if !maps.Equal(now, sums) {
		errs = append(errs, fmt.Errorf("after the next run SHA256SUMS has %v, there are %v", names(sums), names(now)))
	}
	if left := l.left(); len(left) > 0 {
		errs = append(errs, fmt.Errorf("left behind after the next run: %q", left))
	}
	made := ""
	for _, name := range names(now) {
		if before[name] == "" {
			made = name
		}
	}
	if complete, err := l.isComplete(made, now[made]); !complete {
		errs = append(errs, fmt.Errorf("the next run's archive is not as the source: %v", err))
	}
	var list struct {
		Archives []struct{ Archive, Doubt string }
	}
	l.p.json(l.t, &list, "list", l.dest)
	for _, a := range list.Archives {
		if now[a.Archive] == "" || a.Doubt != "" {
			errs = append(errs, fmt.Errorf("listed: %+v", a))
		}
	}
	if len(list.Archives) != len(now) {
		errs = append(errs, fmt.Errorf("%d archives are listed, there are %d", len(list.Archives), len(now)))
	}
	if l.isJob() {
		errs = append(errs, l.remembers(made))
	}
	return errors.Join(errs...)
}

// everyOther has a signal interrupt each call that it can, the first time of two: what
// is repeated goes through.
func everyOther() func(c faults.Call) faults.Action {
	interrupted := map[string]bool{}
	return func(c faults.Call) faults.Action {
		eintr := faults.Fail(syscall.EINTR)
		if !slices.Contains(errorsOf(c), eintr) {
			return faults.Action{}
		}
		key := c.Name + " " + c.Path
		if interrupted[key] = !interrupted[key]; interrupted[key] {
			return eintr
		}
		return faults.Action{}
	}
}

// TestInterruptedAlways has signals interrupt every second call of runs and restores:
// nobody notices.
func TestInterruptedAlways(t *testing.T) {
	inside(t)
	t.Parallel()
	for _, c := range runLabs {
		l := c.make(t)
		o := l.run(everyOther())
		err := l.afterRun(o)
		if o.Code != 0 {
			err = errors.Join(err, fmt.Errorf("exit %d: %s", o.Code, o.Stderr))
		}
		l.wrong(c.name+": every second call interrupted", err, l.nextRun())
	}
	for _, c := range restoreLabs {
		r := c.make(t)
		o := r.run(everyOther())
		err := r.after(o)
		if o.Code != 0 {
			err = errors.Join(err, fmt.Errorf("exit %d: %s", o.Code, o.Stderr))
		}
		r.wrong(c.name+": every second call interrupted", err, r.again())
	}
}
