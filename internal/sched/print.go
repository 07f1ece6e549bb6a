package sched

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What is here makes the files of an engine that somebody else looks after, and touches none: neither [Systemd] nor [Cron] takes them for
// its own.

// CronFile is the lines of e for a file of /etc/cron.d, which run as user. As in a crontab there is a second one, with CatchUp, that asks
// whether something is owed.
func CronFile(e Entry, user string) (string, error) {
	if user == "" || strings.ContainsAny(user, " \t") || hasControl(user) {
		return "", &BackendError{Op: "cron", Err: fmt.Errorf("%q cannot be the user of a line", user)}
	}
	lines, err := (&Cron{}).Line(e)
	if err != nil {
		return "", err
	}
	command := " " + Command(e.Binary, e.Job)
	var b strings.Builder
	for line := range strings.SplitSeq(lines, "\n") {
		b.WriteString(strings.TrimSuffix(line, command) + " " + user + command + "\n")
	}
	return b.String(), nil
}

// Units say what unit files that an administrator puts there are to have besides the entry.
type Units struct {
	Name     string        // of both, without its suffix
	What     string        // is backed up: one line for Description=
	Retry    time.Duration // how long after a failure it is started again
	Settings []string      // lines of the [Service] section
}

// Of is the text of a service and of the timer that starts it for e. Unlike those of [Systemd] they start the job again when it failed:
// whoever keeps these files gets no timer for a single try. The service is of no type that a manager older than 244 would not restart.
func (u Units) Of(e Entry) (service, timer string, err error) {
	command, err := systemdCommand(e.Binary, e.Job)
	if err != nil {
		return "", "", err
	}
	if e.Spec == nil {
		return "", "", errors.New("systemd: no time given")
	}
	events, err := e.Spec.OnCalendar()
	if err != nil {
		return "", "", err
	}
	what := strings.ReplaceAll(u.What, "%", "%%")
	var b strings.Builder
	fmt.Fprintf(&b, "[Unit]\nDescription=%s\nDocumentation=man:tinybackup(1)\n\n[Service]\n", what)
	fmt.Fprintf(&b, "ExecStart=%s --retry\nSuccessExitStatus=3 4\nRestart=on-failure\nRestartSec=%d\n", command, int64(u.Retry/time.Second))
	b.WriteString("RestartPreventExitStatus=2\nUnsetEnvironment=TINYBACKUP_DIR XDG_CONFIG_HOME XDG_STATE_HOME\nNice=19\n")
	for _, line := range u.Settings {
		b.WriteString(line + "\n")
	}
	service = b.String()

	b.Reset()
	fmt.Fprintf(&b, "[Unit]\nDescription=Times of: %s\nDocumentation=man:tinybackup(1)\n\n[Timer]\n", what)
	for _, event := range events {
		b.WriteString("OnCalendar=" + event + "\n")
	}
	fmt.Fprintf(&b, "Persistent=true\nAccuracySec=1s\nUnit=%s.service\n\n[Install]\nWantedBy=timers.target\n", u.Name)
	return service, b.String(), nil
}

// UnitWord is a path, or a dash and a path, as one word of a setting that takes several.
func UnitWord(path string) string { return systemdQuote(path) }
