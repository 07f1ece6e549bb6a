package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tinybackup/internal/sched"
)

// InstallOptions say what to schedule.
type InstallOptions struct {
	Jobs      []NewJob // at least one; all of them are installed or none
	Scheduler string   // "at", "cron", "service", or "auto": the first that works
	DryRun    bool     // find out everything, change nothing
}

// A NewJob is a job that is to be installed. Its Options need not be resolved.
type NewJob struct {
	Options Options
	Time    string // in the grammar of --time
	Once    bool   // only the first slot counts
	Where   string // what to call it in an error, such as "jobs.txt:3"; may be empty
}

// An InstalledJob is what became of a NewJob, and one element of "jobs" in
// the output of install --json. Times are in the job's zone.
type InstalledJob struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Source    string      `json:"source"`
	Dest      string      `json:"dest"`
	Time      string      `json:"time"`      // as it was typed
	Schedule  string      `json:"schedule"`  // in words
	Zone      string      `json:"zone"`      // the time zone the schedule is in
	Scheduler string      `json:"scheduler"` // "at", "cron" or "service"
	Why       string      `json:"why,omitempty"`
	Next      []time.Time `json:"next"`            // the next three runs
	Notes     []string    `json:"notes,omitempty"` // what to know about these times
	Line      string      `json:"line"`            // what the scheduler was given
	Path      string      `json:"path"`            // of the job's file

	job   Job
	spec  *sched.Spec
	entry sched.Entry
	sched sched.Scheduler
	where string
}

// jobsLockWait is how long to wait for another install, uninstall or requeueing.
const jobsLockWait = 30 * time.Second

// lockJobs keeps the job files and the schedulers' entries to this process.
func lockJobs(ctx context.Context, dirs Dirs) (*fileLock, error) {
	return lockFile(ctx, filepath.Join(dirs.Jobs, ".lock"), "another install or uninstall", jobsLockWait)
}

