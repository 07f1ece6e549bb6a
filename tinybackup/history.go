package tinybackup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// What became of a run, in HistoryEntry.Result.
const (
	ResultOK       = "ok"       // an archive is stored
	ResultWarnings = "warnings" // an archive is stored, and something is to be told of it
	ResultFailed   = "failed"   // nothing new is stored
	ResultSkipped  = "skipped"  // another run was going on
	ResultMissed   = "missed"   // no run: nothing could start it in time
)

// A HistoryEntry is what is remembered of one run of a job: one line of JSON in
// its history.jsonl. Times are those of the job's zone, sizes are bytes.
type HistoryEntry struct {
	Slot     time.Time `json:"slot,omitzero"` // the planned time that the run serves; none if it was asked for between two
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	Result   string    `json:"result"`           // one of the Result constants
	Exit     int       `json:"exit"`             // exit status of the run
	Change   string    `json:"change,omitempty"` // what changed with it: one of the Change constants
	Missed   int       `json:"missed,omitempty"` // how many slots, the last of which is Slot, with ResultMissed
	Archive  string    `json:"archive,omitempty"`
	Read     int64     `json:"read"`    // read from the source
	Raw      int64     `json:"raw"`     // of the archive before compression
	Written  int64     `json:"written"` // size of the archive
	Reused   int64     `json:"reused"`  // of these, taken from the previous archive
	Entries  int64     `json:"entries"` // files, directories and so on
	Removed  int       `json:"removed"` // archives that rotation removed
	Warnings int       `json:"warnings"`
	First    []string  `json:"first_warnings,omitempty"`
	Error    string    `json:"error,omitempty"`

	Copies []CopyState `json:"copies,omitempty"` // one for each --copy-to, if an archive was stored
}

// Stored says whether the run left a new archive.
func (e HistoryEntry) Stored() bool { return e.Result == ResultOK || e.Result == ResultWarnings }

// A History is what became of the runs of one job, oldest first. Any number of
// processes may use it at once.
type History struct {
	dir string // of the job's state
}

// The history is cut back to historyKeep lines when it has reached historyMax,
// so that a job that runs every minute does not rewrite it every minute.
const (
	historyKeep = 1000
	historyMax  = 1200
)

// historyWait is how long to wait for another process that is just writing a line.
const historyWait = 10 * time.Second

func (h History) path() string { return filepath.Join(h.dir, "history.jsonl") }

// Append adds an entry; it is on the disk when Append returns.
func (h History) Append(entry HistoryEntry) (err error) {
	line, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	lock, err := lockFile(context.Background(), filepath.Join(h.dir, "history.lock"), "writing the history", historyWait)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	lines, err := readLines(h.path())
	if err != nil {
		return err
	}
	if len(lines) >= historyMax-1 {
		lines = append(lines[len(lines)-historyKeep+1:], line)
		return writeWhole(h.path(), append(bytes.Join(lines, []byte("\n")), '\n'))
	}
	return h.appendLine(line)
}

// appendLine writes one line to the end of the file, after a newline if the last
// one was torn.
func (h History) appendLine(line []byte) (err error) {
	f, err := os.OpenFile(h.path(), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, 2)
	if err != nil {
		return err
	}
	if size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = append([]byte("\n"), line...)
		}
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if size == 0 {
		return syncDir(h.dir)
	}
	return nil
}

// Last gives the newest n entries, oldest first; all of them if n is negative.
// Lines that are none of ours, or torn, are passed over. No history is no error.
func (h History) Last(n int) ([]HistoryEntry, error) {
	lines, err := readLines(h.path())
	if err != nil {
		return nil, err
	}
	var entries []HistoryEntry
	for i := len(lines) - 1; i >= 0 && (n < 0 || len(entries) < n); i-- {
		var e HistoryEntry
		if json.Unmarshal(lines[i], &e) == nil && e.Result != "" {
			entries = append(entries, e)
		}
	}
	for i, j := 0, len(entries)-1; i < j; i, j = i+1, j-1 {
		entries[i], entries[j] = entries[j], entries[i]
	}
	return entries, nil
}

// LastStored gives the newest entry whose run left an archive.
func (h History) LastStored() (HistoryEntry, bool, error) {
	entries, err := h.Last(-1)
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].Stored() {
			return entries[i], true, err
		}
	}
	return HistoryEntry{}, false, err
}
