package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"tinybackup/internal/store"
)

// How long a run may take to leave its record: a destination that does not answer is
// not waited for, least of all by a run that was told to end.
const (
	recordLimit = 30 * time.Second
	goneLimit   = 10 * time.Second // uninstall, for which somebody waits
	recordHaste = 5 * time.Second
)

// outcome is what a record tells of this run, given how it ended.
func (r *run) outcome(ctx context.Context, err error) HistoryEntry {
	report := r.report
	r.warn.into(&report)
	entry := HistoryEntry{Start: r.start, End: r.Now()}
	if r.promise != nil {
		entry.Slot = r.promise.slot
	}
	entry.fill(ctx, report, err)
	entry.First = nil
	return entry
}

// recordOf is the record of a job of o after a run of that outcome.
func (e Env) recordOf(o Options, job string, last HistoryEntry) Record {
	last.Error = o.toldTo(last.Error)
	rec := Record{
		Version: recordVersion, Tool: versionText(), Recorded: last.End, Host: e.hostName(), Job: job, Name: o.Name, Source: o.Source, Last: &last,
	}
	if len(o.Encrypt) > 0 {
		rec.seal(o.Source)
	}
	if e.promise != nil {
		p, holds := e.promise.now(e.Dirs, o)
		if p.into(&rec); !holds {
			rec.remove(rec.Recorded)
		}
	}
	return rec
}

// leaveRecord leaves word of the run beside its archives, as far as that goes: the run
// has ended, and nothing of it depends on that. What a run by hand that was refused had to
// say, whoever typed it has heard. st is the destination if that is open.
func (r *run) leaveRecord(ctx context.Context, st store.Store, err error) {
	refused := r.job == "" && errors.As(err, new(*UsageError))
	if r.recorded || r.DryRun || refused || errors.As(err, new(*BusyError)) {
		return
	}
	r.recorded = true
	defer r.pulse.hold()() // its limit is its own
	rec := r.recordOf(r.Options, r.job, r.outcome(ctx, err))
	rec.Archives, rec.Bytes = r.report.Kept, r.report.KeptBytes
	failed := soon(ctx, r.Dest, recordLimit, func(ctx context.Context) error {
		if st == nil {
			return atDest(ctx, r.Env, r.Options, func(st store.Store) error { return leaveRecord(ctx, st, rec) })
		}
		return leaveRecord(ctx, st, rec)
	})
	if failed != nil {
		r.Log.Info("no record of this run is left beside its archives", "why", failed.Error())
	}
}

// leaveRecord leaves word of the copies beside them, given how that went.
func (k *copying) leaveRecord(ctx context.Context, st store.Store, err error) {
	last := k.last
	last.End, last.Archive, last.Written = k.Now(), "", 0
	if err == nil {
		k.note(func(c *CopyReport) { last.Archive = c.Newest })
		for _, a := range k.here {
			if a.Name == last.Archive {
				last.Written = a.Size
			}
		}
	} else {
		last.Result, last.Exit, last.Error = ResultFailed, exitStatus(ctx, err), inOneLine(err)
	}
	defer k.pulse.hold()()
	rec := k.recordOf(k.Options, k.job, last)
	if err := soon(ctx, k.Dest, recordLimit, func(ctx context.Context) error { return leaveRecord(ctx, st, rec) }); err != nil {
		k.Log.Info("no record is left beside the copies", "dest", k.Dest, "why", err.Error())
	}
}

// soon calls do, which is about dest and gets a context of its own, and waits for it no
// longer than limit.
func soon(ctx context.Context, dest string, limit time.Duration, do func(ctx context.Context) error) error {
	if ctx.Err() != nil {
		limit = recordHaste
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), limit, fmt.Errorf("%q does not answer", dest))
	defer cancel()
	return answers(ctx, dest, limit, func() error { return do(ctx) })
}

// atDest opens the destination of o for do.
func atDest(ctx context.Context, env Env, o Options, do func(store.Store) error) (err error) {
	st, err := openStore(ctx, env, o.Dest, o.Access)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return do(st)
}

// A place is where a job has archives.
type place struct {
	job     string   // id
	options Options  // those of a copy have its destination
	promise *promise // of its schedule, if that is another one now; nil: the job is gone from there
}

// places are those of a job.
func (j Job) places() []place {
	all := []place{{job: j.ID, options: j.Options}}
	for _, c := range j.Options.CopyTo {
		all = append(all, place{job: j.ID, options: j.Options.forCopy(c)})
	}
	return all
}

// left are the places of jobs that were, and are none of the jobs that are now.
func left(were, are []Job) (gone []place) {
	for _, old := range were {
	places:
		for _, p := range old.places() {
			for _, j := range are {
				for _, q := range j.places() {
					if p.options.Name == q.options.Name && samePlace(p.options.Dest, q.options.Dest) {
						continue places
					}
				}
			}
			gone = append(gone, p)
		}
	}
	return gone
}

// changed are the places where what the records of changed jobs promise does not hold
// any more: those that a job has left, and all of one that has another schedule.
func changed(jobs ...InstalledJob) []place {
	var were, are []Job
	var stay []place
	for _, p := range jobs {
		if p.old == nil {
			continue
		}
		were, are = append(were, *p.old), append(are, p.job)
		if p.job.sameEntry(*p.old) && p.job.Options.Jitter == p.old.Options.Jitter {
			continue
		}
		for _, at := range p.job.places() {
			at.promise = &promise{job: p.job, spec: p.spec}
			stay = append(stay, at)
		}
	}
	return append(left(were, are), stay...)
}

// inform says in places what is to be expected there from now on. One that cannot be
// reached is not told, and whoever waits for that is: its job will be silent there. A
// directory that is not there shows nothing to anybody.
func inform(ctx context.Context, env Env, places []place) {
	several(len(places), fleetAtOnce, func(i int) {
		p := places[i]
		err := soon(ctx, p.options.Dest, goneLimit, func(ctx context.Context) error {
			return atDest(ctx, env, p.options, func(st store.Store) error { return p.tell(ctx, st, env.Now()) })
		})
		if err != nil && (isRemote(p.options.Dest) || !errors.Is(err, fs.ErrNotExist)) {
			news := "is gone from there"
			if p.promise != nil {
				news = "has another schedule"
			}
			env.Log.Warn(fmt.Sprintf("what statusof shows of %q does not know that job %s %s: %s", p.options.Dest, p.job, news, inOneLine(err)))
		}
	})
}

// tell notes in a job's record that it was uninstalled at now, or has another schedule.
// Where it left none, there is none.
func (p place) tell(ctx context.Context, st store.Store, now time.Time) error {
	rec, err := readRecord(ctx, st, p.options.Name)
	if err != nil || rec.Job != p.job || !rec.Removed.IsZero() {
		return ignoreMissing(err)
	}
	rec.Recorded = now
	if p.promise != nil {
		p.promise.into(&rec)
	} else {
		rec.remove(now)
	}
	return putRecord(ctx, st, rec)
}
