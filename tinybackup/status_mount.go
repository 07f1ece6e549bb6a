package tinybackup

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"tinybackup/internal/source"
)

// mountOr is what to type when a disk is not mounted: its mount, if fstab(5) has
// it and it is not there; else what else may be done.
func mountOr(path, other string) string {
	text, err := os.ReadFile("/etc/fstab")
	if err == nil {
		if point := unmounted(string(text), path, isMounted); point != "" {
			return asRoot("mount " + shellQuote(point))
		}
	}
	return "mount its disk; " + other
}

// unmounted is the place in a table like fstab(5) that path is at or below, if
// nothing is mounted there; or "".
func unmounted(fstab, path string, mounted func(string) bool) string {
	best := ""
	for line := range strings.Lines(fstab) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		point := source.PlainMount(fields[1])
		if len(point) < 2 || point[0] != '/' || len(point) < len(best) {
			continue
		}
		if path == point || strings.HasPrefix(path, point+"/") {
			best = point
		}
	}
	if best == "" || mounted(best) {
		return ""
	}
	return best
}

// isMountPoint says whether a file system is mounted at dir.
func isMountPoint(dir string) bool {
	var here, above syscall.Stat_t
	if syscall.Stat(dir, &here) != nil || syscall.Stat(filepath.Dir(dir), &above) != nil {
		return false
	}
	return here.Dev != above.Dev
}
