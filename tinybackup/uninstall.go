package tinybackup

import (
	"context"
	"errors"
	"fmt"
)

// uninstallCommand are the options of uninstall.
type uninstallCommand struct {
	Time    string     `long:"time" value-name:"SPEC" description:"of the jobs of SOURCE and DEST, only the one at this time"`
	All     bool       `long:"all" description:"all jobs"`
	Orphans bool       `long:"orphans" description:"what schedulers have of jobs that are gone"`
	DryRun  bool       `long:"dry-run" description:"say what would be done, and do nothing"`
	Noop    bool       `long:"noop" description:"the same as --dry-run"`
	JSON    bool       `long:"json" description:"print one JSON object"`
	Args    selectArgs `positional-args:"yes"`
}

// UninstallOptions say which jobs to take off the schedule.
type UninstallOptions struct {
	Which   Selection
	All     bool // all jobs; Which must be zero
	Orphans bool // what schedulers have of jobs that are gone; Which must be zero
	DryRun  bool // find out everything, change nothing
}

// An UninstalledJob is a job that was taken off the schedule, and one element of
// "jobs" in the output of uninstall --json. Of a line without a job, and of a job
// whose file cannot be read, no more than ID and Scheduler or Path is known.
type UninstalledJob struct {
	ID        string `json:"id"` // or the path of a job file that is gone
	Name      string `json:"name,omitempty"`
	Source    string `json:"source,omitempty"`
	Dest      string `json:"dest,omitempty"`
	Scheduler string `json:"scheduler,omitempty"`
	Lines     int    `json:"lines"`           // entries removed from schedulers
	Path      string `json:"path,omitempty"`  // of the job's file
	State     string `json:"state,omitempty"` // where its history stays
	Log       string `json:"log,omitempty"`   // its log, which stays too
}

// uninstallOutput is the output of uninstall --json.
type uninstallOutput struct {
	DryRun bool             `json:"dry_run"`
	Jobs   []UninstalledJob `json:"jobs"`
	Left   []string         `json:"left,omitempty"` // of --orphans: what jobs that are gone have left
}

func (c *uninstallCommand) execute(ctx context.Context, env Env) error {
	which, err := c.Args.selection(c.Time)
	if err != nil {
		return err
	}
	o := UninstallOptions{Which: which, All: c.All, Orphans: c.Orphans, DryRun: c.DryRun || c.Noop}
	if c.Time != "" && which.Source == "" {
		return &UsageError{Msg: "--time needs a source and a destination", Hint: "give SOURCE DEST --time SPEC, or just an id"}
	}
	done, err := Uninstall(ctx, env, o)
	if err != nil && len(done) == 0 {
		return err
	}
	var left []string
	if c.Orphans {
		var leftErr error
		left, leftErr = Leftovers(env.Dirs)
		err = errors.Join(err, leftErr)
	}
	if c.JSON {
		if done == nil {
			done = []UninstalledJob{}
		}
		return errors.Join(err, printJSON(env, uninstallOutput{DryRun: o.DryRun, Jobs: done, Left: left}))
	}
	verb := "removed"
	if o.DryRun {
		verb = "would remove"
	}
	for _, j := range done {
		switch {
		case j.Path == "":
			env.say("%s the line of job %s, which is gone, from %s", verb, oneLine(j.ID), j.Scheduler)
		case j.Name == "":
			env.say("%s job %s, whose file could not be used", verb, j.ID)
		default:
			env.say("%s job %s %q: %s -> %s", verb, j.ID, j.Name, oneLine(j.Source), oneLine(j.Dest))
			stay := fmt.Sprintf("its archives, its history (%s) and its log (%s) stay", oneLine(j.State), oneLine(j.Log))
			env.say("  %s", wrap(stay, helpWidth-len(wrapIndent), wrapIndent))
			if j.Scheduler == scheduledElsewhere {
				env.say("  whoever starts it does not know that: take its entry away there, too")
			}
		}
	}
	if len(done) == 0 {
		env.say("there is nothing to remove")
	}
	for _, path := range left {
		env.say("%s is of a job that is gone, and stays: remove it if nobody needs it", oneLine(path))
	}
	return err
}

