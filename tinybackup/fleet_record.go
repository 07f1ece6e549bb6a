package tinybackup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
	"tinybackup/internal/sched"
	"tinybackup/internal/store"
)

// A Record is what a host leaves of a job beside its archives, so that who sees these
// knows how the job is. It is a sidecar of JSON, NAME.status; one name of archives
// belongs to one source of one host. Its times are by the clock of the host, sizes are
// bytes. Nothing in it can be trusted by whoever reads it: anybody who may write to the
// destination may have written it.
type Record struct {
	Version  int       `json:"version"`  // recordVersion
	Tool     string    `json:"tool"`     // version of tinybackup
	Recorded time.Time `json:"recorded"` // when it was written
	Host     string    `json:"host"`
	Job      string    `json:"job,omitempty"` // id; empty: there is no job, it was backed up by hand
	Name     string    `json:"name"`          // of its archives
	Source   string    `json:"source,omitempty"`
	Owner    string    `json:"owner,omitempty"` // instead of Source, if the archives are encrypted: archive.OwnerOf

	// The schedule of a job. Without a word of the run of Next, the job is late after
	// LateAfter, and silent after SilentAfter: the planned run after that should have
	// been heard of, too.
	Time        string    `json:"time,omitempty"`     // as it was typed
	Schedule    string    `json:"schedule,omitempty"` // in words
	Zone        string    `json:"zone,omitempty"`
	Scheduler   string    `json:"scheduler,omitempty"`
	Next        time.Time `json:"next,omitzero"` // none after the last time
	LateAfter   time.Time `json:"late_after,omitzero"`
	SilentAfter time.Time `json:"silent_after,omitzero"`

	Last     *HistoryEntry `json:"last"`                // the last run; names no files
	LastGood *HistoryEntry `json:"last_good,omitempty"` // the last one that stored an archive
	Failures int           `json:"failures"`            // failed runs since then
	Failing  time.Time     `json:"failing_since,omitzero"`
	Archives int           `json:"archives"`         // after the last run that stored one
	Bytes    int64         `json:"bytes"`            // the sum of their sizes
	Removed  time.Time     `json:"removed,omitzero"` // when the job was uninstalled
}

const (
	recordVersion = 1
	recordSuffix  = ".status"
	maxRecord     = 64 << 10 // bytes; what we write has some hundred
	maxTold       = 500      // characters of an error
	maxHost       = 255      // bytes, gethostname(2)
)

// recordName is the sidecar of a record.
func recordName(series string) string { return series + recordSuffix }

// errTooLarge is why a record is not looked at.
var errTooLarge = fmt.Errorf("it has more than %v", Size(maxRecord))

// parseRecord reads the record of the archives called series. Of one that cannot be
// used, the error says why; of a later version, the host is known.
func parseRecord(series string, data []byte) (Record, error) {
	if len(data) > maxRecord {
		return Record{}, errTooLarge
	}
	var head struct {
		Version *int   `json:"version"`
		Host    string `json:"host"`
	}
	if err := json.Unmarshal(data, &head); err != nil || head.Version == nil {
		return Record{}, errors.New("it is damaged")
	}
	if *head.Version != recordVersion {
		return Record{Host: head.Host}, fmt.Errorf("it is of version %d, and this program knows version %d only", *head.Version, recordVersion)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, errors.New("it is damaged")
	}
	if err := r.check(series); err != nil {
		return Record{}, err
	}
	r.Last.Error, r.Last.First = cut(r.Last.Error, maxTold), nil
	return r, nil
}

// check refuses what no host of ours can have written.
func (r Record) check(series string) error {
	switch {
	case r.Name != series:
		return fmt.Errorf("it is that of %q", r.Name)
	case r.Host == "", len(r.Host) > maxHost, r.Last == nil, r.Job != "" && !isJobID(r.Job), r.Failures < 0, r.Archives < 0, r.Bytes < 0:
		return errors.New("it is damaged")
	case !r.Last.Stored() && r.Last.Result != ResultFailed:
		return fmt.Errorf("its last run ended with %q, which is no result", cut(r.Last.Result, maxTold))
	}
	return nil
}

// readRecord reads a record from a destination; fs.ErrNotExist if there is none.
func readRecord(ctx context.Context, st store.Store, series string) (Record, error) {
	data, _, err := st.ReadSideHead(ctx, recordName(series), maxRecord+1)
	if err != nil {
		return Record{}, err
	}
	return parseRecord(series, data)
}

// leaveRecord makes now the record of its archives in a destination, with what the
// record that is there tells of the past. Where nothing of ours is yet, a run that
// failed leaves nothing.
func leaveRecord(ctx context.Context, st store.Store, now Record) error {
	old, err := readRecord(ctx, st, now.Name)
	missing := errors.Is(err, fs.ErrNotExist)
	// That of a run of root is another user's, who may replace it all the same.
	foreign := errors.Is(err, fs.ErrPermission) && isLocal(st) && now.Last.Stored()
	if err != nil && !missing && !foreign && errors.As(err, new(*store.Error)) {
		return err // it cannot be read, or nothing can
	}
	if !now.Last.Stored() {
		if err == nil && !now.sameOwner(old) {
			return fmt.Errorf("%s in %s is that of %s", recordName(now.Name), st, old.Host)
		}
		if missing {
			if ours, err := st.HasSide(ctx); err != nil || !ours {
				return err
			}
		}
	}
	now.after(old)
	return putRecord(ctx, st, now)
}

