// Package courtesy answers "how does a backup keep out of the way of what the machine
// is for?": by its priority for processors and disks, by how fast it goes, and by
// waiting for power.
package courtesy

import (
	"fmt"
	"strconv"
	"strings"
)

// IO is how a process stands with others that want the same disk (ionice(1)). The zero
// value leaves that as it is.
type IO struct {
	class int // as ioprio_set(2) counts them
	level int
}

// The classes of ioprio_set(2).
const (
	classBestEffort = 2
	classIdle       = 3
)

// ParseIO reads "idle", "best-effort", "best-effort:N" with N from 0 (first) to 7
// (last), or "none".
func ParseIO(text string) (IO, error) {
	switch name, level, found := strings.Cut(text, ":"); {
	case text == "" || text == "none":
		return IO{}, nil
	case text == "idle":
		return IO{class: classIdle}, nil
	case text == "best-effort":
		return IO{class: classBestEffort, level: 4}, nil // the kernel's default
	case found && name == "best-effort":
		if n, err := strconv.Atoi(level); err == nil && n >= 0 && n <= 7 && level == strconv.Itoa(n) {
			return IO{class: classBestEffort, level: n}, nil
		}
	}
	return IO{}, fmt.Errorf("%q is not idle, best-effort, best-effort:N with N from 0 to 7, or none", text)
}