// Uninstall takes jobs off the schedule: first the scheduler's entry, so that
// nothing is started that has no job, and then the job's file. Archives, history
// and log stay. It returns what it has removed also when an error ends it.
//
// The record of a job beside its archives says from then on that it was uninstalled, if
// its destination can be reached.
func Uninstall(ctx context.Context, env Env, o UninstallOptions) (done []UninstalledJob, err error) {
	done, gone, err := uninstall(ctx, env, o)
	inform(ctx, env, left(gone, nil))
	return done, err
}

// uninstall is Uninstall, and gives the jobs that are gone, too. It tells nobody.
func uninstall(ctx context.Context, env Env, o UninstallOptions) (done []UninstalledJob, gone []Job, err error) {
	chosen := 0
	for _, is := range []bool{o.All, o.Orphans, o.Which.Source != "", len(o.Which.Refs) > 0} {
		if is {
			chosen++
		}
	}
	switch {
	case chosen == 0:
		return nil, nil, &UsageError{Msg: "uninstall wants to know which jobs", Hint: "give SOURCE DEST, an id, --all or --orphans"}
	case chosen > 1:
		return nil, nil, &UsageError{Msg: "uninstall wants one of SOURCE DEST, ids, --all and --orphans", Hint: "tinybackup uninstall --help"}
	}
	lock, err := lockJobs(ctx, env.Dirs)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if o.Orphans {
		done, err = removeOrphans(ctx, env, o.DryRun)
		return done, nil, err
	}
	picked, err := allJobs(env.Dirs)
	if err != nil {
		return nil, nil, err
	}
	if !o.All {
		if picked, err = o.Which.pick(picked); err != nil {
			return nil, nil, err
		}
	}
	for _, n := range picked {
		u, err := removeJob(ctx, env, n, o.DryRun)
		if err != nil {
			return done, gone, err
		}
		done = append(done, u)
		if n.broken == nil && !o.DryRun {
			gone = append(gone, n.job)
		}
	}
	return done, gone, nil
}

// removeOrphans removes the lines of jobs that are gone. A job whose line is gone
// is none of these: repair gives it one.
func removeOrphans(ctx context.Context, env Env, dry bool) (done []UninstalledJob, err error) {
	byName, _ := entries(ctx, env) // who cannot be asked has nothing that could go
	for _, s := range env.allSchedulers() {
		lines := make(map[string]int)
		var order []string
		for _, e := range byName[s.Name()] {
			if orphaned(env.Dirs, e) {
				if lines[e.Job]++; lines[e.Job] == 1 {
					order = append(order, e.Job)
				}
			}
		}
		for _, job := range order {
			u := UninstalledJob{ID: job, Scheduler: s.Name(), Lines: lines[job]}
			if !dry {
				if u.Lines, err = s.Remove(ctx, job); err != nil {
					return done, fmt.Errorf("remove the line of job %s: %w", job, err)
				}
			}
			done = append(done, u)
		}
	}
	return done, nil
}

// removeJob removes the lines and the file of one job. A broken one may be in any
// of the schedulers.
func removeJob(ctx context.Context, env Env, n numbered, dry bool) (UninstalledJob, error) {
	u := UninstalledJob{ID: n.id(), Path: n.path()}
	if n.broken == nil {
		o := n.job.Options
		u.Name, u.Source, u.Dest, u.Scheduler = o.Name, o.Source, o.Dest, n.job.Scheduler
		u.State, u.Log = n.job.StateDir, n.job.LogFile
	}
	for _, s := range env.allSchedulers() {
		list, err := s.List(ctx)
		if err != nil {
			// One that cannot be asked has none of a job that is with another.
			if u.Scheduler == s.Name() {
				return u, &HintError{Err: fmt.Errorf("job %s stays: %w", u.ID, err), Hint: hintOf(err)}
			}
			continue
		}
		for _, e := range entriesOf(env.Dirs, list, n) {
			u.Lines++
			if dry {
				continue
			}
			if _, err := s.Remove(ctx, e.Job); err != nil { // all of this job's
				return u, &HintError{Err: fmt.Errorf("job %s stays: %w", u.ID, err), Hint: hintOf(err)}
			}
		}
	}
	if dry {
		return u, nil
	}
	return u, removeWhole(u.Path)
}