func putRecord(ctx context.Context, st store.Store, r Record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return st.WriteSide(ctx, recordName(r.Name), append(data, '\n'))
}

// sameOwner says whether two records are of one source.
func (r Record) sameOwner(other Record) bool {
	return r.Job != "" && r.Job == other.Job || r.Host == other.Host && r.Source == other.Source && r.Owner == other.Owner
}

// seal leaves out what only those are to know who can read the archives of source. An
// error may name a file.
func (r *Record) seal(source string) {
	r.Source, r.Owner = "", archive.OwnerOf(r.Host, source)
	r.Last.Read, r.Last.Raw, r.Last.Entries = 0, 0, 0
	if r.Last.Error != "" {
		r.Last.Error = "its log there says why"
	}
}

// after completes a record from the one before it; zero: there is none.
func (r *Record) after(old Record) {
	if r.Last.Stored() {
		r.LastGood = r.Last
	} else {
		r.LastGood, r.Failures, r.Failing = old.LastGood, old.Failures+1, old.Failing
		if r.Failing.IsZero() {
			r.Failing = r.Last.Start
		}
	}
	if r.Archives == 0 { // not known, or as before
		r.Archives, r.Bytes = old.Archives, old.Bytes
	}
	if r.Job == "" && old.Job != "" && old.Removed.IsZero() && r.sameOwner(old) {
		// Backed up by hand, the job is still to come.
		r.Job, r.Time, r.Schedule, r.Zone, r.Scheduler = old.Job, old.Time, old.Schedule, old.Zone, old.Scheduler
		r.Next, r.LateAfter, r.SilentAfter = old.Next, old.LateAfter, old.SilentAfter
	}
}

// remove notes that the job was uninstalled: nothing is to be heard of it any more.
func (r *Record) remove(at time.Time) {
	r.Removed, r.Next, r.LateAfter, r.SilentAfter = at, time.Time{}, time.Time{}, time.Time{}
}

// A promise is when a job will be heard of again.
type promise struct {
	job  Job
	spec *sched.Spec
	slot time.Time // the one that the run serves; none if it was asked for between two
}

// now is the promise of the job as its file has it now: it may have been changed while
// the run went on. false: it was uninstalled, or has left the destination and name of o.
func (p promise) now(dirs Dirs, o Options) (promise, bool) {
	job, err := readJob(dirs, p.job.Path)
	if err != nil {
		return p, !errors.Is(err, fs.ErrNotExist)
	}
	spec, err := job.Spec()
	if err != nil {
		return p, true
	}
	p.job, p.spec = job, spec
	return p, slices.ContainsFunc(job.places(), func(at place) bool {
		return at.options.Name == o.Name && samePlace(at.options.Dest, o.Dest)
	})
}

// into tells it in a record, at its time. The next run may take twice as long as this one did,
// as it is heard of when it has ended.
func (p promise) into(r *Record) {
	r.Time, r.Schedule, r.Scheduler = p.job.Time, p.spec.Describe(), p.job.Scheduler
	r.Zone = p.job.Installed.Location().String()
	from := r.Recorded
	if p.slot.After(from) { // a timer's clock is a little ahead
		from = p.slot
	}
	r.Next, r.LateAfter, r.SilentAfter = time.Time{}, time.Time{}, time.Time{}
	next, more := p.spec.Next(from)
	if !more {
		return
	}
	grace := sched.OnTime + time.Duration(p.job.Options.Jitter) + 2*max(0, r.Last.End.Sub(r.Last.Start))
	r.Next, r.LateAfter = next, next.Add(grace)
	second, more := p.spec.Next(next)
	if !more {
		second = next.Add(onceOverdue)
	}
	r.SilentAfter = second.Add(grace)
}

// credentials are a name and a password in an address.
var credentials = regexp.MustCompile(`://[^/@\s]*:[^/@\s]*@`)

// toldTo is an error in one line, for those who may read the destination.
func (o Options) toldTo(err string) string {
	err = credentials.ReplaceAllString(err, "://"+hidden+"@")
	_, secret, token := o.S3Keys.parts()
	for _, s := range []string{secret, token} {
		if s != "" {
			err = strings.ReplaceAll(err, s, hidden)
		}
	}
	return cut(oneLine(err), maxTold)
}

// seriesOfRecord is the name of the archives that a sidecar tells of.
func seriesOfRecord(side string) (string, bool) {
	series, ok := strings.CutSuffix(side, recordSuffix)
	return series, ok && rotate.CheckSeries(series) == nil
}
