package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
)

// open opens the destination and takes the lock of the series there, and gives what
// ends both. All attempts after that use them: a lock that could not be given back, as
// the connection was broken, would be in the way of the next one.
func (k *copying) open(ctx context.Context) (st store.Store, done func() error, err error) {
	if err := k.checkPlace(); err != nil {
		return nil, nil, err
	}
	if st, err = openStore(ctx, k.Env, k.Dest, k.Access); err != nil {
		return nil, nil, err
	}
	st.Watch(k.pulse.beat, k.pulse.name)
	if err := k.checkSame(ctx, st); err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	if k.DryRun {
		return st, st.Close, nil
	}
	unlock, err := k.lock(ctx, st)
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	return st, func() error { return errors.Join(unlock(), st.Close()) }, nil
}

// attempt sends what the copy lacks, oldest first, and rotates there.
func (k *copying) attempt(ctx context.Context, st store.Store) error {
	k.pulse.begin("looking at " + k.Dest)
	l, err := listDest(ctx, st)
	if err != nil {
		return err
	}
	there, err := l.stored(ctx, st, k.Name)
	if err != nil {
		return err
	}
	if err := checkOwner(there, k.Options, k.job, k.host, k.asked); err != nil {
		return err
	}
	if holds(there, k.made) {
		return k.notNew()
	}
	due, missed := dueCopies(k.here, there, k.Options, k.Now())
	k.note(func(c *CopyReport) {
		c.Behind, c.Missed = len(due), max(c.Missed, missed) // of all attempts
		c.stands(there)
	})
	if k.DryRun {
		k.plan(due, there)
		return nil
	}
	swept, err := mend(ctx, st, k.Name, l, there)
	for _, name := range swept {
		k.Log.Info("removed what a killed run left", "dest", k.Dest, "file", name)
	}
	if err != nil {
		return err
	}
	k.made = "" // from here on it may be there, also if we hear nothing of it
	s := &sending{copying: k, st: st, there: there}
	for {
		err := s.sendAll(ctx, due)
		full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
		if err != nil && !full && !errors.Is(err, errNextRun) {
			return err
		}
		// What goes now would go later, too: newer copies make no older one stay.
		removed := s.rotate(ctx)
		if !full || removed == 0 {
			return err
		}
		due = slices.DeleteFunc(due, func(a stored) bool { return holds(s.there, a.Name) })
	}
}

// notNew refuses a destination that has the new archive before it was copied.
func (k *copying) notNew() error {
	return &HintError{
		Err:  fmt.Errorf("%s is there already: it is the destination %q itself, spelled otherwise, or has the copies of another job, too", k.made, k.from),
		Hint: "give the copies another place, or each job its own --name",
	}
}

// stands notes what is in the destination.
func (c *CopyReport) stands(there []stored) {
	c.Kept, c.Newest = len(there), ""
	if len(there) > 0 {
		c.Newest = there[0].Name
	}
}

// checkPlace refuses a directory that is not what it should be: the mount point of a
// disk that is not there, or the backup's own destination under another name.
func (k *copying) checkPlace() error {
	if isRemote(k.Dest) {
		return nil
	}
	if err := checkMounted(k.Dest); err != nil {
		return err
	}
	if err := checkDest(k.Dest); err != nil {
		return err
	}
	if from, ok := k.from.(*store.Local); ok {
		if info, err := os.Stat(from.String()); err == nil {
			if to, err := os.Stat(k.Dest); err == nil && os.SameFile(info, to) {
				return &UsageError{Msg: fmt.Sprintf("it is the destination %q itself, under another name", from), Hint: "a copy wants another place"}
			}
		}
	}
	return nil
}

// checkSame refuses a destination that had copies and has nothing of ours any more: a
// disk that is not mounted leaves an empty directory.
func (k *copying) checkSame(ctx context.Context, st store.Store) error {
	newest := k.copied[k.Dest]
	if newest == "" || k.asked {
		return nil
	}
	there, err := st.HasSide(ctx)
	if err != nil || there {
		return err
	}
	hint := "mount the disk"
	if isRemote(k.Dest) {
		hint = "see whether it is the right server, and the right place there"
	}
	return &HintError{
		Err:  fmt.Errorf("destination %q is not what it was: %s is gone, and all else of ours", k.Dest, newest),
		Hint: hint + "; if you emptied it: " + rerun(k.job),
	}
}

