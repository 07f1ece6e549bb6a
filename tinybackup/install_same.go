package tinybackup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// settle says of each plan whether its job is there already, and gives it its id
// and its places. It refuses jobs whose archives would be taken for those of
// another one.
func settle(env Env, plans []*InstalledJob) error {
	jobs, broken, err := Jobs(env.Dirs)
	if err != nil {
		return err
	}
	for _, b := range broken {
		// It may be the same job, which must not be there twice.
		if errors.As(b.Err, new(*fs.PathError)) || errors.As(b.Err, new(*unreadError)) {
			return b.Err
		}
	}
	for i, p := range plans {
		if err := p.settle(env, jobs); err != nil {
			return at(p.where, err)
		}
		for _, other := range jobs {
			if other.ID == p.job.ID {
				continue
			}
			if err := p.refuseNamesake(other); err != nil {
				return at(p.where, err)
			}
		}
		for _, earlier := range plans[:i] {
			if err := p.refuseRepetition(earlier); err != nil {
				return at(p.where, err)
			}
		}
	}
	return nil
}

// settle makes of p the job that is there, or a new one.
func (p *InstalledJob) settle(env Env, jobs []Job) (err error) {
	old, err := p.same(jobs)
	if err != nil {
		return err
	}
	if old == nil {
		if p.job.ID, err = newJobID(env.Dirs); err != nil {
			return err
		}
		p.job.Path = filepath.Join(env.Dirs.Jobs, p.job.ID+".ini")
		p.job.StateDir, p.job.LogFile = jobDefaults(env.Dirs, p.job.ID, p.job.Options.Name)
		return nil
	}
	p.old = old
	p.job.ID, p.job.Path, p.job.StateDir, p.job.LogFile = old.ID, old.Path, old.StateDir, old.LogFile
	if !p.named {
		p.job.Options.Name = old.Options.Name
	}
	if p.job.sameSchedule(*old) {
		// It goes on counting from where it began: "+ 2 days" keeps its days.
		p.job.Installed = old.Installed
		p.spec, err = p.job.Spec()
	}
	return err
}

// same finds the job that p is, among those of its source and destination:
//   - with --name the one of that name, or else the one at that time, which is
//     given the name;
//   - without, the one at that time, or else the one of the default name, which is
//     given the time.
func (p *InstalledJob) same(jobs []Job) (*Job, error) {
	var byName, byTime []Job
	for _, j := range jobs {
		if j.Options.Source != p.Source || !samePlace(p.Dest, j.Options.Dest) {
			continue
		}
		if j.Options.Name == p.Name {
			byName = append(byName, j)
		}
		if sameTime(j, p.Time, p.job.Once) {
			byTime = append(byTime, j)
		}
	}
	found := byName
	if len(byName) == 0 || (!p.named && len(byTime) > 0) {
		found = byTime
	}
	if len(found) > 1 && len(byName) == 1 && !p.named && sameTime(byName[0], p.Time, p.job.Once) {
		found = byName
	}
	switch {
	case len(found) == 0:
		return nil, nil
	case len(found) > 1:
		return nil, &UsageError{
			Msg:  fmt.Sprintf("jobs %s and %s both back up %q to %q at %q", found[0].ID, found[1].ID, p.Source, p.Dest, p.Time),
			Hint: "say which of them with --name " + shellQuote(found[0].Options.Name) + " or " + shellQuote(found[1].Options.Name),
		}
	}
	if old := found[0]; p.job.Once && !old.Once {
		return nil, &UsageError{
			Msg:  fmt.Sprintf("job %s backs up %q to %q again and again, at %q: --once would end that", old.ID, p.Source, p.Dest, old.Time),
			Hint: "give the single one a name of its own with --name NAME, or first: tinybackup uninstall " + old.ID,
		}
	}
	return &found[0], nil
}

// refuseRepetition refuses a job that the same command has asked for before.
func (p *InstalledJob) refuseRepetition(earlier *InstalledJob) error {
	o, e := p.job.Options, earlier.job.Options
	who := cmp.Or(earlier.where, "another one of these")
	switch {
	case p.job.ID == earlier.job.ID, o.Source == e.Source && samePlace(o.Dest, e.Dest) && (o.Name == e.Name || sameTime(earlier.job, p.Time, p.job.Once)):
		return &UsageError{Msg: fmt.Sprintf("%q to %q: this is the same job as that of %s", o.Source, o.Dest, who), Hint: "leave one of them out, or give it a name and a time of its own"}
	case o.Name == e.Name && samePlace(o.Dest, e.Dest):
		return &UsageError{Msg: fmt.Sprintf("archives named %q are written to %q by that of %s already", o.Name, o.Dest, who), Hint: "give this one another name"}
	}
	p.ownLog(earlier.job)
	return nil
}

