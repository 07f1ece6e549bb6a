package sched

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

// jobUnits are the names of the units of a job: the timer starts the service at the job's times, the retry timer once more after a run that failed.
type jobUnits struct{ service, timer, retry string }

func namesOf(id string) jobUnits {
	base := "tinybackup-" + id
	return jobUnits{service: base + ".service", timer: base + ".timer", retry: base + "-retry.timer"}
}

var serviceName = regexp.MustCompile(`^tinybackup-([0-9a-f]{8})\.service$`)

// idOf is the id of a job that is given by it or by the path of its file.
func idOf(job string) (string, error) {
	id := strings.TrimSuffix(filepath.Base(job), ".ini")
	if !isID(id) {
		return "", &BackendError{Op: "schedule", Err: fmt.Errorf("job file %q is not called ID.ini", job), hint: "an id is eight digits and letters a to f"}
	}
	return id, nil
}

// unitMark begins every unit file that is ours. A file of the same name without it is not touched.
const unitMark = "# Written by tinybackup: "

func unitHead(id string) string {
	return unitMark + "`tinybackup uninstall " + id + "` removes it.\n"
}

// serviceText is the service that runs the job. The run reads nothing from the environment that cron would not give it, so that
// an id means the same job everywhere; it is as nice as a job of at; and a backup with warnings, or one that found another run at
// work, is no failed unit.
func serviceText(e Entry, id string) (string, error) {
	command, err := systemdCommand(e.Binary, e.Job)
	if err != nil {
		return "", err
	}
	return unitHead(id) + `[Unit]
Description=Backup of tinybackup job ` + id + `
Documentation=man:tinybackup(1)

[Service]
Type=oneshot
ExecStart=` + command + `
SuccessExitStatus=3 4
UnsetEnvironment=TINYBACKUP_DIR XDG_CONFIG_HOME XDG_STATE_HOME
Nice=19
`, nil
}

// timerText is a timer for calendar events. Persistent makes up for a time that passed while the machine was off; without
// AccuracySec it might be up to a minute late.
func timerText(id, what, service string, events []string) string {
	var b strings.Builder
	b.WriteString(unitHead(id) + "[Unit]\nDescription=" + what + " tinybackup job " + id + "\nDocumentation=man:tinybackup(1)\n\n[Timer]\n")
	for _, event := range events {
		b.WriteString("OnCalendar=" + event + "\n")
	}
	b.WriteString("Persistent=true\nAccuracySec=1s\nUnit=" + service + "\n\n[Install]\nWantedBy=timers.target\n")
	return b.String()
}

// systemdCommand is the command as ExecStart= has it (systemd.service(5), COMMAND LINES). "%" begins a specifier everywhere, "$" a
// variable in the arguments: in the program's path it stands for itself.
func systemdCommand(binary, job string) (string, error) {
	if err := checkCommand(binary, job); err != nil {
		return "", err
	}
	for _, path := range []string{binary, job} {
		if !utf8.ValidString(path) {
			return "", &BackendError{Op: "systemd", Err: fmt.Errorf("%q is not UTF-8, and unit files have to be", path), hint: "use a plainer path, or --scheduler at or service"}
		}
	}
	// systemd takes no such program, however it is quoted (string_is_safe in config_parse_exec).
	if i := strings.IndexAny(binary, `"'\`); i >= 0 {
		return "", &BackendError{Op: "systemd", Err: fmt.Errorf("systemd starts no program with a %q in its path %q", binary[i:i+1], binary),
			hint: "move the binary, e.g. to /usr/local/bin/tinybackup, or use --scheduler at or service"}
	}
	if strings.HasPrefix(job, "/") {
		job = systemdQuote(strings.ReplaceAll(job, "$", "$$"))
	}
	return systemdQuote(binary) + " run --job " + job, nil
}

// systemdQuote makes one word of s (systemd.syntax(7), QUOTING).
func systemdQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(s) + `"`
}

// systemdUnquote reads the word that systemdQuote has made off the front of s.
func systemdUnquote(s string) (word, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, `"`)
	if !ok {
		return "", "", false
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case (s[i] == '\\' || s[i] == '%') && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// parseService finds the binary and the job in the text of a service: false if it has not the one command that systemdCommand makes.
func parseService(text string) (binary, job string, ok bool) {
	if !strings.HasPrefix(text, unitMark) {
		return "", "", false
	}
	for line := range strings.Lines(text) {
		command, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "ExecStart=")
		if !found {
			continue
		}
		binary, rest, ok := systemdUnquote(command)
		if !ok {
			return "", "", false
		}
		job, ok := strings.CutPrefix(rest, " run --job ")
		if !ok {
			return "", "", false
		}
		if strings.HasPrefix(job, `"`) {
			job, _, _ = systemdUnquote(job)
			job = strings.ReplaceAll(job, "$$", "$")
		}
		again, err := systemdCommand(binary, job)
		return binary, job, err == nil && again == command
	}
	return "", "", false
}

// units are the texts of the files of e, the service and the timer.
func units(e Entry) (id, service, timer string, err error) {
	if id, err = idOf(e.Job); err != nil {
		return "", "", "", err
	}
	if service, err = serviceText(e, id); err != nil {
		return "", "", "", err
	}
	if e.Spec == nil {
		return "", "", "", errors.New("systemd: no time given")
	}
	events, err := e.Spec.OnCalendar()
	if err != nil {
		return "", "", "", err
	}
	return id, service, timerText(id, "Times of", namesOf(id).service, events), nil
}
