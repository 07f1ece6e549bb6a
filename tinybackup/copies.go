package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/courtesy"
	"tinybackup/internal/source"
	"tinybackup/internal/store"
)

// A CopyReport is what became of the copies in one destination, or with DryRun what
// would. Sizes are bytes.
type CopyReport struct {
	Dest     string   `json:"dest"`
	Archives []string `json:"archives"`           // that were copied, oldest first
	Sent     int64    `json:"sent"`               // of these; the rest was there already
	Shared   int64    `json:"shared"`             // of these, not sent again
	Removed  []string `json:"removed,omitempty"`  // by rotation there
	Retained []string `json:"retained,omitempty"` // archives that were to go, and that the destination does not let go
	Kept     int      `json:"kept"`               // archives that are there now
	Newest   string   `json:"newest,omitempty"`   // of these
	Behind   int      `json:"behind,omitempty"`   // archives that are still to be copied
	Missed   int      `json:"missed,omitempty"`   // archives that were removed from Dest of the backup before they were copied
	Error    string   `json:"error,omitempty"`    // why not all could be copied
	Hint     string   `json:"hint,omitempty"`     // what to do about that

	brief    string   // Error, without what is another one every night
	warnings []string // what else went wrong
}

// String is the report in a line.
func (c CopyReport) String() string {
	text := fmt.Sprintf("copy to %s: %s", c.Dest, plural(int64(len(c.Archives)), "archive", "archives"))
	if len(c.Archives) > 0 {
		text += fmt.Sprintf(", %s sent", Size(c.Sent))
	}
	if c.Missed > 0 {
		text += fmt.Sprintf(", %d missed for good", c.Missed)
	}
	if c.Error != "" {
		text += fmt.Sprintf(", %d behind: %s", c.Behind, c.Error)
		return text
	}
	text += fmt.Sprintf("; %d kept, %d removed", c.Kept, len(c.Removed))
	if n := len(c.Retained); n > 0 {
		text += fmt.Sprintf(", %d retained by the destination", n)
	}
	return text
}

// copyAll brings the copies up to date, one destination after the other, each with a
// watchdog of its own: what is wrong with one is a warning, and delays the others by
// no more than its limits.
func (r *run) copyAll(ctx context.Context) {
	if len(r.CopyTo) == 0 {
		return
	}
	r.pulse.begin("copying from " + r.Dest)
	here, err := r.after, context.Cause(ctx)
	if here == nil && err == nil { // rotation could not list
		here, err = listStored(ctx, r.store, r.Name)
	}
	if err == nil && !r.DryRun && !holds(here, r.report.Archive) {
		err = fmt.Errorf("%s: %w", r.report.Archive, errGone)
	}
	for _, c := range r.CopyTo {
		rep := r.copyTo(ctx, c, here, err)
		r.report.Copies = append(r.report.Copies, rep)
		for _, text := range rep.warnings {
			r.warn.addf("copy to %s: %s", c.Dest, text)
		}
		if rep.Error != "" {
			r.Log.Info("copy failed", "dest", rep.Dest, "archives", len(rep.Archives), "behind", rep.Behind, "why", rep.Error)
			r.warn.addf("copy to %s: %s", c.Dest, rep.brief)
		}
		if !r.DryRun {
			r.pulse.hasStored(r.report)
		}
	}
}

// copyTo brings one copy up to date with the archives that are here, unless err says why
// that is not to be.
func (r *run) copyTo(ctx context.Context, c Copy, here []stored, err error) CopyReport {
	k := &copying{
		Env: r.Env, Options: r.forCopy(c), job: r.job, host: r.host, from: r.store, here: here, made: r.report.Archive,
		pulse: &pulse{step: "looking at " + c.Dest},
		last:  r.outcome(ctx, nil),
		told:  CopyReport{Dest: c.Dest, Newest: r.copied[c.Dest], Archives: []string{}},
	}
	if r.unfinished != "" {
		k.made = ""
	}
	k.Progress = k.pulse.watch(r.Progress)
	if k.BWLimit > 0 {
		k.limit = courtesy.NewLimiter(ctx, int64(k.BWLimit), k.pulse.beat)
	}
	k.Timeout = Never // that of the run ends it by its context
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return k.result(err)
	}
	defer r.pulse.hold()()
	dog := newWatchdog(k.Options, k.pulse)
	hangs, err := dog.guard(ctx, k.do)
	if hangs {
		k.pulse.giveUp(err)
		err = hanging(err)
	}
	return k.result(err)
}

// copying is the copies to one destination on their way.
type copying struct {
	Env
	Options   // of the copy: its destination, its policy
	job, host string
	from      store.Store // the backup's own destination
	here      []stored    // what is there, newest first
	made      string      // of these, the one that is new: no copy can have it yet; empty: one may
	limit     *courtesy.Limiter
	pulse     *pulse
	last      HistoryEntry // the run whose archive is copied

	mu   sync.Mutex // over told: it is read also when the work hangs
	told CopyReport
}

