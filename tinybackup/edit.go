package tinybackup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// An editing is a job whose file is being edited, as a draft.
type editing struct {
	env    Env
	path   string // of the job's file
	old    *Job   // nil: its file cannot be used
	before []byte // its file
	draft  string // path
}

// newEditing makes a draft of a job's file.
func newEditing(env Env, n numbered) (e *editing, err error) {
	e = &editing{env: env, path: n.path()}
	if n.broken == nil {
		e.old = &n.job
	}
	if e.before, _, err = readOwn("job file", e.path, 0o077); err != nil {
		return nil, err
	}
	e.draft, err = newDraft(e.path, e.before)
	return e, err
}

// save makes text the job's file, if that is good, and has the scheduler follow. If
// anything fails, all is as it was.
func (e *editing) save(ctx context.Context, text []byte) (done InstalledJob, err error) {
	defer func() {
		if err == nil {
			inform(ctx, e.env, changed(done))
		}
	}()
	lock, err := lockJobs(ctx, e.env.Dirs)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	now, err := os.ReadFile(e.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return done, &HintError{Err: errors.New("the job was uninstalled meanwhile"), Hint: "install it again, or leave it"}
	case err != nil:
		return done, err
	case !bytes.Equal(now, e.before):
		return done, &HintError{Err: fmt.Errorf("job file %q was changed meanwhile", e.path), Hint: "look at it, and edit it again"}
	}
	p, err := e.plan(text)
	if err != nil {
		return done, err
	}
	if e.old != nil && p.job.sameEntry(*e.old) {
		if err := p.compare(); err != nil {
			return done, err
		}
		p.Scheduler = p.job.Scheduler
		if err := writeWhole(e.path, p.text); err != nil {
			return done, err
		}
		p.try(ctx, e.env)
		return *p, nil
	}
	binary, err := e.env.binary()
	if err != nil {
		return done, err
	}
	if len(p.Next) == 0 {
		return done, noRunToCome(p.job.Time)
	}
	if err := p.schedule(ctx, e.env, p.job.Scheduler, binary); err != nil {
		return done, err
	}
	if e.old == nil {
		p.Changes = []string{"it can be used again"}
	}
	return *p, p.put(ctx, e.env)
}

// plan checks the new text of the job's file, and what comes of it.
func (e *editing) plan(text []byte) (*InstalledJob, error) {
	job, err := completeJob(e.env.Dirs, e.path, text)
	if err != nil {
		return nil, err
	}
	old := e.old
	if old == nil {
		old = &job
	}
	anchor := e.env.Now().In(job.Installed.Location()).Truncate(time.Minute)
	if !sameTime(*old, job.Time, job.Once) && job.Installed.Equal(old.Installed) {
		// Slots that have passed are none of the new schedule's.
		job.Installed = anchor
	}
	if job.Options.Name != old.Options.Name && old.Options.Name != "" {
		// The log is not another job's, which one of the new name may be.
		if _, log := jobDefaults(e.env.Dirs, job.ID, job.Options.Name); job.LogFile == log {
			job.LogFile = old.LogFile
		}
	}
	if text, err = job.textFrom(e.env.Dirs, text); err != nil {
		return nil, err
	}
	spec, err := job.Spec()
	if err != nil {
		return nil, err
	}
	if err := jitterFits(time.Duration(job.Options.Jitter), nextRuns(spec, anchor, jitterLooks)); err != nil {
		return nil, err
	}
	p := &InstalledJob{
		Source: job.Options.Source, Dest: job.Options.Dest, Time: job.Time,
		job: job, old: old, spec: spec, anchor: anchor, text: text,
	}
	p.describe(e.env)
	jobs, _, err := Jobs(e.env.Dirs)
	if err != nil {
		return nil, err
	}
	for _, other := range jobs {
		if other.ID != job.ID {
			if err := p.refuseNamesake(other); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// sameEntry says whether a scheduler has the same of both jobs.
func (j Job) sameEntry(other Job) bool {
	return j.Scheduler == other.Scheduler && j.Time == other.Time && j.Once == other.Once &&
		j.Installed.Equal(other.Installed) && j.Installed.Location().String() == other.Installed.Location().String() &&
		(j.Options.CatchUp == "none") == (other.Options.CatchUp == "none")
}

// try tells what would keep the job from running now. That is no reason not to
// change it: its disk may be in a drawer.
func (p *InstalledJob) try(ctx context.Context, env Env) {
	s, err := env.scheduler(p.job.Scheduler)
	if err != nil {
		return // it is checked when the job is scheduled
	}
	binary, err := env.binary()
	if err != nil {
		return
	}
	next := p.anchor
	if len(p.Next) > 0 {
		next = p.Next[0]
	}
	if err := preflight(ctx, env, s, p.job.entry(env.Dirs, binary, p.spec, next)); err != nil {
		p.Notes = append(p.Notes, fmt.Sprintf("It could not run now: %v.", err))
	}
}
