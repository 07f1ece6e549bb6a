package tinybackup

import (
	"os"
	"testing"
)

// times is how often a test does something: few times, or, with
// TINYBACKUP_TORTURE=1, many (see "make torture").
func times(few, many int) int {
	if os.Getenv("TINYBACKUP_TORTURE") != "" {
		return many
	}
	return few
}

// inMemory has the test's directories be in memory, if there is such a place:
// syncing a disk thousands of times takes minutes.
func inMemory(t *testing.T) {
	t.Helper()
	const dir = "/dev/shm"
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		t.Setenv("TMPDIR", dir)
	}
}
