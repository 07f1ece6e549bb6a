package tinybackup

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A State is how a job is, in one word.
type State string

// The states of a job. Of several that fit, the one that stands first here counts.
const (
	StateBroken  State = "broken"  // no backup can be expected of it before somebody mends it
	StateRunning State = "running" // a run is going on
	StateOverdue State = "overdue" // no success for longer than its schedule allows
	StateFailed  State = "failed"  // its last run stored nothing
	StateLate    State = "late"    // its slot has passed, and no run has begun; or a copy is behind
	StateDue     State = "due"     // it has never run yet, and its first slot is to come
	StateOK      State = "ok"
)

// states are all of them.
var states = []State{StateOK, StateRunning, StateDue, StateLate, StateFailed, StateOverdue, StateBroken}

// A Status is how the jobs are, and the output of statusof --json.
type Status struct {
	Jobs     []JobStatus `json:"jobs"`
	Problems []Problem   `json:"problems"` // of no single job, such as lines without one
	Service  bool        `json:"service"`  // the built-in scheduler is running
	OK       bool        `json:"ok"`       // there are no problems, neither here nor of any job
}

// A Problem is something that is not well.
type Problem struct {
	State State  `json:"state"`          // what a job is that has it
	Why   string `json:"why"`            // a sentence
	Mend  string `json:"mend,omitempty"` // what to type to mend it
}

// A JobStatus is how one job is. Times are in the job's zone, sizes are bytes.
// Of a job whose file cannot be used, only Number, ID, Path and what is wrong are
// known.
type JobStatus struct {
	Number      int            `json:"number"`              // may be given to statusof and uninstall, until jobs come and go
	ID          string         `json:"id"`                  // eight hex digits
	Name        string         `json:"name"`                // of its archives
	State       State          `json:"state"`               // one of the State constants
	Why         string         `json:"why,omitempty"`       // a sentence about State
	Mend        string         `json:"mend,omitempty"`      // what to type to mend it
	OK          bool           `json:"ok"`                  // it has no problems
	Source      string         `json:"source"`              // absolute path
	Dest        string         `json:"dest"`                // absolute path, or a place on another machine
	Time        string         `json:"time"`                // as it was typed
	Schedule    string         `json:"schedule"`            // in words
	Zone        string         `json:"zone"`                // the time zone of the schedule
	Scheduler   string         `json:"scheduler"`           // who starts it
	Where       string         `json:"where,omitempty"`     // where its line is, such as "crontab line 7"
	Next        time.Time      `json:"next,omitzero"`       // when it runs next; none after the last time
	Done        bool           `json:"done,omitempty"`      // it ran --once
	Running     bool           `json:"running,omitempty"`   // a run is going on
	Progress    *ProgressView  `json:"progress,omitempty"`  // of that, as far as it tells
	Last        *HistoryEntry  `json:"last,omitempty"`      // the last run
	LastGood    *HistoryEntry  `json:"last_good,omitempty"` // the last run that stored an archive
	Failures    int            `json:"failures"`            // failed runs since then
	Failing     time.Time      `json:"failing_since,omitzero"`
	FailedSlots int            `json:"failed_slots"`        // planned runs that failed, however often each was tried
	Tries       int            `json:"tries"`               // of the slot that is being tried
	Unasked     string         `json:"unasked,omitempty"`   // why its destination, on another machine, could not be asked; then nothing is known of that
	Archives    int            `json:"archives"`            // in the destination now
	Bytes       int64          `json:"bytes"`               // the sum of their sizes
	Free        int64          `json:"free"`                // what is free in the destination; -1 if that is not known
	Path        string         `json:"path"`                // of its file
	History     string         `json:"history"`             // of its history
	Log         string         `json:"log"`                 // of its log
	LogLine     string         `json:"log_line,omitempty"`  // the last line of an error there, if its last run failed
	Messages    []Addressee    `json:"messages,omitempty"`  // who hears of it
	Problems    []Problem      `json:"problems"`            // the worst first
	Recent      []HistoryEntry `json:"recent,omitempty"`    // the last runs, oldest first, if one job was asked for
	Upcoming    []time.Time    `json:"upcoming,omitempty"`  // the next slots, if one job was asked for
	Stored      []Verdict      `json:"stored,omitempty"`    // its archives, newest first, if one job was asked for
	Unrotated   string         `json:"unrotated,omitempty"` // why rotation would remove none of them

	copyTo []Copy // its copies
}

// A ProgressView is how far a run is, and what follows from that.
type ProgressView struct {
	RunProgress
	Rate int64 `json:"rate"` // bytes a second; 0 if that is not known
	Left int64 `json:"left"` // seconds that the phase still takes; 0 if that is not known
}

const (
	recentRuns   = 10 // how many a JobStatus has in Recent
	upcomingRuns = 5  // how many in Upcoming
)

// StatusOf tells how jobs are: those of the selection, or all. Problems that are
// of no job are told only if all jobs were asked for; a selection of one job tells
// more of it. It changes nothing, and of the archives it reads manifests only.
func StatusOf(ctx context.Context, env Env, which Selection) (Status, error) {
	all, err := allJobs(env.Dirs)
	if err != nil {
		return Status{}, err
	}
	picked, err := which.pick(all)
	if err != nil {
		return Status{}, err
	}
	single := len(picked) == 1 && !which.isZero()
	look := newLook(ctx, env, picked)
	defer look.close()
	if single {
		look.recent = recentRuns
	}
	s := Status{Jobs: make([]JobStatus, len(picked)), Problems: []Problem{}, Service: look.service, OK: true}
	parallel(len(picked), func(i int) { s.Jobs[i] = look.job(ctx, picked[i]) })
	if single {
		look.detail(ctx, &s.Jobs[0], picked[0])
	}
	if which.isZero() {
		s.Problems = append(s.Problems, look.orphans()...)
	}
	for _, js := range s.Jobs {
		s.OK = s.OK && js.OK
	}
	s.OK = s.OK && len(s.Problems) == 0
	return s, nil
}

// orphans are the lines of schedulers whose job is gone.
func (l *look) orphans() (found []Problem) {
	for _, scheduler := range l.env.allSchedulers() {
		for _, e := range l.entries[scheduler.Name()] {
			if orphaned(l.env.Dirs, e) {
				found = append(found, Problem{
					State: StateBroken, Why: fmt.Sprintf("%s starts job %s, which is gone", e.Where, e.Job), Mend: "tinybackup uninstall --orphans",
				})
			}
		}
	}
	return found
}

// parallel calls do for 0 to n-1, on all cores.
func parallel(n int, do func(int)) { several(n, runtime.GOMAXPROCS(0), do) }

// several calls do for 0 to n-1, at most so many at a time.
func several(n, atOnce int, do func(int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, atOnce) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}
