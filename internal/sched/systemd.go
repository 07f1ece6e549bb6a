package sched

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Systemd keeps entries as unit files, a service and a timer for each job, beside a second timer after a run that failed.
// Only files that begin with our mark are ever written or removed.
type Systemd struct {
	UnitDir  string // of the unit files: /etc/systemd/system, or a user's ~/.config/systemd/user. Made if need be
	StampDir string // where the manager notes when a timer elapsed: /var/lib/systemd/timers, or ~/.local/share/systemd/timers
	User     string // whose manager has the units; "" is that of the system
	LockPath string // changes hold this file's lock; it must be the same for all processes of the user. Made if need be, and never removed
	Runner   Runner // how systemctl is run; the zero value runs it
	Root     string // below which /run/systemd and /var/lib/systemd are looked for, as in a test; "" is the machine itself
}

var (
	_ Scheduler = (*Systemd)(nil)
	_ Retrier   = (*Systemd)(nil)
	_ Noter     = (*Systemd)(nil)
)

const systemdHint = "use --scheduler service"

// Name is "systemd".
func (s *Systemd) Name() string { return "systemd" }

// Check tells whether the machine runs systemd, and whether the manager of the units answers.
func (s *Systemd) Check(ctx context.Context) error {
	if !s.booted() {
		return &BackendError{Op: "systemd", Err: errors.New("this machine was not booted with it"), hint: "use --scheduler cron, at or service"}
	}
	out, err := s.systemctl(ctx, "show", "--property=Version")
	if err != nil {
		return err
	}
	// In a chroot it ignores all commands, and calls that a success.
	if !strings.HasPrefix(out.Stdout, "Version=") {
		return &BackendError{Op: "systemd", Err: errors.New("it does not answer" + firstLine(out.Stderr)), hint: systemdHint}
	}
	return nil
}

// firstLine is ": " and the first line of a text, or nothing.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if line == "" {
		return ""
	}
	return ": " + line
}

// booted tells whether process 1 is systemd (sd_booted(3)).
func (s *Systemd) booted() bool {
	info, err := os.Lstat(filepath.Join("/", s.Root, "run/systemd/system"))
	return err == nil && info.IsDir() && runtime.GOOS == "linux"
}

// Express is nil if calendar events can say when.
func (s *Systemd) Express(spec *Spec) error {
	_, err := spec.OnCalendar()
	return err
}

// Note says what a user has to know before leaving a job to this scheduler; it is empty for root.
func (s *Systemd) Note() string {
	if s.User == "" {
		return ""
	}
	if _, err := os.Stat(filepath.Join("/", s.Root, "var/lib/systemd/linger", s.User)); err == nil {
		return ""
	}
	return "systemd runs it only while you are logged in, unless you type: loginctl enable-linger"
}

// Line is the unit files, each under its path as systemctl cat shows them.
func (s *Systemd) Line(e Entry) (string, error) {
	id, service, timer, err := units(e)
	if err != nil {
		return "", err
	}
	return s.shown(namesOf(id), service, timer), nil
}

func (s *Systemd) shown(names jobUnits, service, timer string) string {
	return fmt.Sprintf("# %s\n%s\n# %s\n%s", s.path(names.service), service, s.path(names.timer), timer)
}

func (s *Systemd) path(unit string) string { return filepath.Join(s.UnitDir, unit) }

// Add writes the units of e, has systemd read them, and enables and starts the timer. A timer that it replaces goes on to its last
// moment, and what was due in the next one is made up for.
func (s *Systemd) Add(ctx context.Context, e Entry) error {
	id, service, timer, err := units(e)
	if err != nil {
		return err
	}
	names := namesOf(id)
	return s.put(ctx, e, []unitFile{{names.service, service}, {names.timer, timer}})
}

// Retry sets a timer of its own that starts the job's service at e.Next. It outlives a reboot, and makes up for a time that passed meanwhile.
func (s *Systemd) Retry(ctx context.Context, e Entry) error {
	id, err := idOf(e.Job)
	if err != nil {
		return err
	}
	names := namesOf(id)
	if _, err := os.Stat(s.path(names.service)); err != nil {
		return fmt.Errorf("systemd: job %s has no service: %w", id, err)
	}
	return s.put(ctx, e, []unitFile{{names.retry, timerText(id, "Next try of", names.service, []string{calendarTime(ceilMinute(e.Next))})}})
}