// Install schedules new jobs. Everything is checked before anything is written;
// when something fails after that, what was written is taken back: the
// destination, the schedulers and the job files are then as they were.
func Install(ctx context.Context, env Env, o InstallOptions) (_ []InstalledJob, err error) {
	binary, err := env.binary()
	if err != nil {
		return nil, err
	}
	// Slots are whole minutes: with seconds in the anchor, "+ 1 day" would begin a
	// minute later than a crontab line that says the same.
	anchor := env.Now().In(env.zone()).Truncate(time.Minute)
	plans := make([]*InstalledJob, 0, len(o.Jobs))
	for _, n := range o.Jobs {
		p, err := planJob(ctx, env, n, o.Scheduler, binary, anchor)
		if err != nil {
			return nil, at(n.Where, err)
		}
		plans = append(plans, p)
	}
	if o.DryRun {
		return installed(plans), refuseTwins(env, plans)
	}
	lock, err := lockJobs(ctx, env.Dirs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := refuseTwins(env, plans); err != nil {
		return nil, err
	}
	for i, p := range plans {
		if err := p.put(ctx, env); err != nil {
			// Also after a signal: half an install is worse than a late end.
			calm := context.WithoutCancel(ctx)
			for _, done := range plans[:i] {
				err = errors.Join(err, done.takeBack(calm))
			}
			return nil, at(p.where, err)
		}
	}
	return installed(plans), nil
}

func installed(plans []*InstalledJob) []InstalledJob {
	all := make([]InstalledJob, len(plans))
	for i, p := range plans {
		all[i] = *p
	}
	return all
}

// at says where an error belongs, and keeps its kind and its hint.
func at(where string, err error) error {
	if where == "" {
		return err
	}
	text := fmt.Sprintf("%s: %v", where, err)
	var usage *UsageError
	if errors.As(err, &usage) {
		return &UsageError{Msg: text, Hint: usage.Hint}
	}
	return &HintError{Err: fmt.Errorf("%s: %w", where, err), Hint: hintOf(err)}
}

// planJob finds out all about a new job, and changes nothing.
func planJob(ctx context.Context, env Env, n NewJob, scheduler, binary string, anchor time.Time) (*InstalledJob, error) {
	o := n.Options
	if err := o.Resolve(); err != nil {
		return nil, err
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	if err := refuseEmpty(o.Source); err != nil {
		return nil, err
	}
	spec, err := parseTime(n.Time, n.Once, anchor)
	if err != nil {
		return nil, err
	}
	id, err := newJobID(env.Dirs)
	if err != nil {
		return nil, err
	}
	job := Job{
		ID: id, Path: filepath.Join(env.Dirs.Jobs, id+".ini"),
		Time: n.Time, Once: n.Once, Installed: anchor, Options: o,
	}
	job.StateDir, job.LogFile = jobDefaults(env.Dirs, id, o.Name)
	p := &InstalledJob{
		ID: id, Name: o.Name, Source: o.Source, Dest: o.Dest,
		Time: n.Time, Schedule: spec.Describe(), Zone: anchor.Location().String(),
		Notes: spec.Notes(anchor), Path: job.Path, spec: spec, where: n.Where,
	}
	for t, more := spec.Next(anchor); more && len(p.Next) < 3; t, more = spec.Next(t) {
		p.Next = append(p.Next, t)
	}
	p.entry = job.entry(env.Dirs, binary, spec, p.Next[0])
	c, err := chooseScheduler(ctx, env, scheduler, p.entry)
	if err != nil {
		return nil, err
	}
	p.sched, p.Scheduler, p.Why = c.scheduler, c.scheduler.Name(), c.why
	job.Scheduler = p.Scheduler
	p.job = job
	p.Line, err = c.scheduler.Line(p.entry)
	return p, err
}

// newSpec compiles a job's schedule.
func newSpec(text string, once bool, anchor time.Time) (*sched.Spec, error) {
	if once {
		return sched.ParseOnce(text, anchor)
	}
	return sched.Parse(text, anchor)
}

// parseTime is newSpec for a schedule that has a run to come.
func parseTime(text string, once bool, anchor time.Time) (*sched.Spec, error) {
	if strings.TrimSpace(text) == "" {
		return nil, &UsageError{Msg: "no time given", Hint: "give one, such as --time 2:00am or --time '30 2 * * *'"}
	}
	spec, err := newSpec(text, once, anchor)
	if err != nil {
		return nil, &UsageError{Msg: err.Error(), Hint: hintOf(err)}
	}
	if _, more := spec.Next(anchor); !more {
		return nil, &UsageError{
			Msg:  fmt.Sprintf("time %q has no run to come: it is in the past", text),
			Hint: "give a time that is still to come, or leave --once out",
		}
	}
	return spec, nil
}

// refuseEmpty refuses an empty directory: it is most often one that something
// should be mounted on.
func refuseEmpty(source string) error {
	info, err := os.Stat(source)
	if err != nil || !info.IsDir() {
		return err
	}
	d, err := os.Open(source)
	if err != nil {
		return err
	}
	defer d.Close()
	if _, err := d.Readdirnames(1); isEOF(err) {
		return &HintError{
			Err:  fmt.Errorf("source %q is empty", source),
			Hint: "if it is the mount point of a disk, mount that first; else put something into it",
		}
	}
	return nil
}

// refuseTwins refuses a job that is there already, and one whose archives would
// be taken for those of another job. It gives those that share only the name a
// log of their own: one file cannot have two writers.
func refuseTwins(env Env, plans []*InstalledJob) error {
	jobs, _, err := Jobs(env.Dirs)
	if err != nil {
		return err
	}
	for _, p := range plans {
		for _, other := range jobs {
			if err := refuseTwin(p, other); err != nil {
				return at(p.where, err)
			}
			if other.LogFile == p.job.LogFile {
				p.job.LogFile = strings.TrimSuffix(p.job.LogFile, ".log") + "-" + p.ID + ".log"
			}
		}
		jobs = append(jobs, p.job)
	}
	return nil
}

// refuseTwin compares a new job with one other.
func refuseTwin(p *InstalledJob, other Job) error {
	if !samePlace(p.Dest, other.Options.Dest) {
		return nil
	}
	if p.Source == other.Options.Source && sameTime(other, p.Time, p.spec.Once) {
		return &UsageError{
			Msg:  fmt.Sprintf("this job exists already: %s backs up %q to %q at %q", other.ID, p.Source, p.Dest, other.Time),
			Hint: "to replace it, first: tinybackup uninstall " + other.ID,
		}
	}
	if p.Name == other.Options.Name {
		return &UsageError{
			Msg:  fmt.Sprintf("job %s writes archives named %q to %q already", other.ID, p.Name, p.Dest),
			Hint: "give this one another name with --name NAME",
		}
	}
	return nil
}

// samePlace says whether two directories are one, under whatever paths.
func samePlace(a, b string) bool {
	if a == b {
		return true
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
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

// put writes the job's file and then the scheduler's entry; or neither.
func (p *InstalledJob) put(ctx context.Context, env Env) error {
	if err := p.job.Write(env.Dirs); err != nil {
		return err
	}
	if err := p.sched.Add(ctx, p.entry); err != nil {
		return errors.Join(err, p.takeBack(context.WithoutCancel(ctx)))
	}
	return nil
}

// takeBack undoes put.
func (p *InstalledJob) takeBack(ctx context.Context) error {
	_, err := p.sched.Remove(ctx, p.entry.Job)
	return errors.Join(err, removeWhole(p.job.Path))
}

// requeue puts the job's next run into the queue of a scheduler that forgets a
// job when it starts it. It comes before the backup, so that whatever becomes of
// that, the chain goes on.
func requeue(ctx context.Context, env Env, job Job, spec *sched.Spec) error {
	if job.Scheduler != "at" || job.Once {
		return nil
	}
	next, more := spec.Next(env.Now())
	if !more {
		return nil
	}
	s, err := env.scheduler(job.Scheduler)
	if err != nil {
		return err
	}
	return job.withEntry(ctx, env, spec, next, func(e sched.Entry) error { return s.Add(ctx, e) })
}

// withEntry gives the job's entry, to be run at next, to add. It holds the same
// lock as uninstall, and looks for the job's file under it: a job that is just
// uninstalled does not come back, and the error is fs.ErrNotExist.
func (j Job) withEntry(ctx context.Context, env Env, spec *sched.Spec, next time.Time, add func(sched.Entry) error) (err error) {
	lock, err := lockJobs(ctx, env.Dirs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if _, err := os.Stat(j.Path); err != nil {
		return fmt.Errorf("job %s was uninstalled meanwhile: %w", j.ID, cause(err))
	}
	binary, err := env.binary()
	if err != nil {
		return err
	}
	err = add(j.entry(env.Dirs, binary, spec, next))
	if errors.Is(err, sched.ErrNotRunning) {
		return nil // it is in the queue, and statusof will say that nobody looks there
	}
	return err
}
