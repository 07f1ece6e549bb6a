package tinybackup

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"tinybackup/internal/sched"
)

// job finds out how one job is.
func (l *look) job(ctx context.Context, n numbered) JobStatus {
	js := JobStatus{Number: n.number, ID: n.id(), Path: n.path(), Problems: []Problem{}, Free: -1}
	if n.broken != nil {
		mend := hintOf(n.broken.Err)
		js.problem(StateBroken, mend, "its file cannot be used: %v", n.broken.Err)
		js.settle(StateBroken, "")
		return js
	}
	j := n.job
	js.Name, js.Source, js.Dest = j.Options.Name, j.Options.Source, j.Options.Dest
	js.Time, js.Zone, js.Scheduler = j.Time, j.Installed.Location().String(), j.Scheduler
	js.Log, js.History, js.Messages = j.LogFile, j.History().path(), j.heard()
	spec, err := j.Spec()
	if err != nil { // readJob has parsed it
		js.problem(StateBroken, "", "its time cannot be read: %v", err)
		js.settle(StateBroken, "")
		return js
	}
	js.Schedule = spec.Describe()
	r, err := readRuns(j.History(), l.now, l.recent)
	if err != nil {
		js.problem(StateBroken, "ls -l "+shellQuote(js.History), "its history cannot be read: %v", cause(err))
	}
	book, err := j.slots()
	if err != nil {
		js.problem(StateBroken, "ls -l "+shellQuote(j.slotsPath()), "what is known of its slots cannot be read: %v", cause(err))
	}
	pid, running := isLocked(filepath.Join(j.StateDir, "run.lock"))
	if !running {
		r.interrupted(book)
	}
	js.Running, js.Last, js.LastGood, js.Recent = running, r.last, r.good, r.recent
	js.Failures, js.Failing, js.FailedSlots, js.Tries = r.failures, r.failing, book.FailedSlots, book.Tries
	turn := j.owed(spec, book, l.now)
	js.Next = turn.Next
	slot, passed := spec.Prev(l.now)
	js.Done = j.Once && passed && !r.begun.Before(slot)
	if !js.Done {
		l.scheduler(&js, n, spec)
	}
	var source fs.FileInfo
	if j.Options.Before == "" { // which may mount it, or write it
		source = l.source(&js)
	}
	l.dest(ctx, &js, book, source)
	l.copies(&js, j.Options)
	var state State
	var why string
	if running {
		state, why = l.running(&js, j, pid)
	} else {
		state, why = l.planned(&js, j, spec, r, turn)
	}
	js.settle(state, why)
	return js
}

// problem notes what is wrong.
func (s *JobStatus) problem(state State, mend, format string, args ...any) {
	s.Problems = append(s.Problems, Problem{State: state, Why: fmt.Sprintf(format, args...), Mend: mend})
}

// settle makes state the job's, unless one of its problems is worse.
func (s *JobStatus) settle(state State, why string) {
	rank := func(s State) int { return -slices.Index(states, s) }
	slices.SortStableFunc(s.Problems, func(a, b Problem) int { return rank(a.State) - rank(b.State) })
	s.State, s.Why, s.OK = state, why, len(s.Problems) == 0
	if !s.OK && rank(s.Problems[0].State) <= rank(state) {
		worst := s.Problems[0]
		s.State, s.Why, s.Mend = worst.State, worst.Why, worst.Mend
	}
}

// runs are what a history tells of a job, as far as its state depends on it.
type runs struct {
	recent     []HistoryEntry // the last ones, oldest first
	last, good *HistoryEntry  // the last run, and the last one that stored an archive
	failures   int            // failed runs after that
	failing    time.Time      // when the first of these began, or its slot
	failed     *HistoryEntry  // the last run that did anything, if it failed
	begun      time.Time      // the newest start
}