// lock takes the lock of the series there.
func (k *copying) lock(ctx context.Context, st store.Store) (func() error, error) {
	k.pulse.begin("taking the lock of " + k.Name + " in " + k.Dest)
	me := store.Holder{PID: os.Getpid(), Host: k.host, Job: k.job, Since: k.Now()}
	unlock, err := st.Lock(ctx, k.Name, me, time.Duration(k.LockWait))
	var locked *store.LockedError
	if errors.As(err, &locked) && k.job != "" && locked.Job == k.job && locked.Host == k.host {
		// It is that of a run that was killed, as this one has the lock of the job.
		unlock, err = st.Lock(ctx, k.Name, me, max(locked.Lease, time.Duration(k.LockWait)))
	}
	if errors.As(err, &locked) {
		return nil, &BusyError{Msg: locked.Error(), Hint: lockHint(k.LockWait)}
	}
	return unlock, err
}

// plan notes what would be done.
func (k *copying) plan(due, there []stored) {
	after := slices.Clone(there)
	for _, a := range due {
		after = append([]stored{a}, after...)
	}
	d := decide(after, k.Options, k.Now())
	k.note(func(c *CopyReport) {
		c.Behind = 0
		for _, a := range due {
			c.Archives = append(c.Archives, a.Name)
		}
		for _, it := range d.Remove() {
			c.Removed = append(c.Removed, it.Name.String())
		}
		c.stands(after)
		c.Kept -= len(c.Removed)
	})
}

// sending is one attempt, with the destination open.
type sending struct {
	*copying
	st    store.Store
	there []stored // newest first
}

// sendAll sends archives in their order. One that is damaged, or gone, at hand is
// left out, as it will not become better; so is one that a disk of this machine cannot
// read. That is the error, in the end. When the next run of the job is due, which cannot
// begin before this one has ended, what is left is left to that; but one is sent, or
// there would be no end of it.
func (s *sending) sendAll(ctx context.Context, due []stored) error {
	var bad error
	for i, a := range due {
		if i > 0 && !s.nextSlot.IsZero() && !s.Now().Before(s.nextSlot) {
			return errors.Join(bad, errNextRun)
		}
		copied, err := s.send(ctx, a)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, archive.ErrDamaged), errors.Is(err, errGone), errors.Is(err, archive.ErrUnreadable) && isLocal(s.from):
			bad = errors.Join(bad, &HintError{Err: fmt.Errorf("%s: %w", a.Name, err), Hint: "tinybackup verify " + shellQuote(s.from.String())})
			continue
		default:
			return err
		}
		s.there = append(s.there, copied)
		sortStored(s.there)
		s.note(func(c *CopyReport) {
			c.Archives = append(c.Archives, a.Name)
			c.Behind--
			c.stands(s.there)
		})
	}
	return bad
}

// errNextRun is why copies are left to the next run.
var errNextRun error = &HintError{Err: errors.New("the next run is due, and goes on with it"), Hint: "a copy that takes this long wants a faster way, or to be made less often"}

// errGone says that an archive at hand is not at hand any more.
var errGone = errors.New("it is gone from the destination of the backup")

// rotate removes there what the policy of the copy does not cover, and says how many
// archives went. What goes wrong here is a warning.
func (s *sending) rotate(ctx context.Context) int {
	s.pulse.begin("removing old archives from " + s.Dest)
	d := decide(s.there, s.Options, s.Now())
	gone := d.Remove()
	if slices.ContainsFunc(gone, func(it rotate.Item) bool { return it.Name == s.here[0].name }) {
		gone, d.Refused = nil, "the archive just copied would not be the newest"
	}
	if d.Refused != "" {
		s.warn("rotation removed nothing: %s", d.Refused)
	}
	removed, retained, err := remove(ctx, s.st, gone)
	if err != nil {
		s.warn("rotation: %v", err)
	}
	for _, name := range removed {
		s.Log.Info("archive removed", "archive", name, "dest", s.Dest)
	}
	s.note(func(c *CopyReport) {
		c.Removed, c.Retained = append(c.Removed, removed...), retained
		c.Kept -= len(removed)
	})
	s.there = slices.DeleteFunc(s.there, func(a stored) bool { return slices.Contains(removed, a.Name) })
	return len(removed)
}
