package tinybackup

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// A SignalError is why a context was cancelled: the process was told to end.
type SignalError struct{ Signal syscall.Signal }

func (e *SignalError) Error() string { return "ended by signal: " + e.Signal.String() }

// WithSignals is a context that the first SIGINT, SIGTERM or SIGHUP cancels, with
// a *SignalError as its cause. From then on signals do again what they do by
// themselves: the second one kills. SIGHUP does not count if it is ignored, as
// nohup(1) has it.
func WithSignals(parent context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	catch(signals)
	go func() {
		s := <-signals
		signal.Stop(signals)
		cancel(&SignalError{Signal: s.(syscall.Signal)})
	}()
	return ctx
}

// catch sends to a channel the signals that tell a process to end.
func catch(signals chan<- os.Signal) {
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
}

// goOnUnread has a write to a pipe that nobody reads any more fail, and not end the
// process: a backup is none the worse if its terminal, or the cron that started it, has
// gone. Programs that it starts are ended by that as ever.
func goOnUnread() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