// readRuns reads a history from its end, no farther than it needs: to the last
// success, and for so many recent runs. A run far in the future was begun by a
// clock that was wrong, and does not count.
func readRuns(h History, now time.Time, recent int) (r runs, err error) {
	for e, err := range h.Newest() {
		if err != nil {
			return r, err
		}
		if len(r.recent) < recent {
			r.recent = append(r.recent, e)
		}
		if e.Start.After(now.Add(clockWrong)) {
			continue
		}
		r.take(e)
		if r.good != nil && len(r.recent) == recent {
			break
		}
	}
	slices.Reverse(r.recent)
	return r, nil
}

// clockWrong is how far in the future a run may have begun.
const clockWrong = 3 * time.Hour

// take counts an entry; they come from the newest on.
func (r *runs) take(e HistoryEntry) {
	if e.Result == ResultMissed {
		return
	}
	first := r.begun.IsZero() // of those that did anything
	if r.last == nil {
		r.last = &e
	}
	if e.Result == ResultSkipped {
		return
	}
	if first {
		r.begun = e.Start
	}
	switch {
	case r.good != nil:
	case e.Stored():
		r.good = &e
	case e.Result == ResultFailed:
		if first {
			r.failed = &e
		}
		r.failures++
		if r.failing = e.Slot; e.Slot.IsZero() {
			r.failing = e.Start
		}
	}
}

// interrupted counts a run that the book says began, and that never told how it
// ended: the next run will tell of it.
func (r *runs) interrupted(book slotBook) {
	if book.Tries == 0 || !book.Slot.After(book.Settled) || !book.Tried.After(r.begun) {
		return
	}
	if book.Stored != nil {
		r.last, r.good, r.begun, r.failed, r.failures = book.Stored, book.Stored, book.Tried, nil, 0
		return
	}
	if r.failures++; r.failures == 1 {
		r.failing = book.Slot
	}
	r.failed = &HistoryEntry{Slot: book.Slot, Start: book.Tried, End: book.Tried, Result: ResultFailed, Error: "it was killed, or the machine went off"}
	r.last, r.begun = r.failed, book.Tried
}

// served is up to when the job's slots are done with: a run by hand does for those
// before it, too.
func (r runs) served(installed time.Time) time.Time {
	at := installed
	if r.good != nil {
		for _, t := range []time.Time{r.good.Slot, r.good.Start} {
			if t.After(at) {
				at = t
			}
		}
	}
	return at
}

// planned tells how a job is that does not run just now.
func (l *look) planned(js *JobStatus, j Job, spec *sched.Spec, r runs, turn sched.Verdict) (State, string) {
	if js.Done && r.failed == nil {
		return StateOK, "it is done: it was to run once"
	}
	served := r.served(j.Installed)
	first, found := spec.Next(served) // the oldest slot that no success has settled
	if found && first.After(l.now) {
		found = false
	}
	again := rerun(js.ID)
	if len(js.Problems) > 0 {
		// What is in the way comes first: an archive on the mount point of a disk that
		// is not there would mend nothing.
		again = ""
	}
	onTime := sched.OnTime + time.Duration(j.Options.Jitter)
	overdue := first.Add(onceOverdue)
	if second, more := spec.Next(first); more {
		overdue = second.Add(onTime)
	}
	switch {
	case found && l.now.After(overdue):
		why := fmt.Sprintf("no backup for %s, since %s", roughly(l.now.Sub(served)), l.clock(served))
		if r.good == nil {
			why = fmt.Sprintf("no backup yet, and its first run was due %s ago, %s", roughly(l.now.Sub(first)), l.clock(first))
		}
		if r.failed != nil {
			why += "; it " + l.failure(js, r, turn)
		}
		js.problem(StateOverdue, again, "%s", why)
	case r.failed != nil:
		js.problem(StateFailed, again, "it %s", l.failure(js, r, turn))
	case found && l.now.Sub(first) > onTime && turn.Slot.IsZero():
		js.problem(StateLate, again, "its run of %s was missed: nothing started it in time", l.clock(first))
	case found && !turn.Slot.IsZero() && j.waitsForPower(l.env):
		return StateDue, "its run of " + l.clock(first) + " waits: " + noPower
	case found && l.now.Sub(first) > onTime:
		js.problem(StateLate, again, "its run of %s has not begun, %s after its time", l.clock(first), roughly(l.now.Sub(first)))
	case r.last == nil && !found:
		return StateDue, fmt.Sprintf("its first run is in %s", roughly(js.Next.Sub(l.now)))
	case r.last == nil:
		return StateDue, "its first run is due now"
	}
	if r.good != nil && r.good.Warnings > 0 {
		return StateOK, "its last run had " + plural(int64(r.good.Warnings), "warning", "warnings")
	}
	return StateOK, ""
}

