package tinybackup

import (
	"context"
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

// InstallOptions say what to schedule.
type InstallOptions struct {
	Jobs      []NewJob // at least one; all of them are installed or none
	Scheduler string   // the name of one, or "auto": the one that the job has, or the first that works
	DryRun    bool     // find out everything, change nothing
}

// A NewJob is a job that is to be installed. Its Options need not be resolved.
type NewJob struct {
	Options Options
	Time    string // in the grammar of --time
	Once    bool   // only the first slot counts
	Where   string // what to call it in an error, such as "jobs.txt:3"; may be empty

	given origins // where Options were given; nil: those that are not zero were
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
	Scheduler string      `json:"scheduler"` // "at", "cron", "systemd", "launchd", "service" or "external"
	Why       string      `json:"why,omitempty"`
	Next      []time.Time `json:"next"`              // the next three runs
	Notes     []string    `json:"notes,omitempty"`   // what to know about these times, and of copies that are out of reach
	Line      string      `json:"line"`              // what the scheduler was given
	Path      string      `json:"path"`              // of the job's file
	Updated   bool        `json:"updated,omitempty"` // the job was there already
	Changes   []string    `json:"changes,omitempty"` // of its settings, if it was

	job    Job
	old    *Job // what was there already; nil: nothing
	spec   *sched.Spec
	entry  sched.Entry
	sched  sched.Scheduler
	where  string
	named  bool                          // --name was given
	anchor time.Time                     // the moment of this install
	text   []byte                        // of the job's file, if somebody has written it; nil: as the job is
	undo   []func(context.Context) error // what put has done, the last at the end
}

// jobsLockWait is how long to wait for another install, uninstall or requeueing.
const jobsLockWait = 30 * time.Second

// lockJobs keeps the job files and the schedulers' entries to this process. Half a
// job file that a killed one has left goes: its id will not come again.
func lockJobs(ctx context.Context, dirs Dirs) (*fileLock, error) {
	lock, err := lockFile(ctx, filepath.Join(dirs.Jobs, ".lock"), "another install or uninstall", jobsLockWait)
	if err != nil {
		return nil, err
	}
	parts, _ := filepath.Glob(filepath.Join(dirs.Jobs, partPrefix+"*")) // the only error is that of a bad pattern
	for _, part := range parts {
		_ = os.Remove(part) // it does no harm
	}
	return lock, nil
}

// Install schedules jobs: new ones, and anew those that are there already. They take
// from the file of shared options what they do not say; see Options.Config.
// Everything is checked before anything is written; when something fails after
// that, what was written is taken back: the destination, the schedulers and the
// job files are then as they were.
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
		p, err := newPlan(env, n, anchor)
		if err != nil {
			return nil, at(n.Where, err)
		}
		plans = append(plans, p)
	}
	if !o.DryRun {
		defer func() {
			if err == nil {
				inform(ctx, env, changed(installed(plans)...))
			}
		}()
		lock, lockErr := lockJobs(ctx, env.Dirs)
		if lockErr != nil {
			return nil, lockErr
		}
		defer func() { err = errors.Join(err, lock.Unlock()) }()
	}
	if err := settle(env, plans); err != nil {
		return nil, err
	}
	for _, p := range plans {
		if err := p.schedule(ctx, env, o.Scheduler, binary); err != nil {
			return nil, at(p.where, err)
		}
		p.Notes = append(p.Notes, probeCopies(ctx, env, p.job)...)
	}
	if o.DryRun {
		return installed(plans), nil
	}
	for i, p := range plans {
		if err := p.put(ctx, env); err != nil {
			// Also after a signal: half an install is worse than a late end.
			calm := context.WithoutCancel(ctx)
			for _, done := range slices.Backward(plans[:i]) {
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

// newPlan checks what is asked for, and reads nothing of other jobs.
func newPlan(env Env, n NewJob, anchor time.Time) (*InstalledJob, error) {
	p, err := wordsPlan(env, n, anchor, (*Options).Resolve)
	if err != nil {
		return nil, err
	}
	return p, p.job.Options.usable()
}

// usable checks what a job is about to use here.
func (o Options) usable() error {
	if err := o.Check(); err != nil {
		return err
	}
	if o.Before != "" { // which may mount the source, or write it
		return nil
	}
	return refuseEmpty(o.Source)
}

// wordsPlan is the part of newPlan that does not look at the source, nor at the
// destination. resolve completes the options.
func wordsPlan(env Env, n NewJob, anchor time.Time, resolve func(*Options) error) (*InstalledJob, error) {
	o, named, where := n.Options, n.Options.Name != "", maps.Clone(n.given)
	if where == nil {
		where = o.given()
	}
	shared, err := env.shared(&o)
	if err != nil {
		return nil, err
	}
	inherited, own := o.under(where, shared.options, shared.where)
	if err := resolve(&o); err != nil {
		return nil, err
	}
	if err := where.blame(o, o.checkWords()); err != nil {
		return nil, err
	}
	spec, err := parseTime(n.Time, n.Once, anchor)
	if err != nil {
		return nil, err
	}
	if err := jitterFits(time.Duration(o.Jitter), nextRuns(spec, anchor, jitterLooks)); err != nil {
		return nil, err
	}
	return &InstalledJob{
		Source: o.Source, Dest: o.Dest, Name: o.Name, Time: n.Time,
		job:  Job{Time: n.Time, Once: n.Once, Installed: anchor, Options: o, shared: shared.path, inherited: inherited, own: own},
		spec: spec, where: n.Where, named: named, anchor: anchor,
	}, nil
}

// schedule finds out all that depends on the schedule, and changes nothing.
func (p *InstalledJob) schedule(ctx context.Context, env Env, scheduler, binary string) error {
	p.describe(env)
	p.entry = p.job.entry(env.Dirs, binary, p.spec, p.Next[0])
	c, err := p.choose(ctx, env, scheduler)
	if err != nil {
		return err
	}
	p.sched, p.Scheduler, p.Why = c.scheduler, c.scheduler.Name(), c.why
	p.job.Scheduler = p.Scheduler
	if noter, can := c.scheduler.(sched.Noter); can && noter.Note() != "" {
		p.Notes = append(p.Notes, noter.Note())
	}
	if p.old != nil {
		if err := p.compare(); err != nil {
			return err
		}
	}
	p.Line, err = c.scheduler.Line(p.entry)
	return err
}

// describe fills in what is to be said of the job and its times.
func (p *InstalledJob) describe(env Env) {
	p.ID, p.Path, p.Name = p.job.ID, p.job.Path, p.job.Options.Name
	p.Schedule, p.Zone, p.Notes = p.spec.Describe(), p.anchor.Location().String(), append(env.zoneNotes(), p.spec.Notes(p.anchor)...)
	p.Next = nextRuns(p.spec, p.anchor, 3)
	if keys := p.job.inherited; len(keys) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("From %s, at each run: %s.", p.job.shared, strings.Join(keys, ", ")))
	}
}

// compare fills in what is to be said of a job that was there already.
func (p *InstalledJob) compare() (err error) {
	p.Updated = true
	if name := p.old.Options.Name; name != p.Name {
		p.Notes = append(p.Notes, fmt.Sprintf("The archives named %q stay: rotation does not look at them any more.", name))
	}
	p.Changes, err = changes(*p.old, p.job)
	return err
}

// choose finds the scheduler. A job that is there already keeps its own, unless
// another one is asked for by name.
func (p *InstalledJob) choose(ctx context.Context, env Env, scheduler string) (choice, error) {
	if scheduler == "auto" && p.old != nil {
		if c, err := chooseScheduler(ctx, env, p.old.Scheduler, p.entry); err == nil {
			return c, nil
		}
	}
	return chooseScheduler(ctx, env, scheduler, p.entry)
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
		return nil, noRunToCome(text)
	}
	return spec, nil
}

// noRunToCome refuses a schedule that is over.
func noRunToCome(text string) error {
	return &UsageError{
		Msg:  fmt.Sprintf("time %q has no run to come: it is in the past", text),
		Hint: "give a time that is still to come, or leave --once out",
	}
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
// lock as uninstall and install, and looks for the job's file under it: a job that
// is just uninstalled does not come back, and the error is fs.ErrNotExist; one that
// just got another schedule has its entry by that.
func (j Job) withEntry(ctx context.Context, env Env, spec *sched.Spec, next time.Time, add func(sched.Entry) error) (err error) {
	lock, err := lockJobs(ctx, env.Dirs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	now, err := readJob(env.Dirs, j.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("job %s was uninstalled meanwhile: %w", j.ID, cause(err))
	case err == nil && (now.Scheduler != j.Scheduler || now.Time != j.Time || !now.Installed.Equal(j.Installed)):
		return nil
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
