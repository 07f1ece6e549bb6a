package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"tinybackup/internal/rotate"
	"tinybackup/internal/sched"
)

// A Status is how the jobs are, and the output of statusof --json.
type Status struct {
	Jobs     []JobStatus `json:"jobs"`
	Problems []string    `json:"problems"` // of no single job, such as lines without one
	Service  bool        `json:"service"`  // the built-in scheduler is running
	OK       bool        `json:"ok"`       // there are no problems, neither here nor of any job
}

// A JobStatus is how one job is. Times are in the job's zone, sizes are bytes.
// Of a job whose file cannot be used, only Number, ID, Path and Problems are known.
type JobStatus struct {
	Number    int            `json:"number"`              // may be given to statusof and uninstall, until jobs come and go
	ID        string         `json:"id"`                  // eight hex digits
	Name      string         `json:"name"`                // of its archives
	Source    string         `json:"source"`              // absolute path
	Dest      string         `json:"dest"`                // absolute path
	Time      string         `json:"time"`                // as it was typed
	Schedule  string         `json:"schedule"`            // in words
	Zone      string         `json:"zone"`                // the time zone of the schedule
	Scheduler string         `json:"scheduler"`           // "at", "cron" or "service"
	Where     string         `json:"where,omitempty"`     // where its line is, such as "crontab line 7"
	Next      time.Time      `json:"next,omitzero"`       // the next run; none after the last one
	Done      bool           `json:"done,omitempty"`      // it ran --once
	Running   bool           `json:"running,omitempty"`   // a run is going on
	Last      *HistoryEntry  `json:"last,omitempty"`      // the last run
	LastGood  *HistoryEntry  `json:"last_good,omitempty"` // the last run that stored an archive
	Archives  int            `json:"archives"`            // in the destination now
	Bytes     int64          `json:"bytes"`               // the sum of their sizes
	Path      string         `json:"path"`                // of its file
	History   string         `json:"history"`             // of its history
	Log       string         `json:"log"`                 // of its log
	Problems  []string       `json:"problems"`            // sentences
	Recent    []HistoryEntry `json:"recent,omitempty"`    // the last runs, oldest first
}

// recentRuns is how many runs a JobStatus has in Recent.
const recentRuns = 10

// overdueAfter is how long after its slot a run may be missing: at and cron start
// within a minute, but a machine may be just booting.
const overdueAfter = 15 * time.Minute

// StatusOf tells how jobs are: those of the selection, or all. Problems that are
// of no job are told only if all jobs were asked for.
func StatusOf(ctx context.Context, env Env, which Selection) (Status, error) {
	all, err := allJobs(env.Dirs)
	if err != nil {
		return Status{}, err
	}
	picked, err := which.pick(all)
	if err != nil {
		return Status{}, err
	}
	look := newLook(ctx, env)
	s := Status{Jobs: []JobStatus{}, Problems: []string{}, Service: serviceRuns(env.Dirs), OK: true}
	for _, n := range picked {
		js := look.job(ctx, n)
		s.OK = s.OK && len(js.Problems) == 0
		s.Jobs = append(s.Jobs, js)
	}
	if len(picked) == len(all) {
		for _, scheduler := range env.allSchedulers() {
			for _, e := range look.entries[scheduler.Name()] {
				if orphaned(env.Dirs, e) {
					s.Problems = append(s.Problems, fmt.Sprintf("%s starts job %s, which is gone: tinybackup uninstall --orphans removes it", e.Where, e.Job))
				}
			}
		}
	}
	s.OK = s.OK && len(s.Problems) == 0
	return s, nil
}

// A look is what is found out once for all jobs of a Status.
type look struct {
	env     Env
	now     time.Time
	entries map[string][]sched.Entry
	trouble map[string]error // of listing, by scheduler
	check   map[string]error // of Scheduler.Check, as far as asked
	stores  map[string]destination
}

// A destination is the listing of one, or why there is none.
type destination struct {
	archives map[string]tally
	err      error
}

// A tally is how many archives of one name there are, and their size in bytes.
type tally struct {
	count int
	bytes int64
}

func newLook(ctx context.Context, env Env) *look {
	l := &look{env: env, now: env.Now(), check: make(map[string]error), stores: make(map[string]destination)}
	l.entries, l.trouble = entries(ctx, env)
	return l
}

// job finds out how one job is.
func (l *look) job(ctx context.Context, n numbered) JobStatus {
	js := JobStatus{Number: n.number, ID: n.id(), Path: n.path(), Problems: []string{}}
	if n.broken != nil {
		js.Problems = append(js.Problems, "its file cannot be used: "+n.broken.Err.Error())
		return js
	}
	j := n.job
	js.Name, js.Source, js.Dest = j.Options.Name, j.Options.Source, j.Options.Dest
	js.Time, js.Zone, js.Scheduler = j.Time, j.Installed.Location().String(), j.Scheduler
	js.Log, js.History = j.LogFile, j.History().path()
	js.Running = j.running()
	spec, err := j.Spec()
	if err != nil { // readJob has parsed it
		js.problem("its time cannot be read: %v", err)
		return js
	}
	js.Schedule = spec.Describe()
	l.history(&js, j, spec)
	l.scheduler(ctx, &js, n, spec)
	l.places(ctx, &js, j)
	return js
}

