package tinybackup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// DefaultHookTimeout is how long a hook may take if HookTimeout does not say.
const DefaultHookTimeout = Duration(time.Hour)

// notNow is the exit status of a --before hook that asks for another time: the
// EX_TEMPFAIL of sysexits(3).
const notNow = 75

// maxHookError is how much of an error the after hook is told: no program is started
// with a variable of 128 KiB.
const maxHookError = 4 << 10

// hookVariables begin the variables that tell a hook what it is run for.
const hookVariables = "TINYBACKUP_"

// whenAgain is what follows when the before hook says: not now.
func (r *run) whenAgain() string {
	if r.job == "" {
		return "try again later: exit status 75 of --before asks for that"
	}
	return "it is tried again later; exit status 75 of --before asks for that"
}

// beforeHook runs --before, and then looks for the source, which the hook may have
// mounted or written. An error means that there is to be no backup.
func (r *run) beforeHook(ctx context.Context) error {
	if r.Before == "" {
		return nil
	}
	said, err := r.hook(ctx, "before", r.Before)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return checkSource(r.Source)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit) && exit.ExitCode() == notNow:
		return &BusyError{NotNow: true, Msg: fmt.Sprintf("%s: the before hook says: not now (%v%s)", r.Name, err, said.last()), Hint: r.whenAgain()}
	case errors.Is(err, errHookTimeout):
		return &HintError{Err: fmt.Errorf("before hook: %w%s", err, said.last()), Hint: "give it more time with --hook-timeout TIME, or see what it waits for"}
	}
	return &HintError{
		Err:  fmt.Errorf("before hook: %w%s", err, said.last()),
		Hint: "without it nothing is backed up: /bin/sh -c runs it, in " + shellQuote(hookDir()) + ", without a terminal",
	}
}

// afterHook runs --after, if that is still owed, and tells it how the run went, by its error or its report.
// That it fails is a warning.
func (r *run) afterHook(ctx context.Context, err error) {
	if !r.pulse.owed.CompareAndSwap(true, false) || r.After == "" {
		return
	}
	var busy *BusyError
	result := ResultOK
	r.warn.into(&r.report)
	switch {
	case errors.As(err, &busy):
		result = ResultSkipped
	case err != nil:
		result = ResultFailed
	case r.report.WarningCount > 0:
		result, err = ResultWarnings, errWarnings
	}
	vars := []string{
		"RESULT=" + result, "EXIT=" + strconv.Itoa(exitStatus(ctx, err)),
		"WARNINGS=" + strconv.Itoa(r.report.WarningCount),
	}
	if err != nil && !errors.Is(err, errWarnings) {
		text := oneLine(err.Error())
		vars = append(vars, "ERROR="+strings.ToValidUTF8(text[:min(len(text), maxHookError)], ""))
	}
	if r.report.Archive != "" {
		vars = append(vars, "ARCHIVE="+joinDest(r.Dest, r.report.Archive), "SIZE="+strconv.FormatInt(r.report.Written, 10))
	}
	if r.report.Encrypted {
		vars = append(vars, "ENCRYPTED=yes")
	}
	// A run that was told to end tidies up all the same.
	said, err := r.hook(context.WithoutCancel(ctx), "after", r.After, vars...)
	if err != nil {
		r.warn.addf("after hook: %v%s", err, said.last())
	}
}

// errHookTimeout is why a hook was ended that took too long.
var errHookTimeout = errors.New("it was ended")

// hook runs one of the hooks, and logs what it says.
func (r *run) hook(ctx context.Context, name, command string, vars ...string) (*output, error) {
	limit := r.hookLimit()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: it took longer than %s", errHookTimeout, Duration(limit)))
	defer cancel()
	vars = append(vars, "HOOK="+name, "SOURCE="+r.Source, "DEST="+r.Dest, "NAME="+r.Name, "JOB="+r.job)
	r.pulse.begin("running the " + name + " hook")
	defer r.pulse.hold()() // its limit is --hook-timeout
	said := &output{told: r.teller("running the "+name+" hook", -1)}
	said.told(0)
	r.Log.Info(name + " hook begins")
	err := runShell(ctx, command, hookEnv(os.Environ(), vars), said)
	lines, cut := said.lines()
	if cut > 0 {
		r.Log.Info("the first of what it printed is left out", "hook", name, "bytes", cut)
	}
	for _, line := range lines {
		r.Log.Info(line, "hook", name)
	}
	if err != nil {
		r.Log.Info(name + " hook failed: " + err.Error())
	} else {
		r.Log.Info(name + " hook is done")
	}
	return said, err
}

// hookLimit is how long a hook may take.
func (o Options) hookLimit() time.Duration {
	return time.Duration(cmp.Or(o.HookTimeout, DefaultHookTimeout))
}

// hookDir is the directory that hooks begin in: the user's home, as with cron.
func hookDir() string {
	home := homeOf(os.Geteuid())
	if info, err := os.Stat(home); err != nil || !info.IsDir() {
		return "/"
	}
	return home
}

// hookPath are the directories that a hook finds programs in, beside those of PATH:
// cron knows two of them.
var hookPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// hookEnv is the environment of a hook: ours without variables that may be secret,
// or that a tinybackup which the hook starts would take for its options.
func hookEnv(ours, vars []string) []string {
	path, home := "", "HOME="+hookDir()
	var env []string
	for _, kv := range ours {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case name == "PATH":
			path = value
		case name == "HOME":
			home = kv
		case name == "TINYBACKUP_DIR" || !strings.HasPrefix(name, hookVariables):
			env = append(env, kv)
		}
	}
	dirs := filepath.SplitList(path)
	for _, dir := range hookPath {
		if !strings.Contains(":"+path+":", ":"+dir+":") {
			dirs = append(dirs, dir)
		}
	}
	env = append(env, home, "PATH="+strings.Join(dirs, ":"))
	for _, kv := range vars {
		env = append(env, hookVariables+kv)
	}
	return env
}
