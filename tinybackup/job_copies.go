package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// This file is about a run that is killed while it makes copies: its archive is stored,
// so its slot is done with, and the copies alone are still to be made.

// errCopiesCut is why copies are behind then.
var errCopiesCut = errors.New("the run was interrupted while it made copies: it was killed, or the machine went off")

// noteStored gives what notes in the book that the archive of a run is stored, and what
// the history is to tell of that run if it does not come to its end. It is called while
// the run goes on, which may be given up meanwhile: so it keeps to a book of its own.
func (r *jobRun) noteStored(ctx context.Context, slot slotBook) func(Report) {
	entry := HistoryEntry{Start: r.start, Slot: slot.Slot}
	return func(report Report) {
		report.Warnings = append(slices.Clone(report.Warnings[:min(len(report.Warnings), firstWarnings-1)]), errCopiesCut.Error())
		report.WarningCount++
		report.Copies = nil
		for _, c := range r.job.Options.CopyTo {
			was := copyState(r.last.Copies, c.Dest)
			report.Copies = append(report.Copies, CopyReport{Dest: c.Dest, Newest: was.Newest, Behind: was.Behind + 1, Error: errCopiesCut.Error()})
		}
		entry.End = r.env.Now().In(entry.Start.Location())
		entry.fill(ctx, report, nil)
		entry.Copies = copyStates(report.Copies, r.last.Copies, entry.Start)
		slot.Dest, slot.Archive, slot.Stored = r.job.Options.Dest, report.Archive, &entry
		if err := r.job.writeSlots(slot); err != nil {
			r.env.Log.Info("the slots cannot be kept: " + err.Error()) // a backup too many, if the run is killed
		}
	}
}

// cutOff tells of a run that stored its archive and was killed while it made copies. Its
// slot is served, and what is left of it is done by this start.
func (r *jobRun) cutOff() {
	entry := *r.book.Stored
	entry.Change = r.book.served(r.book.Slot)
	r.env.Log.Warn(errCopiesCut.Error(), "archive", entry.Archive)
	r.tell(entry.Change, nil)
	report := Report{
		Archive: entry.Archive, Start: entry.Start, End: entry.End, Change: entry.Change, Entries: entry.Entries, Raw: entry.Raw, Written: entry.Written,
		Warnings: entry.First, WarningCount: entry.Warnings,
	}
	for _, n := range r.news(report, nil) {
		r.herald.tell(n)
	}
	if err := r.job.History().Append(entry); err != nil {
		r.warn("this is missing from the history: " + err.Error())
	}
	r.keep()
	r.unfinished = entry.Archive
}

// copyOnly makes the copies of the archive that a killed run stored, and which is there.
func (r *run) copyOnly(ctx context.Context) error {
	i := slices.IndexFunc(r.before, func(a stored) bool { return a.Name == r.unfinished })
	if i < 0 {
		return fmt.Errorf("%s: %w", r.unfinished, errGone)
	}
	a := r.before[i]
	r.report.Kind, r.report.Archive, r.report.Written, r.report.CopiesOnly = string(a.name.Kind), a.Name, a.Size, true
	if m := a.manifest; m != nil {
		r.report.Raw, r.report.Entries, r.report.SHA256, r.report.Encrypted = m.Raw, m.Entries, m.SHA256, m.Sealed != nil
	}
	for _, a := range r.before {
		r.report.Kept++
		r.report.KeptBytes += a.Size
	}
	r.after = r.before
	r.pulse.hasStored(r.report)
	r.copyAll(ctx)
	return nil
}