// A unitFile is a unit's name and text.
type unitFile struct{ name, text string }

// put writes units of e, the last of which is a timer, and starts that.
func (s *Systemd) put(ctx context.Context, e Entry, files []unitFile) error {
	unlock, err := lockFile(ctx, s.LockPath)
	if err != nil {
		return err
	}
	defer unlock()
	for _, f := range files {
		if err := s.refuseForeign(f.name, e.Job); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.UnitDir, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		// All may read a unit: it holds no secret, and systemctl shows it anyway.
		if err := writeFile(s.path(f.name), f.text, 0o644); err != nil {
			return err
		}
	}
	timer := files[len(files)-1].name
	for _, args := range [][]string{{"daemon-reload"}, {"enable", timer}, {"restart", timer}} {
		if _, err := s.systemctl(ctx, args...); err != nil {
			return err
		}
	}
	states, err := s.states(ctx, []string{timer})
	if err != nil {
		return err
	}
	if err := states[timer].fault(timer); err != nil {
		return &BackendError{Op: "systemd", Err: err, hint: "see what `" + s.command("status", timer) + "` says"}
	}
	return nil
}

// refuseForeign is an error if a unit's file is there and not of this job.
func (s *Systemd) refuseForeign(name, job string) error {
	text, err := os.ReadFile(s.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(text), unitMark) {
		return &BackendError{Op: "systemd", Err: fmt.Errorf("%q is there and was not written by tinybackup", s.path(name)), hint: "rename it, or use --scheduler at or service"}
	}
	if _, other, ok := parseService(string(text)); ok && other != job {
		return &BackendError{Op: "systemd", Err: fmt.Errorf("%q is of the job %q", s.path(name), other), hint: "install the job anew: it gets another id"}
	}
	return nil
}

// Remove stops and disables the timers of job and takes its files away. A run that is going on goes on.
func (s *Systemd) Remove(ctx context.Context, job string) (removed int, err error) {
	id, err := idOf(job)
	if err != nil {
		return 0, err
	}
	unlock, err := lockFile(ctx, s.LockPath)
	if err != nil {
		return 0, err
	}
	defer unlock()
	names := namesOf(id)
	if s.refuseForeign(names.service, job) != nil {
		return 0, nil // of somebody else, or of another job with this id
	}
	var timers, files []string
	for _, name := range []string{names.timer, names.retry, names.service} {
		text, err := os.ReadFile(s.path(name))
		if err != nil || !strings.HasPrefix(string(text), unitMark) {
			continue
		}
		files = append(files, name)
		if name != names.service {
			timers = append(timers, name)
		}
	}
	if len(files) == 0 {
		return 0, nil
	}
	if err := s.takeDown(ctx, timers); err != nil {
		return 0, err
	}
	for _, name := range files {
		if err := os.Remove(s.path(name)); err != nil {
			return 0, err
		}
	}
	if s.booted() {
		_, err = s.systemctl(ctx, "daemon-reload")
		// A last run that failed would be remembered, as a unit that is not found.
		_, _ = s.systemctl(ctx, "reset-failed", names.service)
	}
	return 1, err
}

// takeDown disables and stops timers, and has systemd forget when they last elapsed. Where systemd does not run, disabling is all
// there is to do, and systemctl does it by itself.
func (s *Systemd) takeDown(ctx context.Context, timers []string) error {
	if len(timers) == 0 {
		return nil
	}
	if _, err := s.systemctl(ctx, append([]string{"disable"}, timers...)...); err != nil {
		return err
	}
	if s.booted() {
		if _, err := s.systemctl(ctx, append([]string{"stop"}, timers...)...); err != nil {
			return err
		}
	}
	// systemctl clean would do it, but since version 243 only, and where there is a message bus.
	for _, timer := range timers {
		if err := os.Remove(filepath.Join(s.StampDir, "stamp-"+timer)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
