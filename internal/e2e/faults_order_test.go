//go:build linux && (amd64 || arm64)

package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tinybackup/internal/e2e/faults"
)

// TestOrderOfWrites holds the calls of runs against the rule that makes them survive a
// power cut on any file system, and not only on those of today, which write more than
// they were asked to: nothing gets its name before its bytes are on the disk, and
// nothing follows a name before that is there, too. Without any one of its fsyncs, a
// run breaks the rule.
func TestOrderOfWrites(t *testing.T) {
	inside(t)
	t.Parallel()
	for _, c := range runLabs {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := c.make(t)
			calls := l.run(asItIs).Calls
			if broken := unordered(calls); broken != "" {
				t.Error(broken)
			}
			n := 0
			for i, c := range calls {
				if c.Name != "fsync" {
					continue
				}
				n++
				tally("fsyncs left out", 1)
				if unordered(slices.Delete(slices.Clone(calls), i, i+1)) == "" {
					t.Errorf("without %s: nothing is broken", l.shortName(c))
				}
			}
			if n < 6 {
				t.Errorf("got %d fsyncs, want more", n)
			}
		})
	}
}

// unordered is where calls break the rule, or "".
func unordered(calls []faults.Call) string {
	dirty := make(map[string]bool)   // files with bytes that are not on the disk
	named := make(map[string]string) // directories with a name that is not: the name
	for _, c := range calls {
		if c.Failed || !c.Changes {
			continue
		}
		switch strings.TrimRight(c.Name, "2") {
		case "write", "pwrite64", "ftruncate", "copy_file_range", "ioctl":
			if !passing(c.Path) {
				dirty[c.Path] = true
			}
		case "fsync":
			delete(dirty, c.Path)
			delete(named, c.Path)
		case "openat":
			if c.Creates && !passing(c.Path) && !temporary(c.Path) {
				named[filepath.Dir(c.Path)] = c.Path
			}
		case "mkdirat", "unlinkat", "renameat", "linkat":
			if passing(c.Path) || c.Name == "unlinkat" && temporary(c.Path) {
				continue
			}
			if dirty[c.Path] {
				return fmt.Sprintf("call %d, %s %s: its bytes are not on the disk", c.N, c.Name, c.Path)
			}
			for _, name := range named {
				return fmt.Sprintf("call %d, %s %s: %s may not be on the disk", c.N, c.Name, c.Path, name)
			}
			if c.To == "" {
				named[filepath.Dir(c.Path)] = c.Path
				continue
			}
			named[filepath.Dir(c.To)] = c.To
			if strings.HasSuffix(c.Path, ".partial") { // an archive has one name; what else comes back is swept
				named[filepath.Dir(c.Path)] = c.Path
			}
		}
	}
	for path := range dirty {
		return path + ": its bytes are not on the disk in the end"
	}
	for _, name := range named {
		return name + " may not be on the disk in the end"
	}
	return ""
}

// passing is what need not outlive a power cut: it is for those who look now.
func passing(path string) bool {
	name := filepath.Base(path)
	return strings.HasSuffix(name, ".lock") || strings.HasSuffix(name, ".log") || strings.HasPrefix(name, "progress.json")
}

// temporary is the name that something has while it is written.
func temporary(path string) bool {
	name := filepath.Base(path)
	return strings.HasSuffix(name, ".partial") || strings.HasSuffix(name, ".temp") || strings.HasPrefix(name, ".new-")
}
