package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
	"tinybackup/internal/sched"
)

// settle notes in the book how a run has ended, and gives what changed by it.
func (r *jobRun) settle(slot time.Time, report Report, err error) (change string) {
	var busy *BusyError
	switch {
	case err == nil:
		change = r.book.served(slot)
		r.book.Dest, r.book.Archive = r.job.Options.Dest, report.Archive
	case errors.As(err, &busy): // no failure of this job: another writes the same archives
		return ""
	default:
		change = r.book.failed(r.start)
	}
	r.keep()
	return change
}

// firstWarnings is how many warnings of a run the history keeps: the log has all.
const firstWarnings = 5

// record fills in a run's line of the history from its outcome, and writes it.
func (r *jobRun) record(ctx context.Context, entry *HistoryEntry, report Report, err error) error {
	entry.End = r.env.Now().In(entry.Start.Location())
	entry.fill(ctx, report, err)
	entry.Copies = copyStates(report.Copies, r.last.Copies, entry.Start)
	if err := r.job.History().Append(*entry); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// fill fills in what became of a run.
func (e *HistoryEntry) fill(ctx context.Context, report Report, err error) {
	e.Archive, e.Read, e.Raw = report.Archive, report.Read, report.Raw
	e.Written, e.Reused = report.Written, report.Reused
	e.Entries, e.Removed, e.Warnings = report.Entries, len(report.Removed), report.WarningCount
	e.First = report.Warnings[:min(len(report.Warnings), firstWarnings)]
	var busy *BusyError
	switch {
	case errors.As(err, &busy):
		e.Result = ResultSkipped
	case err != nil:
		e.Result = ResultFailed
	case report.WarningCount > 0:
		e.Result = ResultWarnings
		err = errWarnings
	default:
		e.Result = ResultOK
	}
	e.Exit = exitStatus(ctx, err)
	if err != nil && !errors.Is(err, errWarnings) {
		e.Error = err.Error()
	}
}

// comeBack has the job started once more before its next slot, if there will be
// something to do: a failed run is tried again, and one whose slot passed during
// this one is made up for. Cron and the service ask by themselves.
func (r *jobRun) comeBack(ctx context.Context) {
	s, err := r.env.scheduler(r.job.Scheduler)
	if err != nil {
		return // it is the job file's, and install has checked it
	}
	retrier, can := s.(sched.Retrier)
	if !can {
		return
	}
	now := r.env.Now()
	next, more := r.spec.Next(now)
	v := r.job.owed(r.spec, r.book, now)
	at := v.Next
	switch {
	case r.wait > 0:
		at = now.Add(r.wait)
	case !v.Slot.IsZero():
		at = now.Add(time.Minute)
	}
	if at.IsZero() || more && !at.Before(next) {
		return
	}
	err = r.job.withEntry(ctx, r.env, r.spec, at.In(next.Location()), func(e sched.Entry) error { return retrier.Retry(context.WithoutCancel(ctx), e) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.warn("another try could not be queued: " + err.Error())
	}
}
