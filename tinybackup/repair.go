package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"tinybackup/internal/sched"
)

// RepairOptions say which jobs to mend, and how far to go.
type RepairOptions struct {
	Which     Selection
	Scheduler string // who takes jobs whose own scheduler does not work here: a name or "auto"; empty: nobody
	DryRun    bool   // find out everything, change nothing
}

// What repair made of a job, in RepairedJob.Result.
const (
	RepairFine   = "fine"   // there was nothing to mend
	RepairMended = "mended" // there was, and now there is not; or, in a dry run, would not be
	RepairBroken = "broken" // it cannot be mended
)

// A RepairedJob is what repair made of a job, and one element of "jobs" in the
// output of repair --json.
type RepairedJob struct {
	ID        string   `json:"id"`
	Name      string   `json:"name,omitempty"`
	Scheduler string   `json:"scheduler,omitempty"` // that it has now
	Result    string   `json:"result"`              // "fine", "mended" or "broken"
	Found     []string `json:"found,omitempty"`     // what was mended, one sentence each
	Why       string   `json:"why,omitempty"`       // what is wrong and stays so
	Hint      string   `json:"hint,omitempty"`      // what to do about that
}

// Repair gives each job's scheduler the entry that it should have, if that is
// missing, there twice, or not as the job's file says, and then tries whether the
// job could run. No entry is touched that is not the job's.
func Repair(ctx context.Context, env Env, o RepairOptions) ([]RepairedJob, error) {
	picked, err := repairPicked(ctx, env, o)
	if err != nil || o.DryRun {
		return picked.results(), err
	}
	for _, r := range picked {
		r.try(ctx, env)
	}
	picked = slices.DeleteFunc(picked, (*repairing).gone)
	return picked.results(), ctx.Err()
}

// repairs are the jobs of one Repair.
type repairs []*repairing

// A repairing is a job on its way through Repair.
type repairing struct {
	RepairedJob
	job   Job
	entry sched.Entry     // that its scheduler has now
	sched sched.Scheduler // nil: there is nothing that could be tried
}

func (all repairs) results() []RepairedJob {
	out := make([]RepairedJob, len(all))
	for i, r := range all {
		out[i] = r.RepairedJob
	}
	return out
}

// repairPicked mends the entries of all the jobs that are meant, under the lock
// that install, uninstall and the runs of at take, too.
func repairPicked(ctx context.Context, env Env, o RepairOptions) (all repairs, err error) {
	if !o.DryRun {
		lock, lockErr := lockJobs(ctx, env.Dirs)
		if lockErr != nil {
			return nil, lockErr
		}
		defer func() { err = errors.Join(err, lock.Unlock()) }()
	}
	jobs, err := allJobs(env.Dirs)
	if err != nil {
		return nil, err
	}
	picked, err := o.Which.pick(jobs)
	if err != nil {
		return nil, err
	}
	for _, n := range picked {
		r := &repairing{RepairedJob: RepairedJob{ID: n.id(), Result: RepairFine}}
		all = append(all, r)
		if n.broken != nil {
			r.broken(fmt.Errorf("its file cannot be used: %w", n.broken.Err))
			continue
		}
		r.job, r.Name, r.Scheduler = n.job, n.job.Options.Name, n.job.Scheduler
		if err := r.mend(ctx, env, o); err != nil {
			r.Found, r.sched, r.Scheduler = nil, nil, r.job.Scheduler
			r.broken(err)
		}
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
	}
	return all, nil
}

// broken notes what is wrong with a job and stays so.
func (r *repairing) broken(err error) {
	r.Result, r.Why, r.Hint = RepairBroken, err.Error(), hintOf(err)
}

// mend compares what the schedulers have of the job with what they should have,
// and puts it right.
func (r *repairing) mend(ctx context.Context, env Env, o RepairOptions) error {
	spec, err := r.job.Spec()
	if err != nil {
		return err
	}
	book, err := r.job.slots()
	if err != nil {
		return err
	}
	want, err := r.job.expected(env, spec, env.Now())
	if err != nil {
		return err
	}
	owed := r.job.owed(spec, book, env.Now())
	if owed.Slot.IsZero() && owed.Next.IsZero() {
		return nil // a single run that is done with
	}
	s, err := env.scheduler(r.job.Scheduler)
	if err == nil {
		err = s.Check(ctx)
	}
	if err != nil {
		if o.Scheduler == "" || o.Scheduler == r.job.Scheduler {
			return notWorking(ctx, env, r.job, want, err)
		}
		return r.move(ctx, env, o, spec, err)
	}
	r.sched, r.entry = s, want
	found, err := r.find(ctx, env, s, want)
	if err != nil || len(found) == 0 {
		return err
	}
	r.Found, r.Result = found, RepairMended
	if o.DryRun {
		return nil
	}
	// What is owed is begun at once; at has no other way to hear of it.
	add := want
	if add.Next = owed.Next; !owed.Slot.IsZero() {
		add.Next = env.Now()
	}
	if err := s.Add(ctx, add); err != nil {
		return err
	}
	if err := r.dropOthers(ctx, env, s, want); err != nil {
		return err
	}
	if left, err := r.find(ctx, env, s, want); err != nil || len(left) > 0 {
		return errors.Join(err, errors.New(strings.Join(left, "; ")))
	}
	return nil
}