// refuseNamesake refuses archives of one name from two jobs.
func (p *InstalledJob) refuseNamesake(other Job) error {
	if p.job.Options.Name == other.Options.Name && samePlace(p.Dest, other.Options.Dest) {
		return &UsageError{
			Msg:  fmt.Sprintf("job %s writes archives named %q to %q already", other.ID, p.job.Options.Name, p.Dest),
			Hint: "give this one another name with --name NAME",
		}
	}
	if p.job.Options.Name == other.Options.Name {
		for _, dest := range p.job.Options.dests() {
			if slices.Contains(other.Options.dests(), dest) {
				return &UsageError{
					Msg:  fmt.Sprintf("job %s writes archives named %q, or copies of them, to %q already", other.ID, p.job.Options.Name, dest),
					Hint: "give this one another name with --name NAME",
				}
			}
		}
	}
	p.ownLog(other)
	return nil
}

// ownLog gives a new job that shares its name with another one, of another
// destination, a log of its own: one file cannot have two writers.
func (p *InstalledJob) ownLog(other Job) {
	if p.old == nil && other.LogFile == p.job.LogFile {
		p.job.LogFile = strings.TrimSuffix(p.job.LogFile, ".log") + "-" + p.job.ID + ".log"
	}
}

// samePlace says whether two directories are one, under whatever paths.
func samePlace(a, b string) bool {
	if a == b || isRemote(a) || isRemote(b) {
		return a == b
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// sameSchedule says whether the slots of a job are those of another one. Those of
// a single run never are: the words may be the same, and another day is meant.
func (j Job) sameSchedule(other Job) bool {
	return !j.Once && j.Installed.Location().String() == other.Installed.Location().String() && sameTime(other, j.Time, j.Once)
}

// sameTime says whether a time as typed means the schedule of a job: 2:00am is
// 0 2 * * *. The first slots tell, as the grammar has nothing that begins alike
// for so long and then parts.
func sameTime(job Job, text string, once bool) bool {
	const slots = 40
	a, err := job.Spec()
	if err != nil {
		return text == job.Time && once == job.Once
	}
	b, err := newSpec(text, once, job.Installed)
	if err != nil || once != job.Once {
		return false
	}
	from := job.Installed
	for range slots {
		x, moreX := a.Next(from)
		y, moreY := b.Next(from)
		if moreX != moreY || !x.Equal(y) {
			return false
		}
		if !moreX {
			break
		}
		from = x
	}
	return true
}

// changes are what an update makes different, one sentence each.
func changes(old, now Job) ([]string, error) {
	var found []string
	if before, after := old.when(), now.when(); before != after && !now.sameSchedule(old) {
		found = append(found, "it moves from "+before+" to "+after)
	}
	if old.Scheduler != now.Scheduler {
		found = append(found, fmt.Sprintf("scheduler: %s -> %s", old.Scheduler, now.Scheduler))
	}
	keys, had, err := old.Options.settings()
	if err != nil {
		return nil, err
	}
	more, has, err := now.Options.settings()
	if err != nil {
		return nil, err
	}
	for _, key := range more {
		if _, known := had[key]; !known {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		a, b := had[key], has[key]
		switch {
		case a == b:
		case isSecret(key):
			found = append(found, key+": "+secretChange(a, b))
		default:
			found = append(found, fmt.Sprintf("%s: %s -> %s", key, cmp.Or(a, "(not set)"), cmp.Or(b, "(not set)")))
		}
	}
	return found, nil
}

// secretChange says that a value became another one, and neither.
func secretChange(old, now string) string {
	switch {
	case old == "":
		return "is set now"
	case now == "":
		return "is not set any more"
	}
	return "another than before"
}

// when is the job's schedule in words, and its zone.
func (j Job) when() string {
	spec, err := j.Spec()
	if err != nil {
		return j.Time
	}
	return spec.Describe() + " (" + j.Installed.Location().String() + ")"
}

// settings are the options as the job's file has them, in its order.
func (o Options) settings() (keys []string, values map[string]string, err error) {
	o = o.withoutDefaults()
	text, err := iniSection{name: "options", data: &o}.text()
	if err != nil {
		return nil, nil, err
	}
	values = make(map[string]string)
	for _, key := range text.keys {
		values[key] = strings.Join(text.values[key], ", ")
	}
	return text.keys, values, nil
}
