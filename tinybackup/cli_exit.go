package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
)

// errWarnings says that a command did its work, and that the warnings it gave
// count in the exit status.
var errWarnings = errors.New("done, with warnings")

// The exit statuses: few, and stable, as scripts go by them.
const (
	exitOK       = 0
	exitFailed   = 1 // nothing new is stored
	exitUsage    = 2
	exitWarnings = 3 // stored, with warnings
	exitBusy     = 4 // another run holds the lock
	exitProblem  = 5 // the answer is that something is overdue, broken or missing
	exitSignal   = 128
)

// A toldError is one that was told of before: its exit status counts, its text
// is in the log.
type toldError struct{ error }

// Unwrap is the error itself.
func (e *toldError) Unwrap() error { return e.error }

// exitStatus is the exit status that goes with a command's error.
func exitStatus(ctx context.Context, err error) int {
	var (
		signal  *SignalError
		usage   *UsageError
		busy    *BusyError
		problem *ProblemError
	)
	switch {
	case err == nil:
		return exitOK
	// Whatever went wrong after a signal went wrong because of it.
	case errors.As(err, &signal), errors.As(context.Cause(ctx), &signal):
		return exitSignal + int(signal.Signal)
	case errors.Is(err, errWarnings):
		return exitWarnings
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &busy):
		return exitBusy
	case errors.As(err, &problem):
		return exitProblem
	}
	return exitFailed
}

// finish prints a command's error, and is the only one who does, and returns the
// exit status.
func finish(ctx context.Context, w io.Writer, err error) int {
	status := exitStatus(ctx, err)
	if err == nil || errors.Is(err, errWarnings) || errors.As(err, new(*toldError)) {
		return status
	}
	text := err.Error()
	if status > exitSignal {
		var signal *SignalError
		if errors.As(context.Cause(ctx), &signal) {
			text = signal.Error()
		}
	}
	if text != "" { // a *ProblemError may have said it all
		// Joined errors come in lines, and each is to be found by its beginning.
		for _, line := range lines(text) {
			fmt.Fprintln(w, "tinybackup: error: "+oneLine(line))
		}
	}
	if hint := hintOf(err); hint != "" {
		fmt.Fprintln(w, "tinybackup: hint: "+oneLine(hint))
	}
	return status
}

// versionText is the version that the build recorded.
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "tinybackup (unknown version)"
	}
	version := info.Main.Version
	if version == "" {
		version = "(devel)"
	}
	return "tinybackup " + version + " " + info.GoVersion
}
