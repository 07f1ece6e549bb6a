package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"
)

// RunJob runs a job as its scheduler does: with at, its next run is queued before
// anything else; then, under the job's lock, comes the backup, its log and its
// line in the history. A run that finds another one of the same job going on
// leaves a line, too, and is a *BusyError.
//
// The job's own options count; over holds those of this run alone.
func RunJob(ctx context.Context, env Env, job Job, over RunOnce) (_ Report, err error) {
	o := job.Options
	o.DryRun, o.Yes = over.DryRun, over.Yes
	o.Verify, o.Reread = o.Verify || over.Verify, o.Reread || over.Reread
	if o.DryRun {
		return Run(ctx, env, o, job.ID)
	}
	broken := "" // the backup is what counts: a broken chain is a warning
	err = requeue(ctx, env, job)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Report{}, err
	case err != nil:
		broken = "the next run could not be queued: " + err.Error()
	}
	entry := HistoryEntry{Start: env.Now().In(job.Installed.Location())}
	if spec, err := job.Spec(); err == nil {
		entry.Slot, _ = spec.Prev(entry.Start)
	}
	lock, err := lockFile(ctx, filepath.Join(job.StateDir, "run.lock"), "a run of job "+job.ID, time.Duration(o.LockWait))
	if err != nil {
		if broken != "" {
			env.Log.Warn(broken)
		}
		return Report{}, errors.Join(err, job.record(ctx, env, &entry, Report{}, err))
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()

	file, logErr := openLog(job.LogFile)
	if logErr != nil {
		// A full disk must not keep a backup from going to another one.
		env.Log.Warn("no log is written: " + logErr.Error())
	} else {
		defer func() {
			if err := file.Close(); err != nil {
				env.Log.Warn("the log is not complete: " + err.Error())
			}
		}()
	}
	inner, fileLog := env, slog.New(slog.DiscardHandler)
	if logErr == nil {
		h := file.handler(env.LogLevel, env.Now).WithAttrs([]slog.Attr{slog.String("job", o.Name)})
		inner.logPath = job.LogFile
		fileLog, inner.Log = slog.New(h), slog.New(teeHandler{env.Log.Handler(), h})
	}
	fileLog.Info("run started", "id", job.ID, "source", o.Source, "dest", o.Dest)
	if broken != "" {
		inner.Log.Warn(broken)
	}
	// Rotation counts the days of the job's zone, whoever started this.
	inner.Now = func() time.Time { return env.Now().In(job.Installed.Location()) }
	inner, endProgress := job.noteProgress(inner)
	defer endProgress()
	report, err := Run(ctx, inner, o, job.ID)
	if broken != "" {
		report.Warnings = append([]string{broken}, report.Warnings...)
		report.WarningCount++
	}
	recordErr := job.record(ctx, env, &entry, report, err)
	switch {
	case err != nil:
		fileLog.Error("run failed: "+err.Error(), "exit", entry.Exit)
	default:
		fileLog.Info("run done", "result", entry.Result, "archive", entry.Archive, "read", entry.Read,
			"written", entry.Written, "entries", entry.Entries, "warnings", entry.Warnings, "removed", entry.Removed,
			"took", entry.End.Sub(entry.Start).Round(time.Millisecond).String())
	}
	if recordErr != nil {
		inner.Log.Warn("this run is missing from the history: " + recordErr.Error())
	}
	return report, err
}

// RunOnce are the options of a single run of a job.
type RunOnce struct {
	DryRun bool // say what would be done
	Yes    bool // let rotation remove unusually many archives
	Verify bool // decode the archive also if the job does not ask for it
	Reread bool // read everything also if the job does not ask for it
}

// firstWarnings is how many warnings of a run the history keeps: the log has all.
const firstWarnings = 5

// record fills in a run's line of the history from its outcome, and writes it.
func (j Job) record(ctx context.Context, env Env, entry *HistoryEntry, r Report, err error) error {
	entry.End = env.Now().In(entry.Start.Location())
	entry.Archive, entry.Read, entry.Raw, entry.Written = r.Archive, r.Read, r.Raw, r.Written
	entry.Entries, entry.Removed, entry.Warnings = r.Entries, len(r.Removed), r.WarningCount
	entry.First = r.Warnings[:min(len(r.Warnings), firstWarnings)]
	var busy *BusyError
	switch {
	case errors.As(err, &busy):
		entry.Result = ResultSkipped
	case err != nil:
		entry.Result = ResultFailed
	case r.WarningCount > 0:
		entry.Result = ResultWarnings
		err = errWarnings
	default:
		entry.Result = ResultOK
	}
	entry.Exit = exitStatus(ctx, err)
	if err != nil && !errors.Is(err, errWarnings) {
		entry.Error = err.Error()
	}
	if err := j.History().Append(*entry); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// running says whether a run of the job is going on.
func (j Job) running() bool {
	_, locked := isLocked(filepath.Join(j.StateDir, "run.lock"))
	return locked
}
