//go:build !testclock

package tinybackup

import "time"

// newClock is the clock of ordinary builds.
func newClock() func() time.Time { return time.Now }