// find tells what is wrong with the entries of the job, one sentence each.
func (r *repairing) find(ctx context.Context, env Env, s sched.Scheduler, want sched.Entry) (found []string, err error) {
	list, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range faults(s, want, entriesOf(env.Dirs, list, numbered{job: r.job})) {
		found = append(found, f.text)
	}
	others, err := r.others(ctx, env, s, want)
	for _, e := range others {
		found = append(found, e.entry.Where+" starts it, too")
	}
	return found, err
}

// others are the entries of the job that it should not have: in other schedulers,
// or by another name of its file.
func (r *repairing) others(ctx context.Context, env Env, own sched.Scheduler, want sched.Entry) (found []hadEntry, err error) {
	for _, s := range env.allSchedulers() {
		list, err := s.List(ctx)
		if err != nil {
			if s.Name() == own.Name() {
				return nil, err
			}
			continue // it starts nothing either
		}
		for _, e := range entriesOf(env.Dirs, list, numbered{job: r.job}) {
			if !e.Running && (s.Name() != own.Name() || e.Job != want.Job) {
				found = append(found, hadEntry{s, e})
			}
		}
	}
	return found, nil
}

func (r *repairing) dropOthers(ctx context.Context, env Env, own sched.Scheduler, want sched.Entry) error {
	others, err := r.others(ctx, env, own, want)
	if err != nil {
		return err
	}
	for _, e := range others {
		if _, err := e.in.Remove(ctx, e.entry.Job); err != nil {
			return err
		}
	}
	return nil
}

// move gives the job to another scheduler, as an install of it would.
func (r *repairing) move(ctx context.Context, env Env, o RepairOptions, spec *sched.Spec, why error) error {
	binary, err := env.binary()
	if err != nil {
		return err
	}
	now := env.Now().In(r.job.Installed.Location())
	if _, more := spec.Next(now); !more {
		return &HintError{Err: errors.New("its only time has passed"), Hint: "tinybackup run --now --job " + r.ID}
	}
	p := &InstalledJob{job: r.job, old: &r.job, spec: spec, anchor: now}
	if err := p.schedule(ctx, env, o.Scheduler, binary); err != nil {
		return err
	}
	r.Found = []string{fmt.Sprintf("%s; %s starts it now", withName(r.job.Scheduler, why), p.Scheduler)}
	r.Result, r.Scheduler = RepairMended, p.Scheduler
	if o.DryRun {
		return nil
	}
	if err := p.put(ctx, env); err != nil {
		return err
	}
	r.Found = append(r.Found, p.Notes...)
	return nil
}

// notWorking says that a job's scheduler does not work here, and who does.
func notWorking(ctx context.Context, env Env, job Job, want sched.Entry, why error) error {
	hint := hintOf(why)
	for _, s := range env.allSchedulers() {
		if s.Name() == job.Scheduler || canExpress(env, s, want) != nil || s.Check(ctx) != nil {
			continue
		}
		hint = strings.TrimPrefix(hint+"; or let another one start it: tinybackup repair "+job.ID+" --scheduler "+s.Name(), "; or ")
		break
	}
	return &HintError{Err: fmt.Errorf("its scheduler does not work here: %s", withName(job.Scheduler, why)), Hint: hint}
}

// try starts the job's command as its scheduler does: an entry alone is no backup.
func (r *repairing) try(ctx context.Context, env Env) {
	if r.sched == nil {
		return
	}
	err := preflight(ctx, env, r.sched, r.entry)
	if err == nil && r.sched.Name() == "service" && !serviceRuns(env.Dirs) {
		err = &HintError{Err: errors.New("the service is not running"), Hint: "tinybackup start"}
	}
	if err != nil {
		r.broken(err)
	}
}

// gone says whether the job was uninstalled while it was tried, which needs no lock:
// nothing is to be mended then.
func (r *repairing) gone() bool {
	_, err := os.Lstat(r.job.Path)
	return r.job.Path != "" && errors.Is(err, fs.ErrNotExist)
}

// allMended says whether no job is left broken.
func allMended(jobs []RepairedJob) bool {
	return !slices.ContainsFunc(jobs, func(r RepairedJob) bool { return r.Result == RepairBroken })
}
