package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"tinybackup/internal/source/snapshot"
)

// The values of Options.Snapshot.
const (
	snapshotNone  = "none"
	snapshotAuto  = string(snapshot.Auto)
	snapshotLVM   = string(snapshot.LVM)
	snapshotBtrfs = string(snapshot.Btrfs)
)

// Snapshot is what a run read instead of its source, or why it could not.
type Snapshot struct {
	Kind   string  `json:"kind,omitempty"`   // "lvm", "lvm-thin" or "btrfs"; empty: there was none
	Origin string  `json:"origin,omitempty"` // what it is of: VG/LV, or the path of a subvolume
	Size   int64   `json:"size,omitempty"`   // of "lvm": how many bytes of Origin could change
	Used   float64 `json:"used,omitempty"`   // percent of Size, or of the thin pool, when all was read
	Why    string  `json:"why,omitempty"`    // why there was none, with "auto"
}

// String is the snapshot in a line of plain words.
func (s Snapshot) String() string {
	text := fmt.Sprintf("LVM snapshot of %s", s.Origin)
	switch snapshot.Kind(s.Kind) {
	case "":
		return "no snapshot: " + s.Why
	case snapshot.KindBtrfs:
		return "btrfs snapshot of " + s.Origin
	case snapshot.KindThin:
		text += ", in its thin pool"
	default:
		text += ", with " + Size(s.Size).String() + " for changes"
	}
	if s.Used > 0 {
		text += fmt.Sprintf(": %.0f %% used", s.Used)
	}
	return text
}

// wantsSnapshot says whether one is to be made, if that is possible.
func (o Options) wantsSnapshot() bool { return o.Snapshot != "" && o.Snapshot != snapshotNone }

// checkSnapshot is the part of checkWords that is about snapshots.
func (o Options) checkSnapshot() error {
	switch o.Snapshot {
	case "", snapshotNone, snapshotAuto, snapshotLVM, snapshotBtrfs:
	default:
		return &UsageError{Msg: fmt.Sprintf("snapshot %q", o.Snapshot), Hint: "--snapshot is none, auto, lvm or btrfs"}
	}
	switch {
	case o.SnapshotSize < 0:
		return &UsageError{Msg: "--snapshot-size is negative"}
	case o.Live && (o.Snapshot == snapshotLVM || o.Snapshot == snapshotBtrfs):
		return &UsageError{Msg: "--live and --snapshot " + o.Snapshot + " exclude each other", Hint: "--snapshot auto --live images a device as it is, if there is no snapshot of it"}
	}
	return nil
}

// planSnapshot finds out how the snapshot will be made, if one is wanted.
func (r *run) planSnapshot(ctx context.Context) error {
	if !r.wantsSnapshot() {
		return nil
	}
	find := r.findSnapshot
	if find == nil {
		find = snapshot.Find
	}
	plan, err := find(ctx, r.Source, snapshot.Options{Mode: snapshot.Mode(r.Options.Snapshot), Size: int64(r.SnapshotSize)})
	var none *snapshot.Error
	switch {
	case errors.As(err, &none) && r.Options.Snapshot == snapshotAuto:
		r.report.Snapshot = &Snapshot{Why: none.Why}
		r.Log.Info(r.report.Snapshot.String())
		return nil
	case errors.Is(err, fs.ErrNotExist) && r.DryRun:
		return nil // --before may make it; whoever opens the source says so
	case errors.Is(err, fs.ErrNotExist):
		return sourceError(r.Source, err)
	case err != nil:
		return err
	}
	r.planned = plan
	r.report.Snapshot = &Snapshot{Kind: string(plan.Kind), Origin: plan.Origin, Size: plan.Size}
	return nil
}

// takeSnapshot makes the snapshot that is planned, after what killed runs have left
// is gone. With "auto" the source is read as it is, if it can't be made.
func (r *run) takeSnapshot(ctx context.Context) error {
	if r.Before != "" { // not before that: it may mount the source
		if err := r.planSnapshot(ctx); err != nil {
			return err
		}
	}
	if r.planned == nil || r.DryRun {
		return nil
	}
	r.pulse.begin("taking a snapshot of " + r.planned.Origin)
	removed, err := r.planned.Sweep(ctx)
	for _, name := range removed {
		r.Log.Info("removed the snapshot that a killed run left", "snapshot", name)
	}
	if err != nil {
		r.warn.addf("%s", inOneLine(err))
	}
	view, err := r.planned.Take(ctx)
	switch {
	case err != nil && ctx.Err() == nil && r.Options.Snapshot == snapshotAuto:
		r.planned = nil
		r.report.Snapshot = &Snapshot{Why: inOneLine(err)}
		r.warn.addf("%s", r.report.Snapshot)
		return nil
	case err != nil:
		return err
	}
	r.view = view
	r.report.Snapshot.Size = view.Size
	r.Log.Info("snapshot taken", "snapshot", view.Name, "of", view.Origin, "size", view.Size)
	return nil
}

// checkView is called when all is read, with the error of that: a snapshot that was
// full meanwhile explains it, and fails a run that seems to have read everything.
func (r *run) checkView(ctx context.Context, err error) error {
	if r.view == nil || ctx.Err() != nil {
		return err
	}
	used, bad := r.view.Check(ctx)
	if errors.As(bad, new(*snapshot.Error)) || err == nil && bad != nil {
		if hint := hintOf(bad); hint != "" && r.view.Kind == snapshot.KindLVM && sameDisk(r.Source, r.Dest) {
			return &HintError{Err: bad, Hint: hint + "; what is written to the destination counts, as it is on the same volume"}
		}
		return bad
	}
	r.report.Snapshot.Used = used
	return err
}

// releaseView closes the source and removes its snapshot, however the run has ended.
// What can't be removed is a warning: it does not undo the archive.
func (r *run) releaseView(ctx context.Context) error {
	if r.view == nil {
		return nil
	}
	r.pulse.begin("removing the snapshot " + r.view.Name)
	err := r.closeSource()
	if left := r.view.Close(ctx); left != nil {
		r.warn.addf("%s", inOneLine(left))
	} else {
		r.Log.Info("snapshot removed", "snapshot", r.view.Name, "used", fmt.Sprintf("%.0f%%", r.report.Snapshot.Used))
	}
	r.view = nil
	return err
}

// sameDisk says whether two directories are on one file system.
func sameDisk(a, b string) bool {
	var x, y syscall.Stat_t
	return syscall.Stat(a, &x) == nil && syscall.Stat(b, &y) == nil && x.Dev == y.Dev
}

// inOneLine is the text of errors that were joined.
func inOneLine(err error) string { return strings.Join(lines(err.Error()), "; ") }

// lines are those of the text of errors that were joined: one that ended both what was
// done and what was to put that right is told once.
func lines(text string) []string { return slices.Compact(strings.Split(text, "\n")) }
