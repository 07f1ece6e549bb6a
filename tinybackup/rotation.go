package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
)

// rotate removes what the policy does not cover. The new archive is stored: what
// goes wrong here is a warning.
func (r *run) rotate(ctx context.Context) {
	r.pulse.begin("removing old archives from " + r.Dest)
	after, err := listStored(ctx, r.store, r.Name, r.before...)
	if err != nil {
		r.warn.addf("rotation: %v", err)
		return
	}
	d := decide(after, r.Options, r.Now())
	if d.Refused != "" {
		r.report.Unrotated = d.Refused
		r.warn.addf("rotation removed nothing: %s", d.Refused)
	}
	gone := d.Remove()
	if slices.ContainsFunc(gone, func(it rotate.Item) bool { return it.Name.String() == r.report.Archive }) {
		gone, r.report.Unrotated = nil, "the archive just made would not be the newest"
		r.warn.addf("rotation removed nothing: %s", r.report.Unrotated)
	}
	removed, retained, err := remove(ctx, r.store, gone)
	if err != nil {
		r.warn.addf("rotation: %v", err)
	}
	for _, name := range removed {
		r.Log.Info("archive removed", "archive", name)
	}
	if len(retained) > 0 {
		r.Log.Info("the destination retains archives that were to go", "count", len(retained), "oldest", retained[0])
	}
	r.report.Removed, r.report.Retained = removed, retained
	r.after = []stored{}
	for _, a := range after {
		if !slices.Contains(removed, a.Name) {
			r.after = append(r.after, a)
			r.report.Kept++
			r.report.KeptBytes += a.Size
		}
	}
}

// decide asks the policy which archives stay.
func decide(all []stored, o Options, now time.Time) rotate.Decision {
	return rotate.Plan(items(all), o.Policy(), rotate.PlanOptions{Zone: now.Location(), Now: now, AllowMany: o.Yes})
}

// remove takes archives away, oldest first: for each its line in SHA256SUMS,
// then itself, then its map of blocks and what is remembered of it, so that whatever
// stops this in between leaves no line about a file that is not there. It goes on after
// an error with the next one.
//
// Another machine may retain archives: then their lines and manifests stay. So there the
// lines come last, all at once; those of a run that is stopped before go with the next.
func remove(ctx context.Context, st store.Store, gone []rotate.Item) (removed, retained []string, err error) {
	for _, it := range gone {
		name := it.Name.String()
		var e error
		if isLocal(st) {
			e = st.SetSums(ctx, nil, []string{name})
		}
		if e == nil {
			e = ignoreMissing(st.Remove(ctx, name))
		}
		if errors.Is(e, store.ErrRetained) {
			retained = append(retained, name)
			continue
		}
		if e == nil {
			removed = append(removed, name)
			e = removeSides(ctx, st, it)
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("remove archive %q: %w", name, e))
		}
	}
	if !isLocal(st) && len(removed) > 0 {
		err = errors.Join(err, st.SetSums(ctx, nil, removed))
	}
	return removed, retained, err
}

// removeSides takes away what there is beside an archive that is gone.
func removeSides(ctx context.Context, st store.Store, gone rotate.Item) error {
	name := gone.Name.String()
	err := ignoreKept(st.RemoveSide(ctx, archive.SideName(name)))
	if gone.Name.Kind == rotate.KindDevice {
		err = errors.Join(err, ignoreKept(st.Remove(ctx, name+bmapSuffix)))
	}
	return err
}

// ignoreMissing is nil for an error that says that something is not there.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ignoreKept is ignoreMissing, and nil also for what the destination does not let go.
func ignoreKept(err error) error {
	if errors.Is(err, store.ErrRetained) {
		return nil
	}
	return ignoreMissing(err)
}
