package sched

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// List is our units, in the order of their names. Spec is nil; Text tells whether the files are as Add would write them.
// It asks systemd only if there are any.
func (s *Systemd) List(ctx context.Context) ([]Entry, error) {
	files, err := os.ReadDir(s.UnitDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []Entry
	var names []jobUnits
	var ask []string
	for _, file := range files {
		match := serviceName.FindStringSubmatch(file.Name())
		if match == nil {
			continue
		}
		service, err := os.ReadFile(s.path(file.Name()))
		if err != nil {
			return nil, err
		}
		binary, job, ok := parseService(string(service))
		if !ok {
			continue
		}
		if id, err := idOf(job); err != nil || id != match[1] {
			continue
		}
		n := namesOf(match[1])
		timer, err := os.ReadFile(s.path(n.timer))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		names = append(names, n)
		ask = append(ask, n.timer, n.service)
		entries = append(entries, Entry{Job: job, Binary: binary, Where: "unit " + n.timer, Text: s.shown(n, string(service), string(timer))})
	}
	if len(entries) == 0 {
		return nil, nil
	}
	if !s.booted() {
		return entries, nil // Check says so
	}
	states, err := s.states(ctx, ask)
	if err != nil {
		return nil, err
	}
	for i, n := range names {
		e := &entries[i]
		e.Next = states[n.timer].next
		timer := states[n.timer]
		if timer.next.IsZero() && states[n.service].running() {
			continue // so it is until the service ends
		}
		e.Fault = timer.fault(n.timer)
	}
	return entries, nil
}

// unitState is what systemd says of a unit (org.freedesktop.systemd1(5)).
type unitState struct {
	load, active, file, stale string
	sub                       string    // of a timer: "running" while its service is at work
	next                      time.Time // a timer's next elapse; zero: none, or none yet while it is running
}

// running tells whether a oneshot service is at work.
func (u unitState) running() bool { return u.active == "activating" || u.active == "deactivating" }

// fault is why a timer will not do its work, or nil.
func (u unitState) fault(timer string) error {
	switch {
	case u.load != "loaded":
		return fmt.Errorf("%s cannot be loaded (%s)", timer, u.load)
	case u.stale == "yes":
		return fmt.Errorf("%s was changed, and systemd has not read it since: systemctl daemon-reload", timer)
	case u.active != "active":
		return fmt.Errorf("%s is not started (%s)", timer, u.active)
	case u.file != "enabled":
		return fmt.Errorf("%s will not be started at the next boot (%s)", timer, u.file)
	case u.next.IsZero() && u.sub != "running":
		return fmt.Errorf("%s has no time to come", timer)
	}
	return nil
}

// states asks systemd for the state of units.
func (s *Systemd) states(ctx context.Context, units []string) (map[string]unitState, error) {
	out, err := s.systemctl(ctx, append([]string{"show", "--property=Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,NextElapseUSecRealtime"}, units...)...)
	if err != nil {
		return nil, err
	}
	states := make(map[string]unitState)
	for block := range strings.SplitSeq(out.Stdout, "\n\n") {
		var id string
		var u unitState
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			switch key {
			case "Id":
				id = value
			case "LoadState":
				u.load = value
			case "ActiveState":
				u.active = value
			case "SubState":
				u.sub = value
			case "UnitFileState":
				u.file = value
			case "NeedDaemonReload":
				u.stale = value
			case "NextElapseUSecRealtime":
				// As TZ=UTC and LC_ALL=C have it; empty or "n/a" if there is none.
				u.next, _ = time.Parse("Mon 2006-01-02 15:04:05 MST", value)
			}
		}
		states[id] = u
	}
	for _, name := range units {
		if _, ok := states[name]; !ok {
			return nil, &BackendError{Op: "systemd", Err: fmt.Errorf("it does not say how %s is%s", name, firstLine(out.Stderr)), hint: "see what `" + s.command("status", name) + "` says"}
		}
	}
	return states, nil
}

// unreachable is what systemctl says when the manager of a user does not run, or its session is not ours.
var unreachable = regexp.MustCompile(`(?i)failed to connect|no medium found|connection refused|no such file or directory`)

// session is how the manager of a user is reached. A job of cron, or a shell after su, does not know, but the place is fixed (pam_systemd(8)).
func (s *Systemd) session() []string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = fmt.Sprintf("/run/user/%d", os.Geteuid())
	}
	env := []string{"XDG_RUNTIME_DIR=" + dir}
	if bus := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); bus != "" {
		env = append(env, "DBUS_SESSION_BUS_ADDRESS="+bus)
	}
	return env
}

// command is how a person types it.
func (s *Systemd) command(args ...string) string {
	if s.User != "" {
		args = append([]string{"--user"}, args...)
	}
	return "systemctl " + strings.Join(args, " ")
}

// systemctl runs it for the manager of the units. It has to succeed.
func (s *Systemd) systemctl(ctx context.Context, args ...string) (Output, error) {
	env := environment("TZ=UTC")
	if s.User != "" {
		args = append([]string{"--user"}, args...)
		env = append(env, s.session()...)
	}
	p := Program{Name: "systemctl", Args: append([]string{"--no-pager", "--no-ask-password"}, args...), Env: env}
	out, err := s.Runner.run(ctx, p)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return out, &BackendError{Op: "systemd", Err: errors.New("systemctl is not installed"), hint: systemdHint}
	case err != nil:
		return out, err
	case out.Code == 0:
		return out, nil
	}
	e := &BackendError{Op: "systemd", Err: failure(p, out), hint: systemdHint}
	if s.User != "" && unreachable.MatchString(out.Stderr) {
		e.hint = "log in on the machine, or have root run `loginctl enable-linger " + s.User + "`; or use --scheduler service"
	}
	return out, e
}
