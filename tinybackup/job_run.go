package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"tinybackup/internal/sched"
)

// RunOnce are the options of a single run of a job.
type RunOnce struct {
	Now    bool // back up whether or not a slot is owed: a person asks
	Retry  bool // try a slot that failed again at once; an error as long as the last one is not served: who starts it goes by that
	DryRun bool // say what would be done
	Yes    bool // let rotation remove unusually many archives
	Verify bool // decode the archive also if the job does not ask for it
	Reread bool // read everything also if the job does not ask for it
}

// options are the job's, with those of this run alone.
func (r RunOnce) options(o Options) Options {
	o.DryRun, o.Yes = r.DryRun, r.Yes
	o.Verify, o.Reread = o.Verify || r.Verify, o.Reread || r.Reread
	return o
}

// RunJob runs a job as its scheduler does: with at, its next run is queued before
// anything else; then, under the job's lock, it finds out which slot is owed, if
// any. None is no error: nothing is done, and Report.Nothing says why. So it does
// not matter who starts a job, and how often. Then comes the backup, its log and
// its line in the history. A run that finds another one of the same job going on
// leaves a line, too, and is a *BusyError; unless that serves the same slot.
//
// The job's own options count; over holds those of this run alone.
func RunJob(ctx context.Context, env Env, job Job, over RunOnce) (report Report, err error) {
	if over.DryRun {
		return Run(ctx, env, over.options(job.Options), job.ID)
	}
	spec, err := job.Spec()
	if err != nil {
		return Report{}, err
	}
	r := &jobRun{env: env, job: job, spec: spec, over: over, start: env.Now().In(job.Installed.Location()), file: slog.New(slog.DiscardHandler)}
	r.herald = newHerald(env, job.Options, &job)
	// When the locks are given back: a service that does not answer is in nobody's way.
	defer func() { r.herald.speak(ctx) }()
	defer func() { r.addTrouble(&report) }()
	broken := ""
	err = requeue(ctx, env, job, spec)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Report{}, err
	case err != nil: // the backup is what counts: a broken chain is a warning
		broken = "the next run could not be queued: " + err.Error()
	}
	lock, err := lockFile(ctx, filepath.Join(job.StateDir, "run.lock"), "a run of job "+job.ID, time.Duration(job.Options.LockWait))
	if err != nil {
		r.warn(broken)
		return r.locked(ctx, err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	defer r.openLog()()
	r.warn(broken)
	if r.book, err = job.slots(); err != nil {
		err = fmt.Errorf("slots: %w", err)
		r.cannot(ctx, err)
		return Report{}, err
	}
	report, err = r.run(ctx)
	r.comeBack(ctx)
	return report, err
}

// A jobRun is one start of a job, by whomever.
type jobRun struct {
	env   Env // once the log is open, its Log goes there as well
	job   Job
	spec  *sched.Spec
	over  RunOnce
	start time.Time    // in the job's zone
	file  *slog.Logger // the job's log alone

	book    slotBook
	herald  *herald
	wait    time.Duration // look again after that long; 0: when the book says so
	trouble []string      // warnings that are in no report yet
	last    HistoryEntry  // of a job with copies: the last run before that stored an archive

	unfinished string // the archive of a run that was killed while it made copies; empty: none was
}

// warn tells of what went wrong beside the backup: it counts as a warning of the
// run. No text is no trouble.
func (r *jobRun) warn(text string) {
	if text != "" {
		r.env.Log.Warn(text)
		r.trouble = append(r.trouble, text)
	}
}

// addTrouble moves the warnings so far into a report.
func (r *jobRun) addTrouble(report *Report) {
	report.Warnings = append(r.trouble, report.Warnings...)
	report.WarningCount += len(r.trouble)
	r.trouble = nil
}

// openLog opens the job's log, which comes into being with its first line, and
// gives what closes it.
func (r *jobRun) openLog() (done func()) {
	file, err := openLog(r.job.LogFile)
	if err != nil {
		// A full disk must not keep a backup from going to another one.
		r.warn("no log is written: " + err.Error())
		return func() {}
	}
	outer := r.env.Log
	h := r.herald.listen(file.handler(r.env.LogLevel, r.env.Now).WithAttrs([]slog.Attr{slog.String("job", r.job.Options.Name)}))
	r.file = slog.New(h)
	r.env.Log, r.env.logPath = slog.New(teeHandler{outer.Handler(), h}), r.job.LogFile
	return func() {
		if err := file.Close(); err != nil {
			text := "the log is not complete: " + err.Error()
			outer.Warn(text)
			r.trouble = append(r.trouble, text)
		}
	}
}

// run does what is owed. It is called under the job's lock.
func (r *jobRun) run(ctx context.Context) (Report, error) {
	r.interrupted(ctx)
	turn := r.job.owed(r.spec, r.book, r.start)
	if r.over.Now {
		if turn.Slot, _ = r.spec.Prev(r.start); !turn.Slot.After(r.book.Settled) {
			turn.Slot = time.Time{}
		}
	} else {
		r.missed(ctx, turn.Missed)
		if !r.book.Settled.Equal(turn.Settled) {
			r.book.Settled = turn.Settled
			r.keep()
		}
		if r.over.Retry {
			turn = r.again(turn)
		}
		if turn.Slot.IsZero() && r.unfinished != "" && !r.job.waitsForPower(r.env) {
			return r.backup(ctx, turn)
		}
		if turn.Slot.IsZero() {
			return r.rest(r.nothing(turn), !r.book.FailingSince.IsZero())
		}
		if why := r.waits(ctx, turn); why != "" {
			r.wait = sched.OnTime
			text := "the run of " + r.day(turn.Slot) + " waits: " + why
			r.file.Info(text)
			return r.rest(text, true)
		}
	}
	if !turn.Slot.IsZero() {
		r.book.begin(turn.Slot, r.start)
		r.keep()
	}
	return r.backup(ctx, turn)
}

// again has the slot that failed tried now, and not when its next try is due, unless
// it was given up.
func (r *jobRun) again(turn sched.Verdict) sched.Verdict {
	slot, passed := r.spec.Prev(r.start)
	if turn.Slot.IsZero() && passed && r.book.Tries > 0 && r.book.Slot.Equal(slot) && slot.After(turn.Settled) {
		turn.Slot, turn.Retry = slot, true
	}
	return turn
}

// waits says why a run does not begin yet, though it is owed.
func (r *jobRun) waits(ctx context.Context, turn sched.Verdict) string {
	if r.job.waitsForPower(r.env) {
		return noPower
	}
	if turn.Late || turn.Retry {
		if err := r.asked(ctx, func(b slotBook) error { return r.away(ctx, b) }); err != nil {
			return err.Error()
		}
	}
	return ""
}

// noPower is why a job waits that is not to begin on battery.
const noPower = "the machine is on battery"

// waitsForPower says whether the job would not begin now for that.
func (j Job) waitsForPower(env Env) bool { return j.Options.OnBattery == "wait" && env.onBattery() }

// asked is ask's error, or that the destination does not answer: its server may be
// gone, and the watchdog's time has not come yet.
func (r *jobRun) asked(ctx context.Context, ask func(slotBook) error) error {
	book := r.book // what hangs keeps it
	limit := answerLimit
	if stall := r.job.Options.StallTimeout.or(DefaultStallTimeout); stall > 0 {
		limit = min(limit, stall)
	}
	return answers(ctx, r.job.Options.Dest, limit, func() error { return ask(book) })
}

// away is an error if the destination is not there, or not the one it was.
func (r *jobRun) away(ctx context.Context, book slotBook) error {
	dest := r.job.Options.Dest
	if isRemote(dest) {
		if _, err := hasSide(ctx, r.env, r.job.Options); err != nil {
			return fmt.Errorf("destination %q cannot be asked: %w", dest, err)
		}
	} else if info, err := os.Stat(dest); err != nil || !info.IsDir() {
		return fmt.Errorf("destination %q is not there", dest)
	}
	return r.job.destGone(ctx, r.env, book)
}

// rest is the outcome of a run that does nothing, though a slot may be open. Who goes
// by the exit status, and starts the job again for it, would take that for a success.
func (r *jobRun) rest(why string, open bool) (Report, error) {
	report := r.idle(why)
	if r.over.Retry && open {
		report.Told = true
		return report, errors.New(why)
	}
	return report, nil
}

// idle is the report of a run that does nothing, and why.
func (r *jobRun) idle(why string) Report {
	o := r.job.Options
	return Report{Job: r.job.ID, Name: o.Name, Source: o.Source, Dest: o.Dest, Start: r.start, End: r.start, Nothing: why}
}

// nothing says why there is nothing to do.
func (r *jobRun) nothing(turn sched.Verdict) string {
	text := "nothing to do: no run has been due yet"
	if slot, passed := r.spec.Prev(r.start); passed {
		text = "nothing to do: the run of " + r.day(slot) + " is done with"
		if r.book.Slot.Equal(slot) && slot.After(r.book.Settled) {
			text = "nothing to do: the run of " + r.day(slot) + " failed"
		}
	}
	if !turn.Next.IsZero() {
		text += "; the next is " + r.day(turn.Next)
	}
	return text + " (--now backs up all the same)"
}

func (r *jobRun) day(t time.Time) string {
	return t.In(r.start.Location()).Format("Mon 2006-01-02 15:04")
}

// interrupted tells of a run that the book says began, and that never told how it
// ended: it was killed, or the power failed.
func (r *jobRun) interrupted(ctx context.Context) {
	b := &r.book
	if b.Tries == 0 || !b.Slot.After(b.Settled) {
		return
	}
	runs, err := r.job.History().Last(10)
	if err != nil {
		return // the history is what would tell
	}
	for _, run := range runs {
		if run.Start.Equal(b.Tried) && run.Result != ResultMissed { // which the same start may have told of
			return
		}
	}
	if b.Stored != nil {
		r.cutOff()
		return
	}
	err = errors.New("the run was interrupted: it was killed, or the machine went off")
	entry := HistoryEntry{Slot: b.Slot, Start: b.Tried, Change: b.failed(b.Tried)}
	r.tell(entry.Change, err)
	for _, n := range r.news(Report{Start: entry.Start, Change: entry.Change}, err) {
		r.herald.tell(n)
	}
	if err := r.record(ctx, &entry, Report{}, err); err != nil {
		r.warn("this is missing from the history: " + err.Error())
	}
	r.keep()
}

// missed tells of slots that nothing serves any more.
func (r *jobRun) missed(ctx context.Context, m sched.Missed) {
	if m.Count == 0 {
		return
	}
	text := "the run of " + r.day(m.Last) + " was missed: no run began in time"
	if m.Count > 1 {
		text = fmt.Sprintf("%d runs were missed, from %s to %s: no run began in time", m.Count, r.day(m.First), r.day(m.Last))
	}
	r.env.Log.Warn(text)
	r.herald.missed(text)
	entry := HistoryEntry{Slot: m.Last, Start: r.start, End: r.start, Result: ResultMissed, Missed: m.Count, Error: text}
	if err := r.job.History().Append(entry); err != nil {
		r.warn("this is missing from the history: " + err.Error())
	}
}

// keep writes the book. What cannot be written costs a backup too many, not one
// too few.
func (r *jobRun) keep() {
	if err := r.job.writeSlots(r.book); err != nil {
		r.warn("the slots cannot be kept: " + err.Error())
	}
}

// tell logs what changed for the worse or the better.
func (r *jobRun) tell(change string, err error) {
	switch change {
	case ChangeRecovered:
		r.file.Info("recovered: backups succeed again")
	case ChangeStillFailing:
		r.file.Error(fmt.Sprintf("still failing: %d planned runs since %s: %v", r.book.FailedSlots, r.day(r.book.FailingSince), err))
	}
}

// backup backs up for a slot, or for none.
func (r *jobRun) backup(ctx context.Context, turn sched.Verdict) (Report, error) {
	o := r.over.options(r.job.Options)
	entry := HistoryEntry{Start: r.start, Slot: turn.Slot}
	r.file.Info("run started", "id", r.job.ID, "source", o.Source, "dest", o.Dest, "retry", turn.Retry, "late", turn.Late)
	_, r.last = r.before(len(o.CopyTo) > 0)
	report, err := Report{}, r.sleepIn(ctx, turn)
	r.herald.begins()
	if err == nil && !r.over.Now {
		err = r.asked(ctx, func(b slotBook) error { return r.job.destGone(ctx, r.env, b) })
	}
	if err == nil {
		env, done := r.job.noteProgress(r.herald.watch(r.env))
		defer done()
		// Rotation counts the days of the job's zone, whoever started this.
		env.Now = func() time.Time { return r.env.Now().In(r.job.Installed.Location()) }
		env.stateDir = r.job.StateDir
		env.copied, env.asked = newestCopies(r.last.Copies), r.over.Now
		env.promise = &promise{job: r.job, spec: r.spec, slot: turn.Slot}
		env.nextSlot, _ = r.spec.Next(r.start)
		switch {
		case !turn.Slot.IsZero():
			env.noteStored = r.noteStored(ctx, r.book)
		case !r.over.Now:
			env.unfinished = r.unfinished
		}
		run := Run
		if env.backup != nil {
			run = env.backup
		}
		report, err = run(ctx, env, o, r.job.ID)
	}
	report.Change = r.settle(turn.Slot, report, err)
	r.addTrouble(&report)
	report.Told = err != nil && report.Change == ""
	entry.Change = report.Change
	told := r.news(report, err)
	recordErr := r.record(ctx, &entry, report, err)
	switch {
	case err != nil:
		r.file.Error("run failed: "+err.Error(), "exit", entry.Exit)
	default:
		r.file.Info("run done", "result", entry.Result, "archive", entry.Archive, "read", entry.Read,
			"written", entry.Written, "entries", entry.Entries, "warnings", entry.Warnings, "removed", entry.Removed,
			"took", entry.End.Sub(entry.Start).Round(time.Millisecond).String())
	}
	r.tell(report.Change, err)
	if recordErr != nil {
		r.warn("this run is missing from the history: " + recordErr.Error())
	}
	r.herald.ends(report, err, entry.Exit, told)
	return report, err
}

// sleepIn waits for the job's own moment after its slot, if it has one.
func (r *jobRun) sleepIn(ctx context.Context, turn sched.Verdict) error {
	if r.over.Now || turn.Late || turn.Retry {
		return nil
	}
	host, _ := os.Hostname() // without a name, all hosts are one
	d := turn.Slot.Add(r.job.jitter(host)).Sub(r.start)
	if d <= 0 {
		return nil
	}
	return r.env.pause(ctx, d)
}