// onceOverdue is how long after its only slot a job is overdue that runs once.
const onceOverdue = 24 * time.Hour

// failure says how often a job failed, since when, why, and when it is tried again.
func (l *look) failure(js *JobStatus, r runs, turn sched.Verdict) string {
	js.LogLine = lastErrorLine(js.Log)
	next := ""
	switch {
	case !turn.Slot.IsZero():
		next = ", and is about to be tried again"
	case !turn.Next.IsZero():
		next = "; next try at " + l.soon(turn.Next)
	}
	if r.failures > 1 {
		return fmt.Sprintf("failed %d times since %s%s: %s", r.failures, l.clock(r.failing), next, r.failed.Error)
	}
	return fmt.Sprintf("failed on %s%s: %s", l.clock(r.failed.Start), next, r.failed.Error)
}

// stalledAfter is how long a run may make no progress: more than any file takes,
// and than a slow disk needs to answer.
const stalledAfter = 30 * time.Minute

// running tells how far the run is that goes on.
func (l *look) running(js *JobStatus, j Job, pid int) (State, string) {
	p := j.progress(pid)
	if p == nil {
		return StateRunning, "a run is going on"
	}
	js.Progress = &ProgressView{RunProgress: *p, Rate: p.Rate(), Left: int64(p.Left() / time.Second)}
	why := fmt.Sprintf("since %s, %s", l.soon(p.Since), p.Phase)
	if p.Done > 0 {
		why += ", " + Size(p.Done).String()
		if p.Total >= p.Done {
			why += " of " + Size(p.Total).String()
		}
	}
	if rate := p.Rate(); rate > 0 {
		why += fmt.Sprintf(", %s/s", Size(rate))
	}
	if left := p.Left(); left > 0 {
		why += ", " + took(left) + " left"
	}
	patience := stalledAfter
	if p.Phase == phaseStarting {
		patience += time.Duration(j.Options.LockWait)
	}
	if still := l.now.Sub(p.Updated); still > patience {
		js.problem(StateRunning, fmt.Sprintf("kill %d", pid), "its run (process %d) has made no progress for %s: %s", pid, roughly(still), why)
	}
	return StateRunning, why
}

// rerun is what to type to back up now.
func rerun(id string) string { return "tinybackup run --now --job " + id }

// clock is how a person sees a time in the past.
func (l *look) clock(t time.Time) string { return t.Format(clockFormat) }

// soon is a time near now: without the day, if that is today.
func (l *look) soon(t time.Time) string {
	y, m, d := l.now.In(t.Location()).Date()
	if ty, tm, td := t.Date(); ty == y && tm == m && td == d {
		return t.Format("15:04")
	}
	return t.Format(clockFormat)
}

// roughly is a length of time for a person: its largest units.
func roughly(d time.Duration) string {
	d = d.Round(time.Minute)
	days, hours, minutes := int64(d/(24*time.Hour)), int64(d/time.Hour)%24, int64(d/time.Minute)%60
	switch {
	case days >= 3:
		return plural(days, "day", "days")
	case days > 0:
		return fmt.Sprintf("%dd %dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh %dm", hours, minutes)
	}
	return plural(minutes, "minute", "minutes")
}