// note changes what is told of the copies.
func (k *copying) note(change func(*CopyReport)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.told)
}

// warn notes what went wrong beside the copies.
func (k *copying) warn(format string, args ...any) {
	k.note(func(c *CopyReport) { c.warnings = append(c.warnings, fmt.Sprintf(format, args...)) })
}

// result is the report after the work has ended with err, or hangs.
func (k *copying) result(err error) CopyReport {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.told
	c.Archives, c.Removed, c.warnings = slices.Clone(c.Archives), slices.Clone(c.Removed), slices.Clone(c.warnings)
	if err == nil {
		return c
	}
	itself := fmt.Sprintf("destination %q: ", k.Dest) // whoever tells of it has said so
	c.Error, c.Hint, c.brief = strings.TrimPrefix(inOneLine(err), itself), hintOf(err), strings.TrimPrefix(briefly(err), itself)
	if c.Behind == 0 {
		// Nothing was asked of the destination: what is known is what was there last.
		c.Behind = k.behind(c.Newest)
	}
	return c
}

// behind is how many archives are to be copied if newest is the newest there.
func (k *copying) behind(newest string) int {
	var there []stored
	for _, a := range k.here {
		if a.Name == newest {
			there = append(there, a)
		}
	}
	due, _ := dueCopies(k.here, there, k.Options, k.Now())
	return len(due)
}

// briefly is an error without the paths and names that make it another one every
// night: whoever has been told of it need not be told again.
func briefly(err error) string {
	var e *store.Error
	if errors.As(err, &e) {
		return e.Op + ": " + e.Err.Error()
	}
	return inOneLine(err)
}

// copyPauses are how long to wait before each further attempt within a run.
var copyPauses = []time.Duration{10 * time.Second, time.Minute}

// do makes the copies, in a few attempts.
func (k *copying) do(ctx context.Context) (err error) {
	var st store.Store
	done := func() error { return nil }
	defer func() {
		if st != nil && !k.DryRun {
			k.leaveRecord(ctx, st, err)
		}
		if left := done(); left != nil {
			k.warn("%s", inOneLine(left))
		}
	}()
	for try := 0; ; try++ {
		err = nil
		if st == nil {
			var end func() error
			if st, end, err = k.open(ctx); err == nil {
				done = end
			}
		}
		if err == nil {
			err = k.attempt(ctx, st)
		}
		if err == nil || ctx.Err() != nil || !passing(err) || try == len(copyPauses) {
			return err
		}
		pause := copyPauses[try]
		k.Log.Info("copy is tried again", "dest", k.Dest, "in", pause.String(), "why", err.Error())
		if err := k.rest(ctx, pause); err != nil {
			return err
		}
	}
}

// rest waits between two attempts.
func (k *copying) rest(ctx context.Context, d time.Duration) error {
	defer k.pulse.hold()()
	return k.pause(ctx, d)
}

// passing says whether an error may be gone in a minute, without anybody's doing.
func passing(err error) bool {
	for _, lasting := range []error{
		fs.ErrNotExist, fs.ErrPermission, fs.ErrExist, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, archive.ErrDamaged, errGivenUp,
	} {
		if errors.Is(err, lasting) {
			return false
		}
	}
	return !errors.As(err, new(*UsageError)) && !errors.As(err, new(*HintError)) && !errors.As(err, new(*BusyError))
}

// copyIDs are the directories of copies that may lie in the source: nothing of them is
// backed up. One that does not answer is none.
func (r *run) copyIDs() (ids []source.ID) {
	for _, c := range r.CopyTo {
		if isRemote(c.Dest) {
			continue
		}
		answer := make(chan source.ID, 1)
		go func() {
			var st syscall.Stat_t
			if syscall.Stat(c.Dest, &st) == nil {
				answer <- source.ID{Dev: uint64(st.Dev), Ino: st.Ino}
			}
			close(answer)
		}()
		timer := time.NewTimer(copyAnswer)
		select {
		case id, ok := <-answer:
			if ok {
				ids = append(ids, id)
			}
		case <-timer.C:
		}
		timer.Stop()
	}
	return ids
}

// planCopies fills the report of a --dry-run with what would be copied.
func (r *run) planCopies(ctx context.Context, after []stored) {
	gone := r.report.Removed
	r.after = slices.DeleteFunc(slices.Clone(after), func(a stored) bool { return slices.Contains(gone, a.Name) })
	r.copyAll(ctx)
}

// copyLines are the lines of a --dry-run.
func (r Report) copyLines() (lines []string) {
	for _, c := range r.Copies {
		for _, name := range c.Archives {
			lines = append(lines, "would copy    "+oneLine(joinDest(c.Dest, name)))
		}
		if c.Error != "" {
			lines = append(lines, "could not copy to "+oneLine(c.Dest+": "+c.Error))
		}
		for _, name := range c.Removed {
			lines = append(lines, "would remove  "+oneLine(joinDest(c.Dest, name)))
		}
	}
	return lines
}
