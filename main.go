// Tinybackup backs up a file, a directory or a block device into ordinary
// archives, and schedules itself. See tinybackup(1).
package main

import (
	"context"
	"os"
	"runtime/debug"
	_ "time/tzdata" // a container may have no time zones of its own, and a job is in one

	"tinybackup/tinybackup"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// Backups run beside what the machine is for: a little more work, and a third
		// less memory.
		debug.SetGCPercent(50)
	}
	ctx := tinybackup.WithSignals(context.Background())
	env := tinybackup.NewEnv()
	env.Exit = os.Exit
	os.Exit(tinybackup.Main(ctx, env, os.Args[1:]))
}
