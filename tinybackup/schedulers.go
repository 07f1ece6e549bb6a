package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"tinybackup/internal/sched"
)

// newSchedulers are the ways to have a job started, the one that --scheduler auto
// prefers first.
func newSchedulers(env Env) []sched.Scheduler {
	lock, other := crontabLock(os.Geteuid(), homeOf(os.Geteuid()))
	if env.crontabLock != "" {
		lock = env.crontabLock
	}
	all := []sched.Scheduler{
		&sched.Cron{
			LockPath:   lock,
			LockElse:   []string{other, filepath.Join(env.Dirs.State, "crontab.lock")},
			BackupPath: filepath.Join(env.Dirs.State, "crontab.backup"),
		},
		&sched.At{LockPath: filepath.Join(env.Dirs.State, "at.lock"), Now: env.Now},
	}
	switch runtime.GOOS {
	case "linux":
		all = append(all, newSystemd(os.Geteuid(), homeOf(os.Geteuid())))
	case "darwin":
		all = append(all, newLaunchd(os.Geteuid(), homeOf(os.Geteuid())))
	}
	return append(all, serviceScheduler{env: env})
}

// newSystemd is the systemd of the machine for root, and that of the user for others.
// Like a crontab, the units of a user are there once, however many TINYBACKUP_DIRs
// there are.
func newSystemd(euid int, home string) *sched.Systemd {
	if euid == 0 {
		return &sched.Systemd{
			UnitDir:  "/etc/systemd/system",
			StampDir: "/var/lib/systemd/timers",
			LockPath: filepath.Join(rootDirs.State, "systemd.lock"),
		}
	}
	base := func(variable, otherwise string) string {
		if dir := os.Getenv(variable); filepath.IsAbs(dir) {
			return dir
		}
		return filepath.Join(home, otherwise)
	}
	return &sched.Systemd{
		UnitDir:  filepath.Join(base("XDG_CONFIG_HOME", ".config"), "systemd/user"),
		StampDir: filepath.Join(base("XDG_DATA_HOME", ".local/share"), "systemd/timers"),
		User:     nameOf(euid),
		LockPath: filepath.Join(userDirs("", "", home).State, "systemd.lock"),
	}
}

// newLaunchd is likewise the launchd of the machine or of the user.
func newLaunchd(euid int, home string) *sched.Launchd {
	if euid == 0 {
		return &sched.Launchd{Dir: "/Library/LaunchDaemons", Domain: "system", LockPath: filepath.Join(rootDirs.State, "launchd.lock")}
	}
	return &sched.Launchd{
		Dir:      filepath.Join(home, "Library", "LaunchAgents"),
		Domain:   fmt.Sprintf("gui/%d", euid),
		LockPath: filepath.Join(userDirs("", "", home).State, "launchd.lock"),
	}
}

// crontabLock is what is locked while the crontab of a user is edited. There is one
// crontab, however many TINYBACKUP_DIRs there are: so it does not depend on the
// environment. Where the file cannot be made, it is the home directory itself.
func crontabLock(euid int, home string) (file, otherwise string) {
	state := userDirs("", "", home).State
	if euid == 0 {
		state = rootDirs.State
	}
	return filepath.Join(state, "crontab.lock"), home
}

// allSchedulers are those of env, or those of the machine.
func (e Env) allSchedulers() []sched.Scheduler {
	if e.schedulers != nil {
		return e.schedulers
	}
	return newSchedulers(e)
}

// scheduler is the one called name.
func (e Env) scheduler(name string) (sched.Scheduler, error) {
	if name == scheduledElsewhere {
		return externalScheduler{}, nil
	}
	var names []string
	for _, s := range e.allSchedulers() {
		if s.Name() == name {
			return s, nil
		}
		names = append(names, s.Name())
	}
	names = append(names, scheduledElsewhere)
	return nil, &UsageError{Msg: fmt.Sprintf("unknown scheduler %q", name), Hint: "there are auto, " + strings.Join(names, ", ")}
}

// ref is what the scheduler's line calls the job: its id, or the path of its file
// if a scheduler's run would look for the id elsewhere.
func (j Job) ref(dirs Dirs) string {
	if dirs.Plain && filepath.Dir(j.Path) == dirs.Jobs {
		return j.ID
	}
	return j.Path
}

