package tinybackup

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// A RunProgress is how far the run of a job is that is going on: the progress.json
// in the directory of the job's state, which goes away with the run. Sizes are bytes.
type RunProgress struct {
	PID     int       `json:"pid"`     // of the run
	Since   time.Time `json:"since"`   // when it began
	Phase   string    `json:"phase"`   // what it does now: "starting", "reading", "checking"
	Begun   time.Time `json:"begun"`   // when it began with that
	Done    int64     `json:"done"`    // bytes, of this phase
	Total   int64     `json:"total"`   // of these; -1 if that is not known
	Updated time.Time `json:"updated"` // when this was written
}

// phaseStarting is what a run does before it tells of any progress: it may wait for a
// lock.
const phaseStarting = "starting"

// phaseReading is what it does most of the time: it reads the source.
const phaseReading = "reading"

// progressEvery is how often a run writes its progress down, at most.
const progressEvery = 2 * time.Second

func (j Job) progressPath() string { return filepath.Join(j.StateDir, "progress.json") }

// noteProgress has a run write down how far it is, besides what env does with that;
// done takes the file away. Call it under the job's lock. A file that cannot be
// written is no reason to stop a backup: it is told once, for those who debug.
func (j Job) noteProgress(env Env) (_ Env, done func()) {
	now := env.Now().In(j.Installed.Location())
	p := RunProgress{PID: os.Getpid(), Since: now, Phase: phaseStarting, Begun: now, Total: -1, Updated: now}
	path, next, told := j.progressPath(), env.Progress, false
	write := func() {
		if err := writeProgress(path, p); err != nil && !told {
			told = true
			env.Log.Debug("progress is not written: " + err.Error())
		}
	}
	write()
	env.Progress = func(step Progress) {
		if next != nil {
			next(step)
		}
		now := env.Now().In(p.Since.Location())
		if step.Phase != p.Phase {
			p.Phase, p.Begun = step.Phase, now
		} else if age := now.Sub(p.Updated); age >= 0 && age < progressEvery {
			return
		}
		p.Done, p.Total, p.Updated = step.Done, step.Total, now
		write()
	}
	return env, func() {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			env.Log.Debug("progress is not removed: " + err.Error())
		}
	}
}

// writeProgress replaces the file as a whole. It need not outlive a power cut: the
// run does not either.
func writeProgress(path string, p RunProgress) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	err = os.WriteFile(path+".new", append(data, '\n'), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(path+".new")))
	}
	return nil
}

// progress is how far the run is that has the job's lock, by its process id. What
// another one has left, which was killed, does not count.
func (j Job) progress(pid int) *RunProgress {
	data, err := os.ReadFile(j.progressPath())
	var p RunProgress
	if err != nil || json.Unmarshal(data, &p) != nil || p.PID != pid {
		return nil
	}
	return &p
}

// Rate is how many bytes a second it does in this phase; 0 if that is not known.
func (p RunProgress) Rate() int64 {
	if took := p.Updated.Sub(p.Begun); took >= time.Second {
		return int64(float64(p.Done) / took.Seconds())
	}
	return 0
}

// Left is how long this phase will still take; 0 if that is not known.
func (p RunProgress) Left() time.Duration {
	rate := p.Rate()
	if rate == 0 || p.Total <= p.Done {
		return 0
	}
	return time.Duration(float64(p.Total-p.Done) / float64(rate) * float64(time.Second)).Round(time.Second)
}
