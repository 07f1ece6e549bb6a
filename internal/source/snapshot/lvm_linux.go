package snapshot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The names and the tags of our snapshots: each has tag, and ownerTag with its owner.
const (
	lvPrefix = "tinybackup_"
	tag      = "tinybackup"
	ownerTag = "tinybackup-"
)

// The room for changes that a classic snapshot gets if nobody says how much: a
// tenth of its origin, and not less than minRoom bytes.
const minRoom = 1 << 30

// lvmWay snapshots a logical volume.
type lvmWay struct {
	Options
	source string
	origin volume
	on     *mounted // where the source lies; nil: the source is the volume itself
	mounts map[string]string
	view   *view
}

// findLVM plans a snapshot of the volume that is the device MAJOR:MINOR.
func findLVM(ctx context.Context, path, dev string, on *mounted, o Options) (*Plan, error) {
	id := volumeID(o.sys, dev)
	if id == "" {
		why := fmt.Sprintf("%q is no logical volume", path)
		if on != nil {
			why = fmt.Sprintf("%q is on %s (%s), which is no logical volume", path, on.source, on.fsType)
		}
		return nil, &Error{Why: why, Try: "leave --snapshot out, or give --snapshot auto"}
	}
	if err := o.mayMake(); err != nil {
		return nil, err
	}
	all, err := volumes(ctx, o.Runner)
	if err != nil {
		if isError(err) {
			return nil, err
		}
		return nil, &Error{Why: err.Error(), Try: "see what lvs says"}
	}
	i := slices.IndexFunc(all, func(v volume) bool { return v.id == id })
	if i < 0 {
		return nil, &Error{Why: fmt.Sprintf("lvs does not know the logical volume of %q", path), Try: "see what lvs says"}
	}
	w := &lvmWay{Options: o, source: path, origin: all[i], on: on}
	p := &Plan{Kind: KindThin, Origin: w.origin.name(), Way: w}
	if w.origin.thin() {
		return p, nil
	}
	if w.origin.origin != "" {
		return nil, &Error{Why: fmt.Sprintf("%s is a snapshot itself, of which LVM makes none", p.Origin), Try: "leave --snapshot out"}
	}
	for _, v := range all {
		if v.vg == w.origin.vg && v.abandoned() {
			w.origin.free += v.size // Sweep will have removed it
		}
	}
	if err := w.enough(); err != nil {
		return nil, err
	}
	p.Kind, p.Size = KindLVM, w.room()
	return p, nil
}

// room is how many bytes of the origin will be able to change.
func (w *lvmWay) room() int64 {
	room := w.Size
	if room == 0 {
		room = max(w.origin.size/10, minRoom)
	}
	return min(room, w.origin.free)
}

// enough fails if there is no room at all.
func (w *lvmWay) enough() error {
	if w.origin.free > 0 {
		return nil
	}
	return &Error{
		Why: fmt.Sprintf("volume group %s has no free space for a snapshot", w.origin.vg),
		Try: "see what vgs says; vgextend gives it another disk",
	}
}

func (w *lvmWay) Take(ctx context.Context, s *Snapshot) error {
	owner, err := me()
	if err != nil {
		return err
	}
	if w.on != nil {
		if w.mounts, err = below(w.source); err != nil {
			return err
		}
	}
	if w.origin, err = one(ctx, w.Runner, w.origin.name()); err != nil {
		return err
	}
	// A name may have 127 letters.
	lv := fmt.Sprintf("%s%.80s_%08x", lvPrefix, w.origin.lv, rand.Uint32())
	s.Name = w.origin.vg + "/" + lv
	args := []string{"-q", "-y", "-s", "-n", lv, "--addtag", tag, "--addtag", ownerTag + owner.String()}
	if w.origin.thin() {
		args = append(args, "-kn") // lvcreate(8): it would not be activated
	} else {
		if err := w.enough(); err != nil {
			return err
		}
		args = append(args, "-L", fmt.Sprintf("%db", w.room()))
		// It is looked at when all is read, so that dmeventd need not be there to watch
		// it. But the option ends the watch over other snapshots of the origin, too.
		if !w.origin.watched() {
			args = append(args, "--monitor", "n")
		}
	}
	if _, err := w.Runner.Run(ctx, "lvcreate", append(args, w.origin.name())...); err != nil {
		if isError(err) {
			return err
		}
		return &Error{Why: err.Error(), Try: "see what lvs and vgs say"}
	}
	if err := w.open(ctx, s); err != nil {
		return errors.Join(err, s.Close(ctx))
	}
	return nil
}

