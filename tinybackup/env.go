package tinybackup

import (
	"io"
	"log/slog"
	"os"
	"time"
)

// An Env is what a command gets from outside: where things are, what time it is,
// and who listens. It is made once, by NewEnv, and passed down; tests put their
// own things into it.
type Env struct {
	// Dirs are where jobs, their state and their logs are.
	Dirs Dirs
	// Now is the clock. Nothing in this package asks another one.
	Now func() time.Time
	// Stdout gets what was asked for, Stderr all that is said besides.
	Stdout, Stderr io.Writer
	// Log gets one line per fact. A warning of it is seen on the screen as well,
	// so that nothing needs to be said twice.
	Log *slog.Logger
	// Progress is told how far a run is, several times a second; nil: nobody asks.
	// It is called from one goroutine at a time.
	Progress func(Progress)
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
	return Env{
		Dirs:   DirsOf(os.Getenv, os.Geteuid(), homeOf(os.Geteuid())),
		Now:    newClock(),
		Stdout: os.Stdout,
		Stderr: os.Stderr,
		Log:    slog.New(slog.DiscardHandler),
	}
}
