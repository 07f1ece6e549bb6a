package tinybackup

import (
	"fmt"
	"sync"
	"time"

	"tinybackup/internal/source"
)

// Report is what a run did, or with DryRun what it would do. Sizes are bytes.
type Report struct {
	Job    string `json:"job,omitempty"` // id
	Name   string `json:"name"`
	Source string `json:"source"`
	Dest   string `json:"dest"`
	Kind   string `json:"kind"`              // "dir", "file" or "device"
	DryRun bool   `json:"dry_run,omitempty"` // nothing of this was done

	Nothing string `json:"nothing,omitempty"` // of a job: why there was nothing to do, and nothing was done
	Change  string `json:"change,omitempty"`  // of a job: what changed with this run; one of the Change constants
	Told    bool   `json:"-"`                 // of a job: it failed again, and that it fails was told before

	Archive   string    `json:"archive"` // its name in Dest
	Encrypted bool      `json:"encrypted,omitempty"`
	SHA256    string    `json:"sha256,omitempty"`
	Start     time.Time `json:"start"`
	End       time.Time `json:"end"`
	Read      int64     `json:"read"`    // made by reading the source; the rest is as in the previous archive
	Reused    int64     `json:"reused"`  // of the archive, copied from the previous one or shared with it
	Raw       int64     `json:"raw"`     // of the archive before compression
	Written   int64     `json:"written"` // size of the archive
	Entries   int64     `json:"entries"` // files, directories and so on

	Parts []Part `json:"parts,omitempty"` // of a device: what of it was not read, as it is free

	Snapshot *Snapshot `json:"snapshot,omitempty"` // what was read instead of the source; nil: none was asked for

	Warnings     []string `json:"warnings,omitempty"` // the first of them
	WarningCount int      `json:"warning_count"`
	Incomplete   bool     `json:"incomplete,omitempty"` // something could not be read
	Lost         int64    `json:"lost,omitempty"`       // bytes that could not be read, and are zeros in the archive

	Removed   []string `json:"removed,omitempty"`   // archives that rotation removed
	Retained  []string `json:"retained,omitempty"`  // archives that were to go, and that the destination does not let go
	Unrotated string   `json:"unrotated,omitempty"` // why none were, although some were due
	Kept      int      `json:"kept"`                // archives that are there now
	KeptBytes int64    `json:"kept_bytes"`

	Copies     []CopyReport `json:"copies,omitempty"`      // one for each --copy-to that was come to
	CopiesOnly bool         `json:"copies_only,omitempty"` // of a job: Archive was stored by a run that was killed while it made copies

	Before string    `json:"before,omitempty"` // DryRun: the hooks that would be run
	After  string    `json:"after,omitempty"`
	Plan   []Verdict `json:"plan,omitempty"` // DryRun: what rotation would do
}

// Duration is how long the run took.
func (r Report) Duration() time.Duration { return r.End.Sub(r.Start) }

// Verdict is an archive and what rotation makes of it.
type Verdict struct {
	Archive    string    `json:"archive"`
	Series     string    `json:"name"`
	Time       time.Time `json:"time"`
	Size       int64     `json:"size"`
	Own        int64     `json:"own"` // bytes on disk that it shares with no other: removing it frees them
	Entries    int64     `json:"entries,omitempty"`
	Incomplete bool      `json:"incomplete,omitempty"`
	Encrypted  bool      `json:"encrypted,omitempty"`
	Doubt      string    `json:"doubt,omitempty"` // why what is remembered of it can't be used
	Keep       bool      `json:"keep"`
	Reasons    []string  `json:"reasons"`
}

// maxWarnings bounds what a report and a manifest hold of a run's warnings; all of
// them go to the log.
const maxWarnings = 20

// warnings collects what a run warns of, from any goroutine, and logs it.
type warnings struct {
	env Env

	mu         sync.Mutex
	first      []string
	count      int
	incomplete bool
	lost       int64 // bytes
	holds      bool
	held       []string // what is not in the log yet
}

// add takes a warning about an entry of the source.
func (w *warnings) add(x source.Warning) {
	if x.Class == source.Note {
		w.env.Log.Info(x.String())
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.incomplete = w.incomplete || x.Class == source.Unreadable
	w.lost += x.Lost
	w.say(x.String())
}

// addf takes any other warning.
func (w *warnings) addf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.say(fmt.Sprintf(format, args...))
}

func (w *warnings) say(text string) {
	if w.count++; len(w.first) < maxWarnings {
		w.first = append(w.first, text)
	}
	if w.holds {
		w.held = append(w.held, text)
		return
	}
	w.env.Log.Warn(text)
}

// hold keeps what is warned of from the log, until release or again.
func (w *warnings) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holds = true
}

// release logs what was held.
func (w *warnings) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range w.held {
		w.env.Log.Warn(text)
	}
	w.holds, w.held = false, nil
}

// again forgets the warnings so far.
func (w *warnings) again() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.first, w.count, w.incomplete, w.lost = nil, 0, false, 0
	w.holds, w.held = false, nil
}

// into puts the warnings into a report.
func (w *warnings) into(r *Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Warnings, r.WarningCount, r.Incomplete, r.Lost = w.first, w.count, w.incomplete, w.lost
}