// entry is the job as its scheduler keeps it, to be run at next.
func (j Job) entry(dirs Dirs, binary string, spec *sched.Spec, next time.Time) sched.Entry {
	return sched.Entry{Job: j.ref(dirs), Binary: binary, Spec: spec, Next: next, CatchUp: j.Options.CatchUp != "none"}
}

// binary is the program that a scheduler's line starts.
func (e Env) binary() (string, error) {
	path := e.Binary
	if path == "" {
		exe, err := os.Executable()
		if err != nil {
			return "", err
		}
		if path, err = filepath.EvalSymlinks(exe); err != nil {
			return "", err
		}
	}
	// go run and go test build into such a directory, and remove it afterwards.
	for _, part := range strings.Split(filepath.Dir(path), "/") {
		if strings.HasPrefix(part, "go-build") {
			return "", &HintError{
				Err:  fmt.Errorf("the program %q is one of go run, and will be gone", path),
				Hint: "build it first: make, then bin/tinybackup",
			}
		}
	}
	return path, nil
}

// A choice is a scheduler for a job, and why it was taken.
type choice struct {
	scheduler sched.Scheduler
	why       string // why none before it would do; empty if none was before it
}

// chooseScheduler finds the scheduler for an entry: the one called name, or for
// "auto" the first that can express its times and works here and now.
func chooseScheduler(ctx context.Context, env Env, name string, e sched.Entry) (choice, error) {
	if name != "auto" {
		s, err := env.scheduler(name)
		if err != nil {
			return choice{}, err
		}
		if err := canExpress(env, s, e); err != nil {
			return choice{}, &UsageError{
				Msg:  fmt.Sprintf("time %q: %s", e.Spec.Text, withName(name, err)),
				Hint: "use --scheduler " + otherSchedulers(ctx, env, e),
			}
		}
		if err := s.Check(ctx); err != nil {
			return choice{}, &HintError{Err: fmt.Errorf("scheduler %s does not work here: %w", name, err), Hint: hintOf(err)}
		}
		return choice{scheduler: s}, nil
	}
	var why []string
	for _, s := range env.allSchedulers() {
		err := canExpress(env, s, e)
		if err == nil {
			err = s.Check(ctx)
		}
		if err == nil {
			return choice{scheduler: s, why: strings.Join(why, "; ")}, nil
		}
		if ctx.Err() != nil {
			return choice{}, err
		}
		why = append(why, withName(s.Name(), err))
	}
	return choice{}, errors.New("no scheduler works here: " + strings.Join(why, "; "))
}

// withName is what a scheduler says is in the way, beginning with its name. An
// error about a time is without the time, which need not be repeated.
func withName(name string, err error) string {
	text := err.Error()
	var timeErr *sched.Error
	if errors.As(err, &timeErr) {
		text = timeErr.Msg
	}
	if strings.HasPrefix(text, name) {
		return text
	}
	return name + ": " + text
}

// canExpress says why a scheduler cannot start an entry at its times.
func canExpress(env Env, s sched.Scheduler, e sched.Entry) error {
	if err := s.Express(e.Spec); err != nil {
		return err
	}
	if _, err := s.Line(e); err != nil {
		return err
	}
	if s.Name() != "cron" && s.Name() != "launchd" {
		return nil
	}
	// These go by the clock of the machine, whatever TZ says here.
	zone, machine := e.Spec.Anchor.Location(), env.cronZone()
	if !sameZone(zone, machine, e.Spec.Anchor) {
		return fmt.Errorf("it goes by %s here, and TZ says %s", machine, zone)
	}
	return nil
}

// cronZone is the zone that cron goes by.
func (e Env) cronZone() *time.Location {
	if e.machineZone != nil {
		return e.machineZone
	}
	return machineZone()
}

// otherSchedulers names those that can start an entry here, as in "a, b or c". The
// service always can, once it is started.
func otherSchedulers(ctx context.Context, env Env, e sched.Entry) string {
	var names []string
	for _, s := range env.allSchedulers() {
		if canExpress(env, s, e) == nil && s.Check(ctx) == nil && s.Name() != "service" {
			names = append(names, s.Name())
		}
	}
	text := strings.Join(names, ", ")
	if text != "" {
		text += " or "
	}
	return text + "service"
}
