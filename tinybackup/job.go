package tinybackup

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tinybackup/internal/sched"
)

// A Job is a backup with a schedule, as its file has it.
type Job struct {
	ID   string // eight hex digits, the name of its file
	Path string // of its file

	Time      string    // the schedule as it was typed
	Once      bool      // only its first slot counts
	Scheduler string    // who starts it: "at", "cron", "systemd", "launchd" or "service"
	Installed time.Time // slots are counted from here, in this zone

	StateDir string // where its history and its locks are
	LogFile  string

	Options Options
}

// jobHead is the [job] section of a job's file.
type jobHead struct {
	Time      string `long:"time"`
	Once      bool   `long:"once"`
	Scheduler string `long:"scheduler" choice:"at" choice:"cron" choice:"systemd" choice:"launchd" choice:"service"`
	Installed string `long:"installed"`
	State     string `long:"state"`
	Log       string `long:"log"`
}

// maxJobFile is more than any job's file has: a larger one is something else.
const maxJobFile = 1 << 20

// jobText is the comment on top of every job's file.
const jobText = `# tinybackup job %s. Edit it as you like: the next run reads it anew.
# The keys of [options] are the long options of tinybackup(1); a list repeats its key; "quotes" may have \n, \" and \xff.
`

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

// Write puts the job's file where Path says, atomically and for the owner alone.
// Only what differs from the defaults is written; where state and log are also
// when a scheduler's run would not find dirs by itself.
func (j Job) Write(dirs Dirs) error {
	head := jobHead{Time: j.Time, Once: j.Once, Scheduler: j.Scheduler, Installed: formatAnchor(j.Installed)}
	state, log := jobDefaults(dirs, j.ID, j.Options.Name)
	if !dirs.Plain || j.StateDir != state {
		head.State = j.StateDir
	}
	if !dirs.Plain || j.LogFile != log {
		head.Log = j.LogFile
	}
	o := j.Options.withoutDefaults()
	var b strings.Builder
	fmt.Fprintf(&b, jobText, j.ID)
	if err := writeINI(&b, iniSection{"job", &head}, iniSection{"options", &o}); err != nil {
		return fmt.Errorf("write %q: %w", j.Path, err)
	}
	return writeWhole(j.Path, []byte(b.String()))
}

// withoutDefaults is o with zero for what Resolve would fill in. The name stays:
// it must not follow when somebody edits the source.
func (o Options) withoutDefaults() Options {
	if keep := o.Keep; keep == DefaultKeep {
		if o.Keep = 0; !o.Policy().IsZero() {
			o.Keep = keep
		}
	}
	if o.Compress == (Compression{Codec: "zstd"}) {
		o.Compress = Compression{}
	}
	if o.CatchUp == "once" {
		o.CatchUp = ""
	}
	return o
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

// readJob reads the file of a job.
func readJob(dirs Dirs, path string) (Job, error) {
	id, isINI := strings.CutSuffix(filepath.Base(path), ".ini")
	if !isINI || !isJobID(id) {
		return Job{}, &UsageError{Msg: fmt.Sprintf("job file %q: the name is not ID.ini", path), Hint: "an id is eight digits and letters a to f"}
	}
	text, err := readPrivate(path)
	if err != nil {
		return Job{}, err
	}
	var head jobHead
	job := Job{ID: id, Path: path}
	if err := readINI(path, text, iniSection{"job", &head}, iniSection{"options", &job.Options}); err != nil {
		return Job{}, err
	}
	bad := func(key, hint string, err error) (Job, error) {
		return Job{}, &UsageError{Msg: fmt.Sprintf("job file %q: %s: %v", path, key, err), Hint: hint}
	}
	for _, need := range []struct{ key, value string }{
		{"time", head.Time}, {"scheduler", head.Scheduler}, {"installed", head.Installed},
		{"source", job.Options.Source}, {"dest", job.Options.Dest},
	} {
		if need.value == "" {
			return bad(need.key, "put it back, or uninstall the job and install it again", errors.New("missing"))
		}
	}
	if job.Installed, err = parseAnchor(head.Installed); err != nil {
		return bad("installed", "", err)
	}
	job.Time, job.Once, job.Scheduler = head.Time, head.Once, head.Scheduler
	if _, err := job.Spec(); err != nil {
		return Job{}, &UsageError{Msg: fmt.Sprintf("job file %q: %v", path, errors.Unwrap(err)), Hint: hintOf(err)}
	}
	// A job's paths are as install resolved them. Resolving them again would make
	// the current directory of a scheduler count for a path that lacks its slash.
	for _, p := range []struct{ key, path string }{
		{"source", job.Options.Source}, {"dest", job.Options.Dest}, {"state", head.State}, {"log", head.Log},
	} {
		if p.path != "" && !filepath.IsAbs(p.path) && !isURL(p.path) {
			return bad(p.key, "give the whole path, from / on", fmt.Errorf("%q is not absolute", p.path))
		}
	}
	job.Options.fillDefaults()
	if err := job.Options.checkWords(); err != nil {
		return bad("options", hintOf(err), err)
	}
	job.StateDir, job.LogFile = jobDefaults(dirs, id, job.Options.Name)
	if head.State != "" {
		job.StateDir = head.State
	}
	if head.Log != "" {
		job.LogFile = head.Log
	}
	return job, nil
}

// readPrivate reads a file that decides what is run with our rights. It refuses
// one that somebody else could have written, or could read secrets from.
func readPrivate(path string) ([]byte, error) {
	// Not blocking: a FIFO in its place must not hang a run.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("job file %q is a %s", path, kindOf(info.Mode()))
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return nil, &HintError{
			Err:  fmt.Errorf("job file %q belongs to user %d", path, st.Uid),
			Hint: "read it, then: chown " + fmt.Sprint(os.Geteuid()) + " " + shellQuote(path),
		}
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, &HintError{
			Err:  fmt.Errorf("job file %q is open to others (mode %04o)", path, perm),
			Hint: "read it, then: chmod 600 " + shellQuote(path),
		}
	}
	if info.Size() > maxJobFile {
		return nil, fmt.Errorf("job file %q: %d bytes are too many", path, info.Size())
	}
	return io.ReadAll(io.LimitReader(f, maxJobFile))
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
	slices.SortFunc(jobs, func(a, b Job) int {
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
