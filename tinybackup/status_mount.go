package tinybackup

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
		point := plainMount(fields[1])
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

// plainMount is a path of fstab(5) or of /proc as it is: in those, blanks and
// backslashes are written in octal (getmntent(3)).
func plainMount(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// isMountPoint says whether a file system is mounted at dir.
func isMountPoint(dir string) bool {
	var here, above syscall.Stat_t
	if syscall.Stat(dir, &here) != nil || syscall.Stat(filepath.Dir(dir), &above) != nil {
		return false
	}
	return here.Dev != above.Dev
}
