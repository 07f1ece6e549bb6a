package sched

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Launchd keeps entries as property lists, one for each job, of the launchd of macOS.
// Only files that have our mark are ever written or removed.
type Launchd struct {
	Dir      string // of the property lists: /Library/LaunchDaemons, or a user's ~/Library/LaunchAgents. Made if need be
	Domain   string // "system", or "gui/UID" of a user
	LockPath string // changes hold this file's lock; it must be the same for all processes of the user. Made if need be, and never removed
	Runner   Runner // how launchctl is run; the zero value runs it
}

var _ Scheduler = (*Launchd)(nil)

const (
	launchdHint = "use --scheduler service"
	// bootstrapTries is how often launchd is told to load what it has been told to drop: it does that in its own time, and refuses meanwhile.
	bootstrapTries = 10
	bootstrapPause = 100 * time.Millisecond
)

var plistName = regexp.MustCompile(`^tinybackup\.([0-9a-f]{8})\.plist$`)

// labelOf is the name of a job in launchd.
func labelOf(id string) string { return "tinybackup." + id }

// Name is "launchd".
func (l *Launchd) Name() string { return "launchd" }

// Check tells whether launchd has the domain: that of a user is there only while the user is logged in.
func (l *Launchd) Check(ctx context.Context) error {
	_, err := l.launchctl(ctx, "print", l.Domain)
	return err
}

// Express is nil if calendar intervals can say when.
func (l *Launchd) Express(s *Spec) error {
	_, err := intervals(s, "", false)
	return err
}

// Line is the property list under its path.
func (l *Launchd) Line(e Entry) (string, error) {
	id, err := idOf(e.Job)
	if err != nil {
		return "", err
	}
	text, err := plistText(e, id)
	if err != nil {
		return "", err
	}
	return l.shown(id, text), nil
}

func (l *Launchd) shown(id, text string) string { return "# " + l.path(id) + "\n" + text }

func (l *Launchd) path(id string) string { return filepath.Join(l.Dir, labelOf(id)+".plist") }

func (l *Launchd) target(id string) string { return l.Domain + "/" + labelOf(id) }

// Add writes the property list of e and has launchd load it in the place of the one it had. While launchd exchanges them there is
// none for a moment, as it has no way to replace one.
func (l *Launchd) Add(ctx context.Context, e Entry) error {
	id, err := idOf(e.Job)
	if err != nil {
		return err
	}
	text, err := plistText(e, id)
	if err != nil {
		return err
	}
	unlock, err := lockFile(ctx, l.LockPath)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := os.ReadFile(l.path(id))
	if err == nil {
		if !strings.Contains(string(old), plistMark) {
			return &BackendError{Op: "launchd", Err: fmt.Errorf("%q is there and was not written by tinybackup", l.path(id)), hint: "rename it, or use --scheduler service"}
		}
		if _, job, ok := parsePlist(string(old)); ok && job != e.Job {
			return &BackendError{Op: "launchd", Err: fmt.Errorf("%q is of the job %q", l.path(id), job), hint: "install the job anew: it gets another id"}
		}
	}
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return err
	}
	// launchd refuses a list that others may write to; all may read it.
	if err := writeFile(l.path(id), text, 0o644); err != nil {
		return err
	}
	if l.loaded(ctx, id) {
		if _, err := l.launchctl(ctx, "bootout", l.target(id)); err != nil {
			return err
		}
	}
	for try := 1; ; try++ {
		_, err := l.launchctl(ctx, "bootstrap", l.Domain, l.path(id))
		if err == nil || try == bootstrapTries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(bootstrapPause):
		}
	}
}

// Remove has launchd drop the job and takes its property list away.
func (l *Launchd) Remove(ctx context.Context, job string) (removed int, err error) {
	id, err := idOf(job)
	if err != nil {
		return 0, err
	}
	unlock, err := lockFile(ctx, l.LockPath)
	if err != nil {
		return 0, err
	}
	defer unlock()
	text, err := os.ReadFile(l.path(id))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if _, owner, ok := parsePlist(string(text)); !ok || owner != job {
		return 0, nil
	}
	if l.loaded(ctx, id) {
		if _, err := l.launchctl(ctx, "bootout", l.target(id)); err != nil {
			return 0, err
		}
	}
	if err := os.Remove(l.path(id)); err != nil {
		return 0, err
	}
	return 1, nil
}

// List is our property lists, in the order of their names. Spec is nil; Text tells whether they are as Add would write them.
func (l *Launchd) List(ctx context.Context) ([]Entry, error) {
	files, err := os.ReadDir(l.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, file := range files {
		match := plistName.FindStringSubmatch(file.Name())
		if match == nil {
			continue
		}
		id := match[1]
		text, err := os.ReadFile(l.path(id))
		if err != nil {
			return nil, err
		}
		binary, job, ok := parsePlist(string(text))
		if !ok {
			continue
		}
		if of, err := idOf(job); err != nil || of != id {
			continue
		}
		e := Entry{Job: job, Binary: binary, Where: "agent " + labelOf(id), Text: l.shown(id, string(text))}
		if !l.loaded(ctx, id) {
			e.Fault = fmt.Errorf("%s is not loaded", labelOf(id))
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// loaded tells whether launchd has the job.
func (l *Launchd) loaded(ctx context.Context, id string) bool {
	_, err := l.launchctl(ctx, "print", l.target(id))
	return err == nil
}

// launchctl runs it. It has to succeed.
func (l *Launchd) launchctl(ctx context.Context, args ...string) (Output, error) {
	p := Program{Name: "launchctl", Args: args, Env: environment()}
	out, err := l.Runner.run(ctx, p)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return out, &BackendError{Op: "launchd", Err: errors.New("launchctl is not installed"), hint: launchdHint}
	case err != nil:
		return out, err
	case out.Code != 0:
		return out, &BackendError{Op: "launchd", Err: failure(p, out), hint: launchdHint}
	}
	return out, nil
}
