package tinybackup

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// oldLog is how lumberjack calls a log that has grown too large: after the time.
var oldLog = regexp.MustCompile(`-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.log$`)

// Leftovers are the directories of histories and the logs of jobs that are gone.
// They are never removed: an archive may be all that is left of a source, and they
// tell of it. With a job whose file cannot be used, nobody knows whose the logs are,
// and none are named.
func Leftovers(dirs Dirs) ([]string, error) {
	jobs, broken, err := Jobs(dirs)
	if err != nil {
		return nil, err
	}
	live := make(map[string]bool)
	for _, j := range jobs {
		live[j.StateDir], live[j.LogFile] = true, true
	}
	for _, b := range broken {
		live[filepath.Join(dirs.State, b.ID)] = true
	}
	var left []string
	states, err := os.ReadDir(dirs.State)
	if ignoreMissing(err) != nil {
		return nil, err
	}
	for _, e := range states {
		if path := filepath.Join(dirs.State, e.Name()); e.IsDir() && isJobID(e.Name()) && !live[path] {
			left = append(left, path)
		}
	}
	if len(broken) > 0 {
		return left, nil
	}
	logs, err := os.ReadDir(dirs.Log)
	if ignoreMissing(err) != nil {
		return nil, err
	}
	for _, e := range logs {
		path := filepath.Join(dirs.Log, e.Name())
		if e.Type().IsRegular() && strings.HasSuffix(path, ".log") && !live[path] && !live[oldLog.ReplaceAllString(path, ".log")] {
			left = append(left, path)
		}
	}
	return left, nil
}
