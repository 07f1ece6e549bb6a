package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tinybackup/internal/rotate"
)

// A CopyState is how the copies in one destination were when a run of a job had ended:
// what its history remembers of a CopyReport.
type CopyState struct {
	Dest     string    `json:"dest"`
	Archives int       `json:"archives"`         // that the run copied
	Sent     int64     `json:"sent"`             // bytes of these
	Newest   string    `json:"newest,omitempty"` // the newest archive there, as far as is known
	Behind   int       `json:"behind,omitempty"` // archives that are still to be copied
	Since    time.Time `json:"since,omitzero"`   // when the first run began that failed to copy, and all after it; zero: this one did not
	Error    string    `json:"error,omitempty"`  // why it failed
	Hint     string    `json:"hint,omitempty"`   // what to do about that
}

// copyStates are the states after a run that began at start; before are those of the
// run before that stored something.
func copyStates(reports []CopyReport, before []CopyState, start time.Time) (all []CopyState) {
	for _, c := range reports {
		s := CopyState{Dest: c.Dest, Archives: len(c.Archives), Sent: c.Sent, Newest: c.Newest, Behind: c.Behind, Error: c.Error, Hint: c.Hint}
		if s.Error != "" {
			s.Since = start
			if was := copyState(before, c.Dest); !was.Since.IsZero() {
				s.Since = was.Since
			}
		}
		all = append(all, s)
	}
	return all
}

// copyState is the state of one destination, zero if there is none.
func copyState(all []CopyState, dest string) CopyState {
	for _, s := range all {
		if s.Dest == dest {
			return s
		}
	}
	return CopyState{}
}

// newestCopies are the archives that each destination was left with.
func newestCopies(all []CopyState) map[string]string {
	newest := make(map[string]string, len(all))
	for _, s := range all {
		newest[s.Dest] = s.Newest
	}
	return newest
}

// recovered are the destinations of copies that work again.
func recovered(reports []CopyReport, before []CopyState) (dests []string) {
	for _, c := range reports {
		if c.Error == "" && copyState(before, c.Dest).Error != "" {
			dests = append(dests, c.Dest)
		}
	}
	return dests
}

// copies tells which copies are behind, by what the last run that stored something
// says; and which are gone since. A destination that cannot be asked says nothing: its
// disk may be in a drawer.
func (l *look) copies(js *JobStatus, o Options) {
	js.copyTo = o.CopyTo
	if js.LastGood == nil {
		return
	}
	states := slices.DeleteFunc(slices.Clone(js.LastGood.Copies), func(s CopyState) bool {
		return !slices.ContainsFunc(o.CopyTo, func(c Copy) bool { return c.Dest == s.Dest })
	})
	gone := make([]string, len(states))
	several(len(states), remoteRequests, func(i int) { gone[i] = l.goneCopies(states[i], o.Name) })
	for i, s := range states {
		if gone[i] != "" {
			js.problem(StateLate, rerun(js.ID), "%s", gone[i])
		}
		if s.Error == "" {
			continue
		}
		mend := s.Hint
		if mend == "" {
			mend = rerun(js.ID)
		}
		js.problem(StateLate, mend, "its copy to %s is %s behind%s: %s", shellQuote(s.Dest), plural(int64(s.Behind), "archive", "archives"), l.lastCopy(s), oneLine(s.Error))
	}
}

// copied says how a copy was after the last run that stored something.
func (j JobStatus) copied(c Copy) string {
	var s CopyState
	if j.LastGood != nil {
		s = copyState(j.LastGood.Copies, c.Dest)
	}
	switch {
	case s.Error != "":
		return c.String() + ", " + plural(int64(s.Behind), "archive", "archives") + " behind"
	case s.Newest == "":
		return c.String() + ", nothing yet"
	}
	return c.String() + ", newest " + s.Newest
}

// goneCopies says what is gone of the copies called name; nothing, if that is not known.
func (l *look) goneCopies(s CopyState, name string) string {
	ask := l.copied[s.Dest]
	if ask == nil || !ofSeries(s.Newest, name) {
		return ""
	}
	d := ask()
	there := d.series[name]
	switch {
	case d.err != nil, there.count == 0 && !d.side && !isRemote(s.Dest): // the mount point of a disk, as it seems
		return ""
	case there.count == 0:
		return fmt.Sprintf("its copies are gone from %s, all of them", shellQuote(s.Dest))
	case newer(s.Newest, there.newest.name):
		return fmt.Sprintf("its newest copy, %s, is gone from %s", s.Newest, shellQuote(s.Dest))
	}
	return ""
}

// lastCopy says since when a copy is behind.
func (l *look) lastCopy(s CopyState) string {
	text := fmt.Sprintf(" since %s", l.clock(s.Since))
	if name, ok := rotate.ParseName(s.Newest); ok {
		text += fmt.Sprintf(", its last is of %s ago", roughly(max(0, l.now.Sub(name.Time))))
	}
	return text
}

// copiesAgain is the sentence about copies that work again.
func copiesAgain(dests []string) string {
	return "Copies are made again to " + strings.Join(dests, ", ") + "."
}

// probeCopies says of each copy of a job that could not be made now, and why: that is no
// reason not to install it. It stores nothing, but for a small file that it removes again.
func probeCopies(ctx context.Context, env Env, j Job) []string {
	notes := make([]string, len(j.Options.CopyTo))
	var all sync.WaitGroup
	for i, c := range j.Options.CopyTo {
		all.Go(func() {
			k := &copying{Env: env, Options: j.Options.forCopy(c), job: j.ID, host: env.hostName(), pulse: &pulse{}}
			if err := answers(ctx, c.Dest, preflightLimit, func() error { return k.probe(ctx) }); err != nil {
				notes[i] = fmt.Sprintf("the copy to %s could not be made now: %s", c.Dest, inOneLine(err))
			}
		})
	}
	all.Wait()
	return slices.DeleteFunc(notes, func(text string) bool { return text == "" })
}

// probe finds out whether a copy could be made.
func (k *copying) probe(ctx context.Context) (err error) {
	if err := k.checkPlace(); err != nil {
		return err
	}
	st, err := openStore(ctx, k.Env, k.Dest, k.Access)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	there, err := listStored(ctx, st, k.Name)
	if err != nil {
		return err
	}
	if err := checkOwner(there, k.Options, k.job, k.host, k.asked); err != nil {
		return err
	}
	return st.Probe(ctx)
}

// copyPolicy is the policy of a job's copies of this name in dest. Zero: there is no such
// job, or the copies have none of their own: their manifests are those of the backup.
func (e Env) copyPolicy(dest, name string) rotate.Policy {
	jobs, _, err := Jobs(e.Dirs)
	if err != nil {
		return rotate.Policy{}
	}
	for _, j := range jobs {
		for _, c := range j.Options.CopyTo {
			if c.Dest == dest && j.Options.Name == name {
				return c.Policy
			}
		}
	}
	return rotate.Policy{}
}
