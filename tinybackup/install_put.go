package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"tinybackup/internal/sched"
)

// put writes the job's file, tries whether its scheduler could run it, and gives
// the scheduler its entry; what else there was of the job goes after that, so that
// there is an entry at every moment. If something fails, all is as it was.
func (p *InstalledJob) put(ctx context.Context, env Env) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, p.takeBack(context.WithoutCancel(ctx)))
		}
	}()
	had, err := p.entriesNow(ctx, env)
	if err != nil {
		return err
	}
	if err := p.writeFile(env.Dirs); err != nil {
		return err
	}
	if err := preflight(ctx, env, p.sched, p.entry); err != nil {
		return err
	}
	// Add may fail halfway, so that what undoes it is ready before.
	p.undo = append(p.undo, func(ctx context.Context) error { return p.restoreEntry(ctx, had) })
	if err := p.sched.Add(ctx, p.entry); err != nil {
		return err
	}
	for _, h := range had {
		if h.in.Name() == p.sched.Name() && h.entry.Job == p.entry.Job {
			continue // Add has replaced it
		}
		p.undo = append(p.undo, h.putBack)
		if _, err := h.in.Remove(ctx, h.entry.Job); err != nil {
			return err
		}
	}
	return nil
}

// takeBack undoes put.
func (p *InstalledJob) takeBack(ctx context.Context) (err error) {
	for _, undo := range slices.Backward(p.undo) {
		err = errors.Join(err, undo(ctx))
	}
	p.undo = nil
	return err
}

// writeFile writes the job's file.
func (p *InstalledJob) writeFile(dirs Dirs) error {
	before, err := os.ReadFile(p.job.Path)
	if err := ignoreMissing(err); err != nil {
		return err
	}
	isNew := err != nil
	// Before: Write may fail when the file is there already.
	p.undo = append(p.undo, func(context.Context) error {
		if isNew {
			return ignoreMissing(removeWhole(p.job.Path))
		}
		return writeWhole(p.job.Path, before)
	})
	if p.text != nil {
		return writeWhole(p.job.Path, p.text)
	}
	return p.job.Write(dirs)
}

// A hadEntry is an entry of the job before the update, whole enough to be added
// again.
type hadEntry struct {
	in    sched.Scheduler
	entry sched.Entry
}

func (h hadEntry) putBack(ctx context.Context) error { return h.in.Add(ctx, h.entry) }

// entriesNow are the entries that schedulers have of the job, one for each
// scheduler and each name that it calls the job by. A scheduler that cannot be
// asked starts nothing either; if the job is its, a note says so.
func (p *InstalledJob) entriesNow(ctx context.Context, env Env) (had []hadEntry, err error) {
	if p.old == nil {
		return nil, nil
	}
	spec, err := p.old.Spec()
	if err != nil {
		return nil, err
	}
	want, err := p.old.expected(env, spec, env.Now())
	if err != nil {
		return nil, err
	}
	for _, s := range env.allSchedulers() {
		list, err := s.List(ctx)
		if err != nil {
			if s.Name() == p.old.Scheduler && s.Name() != p.sched.Name() {
				p.Notes = append(p.Notes, fmt.Sprintf("%s may still have its entry: %v", s.Name(), err))
			}
			continue
		}
		for _, e := range entriesOf(env.Dirs, list, numbered{job: *p.old}) {
			known := slices.ContainsFunc(had, func(h hadEntry) bool { return h.in.Name() == s.Name() && h.entry.Job == e.Job })
			if known || e.Running {
				continue
			}
			old := want
			old.Job, old.Binary = e.Job, e.Binary
			if !e.Next.IsZero() {
				old.Next = e.Next
			}
			had = append(had, hadEntry{s, old})
		}
	}
	return had, nil
}

// restoreEntry gives the scheduler what it had of the job.
func (p *InstalledJob) restoreEntry(ctx context.Context, had []hadEntry) error {
	for _, h := range had {
		if h.in.Name() == p.sched.Name() && h.entry.Job == p.entry.Job {
			return h.putBack(ctx)
		}
	}
	_, err := p.sched.Remove(ctx, p.entry.Job)
	return err
}
