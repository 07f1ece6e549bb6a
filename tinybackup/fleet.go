package tinybackup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tinybackup/internal/store"
)

// A Fleet is how all jobs are that ever backed up to a destination, or to one below it,
// from whatever host: as they tell in their records there. It is also the output of
// statusof --json DEST.
type Fleet struct {
	Dest     string     `json:"dest"`
	Jobs     []FleetJob `json:"jobs"`     // by host and name
	Problems []Problem  `json:"problems"` // of no single job: what could not be looked into
	OK       bool       `json:"ok"`       // there are no problems, neither here nor of any job
}

// A FleetJob is how one job is, as far as it is seen from its destination. Times of it
// are by the clock of its host, sizes are bytes. Nobody vouches for what it says of
// itself.
type FleetJob struct {
	Host       string        `json:"host"` // empty: not known
	Dest       string        `json:"dest"` // where its archives are
	ID         string        `json:"id,omitempty"`
	Name       string        `json:"name"`           // of its archives
	State      State         `json:"state"`          // one of the State constants
	Why        string        `json:"why,omitempty"`  // a sentence about State
	Mend       string        `json:"mend,omitempty"` // what to type
	OK         bool          `json:"ok"`
	Source     string        `json:"source,omitempty"`
	Time       string        `json:"time,omitempty"`     // as it was typed; empty: it has no schedule
	Schedule   string        `json:"schedule,omitempty"` // in words
	Zone       string        `json:"zone,omitempty"`
	Scheduler  string        `json:"scheduler,omitempty"`
	Next       time.Time     `json:"next,omitzero"`
	Heard      time.Time     `json:"heard,omitzero"`        // when its record was written, by the destination's clock
	ClockAhead int64         `json:"clock_ahead,omitempty"` // seconds by which its clock is ahead of that; negative: behind
	Last       *HistoryEntry `json:"last,omitempty"`
	LastGood   *HistoryEntry `json:"last_good,omitempty"` // the last run that stored an archive
	Failures   int           `json:"failures"`            // failed runs since then
	Failing    time.Time     `json:"failing_since,omitzero"`
	Archives   int           `json:"archives"` // in the destination now
	Bytes      int64         `json:"bytes"`    // the sum of their sizes
	Newest     time.Time     `json:"newest,omitzero"`
	Tool       string        `json:"tool,omitempty"`   // its version of tinybackup
	Record     string        `json:"record,omitempty"` // where it is

	unlisted bool // its destination could not be listed
}

// FleetOptions say where to look.
type FleetOptions struct {
	Dest string
	Host string // only jobs of this host; empty: of all
	Access
}

// fleetAtOnce is how many records or destinations are read at a time: what takes long
// is the way there.
const fleetAtOnce = 8

// A fleetDest is one of the destinations of a fleet.
type fleetDest struct {
	store   store.Store
	records []store.Object // sidecars
	jobs    []FleetJob     // of records, in their order
	read    []Record
	doubts  []error // why a record cannot be used
	series  map[string]series
	err     error // why it cannot be listed
}

// FleetOf tells how the jobs are that back up to a destination. It asks once for each
// thousand names, each destination and each record. It changes nothing: a server that
// tells the time by that of a file only gets one for a moment, if it takes any. Only a
// destination that nothing can be said of is an error; one without backups is a problem.
func FleetOf(ctx context.Context, env Env, o FleetOptions) (_ Fleet, err error) {
	dest, err := resolvePath(o.Dest)
	if err != nil {
		return Fleet{}, err
	}
	st, err := openStore(ctx, env, dest, o.Access)
	if err != nil {
		return Fleet{}, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	first, done := patience(ctx, dest) // after that, it is known to answer
	defer done()
	now, err := st.Now(first)
	switch {
	case ctx.Err() != nil:
		return Fleet{}, context.Cause(ctx)
	case first.Err() != nil:
		return Fleet{}, &HintError{Err: fmt.Errorf("destination %q: %w", dest, context.Cause(first)), Hint: reachHint(dest)}
	case err != nil: // also where nothing may be written, or there is no room
		now = env.Now()
	}
	now = now.In(env.Now().Location())
	f := Fleet{Dest: dest, Jobs: []FleetJob{}, Problems: []Problem{}, OK: true}
	dests, err := fleetDests(ctx, st)
	if err != nil && (len(dests) == 0 || ctx.Err() != nil) {
		return f, err
	}
	f.unable(err)
	readFleet(ctx, dests)
	for _, d := range dests {
		f.unable(d.err)
		f.add(d, now)
	}
	if more := len(f.Problems) - maxWarnings; more > 0 {
		f.Problems = append(f.Problems[:maxWarnings], Problem{State: StateBroken, Why: fmt.Sprintf("%d more could not be looked into", more)})
	}
	if ctx.Err() != nil {
		return f, context.Cause(ctx)
	}
	if o.Host != "" { // what cannot be read may be of that one
		f.Jobs = slices.DeleteFunc(f.Jobs, func(j FleetJob) bool { return j.Host != o.Host && (j.Host != "" || j.OK) })
	}
	f.noneOf(o.Host)
	slices.SortStableFunc(f.Jobs, func(a, b FleetJob) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Name, b.Name), strings.Compare(a.Dest, b.Dest))
	})
	f.OK = len(f.Problems) == 0 && !slices.ContainsFunc(f.Jobs, func(j FleetJob) bool { return !j.OK })
	return f, nil
}

