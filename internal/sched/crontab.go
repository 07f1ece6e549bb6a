package sched

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxCommand is the longest command, in bytes, that Debian's crontab takes; 999 is "command too long" (MAX_COMMAND in cron.h). Others take more.
const maxCommand = 998

// Cron keeps entries in the crontab of the user it runs as, through crontab(1).
//
// Every line that is not ours stays as it is, byte for byte, and in its place. No line is ever written but the job's own:
// one with variables would hold for the lines of others too.
type Cron struct {
	LockPath   string   // edits hold this file's lock; it must be the same for all processes of the user. Made if need be, and never removed
	LockElse   []string // if it cannot be made, the lock is that of the first of these files or directories that can be had
	BackupPath string   // before the first byte changes the table is kept here, 0600; each edit replaces it
	Runner     Runner   // how crontab is run; the zero value runs it

	root string // where /proc and /run are looked for; tests put a tree of their own here
}

var _ Scheduler = (*Cron)(nil)

// Name is "cron".
func (c *Cron) Name() string { return "cron" }

// Check tells whether there is a crontab that this user may use, and a cron that reads it.
func (c *Cron) Check(ctx context.Context) error {
	if _, err := c.listed(ctx); err != nil {
		return err
	}
	if cronDaemon.state(c.root) == stopped {
		return &BackendError{Op: "cron", Err: ErrNotRunning, hint: "start it, e.g. `service cron start`, or use --scheduler service"}
	}
	return nil
}

// Express is nil if five fields can say when.
func (c *Cron) Express(s *Spec) error {
	_, err := s.Cron()
	return err
}

// Line is e's line of the crontab, without a newline at its end. With CatchUp it is two lines, the second one for what the first one misses,
// if the schedule is not itself every half hour or more often. Once needs none: cron cannot express it.
func (c *Cron) Line(e Entry) (string, error) {
	if err := checkCommand(e.Binary, e.Job); err != nil {
		return "", err
	}
	command := Command(e.Binary, e.Job)
	// "%" ends the command, and what "\" does to it differs between Debian, cronie and BusyBox: so neither may be there at all.
	// Command writes a quote as '\''.
	for _, p := range []struct{ path, hint string }{
		{e.Binary, "move the binary, e.g. to /usr/local/bin/tinybackup, or use --scheduler at or service"},
		{e.Job, "use a plainer TINYBACKUP_DIR, or --scheduler at or service"},
	} {
		if i := strings.IndexAny(p.path, `%\'`); i >= 0 {
			return "", &BackendError{Op: "crontab", Err: fmt.Errorf("cron cannot pass on the %q in %q", p.path[i:i+1], p.path), hint: p.hint}
		}
	}
	if len(command) > maxCommand {
		return "", &BackendError{Op: "crontab", Err: fmt.Errorf("the command has %d bytes, and cron takes %d", len(command), maxCommand),
			hint: "use shorter paths, or --scheduler at or service"}
	}
	if e.Spec == nil {
		return "", errors.New("crontab: no time given")
	}
	when, err := e.Spec.Cron()
	if err != nil {
		return "", err
	}
	line := when + " " + command
	if e.CatchUp && wantsAsking(when) {
		line += "\n" + askLine(e.Binary, e.Job)
	}
	return line, nil
}

// Add writes e's line or lines, or replaces those of the same job where the first of them stands.
func (c *Cron) Add(ctx context.Context, e Entry) error {
	line, err := c.Line(e)
	if err != nil {
		return err
	}
	return c.edit(ctx, func(text string) string { return setLine(text, e.Job, line) })
}

// Remove takes away the lines of job, and counts them as List does. A crontab that had nothing else is removed too.
func (c *Cron) Remove(ctx context.Context, job string) (removed int, err error) {
	err = c.edit(ctx, func(text string) string {
		text, removed = dropLines(text, job)
		return text
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// List is our lines, in the order of the crontab. The second line of an entry with CatchUp is none of its own.
func (c *Cron) List(ctx context.Context) ([]Entry, error) {
	text, err := c.listed(ctx)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, l := range listLines(text) {
		e := Entry{Job: l.job, Binary: l.binary, CatchUp: l.asked, Where: "crontab line " + strconv.Itoa(l.number)}
		// The fields of cron count from nothing, and cron reads them in the machine's zone.
		if spec, err := Parse(l.when, time.Unix(0, 0)); err == nil {
			e.Spec = spec
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// noCrontab knows the ways to say that a user has none: Debian, cronie, BSD, systemd-cron, mcron ("no crontab for"), bcron, Solaris; BusyBox last.
var noCrontab = regexp.MustCompile(`(?i)\bno crontab for |\bcrontab does not exist|can't open your crontab file|can't open '[^'/]+': no such file or directory`)

var notPermitted = regexp.MustCompile(`(?i)not allowed|not permitted|not authorized|permission`)

// listed is what crontab -l prints, "" if there is no crontab. Anything but a clear answer is an error: a table that could not be read
// must never be taken for an empty one.
func (c *Cron) listed(ctx context.Context) (string, error) {
	p := Program{Name: "crontab", Args: []string{"-l"}, Env: environment()}
	out, err := c.Runner.run(ctx, p)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", &BackendError{Op: "crontab", Err: errors.New("not installed"), hint: "install cron, e.g. `apt install cron`, or use --scheduler at or service"}
	case err != nil:
		return "", err
	case out.Code == 0:
		return out.Stdout, nil
	case out.Stdout == "" && noCrontab.MatchString(out.Stderr):
		return "", nil
	case notPermitted.MatchString(out.Stderr):
		return "", &BackendError{Op: "crontab", Err: failure(p, out), denied: true, hint: "root can allow it in /etc/cron.allow and /etc/cron.deny; or use --scheduler at or service"}
	}
	return "", &BackendError{Op: "crontab", Err: failure(p, out), hint: "see what `crontab -l` says, or use --scheduler at or service"}
}