// open finds out what lvcreate has made, and mounts it if it is a file system.
func (w *lvmWay) open(ctx context.Context, s *Snapshot) error {
	made, err := one(ctx, w.Runner, s.Name)
	if err != nil {
		return err
	}
	if !made.active() {
		if _, err := w.Runner.Run(ctx, "lvchange", "-q", "-ay", "-K", s.Name); err != nil {
			return err
		}
	}
	if s.Kind == KindLVM {
		s.Size = made.size // it makes less of what is more than it can use
	}
	if w.on == nil {
		s.Path = made.device
		return nil
	}
	rel, err := w.on.inside(w.source)
	if err != nil {
		return err
	}
	v, err := openView(made.device, w.on.fsType, made.readOnly())
	if err != nil {
		return err
	}
	w.view = &v
	s.Path = v.path() + rel
	return holds(s.Path, w.source)
}

func (w *lvmWay) Check(ctx context.Context, s *Snapshot) (used float64, err error) {
	v, err := one(ctx, w.Runner, s.Name)
	if err != nil {
		return 0, &Error{Why: fmt.Sprintf("snapshot %s has gone while it was read: %v", s.Name, err), Try: "see what lvs says"}
	}
	if s.Kind == KindThin {
		pool, err := one(ctx, w.Runner, v.vg+"/"+v.pool)
		return pool.used, err
	}
	if v.invalid || v.used >= 100 {
		return 100, &Error{
			Why: fmt.Sprintf("snapshot %s was full, and is worthless: %s was too little for what changed in %s while it was read", s.Name, bytesText(v.size), s.Origin),
			Try: "give --snapshot-size a larger SIZE, or back up when less is written",
		}
	}
	return v.used, nil
}

func (w *lvmWay) Remove(ctx context.Context, s *Snapshot) error {
	if w.view != nil {
		if err := w.view.close(); err != nil {
			return err
		}
		w.view = nil
	}
	return w.removeVolume(ctx, s.Name)
}

func (w *lvmWay) removeVolume(ctx context.Context, name string) error {
	err := insist(w.pause, func() error {
		_, err := w.Runner.Run(ctx, "lvremove", "-q", "-f", name)
		return err
	})
	if err != nil {
		return leftError(name, "lvremove "+name, err)
	}
	return nil
}

func (w *lvmWay) Instead(rel string, _ uint64) string { return w.mounts[rel] }

// sweep removes what bears our name and our tags, is a snapshot, and whose owner is
// certainly gone.
func (w *lvmWay) Sweep(ctx context.Context) (removed []string, err error) {
	all, err := volumes(ctx, w.Runner, "@"+tag)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, v := range all {
		if !v.abandoned() {
			continue
		}
		hideMounts(v.device)
		if err := w.removeVolume(ctx, v.name()); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, v.name())
	}
	return removed, errors.Join(errs...)
}

// abandoned says whether a volume is a snapshot that a killed run has left.
func (v volume) abandoned() bool {
	if v.origin == "" || !strings.HasPrefix(v.lv, lvPrefix) {
		return false
	}
	for _, t := range v.tags {
		if text, ours := strings.CutPrefix(t, ownerTag); ours {
			o, ok := parseOwner(text)
			return ok && o.gone()
		}
	}
	return false
}

// hideMounts takes what is mounted of a leftover out of the tree: a run that was
// killed between the two halves of mountAndHide has left that, too.
func hideMounts(device string) {
	all, err := mounts()
	if err != nil {
		return // lvremove tells that it is in use
	}
	for _, m := range all {
		if m.source == device && strings.HasPrefix(filepath.Base(m.point), mountPrefix) {
			_ = unix.Unmount(m.point, unix.MNT_DETACH)
			_ = unix.Rmdir(m.point)
		}
	}
}

// bytesText is a number of bytes for a person.
func bytesText(n int64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
