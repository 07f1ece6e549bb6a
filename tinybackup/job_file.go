package tinybackup

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// jobHead is the [job] section of a job's file.
type jobHead struct {
	Time      string `long:"time"`
	Once      bool   `long:"once"`
	Scheduler string `long:"scheduler" choice:"at" choice:"cron" choice:"systemd" choice:"launchd" choice:"service" choice:"external"`
	Installed string `long:"installed"`
	State     string `long:"state"`
	Log       string `long:"log"`
}

// jobText is the comment on top of every job's file.
const jobText = `# tinybackup job %s. Edit it as you like: the next run reads it anew.
# The keys of [options] are the long options of tinybackup(1); a list repeats its key; "quotes" may have \n, \" and \xff.
`

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
	if o.StallTimeout == DefaultStallTimeout {
		o.StallTimeout = 0
	}
	if o.Timeout == Never {
		o.Timeout = 0
	}
	if o.OnBattery == "run" {
		o.OnBattery = ""
	}
	if o.IONice == "none" {
		o.IONice = ""
	}
	if o.CatchUp == "once" {
		o.CatchUp = ""
	}
	return o
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
		if p.path != "" && !filepath.IsAbs(p.path) && !isURL(p.path) && !isRemote(p.path) {
			return bad(p.key, "give the whole path, from / on", fmt.Errorf("%q is not absolute", p.path))
		}
	}
	for _, file := range o.ExcludeFrom {
		if !filepath.IsAbs(file) {
			return Job{}, lines, notAbsolute(where["exclude-from"], file, o.ExcludeFrom)
		}
	}
	if file := o.relativeRecipients(); file != "" {
		return Job{}, lines, notAbsolute(where["encrypt"], file, o.Encrypt)
	}
	if key, file := o.relative(); key != "" {
		return Job{}, lines, notAbsolute(where[key], file, []string{file})
	}
	if err := o.copiesAbsolute(where); err != nil {
		return Job{}, lines, err
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
