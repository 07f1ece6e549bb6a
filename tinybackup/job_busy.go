package tinybackup

import (
	"context"
	"errors"
	"path/filepath"
	"time"
)

// locked is for a run that did not get the job's lock.
func (r *jobRun) locked(ctx context.Context, err error) (Report, error) {
	var busy *BusyError
	if errors.As(err, &busy) && !r.over.Now && r.inHand(ctx) {
		return r.idle(busy.Msg), nil
	}
	entry := HistoryEntry{Start: r.start}
	if !r.over.Now {
		entry.Slot, _ = r.spec.Prev(r.start)
	}
	switch {
	case busy == nil:
		r.cannot(ctx, err)
	case !r.over.Now: // else the one who asks reads it
		for _, n := range r.news(Report{Start: r.start}, err) {
			r.herald.tell(n)
		}
	}
	return Report{}, errors.Join(err, r.record(ctx, &entry, Report{}, err))
}

// A run notes its slot in the book before it begins, but after it has taken the lock:
// whoever finds that taken gives it bookTries times bookPause.
const (
	bookTries = 100
	bookPause = 50 * time.Millisecond
)

// inHand says whether the run that has the lock serves the slot of this one. A book
// that cannot be read is no reason.
func (r *jobRun) inHand(ctx context.Context) bool {
	slot, passed := r.spec.Prev(r.start)
	for range bookTries {
		book, err := r.job.slots()
		if err != nil {
			return false
		}
		if !passed || !slot.After(later(book.Slot, book.Settled)) {
			return true
		}
		if r.env.pause(ctx, bookPause) != nil {
			return false
		}
	}
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// running says whether a run of the job is going on.
func (j Job) running() bool {
	_, locked := isLocked(filepath.Join(j.StateDir, "run.lock"))
	return locked
}
