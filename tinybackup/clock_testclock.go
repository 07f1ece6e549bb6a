//go:build testclock

package tinybackup

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// newClock is the clock of builds that are tested against daemons whose time is
// speeded up. faketime(1) cannot do it: a Go program asks the kernel, not libc.
// TINYBACKUP_TEST_CLOCK is "fakebase realbase_ns rate": at the real time
// realbase_ns (Unix, nanoseconds) the clock shows fakebase (RFC 3339), and it
// runs rate times as fast. It may also be the path of a file with such a line, so
// that the clock can be set while daemons start the program.
func newClock() func() time.Time {
	text := os.Getenv("TINYBACKUP_TEST_CLOCK")
	if text == "" {
		return time.Now
	}
	if strings.HasPrefix(text, "/") {
		line, err := os.ReadFile(text)
		if err != nil {
			panic("tinybackup: TINYBACKUP_TEST_CLOCK: " + err.Error())
		}
		text = string(line)
	}
	var fake string
	var real int64
	var rate float64
	if _, err := fmt.Sscan(text, &fake, &real, &rate); err != nil {
		panic("tinybackup: TINYBACKUP_TEST_CLOCK: " + err.Error())
	}
	base, err := time.Parse(time.RFC3339, fake)
	if err != nil {
		panic("tinybackup: TINYBACKUP_TEST_CLOCK: " + err.Error())
	}
	return func() time.Time {
		passed := time.Duration(float64(time.Now().UnixNano()-real) * rate)
		return base.Add(passed).In(time.Local)
	}
}