func (s *JobStatus) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

// history tells of the job's runs, and of one that should have been.
func (l *look) history(js *JobStatus, j Job, spec *sched.Spec) {
	runs, err := j.History().Last(-1)
	if err != nil {
		js.problem("its history cannot be read: %v", err)
	}
	var begun time.Time // the newest start
	for _, run := range runs {
		js.Last = &run
		if run.Stored() {
			js.LastGood = &run
		}
		if run.Result != ResultSkipped && run.Start.After(begun) && !run.Start.After(l.now) {
			begun = run.Start
		}
	}
	js.Recent = runs[max(0, len(runs)-recentRuns):]
	for i := len(runs) - 1; i >= 0; i-- {
		if runs[i].Result == ResultSkipped {
			continue
		}
		if runs[i].Result == ResultFailed {
			js.problem("its last run, %s, failed: %s", l.clock(runs[i].Start), runs[i].Error)
		}
		break
	}
	slot, found := spec.Prev(l.now)
	js.Next, _ = spec.Next(l.now)
	js.Done = j.Once && found && !begun.Before(slot)
	if found && begun.Before(slot) && !js.Running && l.now.Sub(slot) > overdueAfter {
		js.problem("its run of %s did not take place", l.clock(slot))
	}
}

// clock is how a person sees a time in the past.
func (l *look) clock(t time.Time) string { return t.Format(clockFormat) }

// scheduler tells whether somebody will start the job.
func (l *look) scheduler(ctx context.Context, js *JobStatus, n numbered, spec *sched.Spec) {
	if js.Done {
		return
	}
	if err := l.trouble[js.Scheduler]; err != nil {
		js.problem("nobody knows whether it is scheduled: %v", err)
		return
	}
	own := entriesOf(l.env.Dirs, l.entries[js.Scheduler], n)
	s, err := l.env.scheduler(js.Scheduler)
	if err != nil {
		js.problem("%v", err)
		return
	}
	if len(own) == 0 {
		js.Next = time.Time{}
	}
	for _, e := range own {
		js.Where = e.Where
		if js.Scheduler == "at" && !e.Running {
			js.Next = e.Next.In(spec.Anchor.Location())
		}
	}
	want, err := n.job.expected(l.env, spec, l.now)
	if err != nil {
		js.problem("%v", err)
		return
	}
	for _, f := range faults(s, want, own) {
		if !f.harmless {
			js.problem("%s: tinybackup repair %s", f.text, js.ID)
		}
	}
	if err, asked := l.check[js.Scheduler]; asked {
		l.tellCheck(js, err)
		return
	}
	l.check[js.Scheduler] = s.Check(ctx)
	if js.Scheduler == "service" && !serviceRuns(l.env.Dirs) {
		l.check["service"] = errors.New("the service is not running: tinybackup start")
	}
	l.tellCheck(js, l.check[js.Scheduler])
}

func (l *look) tellCheck(js *JobStatus, err error) {
	if err != nil {
		js.problem("nobody starts it: %v", err)
	}
}

// places tells of the source and of what is in the destination.
func (l *look) places(ctx context.Context, js *JobStatus, j Job) {
	if _, err := os.Stat(js.Source); err != nil {
		js.problem("its source %q is not there: %v", js.Source, cause(err))
	}
	d, known := l.stores[js.Dest]
	if !known {
		d = tallyDest(ctx, js.Dest)
		l.stores[js.Dest] = d
	}
	switch {
	case errors.Is(d.err, fs.ErrNotExist):
		js.problem("its destination %q is not there", js.Dest)
	case d.err != nil:
		js.problem("its destination cannot be read: %v", d.err)
	}
	t := d.archives[j.Options.Name]
	js.Archives, js.Bytes = t.count, t.bytes
	if d.err == nil && js.LastGood != nil && t.count == 0 {
		js.problem("its destination %q has none of its archives any more", js.Dest)
	}
}

// tallyDest counts the archives in a destination by their names.
func tallyDest(ctx context.Context, dest string) destination {
	st, err := openStore(dest)
	if err != nil {
		return destination{err: err}
	}
	objects, err := st.List(ctx)
	if err != nil {
		return destination{err: err}
	}
	d := destination{archives: make(map[string]tally)}
	for _, o := range objects {
		if name, ok := rotate.ParseName(o.Name); ok {
			t := d.archives[name.Series]
			d.archives[name.Series] = tally{count: t.count + 1, bytes: t.bytes + o.Size}
		}
	}
	return d
}
