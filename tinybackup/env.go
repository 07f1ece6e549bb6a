package tinybackup

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"tinybackup/internal/courtesy"
	"tinybackup/internal/notify"
	"tinybackup/internal/sched"
	"tinybackup/internal/source/snapshot"
	"tinybackup/internal/store"
)

// An Env is what a command gets from outside: where things are, what time it is,
// and who listens. It is made once, by NewEnv, and passed down; tests put their
// own things into it.
type Env struct {
	// Dirs are where jobs, their state and their logs are.
	Dirs Dirs
	// Now is the clock. Nothing in this package asks another one.
	Now func() time.Time
	// Stdout gets what was asked for, Stderr all that is said besides. Stdin has the
	// answers when something is asked; nil: nobody answers.
	Stdout, Stderr io.Writer
	Stdin          io.Reader
	// Log gets one line per fact. A warning of it is seen on the screen as well,
	// so that nothing needs to be said twice.
	Log *slog.Logger
	// Progress is told how far a run is, several times a second; nil: nobody asks.
	// It is called from one goroutine at a time.
	Progress func(Progress)
	// LogLevel is the least level that goes into the log file of a job.
	LogLevel slog.Level

	// Zone is the time zone of new jobs; nil: the one of this process.
	Zone *time.Location
	// Binary is the program that schedulers start; empty: the one that runs now. A
	// program that embeds this package has to say where tinybackup is.
	Binary string

	// Exit ends the process at once, with a status. It is called only if a run hangs
	// that was given up, and then what tells of it hangs as well. Nil: never.
	Exit func(status int)

	// Passphrase gets the passphrase of a file with an identity from a person; nil:
	// there is nobody to ask.
	Passphrase func(ctx context.Context, file string) ([]byte, error)

	screen      *screen             // Stderr, if a progress line may stand on it
	terminal    bool                // Stderr is a terminal
	quiet       bool                // print only what was asked for
	getenv      func(string) string // for options and editors; nil: nothing is set
	logPath     string              // of the log that Log goes to; may be empty
	schedulers  []sched.Scheduler   // nil: those of the machine
	machineZone *time.Location      // that cron goes by; nil: what /etc/localtime says
	stateDir    string              // of the job that is run; may be empty
	crontabLock string              // of all edits of the crontab; empty: the user's

	notify notify.Client // who sends messages and pings

	// What a job's run is made of; nil: Run, and a timer. A simulation has its own.
	backup func(ctx context.Context, env Env, o Options, job string) (Report, error)
	sleep  func(ctx context.Context, d time.Duration) error

	copied map[string]string // of a job: the newest archive that each copy was left with
	asked  bool              // of a job: a person wants it to run, and knows what is there

	nextSlot   time.Time    // of a job: when its next run is due, for which copies are left to that; zero: never
	noteStored func(Report) // of a job: what is told of an archive that is stored before it is copied; nil: nobody asks
	unfinished string       // of a job: an archive that is stored, and of which only the copies are to be made

	// battery says whether the machine runs on one; nil: what the system says.
	battery func() bool

	// findSnapshot plans a snapshot; nil: snapshot.Find.
	findSnapshot func(ctx context.Context, path string, o snapshot.Options) (*snapshot.Plan, error)

	// host is what this machine is called; empty: what the system says.
	host string

	// promise is when the job that runs will be heard of again; nil: no job runs.
	promise *promise

	// openRemote opens a destination on another machine; nil: what its kind has.
	openRemote func(ctx context.Context, dest string, access Access) (store.Driver, error)

	// preflight starts a command line as a scheduler would; nil: startLike.
	preflight func(ctx context.Context, around sched.Surroundings, line string) error
}

// A Progress is how far a run is.
type Progress struct {
	Phase   string // what is done now: "reading", "verifying", "restoring"
	Done    int64  // bytes done
	Total   int64  // bytes to do, -1 if that is not known
	Entries int64  // files and directories done
}

// NewEnv is the environment of this process: its clock, its standard streams,
// the directories of its user. Its log goes nowhere.
func NewEnv() Env {
	// A job of at finds the zone in its environment that it was queued in, which
	// is none of the user's.
	if os.Getenv("TZ") == sched.AtZone {
		os.Unsetenv("TZ")
	}
	return Env{
		Dirs:   DirsOf(os.Getenv, os.Geteuid(), homeOf(os.Geteuid())),
		Now:    newClock(),
		Stdout: os.Stdout,
		Stderr: os.Stderr,
		Stdin:  os.Stdin,
		Log:    slog.New(slog.DiscardHandler),
		getenv: os.Getenv,
	}
}

// onBattery says whether the machine runs on a battery.
func (e Env) onBattery() bool {
	if e.battery != nil {
		return e.battery()
	}
	return courtesy.OnBattery()
}

// hostName is what this machine is called.
func (e Env) hostName() string {
	if e.host != "" {
		return e.host
	}
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return host
}

// zone is the time zone of new jobs.
func (e Env) zone() *time.Location {
	if e.Zone != nil {
		return e.Zone
	}
	return localZone()
}

// logFile is the log that is written while a run goes on, which must not be part
// of what it backs up; or "".
func (e Env) logFile() string { return e.logPath }

// pause waits. An error is why it was ended before.
func (e Env) pause(ctx context.Context, d time.Duration) error {
	if e.sleep != nil {
		return e.sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
