// Tinybackup backs up a file, a directory or a block device into ordinary
// archives, and schedules itself. See tinybackup(1).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // a container has no zones of its own, and a job is in one

	"tinybackup/tinybackup"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup(1) has it
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		s := <-signals
		// The first one ends the work in good order; without us, the next one kills.
		signal.Stop(signals)
		cancel(&tinybackup.SignalError{Signal: s.(syscall.Signal)})
	}()
	os.Exit(tinybackup.Main(ctx, tinybackup.NewEnv(), os.Args[1:]))
}
