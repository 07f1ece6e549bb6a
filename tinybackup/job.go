package tinybackup

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tinybackup/internal/sched"
)

// A Job is a backup with a schedule, as its file has it.
type Job struct {
	ID   string // eight hex digits, the name of its file
	Path string // of its file

	Time      string    // the schedule as it was typed
	Once      bool      // only its first slot counts
	Scheduler string    // who starts it: "at", "cron", "systemd", "launchd", "service" or "external"
	Installed time.Time // slots are counted from here, in this zone

	StateDir string // where its history and its locks are
	LogFile  string

	Options Options

	shared    string   // the path of the file of shared options; empty: there is none
	inherited []string // keys of Options that it gave
	own       []string // keys that it would have given, had the job's file not
}

// Spec is the job's schedule.
func (j Job) Spec() (*sched.Spec, error) {
	spec, err := newSpec(j.Time, j.Once, j.Installed)
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", j.ID, err)
	}
	return spec, nil
}

// History is what became of the job's runs.
func (j Job) History() History { return History{dir: j.StateDir} }

// Series is what the job's archives are called, and where: two jobs must not
// agree in it.
func (j Job) Series() (dest, name string) { return j.Options.Dest, j.Options.Name }

// jobDefaults are the places of a job that its file does not name.
func jobDefaults(dirs Dirs, id, name string) (state, log string) {
	return filepath.Join(dirs.State, id), filepath.Join(dirs.Log, name+".log")
}

// LoadJob reads a job, given its id or the absolute path of its file.
func LoadJob(dirs Dirs, ref string) (Job, error) {
	path := ref
	if !filepath.IsAbs(ref) {
		if !isJobID(ref) {
			return Job{}, &UsageError{
				Msg:  fmt.Sprintf("%q is not the id of a job", ref),
				Hint: "an id is eight digits and letters a to f; tinybackup statusof shows them",
			}
		}
		path = filepath.Join(dirs.Jobs, ref+".ini")
	}
	job, err := readJob(dirs, path)
	if errors.Is(err, fs.ErrNotExist) {
		return Job{}, &UsageError{Msg: fmt.Sprintf("job %q does not exist", ref), Hint: "tinybackup statusof shows the jobs there are"}
	}
	return job, err
}

// A BrokenJob is a job whose file cannot be used.
type BrokenJob struct {
	ID   string
	Path string
	Err  error
}

// Jobs reads all jobs, sorted by name and then id. A file that cannot be used
// does not hide the others: it comes in broken.
func Jobs(dirs Dirs) (jobs []Job, broken []BrokenJob, err error) {
	files, err := os.ReadDir(dirs.Jobs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var found []BrokenJob // until it has been read
	for _, file := range files {
		if id, isINI := strings.CutSuffix(file.Name(), ".ini"); isINI && isJobID(id) {
			found = append(found, BrokenJob{ID: id, Path: filepath.Join(dirs.Jobs, file.Name())})
		}
	}
	read := make([]Job, len(found))
	parallel(len(found), func(i int) { read[i], found[i].Err = readJob(dirs, found[i].Path) })
	for i, b := range found {
		switch {
		case errors.Is(b.Err, fs.ErrNotExist): // uninstalled meanwhile
		case b.Err != nil:
			broken = append(broken, b)
		default:
			jobs = append(jobs, read[i])
		}
	}
	slices.SortStableFunc(jobs, func(a, b Job) int {
		if c := strings.Compare(a.Options.Name, b.Options.Name); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return jobs, broken, nil
}

// isJobID says whether s is eight hex digits as newJobID makes them.
func isJobID(s string) bool {
	if len(s) != 8 {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// newJobID makes an id that no job in dirs has.
func newJobID(dirs Dirs) (string, error) {
	for {
		var b [4]byte
		rand.Read(b[:]) // never fails
		id := hex.EncodeToString(b[:])
		_, err := os.Lstat(filepath.Join(dirs.Jobs, id+".ini"))
		if errors.Is(err, fs.ErrNotExist) {
			return id, nil
		}
		if err != nil {
			return "", err
		}
	}
}

// hintOf is the hint that an error carries, or "".
func hintOf(err error) string {
	var (
		usage *UsageError
		hint  *HintError
		busy  *BusyError
		other interface{ Hint() string } // the errors of sched and store
	)
	switch {
	case errors.As(err, &usage):
		return usage.Hint
	case errors.As(err, &hint):
		return hint.Hint
	case errors.As(err, &busy):
		return busy.Hint
	case errors.As(err, &other):
		return other.Hint()
	}
	return ""
}
