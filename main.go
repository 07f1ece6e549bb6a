// Tinybackup backs up a file, a directory or a block device into ordinary
// archives, and schedules itself. See tinybackup(1).
package main

import (
	"context"
	"os"
	_ "time/tzdata" // a container may have no time zones of its own, and a job is in one

	"tinybackup/tinybackup"
)

func main() {
	ctx := tinybackup.WithSignals(context.Background())
	os.Exit(tinybackup.Main(ctx, tinybackup.NewEnv(), os.Args[1:]))
}
