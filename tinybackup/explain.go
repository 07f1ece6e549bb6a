package tinybackup

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"tinybackup/internal/sched"
)

// explainRuns is how many runs an Explanation has.
const explainRuns = 5

// An Explanation is what a time means, and the output of explain --json.
type Explanation struct {
	Time       string                 `json:"time"`            // as it was typed
	Once       bool                   `json:"once"`            // a single run
	Schedule   string                 `json:"schedule"`        // in words
	Zone       string                 `json:"zone"`            // the time zone
	Next       []time.Time            `json:"next"`            // the next five runs
	Notes      []string               `json:"notes,omitempty"` // what to know about these times
	Auto       string                 `json:"auto,omitempty"`  // the scheduler that install would take here; empty: none works
	Schedulers []ExplanationScheduler `json:"schedulers"`
}

// An ExplanationScheduler is how a scheduler would run a time.
type ExplanationScheduler struct {
	Name  string `json:"name"`
	When  string `json:"when,omitempty"` // the time as it is told to the scheduler
	Why   string `json:"why,omitempty"`  // why it cannot run it at all
	Here  string `json:"here,omitempty"` // why it does not work on this machine, now
	Works bool   `json:"works"`          // it can, here and now
}

// Explain finds out what a time means, as install would.
func Explain(ctx context.Context, env Env, text string, once bool) (Explanation, error) {
	anchor := env.Now().In(env.zone()).Truncate(time.Minute)
	spec, err := parseTime(text, once, anchor)
	if err != nil {
		return Explanation{}, err
	}
	x := Explanation{
		Time: text, Once: once, Schedule: spec.Describe(), Zone: anchor.Location().String(),
		Next: nextRuns(spec, anchor, explainRuns), Notes: append(env.zoneNotes(), spec.Notes(anchor)...),
	}
	binary, err := env.binary()
	if err != nil {
		binary = "/usr/local/bin/tinybackup" // a stand-in: the line is not shown
	}
	// The entry of a job that is not there; every id is as good.
	const id = "00000000"
	job := Job{ID: id, Path: filepath.Join(env.Dirs.Jobs, id+".ini"), Time: text, Once: once, Installed: anchor}
	entry := job.entry(env.Dirs, binary, spec, x.Next[0])
	for _, s := range env.allSchedulers() {
		e := ExplanationScheduler{Name: s.Name()}
		if err := canExpress(env, s, entry); err != nil {
			e.Why = nameless(s.Name(), err)
		} else {
			e.When = whenOf(s, entry)
			if err := s.Check(ctx); err != nil {
				e.Here = nameless(s.Name(), err)
			}
		}
		e.Works = e.Why == "" && e.Here == ""
		if e.Works && x.Auto == "" {
			x.Auto = e.Name
		}
		x.Schedulers = append(x.Schedulers, e)
	}
	return x, ctx.Err()
}

// nextRuns are the first n slots after a time, or all if there are fewer.
func nextRuns(spec *sched.Spec, after time.Time, n int) []time.Time {
	var runs []time.Time
	for t, more := spec.Next(after); more && len(runs) < n; t, more = spec.Next(t) {
		runs = append(runs, t)
	}
	return runs
}

// whenOf is an entry's time in the words of its scheduler; empty if that goes by
// the job's own.
func whenOf(s sched.Scheduler, e sched.Entry) string {
	line, err := s.Line(e)
	if err != nil {
		return ""
	}
	switch s.Name() {
	case "cron":
		first, _, _ := strings.Cut(line, "\n")
		return strings.TrimSuffix(first, " "+sched.Command(e.Binary, e.Job))
	case "at":
		_, stamp, _ := strings.Cut(line, " -t ")
		stamp, _, _ = strings.Cut(stamp, " ")
		return "-t " + stamp
	}
	var when []string
	for text := range strings.Lines(line) {
		if text = strings.TrimSpace(text); strings.HasPrefix(text, "OnCalendar=") {
			when = append(when, text)
		}
	}
	return strings.Join(when, " ")
}

// nameless is what a scheduler says is in the way, where its name stands before it.
func nameless(name string, err error) string {
	return strings.TrimLeft(strings.TrimPrefix(withName(name, err), name), ": ")
}
