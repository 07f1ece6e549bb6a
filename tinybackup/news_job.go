package tinybackup

import (
	"context"
	"errors"
	"time"
)

// news is what there is to tell of a run of the job that has ended, or never came to
// be. Call it after the book is settled, and before the run is in the history.
func (r *jobRun) news(report Report, err error) []news {
	if r.herald == nil {
		return nil
	}
	last, stored := r.before(err == nil && (report.WarningCount > 0 || len(report.Copies) > 0))
	if errors.As(err, new(*BusyError)) && last.Result == ResultSkipped {
		return nil // one that takes long is told of once
	}
	if report.Start.IsZero() {
		report.Start = r.start
	}
	next := ""
	if r.book.Tries > 0 {
		next = day(r.job.owed(r.spec, r.book, r.env.Now()).Next)
	}
	return r.herald.tale.newsOf(report, err, stored, next, r.herald.tail.String())
}

// before are the last entry of the history and, if it matters, the last one whose
// run stored an archive.
func (r *jobRun) before(matters bool) (last, stored HistoryEntry) {
	for e, err := range r.job.History().Newest() {
		if err != nil {
			break // rather told twice than not
		}
		if last.Result == "" {
			last = e
		}
		if e.Stored() {
			stored = e
		}
		if !matters || e.Stored() {
			break
		}
	}
	return last, stored
}

// cannot has it told that the run could not even begin.
func (r *jobRun) cannot(ctx context.Context, err error) {
	slot, passed := r.spec.Prev(r.start)
	onTime := r.over.Now || passed && r.start.Sub(slot) < time.Minute
	r.herald.cannot(err, exitStatus(ctx, err), onTime)
}
