package tinybackup

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	Scheduler string    // who starts it: "at", "cron", "systemd", "launchd" or "service"
	Installed time.Time // slots are counted from here, in this zone

	StateDir string // where its history and its locks are
	LogFile  string

	Options Options

	shared    string   // the path of the file of shared options; empty: there is none
	inherited []string // keys of Options that it gave
	own       []string // keys that it would have given, had the job's file not
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
// when a scheduler's run would not find dirs by itself. What the file of shared
// options gave stays there. Of a file that is there already, only the lines of what
// has changed are written anew.
func (j Job) Write(dirs Dirs) error {
	old, err := os.ReadFile(j.Path)
	if err := ignoreMissing(err); err != nil {
		return err
	}
	text, err := j.textFrom(dirs, old)
	if err != nil {
		return fmt.Errorf("write %q: %w", j.Path, err)
	}
	return writeWhole(j.Path, text)
}

// textFrom is the text of the job's file, made from the old one; of no text, or one
// that is none of a job, nothing stays.
func (j Job) textFrom(dirs Dirs, old []byte) ([]byte, error) {
	now, err := j.sections(dirs, nil)
	if err != nil {
		return nil, err
	}
	if was, lines, err := parseJob(dirs, j.Path, old); err == nil {
		was.own = j.own
		before, err := was.sections(dirs, lines.of["options"])
		if err != nil {
			return nil, err
		}
		return editINI(old, lines, before, now), nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, jobText, j.ID)
	writeINI(&b, now...)
	return []byte(b.String()), nil
}

// sections are the job as its file has it. there are the keys of [options] that
// the file has, or nil if it is to have all that it needs.
func (j Job) sections(dirs Dirs, there map[string][]int) ([]iniText, error) {
	head := jobHead{Time: j.Time, Once: j.Once, Scheduler: j.Scheduler, Installed: formatAnchor(j.Installed)}
	state, log := jobDefaults(dirs, j.ID, j.Options.Name)
	if !dirs.Plain || j.StateDir != state {
		head.State = j.StateDir
	}
	if !dirs.Plain || j.LogFile != log {
		head.Log = j.LogFile
	}
	o := j.Options.withoutDefaults()
	_, fields := o.fields()
	for _, key := range j.inherited {
		fields[key].SetZero()
	}
	_, all := j.Options.fields()
	var force []string
	for _, key := range j.own {
		if there == nil || len(there[key]) > 0 {
			fields[key].Set(all[key])
			force = append(force, key)
		}
	}
	first, err := iniSection{name: "job", data: &head}.text()
	if err != nil {
		return nil, err
	}
	second, err := iniSection{name: "options", data: &o}.text(force...)
	return []iniText{first, second}, err
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
	if _, err := idOf(path); err != nil {
		return Job{}, err
	}
	text, _, err := readOwn("job file", path, 0o077)
	if err != nil {
		return Job{}, err
	}
	return completeJob(dirs, path, text)
}

// completeJob makes a job of the text of the file path, and of the shared options.
func completeJob(dirs Dirs, path string, text []byte) (Job, error) {
	job, lines, err := parseJob(dirs, path, text)
	if err != nil {
		return Job{}, err
	}
	o, where := &job.Options, lines.in(path, "options")
	// Whoever starts the job: the file beside its own directory, not beside that of dirs.
	shared, err := readShared(o.Config, filepath.Dir(path))
	if err != nil {
		return Job{}, at("job "+job.ID, err)
	}
	job.shared = shared.path
	job.inherited, job.own = o.under(where, shared.options, shared.where)
	o.fillDefaults()
	return job, where.blame(*o, o.checkWords())
}

// idOf is the id of the job whose file is called path.
func idOf(path string) (string, error) {
	id, isINI := strings.CutSuffix(filepath.Base(path), ".ini")
	if !isINI || !isJobID(id) {
		return "", &UsageError{Msg: fmt.Sprintf("job file %q: the name is not ID.ini", path), Hint: "an id is eight digits and letters a to f"}
	}
	return id, nil
}

// parseJob reads the text of a job's file: only what that itself says. An error is
// a *UsageError that names the line.
func parseJob(dirs Dirs, path string, text []byte) (job Job, lines iniLines, err error) {
	if job.ID, err = idOf(path); err != nil {
		return Job{}, lines, err
	}
	job.Path = path
	var head jobHead
	o := &job.Options
	if lines, err = readINI(path, text, iniSection{name: "job", data: &head}, iniSection{name: "options", data: o}); err != nil {
		return Job{}, lines, err
	}
	where := lines.in(path, "job")
	maps.Copy(where, lines.in(path, "options"))
	bad := func(key, hint string, err error) (Job, iniLines, error) {
		place := fmt.Sprintf("job file %q", path)
		if len(where[key]) > 0 {
			place = where[key][0]
		}
		return Job{}, lines, &UsageError{Msg: fmt.Sprintf("%s: %s: %v", place, key, err), Hint: hint}
	}
	for _, need := range []struct{ key, value string }{
		{"time", head.Time}, {"scheduler", head.Scheduler}, {"installed", head.Installed},
		{"source", o.Source}, {"dest", o.Dest},
	} {
		if need.value == "" {
			return bad(need.key, "put it back, or uninstall the job and install it again", errors.New("missing"))
		}
	}
	if job.Installed, err = parseAnchor(head.Installed); err != nil {
		return bad("installed", "", err)
	}
	job.Time, job.Once, job.Scheduler = head.Time, head.Once, head.Scheduler
	if _, err := newSpec(job.Time, job.Once, job.Installed); err != nil {
		return bad("time", hintOf(err), err)
	}
	// A job's paths are as install resolved them. Resolving them again would make
	// the current directory of a scheduler count for a path that lacks its slash.
	paths := []struct{ key, path string }{{"source", o.Source}, {"dest", o.Dest}, {"state", head.State}, {"log", head.Log}}
	if o.Config != sharedNone {
		paths = append(paths, struct{ key, path string }{"config", o.Config})
	}
	for _, p := range paths {
		if p.path != "" && !filepath.IsAbs(p.path) && !isURL(p.path) {
			return bad(p.key, "give the whole path, from / on", fmt.Errorf("%q is not absolute", p.path))
		}
	}
	for _, file := range o.ExcludeFrom {
		if !filepath.IsAbs(file) {
			return Job{}, lines, notAbsolute(where["exclude-from"], file, o.ExcludeFrom)
		}
	}
	o.fillName()
	job.StateDir, job.LogFile = jobDefaults(dirs, job.ID, o.Name)
	if head.State != "" {
		job.StateDir = head.State
	}
	if head.Log != "" {
		job.LogFile = head.Log
	}
	return job, lines, nil
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