// fleetDests are the destinations at and below st. That itself may have archives without
// anything of ours.
func fleetDests(ctx context.Context, st store.Store) ([]*fleetDest, error) {
	found, err := st.Find(ctx, "")
	if err != nil && len(found) == 0 {
		return nil, err
	}
	if len(found) == 0 || found[0].Below != "" {
		found = append([]store.Found{{}}, found...)
	}
	var dests []*fleetDest
	for _, f := range found {
		at, atErr := st.At(ctx, f.Below)
		if atErr != nil {
			err = errors.Join(err, atErr)
			continue
		}
		d := &fleetDest{store: at}
		for _, side := range f.Sides {
			if _, ok := seriesOfRecord(side.Name); ok {
				d.records = append(d.records, side)
			}
		}
		d.jobs, d.read, d.doubts = make([]FleetJob, len(d.records)), make([]Record, len(d.records)), make([]error, len(d.records))
		dests = append(dests, d)
	}
	return dests, err
}

// readFleet reads all records, and then lists all archives: so an archive that a record
// tells of is in the list, or was rotated away by a newer one.
func readFleet(ctx context.Context, dests []*fleetDest) {
	type place struct {
		d *fleetDest
		i int
	}
	var records []place
	for _, d := range dests {
		for i := range d.records {
			records = append(records, place{d, i})
		}
	}
	several(len(records), fleetAtOnce, func(n int) {
		d, i := records[n].d, records[n].i
		name, _ := seriesOfRecord(d.records[i].Name)
		if d.records[i].Size > maxRecord {
			d.doubts[i] = errTooLarge
			return
		}
		d.read[i], d.doubts[i] = readRecord(ctx, d.store, name)
	})
	several(len(dests), fleetAtOnce, func(n int) {
		d := dests[n]
		var objects []store.Object
		if objects, d.err = d.store.List(ctx); d.err == nil {
			d.series = seriesIn(objects)
		}
		d.err = errors.Join(d.err, d.store.Close())
	})
}

// add adds the jobs of a destination.
func (f *Fleet) add(d *fleetDest, now time.Time) {
	dest := d.store.String()
	told := map[string]bool{}
	for i, side := range d.records {
		name, _ := seriesOfRecord(side.Name)
		told[name] = true
		s := d.series[name]
		j := FleetJob{Dest: dest, Name: name, Heard: heardAt(side, now), Archives: s.count, Bytes: s.bytes, unlisted: d.series == nil,
			Record: joinDest(dest, store.SideDir+"/"+side.Name), Newest: s.newest.name.Time}
		if err := d.doubts[i]; err != nil {
			j.Host = d.read[i].Host
			j.unread(err)
		} else {
			j.from(d.read[i])
			j.judge(d.read[i], s.newest.name, now)
		}
		f.Jobs = append(f.Jobs, j)
	}
	for name, s := range d.series {
		if !told[name] {
			j := FleetJob{Dest: dest, Name: name, Archives: s.count, Bytes: s.bytes, Newest: s.newest.name.Time}
			j.settle(StateNoRecord, "it was backed up by another version, or is a copy", "")
			f.Jobs = append(f.Jobs, j)
		}
	}
}

// heardAt is when a record was written, in the zone of now; zero for a time that nobody
// can have written it at, which JSON has no words for.
func heardAt(record store.Object, now time.Time) time.Time {
	t := record.ModTime.In(now.Location())
	if t.Year() < 1970 || t.Year() >= 9999 {
		return time.Time{}
	}
	return t
}

// from takes what a record tells.
func (j *FleetJob) from(r Record) {
	j.Host, j.ID, j.Source, j.Tool = r.Host, r.Job, r.Source, r.Tool
	j.Time, j.Schedule, j.Zone, j.Scheduler, j.Next = r.Time, r.Schedule, r.Zone, r.Scheduler, r.Next
	j.ClockAhead = int64(r.ahead(j.Heard) / time.Second)
	j.Last, j.LastGood, j.Failures, j.Failing = r.Last, r.LastGood, r.Failures, r.Failing
	if j.unlisted {
		j.Archives, j.Bytes = r.Archives, r.Bytes
	}
}

// noneOf notes that there is nothing at all of a host, or of any: its disk may not be
// mounted, or a name misspelled, and who asks whether all is well is not to hear that it is.
func (f *Fleet) noneOf(host string) {
	switch {
	case host == "" && (len(f.Jobs) > 0 || len(f.Problems) > 0):
		return
	case slices.ContainsFunc(f.Jobs, func(j FleetJob) bool { return j.Host == host }):
		return
	}
	p := Problem{State: StateBroken, Why: "there are no backups in " + f.Dest}
	if host != "" {
		p.Why, p.Mend = fmt.Sprintf("there are no backups of %s in %s", host, f.Dest), "tinybackup statusof "+shellQuote(f.Dest)
	} else if !isRemote(f.Dest) {
		p.Mend = mountOr(f.Dest, "or see whether it is the right directory")
	}
	f.Problems = append([]Problem{p}, f.Problems...)
}

// unable notes what could not be looked into.
func (f *Fleet) unable(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			f.unable(err)
		}
		return
	}
	if err != nil {
		f.Problems = append(f.Problems, Problem{State: StateBroken, Why: err.Error(), Mend: hintOf(err)})
	}
}
