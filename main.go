// Tinybackup backs up a file, a directory or a block device into ordinary
// archives, and schedules itself. See tinybackup(1).
package main

import (
	"context"
	"os"
	"runtime/debug"

	"tinybackup/tinybackup"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// Backups run beside what the machine is for: a little more work, and a third
		// less memory.
		debug.SetGCPercent(50)
	}
	tinybackup.UseZone()
	ctx := tinybackup.WithSignals(context.Background())
	env := tinybackup.NewEnv()
	env.Exit = os.Exit
	os.Exit(tinybackup.Main(ctx, env, os.Args[1:]))
}
