package tinybackup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tinybackup/internal/sched"
)

// A slotBook is what a job remembers of its slots: slots.json in its state
// directory, read and written under its run.lock. It is for statusof, and for a
// person, to read.
type slotBook struct {
	Settled time.Time `json:"settled"`        // the newest slot that is done with: served, missed or given up
	Slot    time.Time `json:"slot,omitzero"`  // the one that is being tried
	Tries   int       `json:"tries"`          // of Slot; the one that is going on counts
	Tried   time.Time `json:"tried,omitzero"` // when the last of them began

	Stored *HistoryEntry `json:"stored,omitempty"` // that try has stored its archive, and makes copies: its line, if it is killed

	FailedSlots  int       `json:"failed_slots"`           // since the last success
	FailingSince time.Time `json:"failing_since,omitzero"` // the first failure since then
	Told         string    `json:"told,omitempty"`         // the last Change that was told; none once all is well

	Dest    string `json:"dest,omitempty"`    // where Archive is
	Archive string `json:"archive,omitempty"` // the newest one of this job
}

// What changed with a run, in HistoryEntry.Change: this is what is told, once,
// to those who want to hear.
const (
	ChangeFailed       = "failed"        // all was well until this run
	ChangeStillFailing = "still failing" // tellAgain slots have failed
	ChangeRecovered    = "recovered"     // all is well again
)

// tellAgain is how many slots in a row have failed when that is told a second time.
const tellAgain = 3

func (j Job) slotsPath() string { return filepath.Join(j.StateDir, "slots.json") }

// slots is the job's book. One that is missing or damaged is made again from the
// history; that is no error, as the worst of it is a backup too many.
func (j Job) slots() (slotBook, error) {
	text, err := os.ReadFile(j.slotsPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return slotBook{}, err
	}
	var kept keptBook
	if json.Unmarshal(text, &kept) == nil && !kept.Settled.IsZero() && kept.Check == kept.sum() {
		return kept.in(j.Installed.Location()), nil
	}
	book := slotBook{Settled: j.Installed}
	runs, err := j.History().Last(-1)
	for _, run := range runs {
		if (run.Stored() || run.Result == ResultMissed) && run.Slot.After(book.Settled) {
			book.Settled = run.Slot
		}
		if run.Stored() {
			book.Dest, book.Archive = j.Options.Dest, run.Archive
		}
	}
	return book, err
}

// A keptBook is a book in its file. One bit that turned over there could settle a
// slot that is still to come.
type keptBook struct {
	slotBook
	Check string `json:"check"`
}

// sum is a checksum of the book.
func (b slotBook) sum() string {
	text, err := json.Marshal(b)
	if err != nil { // a time that no file can hold
		return "none"
	}
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE(text))
}

// in is the book with the times of a zone.
func (b slotBook) in(zone *time.Location) slotBook {
	for _, t := range []*time.Time{&b.Settled, &b.Slot, &b.Tried, &b.FailingSince} {
		if !t.IsZero() {
			*t = t.In(zone)
		}
	}
	return b
}

// writeSlots makes b the job's book.
func (j Job) writeSlots(b slotBook) error {
	text, err := json.MarshalIndent(keptBook{b, b.sum()}, "", "  ")
	if err != nil {
		return err
	}
	if err := writeWhole(j.slotsPath(), append(text, '\n')); err != nil {
		return fmt.Errorf("slots: %w", err)
	}
	return nil
}

// owed says what is to be done for the job at now.
func (j Job) owed(spec *sched.Spec, b slotBook, now time.Time) sched.Verdict {
	c := sched.CatchUp{Once: j.Options.CatchUp != "none", Grace: time.Duration(j.Options.Grace)}
	return spec.Owed(sched.Book{Settled: b.Settled, Slot: b.Slot, Tries: b.Tries, Tried: b.Tried}, c, now)
}

// begin notes that slot is tried at now.
func (b *slotBook) begin(slot, now time.Time) {
	if !b.Slot.Equal(slot) {
		b.Slot, b.Tries = slot, 0
	}
	b.Tries++
	b.Tried, b.Stored = now, nil
}

// served notes that a run has stored an archive for all slots up to slot, and
// gives what has changed by that.
func (b *slotBook) served(slot time.Time) (change string) {
	if b.Told != "" {
		change = ChangeRecovered
	}
	if !slot.IsZero() {
		b.Settled = slot
	}
	*b = slotBook{Settled: b.Settled, Dest: b.Dest, Archive: b.Archive}
	return change
}

// failed notes that the try which begin noted, or a run by hand at now, stored
// nothing, and gives what has changed by that.
func (b *slotBook) failed(now time.Time) (change string) {
	if b.FailingSince.IsZero() {
		b.FailingSince = now
	}
	if b.Tries <= 1 {
		b.FailedSlots++
	}
	switch {
	case b.Told == "":
		b.Told = ChangeFailed
	case b.Told == ChangeFailed && b.FailedSlots >= tellAgain:
		b.Told = ChangeStillFailing
	default:
		return ""
	}
	return b.Told
}

// destGone is an error if the destination held an archive of the job, and is not
// the same place any more: a disk that is not mounted leaves an empty directory,
// and a backup there would fill the wrong disk. What else is wrong with the
// destination is none of this: the run will say.
func (j Job) destGone(ctx context.Context, env Env, b slotBook) error {
	if b.Archive == "" || b.Dest != j.Options.Dest {
		return nil
	}
	mend := "mount the disk; if you emptied it"
	if isRemote(b.Dest) {
		mend = "see whether it is the right server, and the right place there; if you emptied it"
	}
	if there, err := hasSide(ctx, env, j.Options); there || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return &HintError{
		Err:  fmt.Errorf("destination %q is not what it was: %s is gone, and all else of ours", b.Dest, b.Archive),
		Hint: mend + ": tinybackup run --now --job " + j.ID,
	}
}

// hasSide says whether the destination of o is one of ours.
func hasSide(ctx context.Context, env Env, o Options) (bool, error) {
	st, err := openStore(ctx, env, o.Dest, o.Access)
	if err != nil {
		return false, err
	}
	there, err := st.HasSide(ctx)
	return there, errors.Join(err, st.Close())
}

// jitter is how much later than its slots the job begins: less than --jitter, the
// same every time, and another for each host and job, so that many machines do
// not come to one server at once.
func (j Job) jitter(host string) time.Duration {
	if j.Options.Jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", host, j.ID)
	return time.Duration(h.Sum64() % uint64(j.Options.Jitter))
}

// jitterLooks is how many runs are looked at to see whether a jitter fits.
const jitterLooks = 10

// jitterFits refuses a jitter with which a run could begin after the next slot.
func jitterFits(jitter time.Duration, runs []time.Time) error {
	for i := 1; i < len(runs); i++ {
		if gap := runs[i].Sub(runs[i-1]); jitter >= gap {
			return &UsageError{
				Msg:  fmt.Sprintf("--jitter %s is not shorter than the %s from run to run", Duration(jitter), Duration(gap)),
				Hint: "give less, or another --time",
			}
		}
	}
	return nil
}
