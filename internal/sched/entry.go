package sched

import (
	"context"
	"time"
)

// Entry is one job as a scheduler keeps it.
type Entry struct {
	Job     string    // 8 hex digits, or the absolute path of a job file
	Binary  string    // the absolute path of the program it starts
	Spec    *Spec     // when; nil in a List where it can't be known: at keeps one time only, and a person may have typed fields into a crontab that Parse refuses
	Next    time.Time // the next start, if the scheduler says: at and systemd do. At also wants to be given it
	CatchUp bool      // cron: also a line that asks every quarter of an hour whether something is owed; none has it if the schedule asks as often
	Where   string    // "crontab line 7", "at job 12"; set by List, ignored by Add
	Running bool      // at: the job has been started; set by List, ignored by Add. A crash of atd can leave it true for a while
	Text    string    // systemd, launchd: what is there, as Line says what should be; set by List, ignored by Add
	Fault   error     // systemd, launchd: why it will not start the job though it is there; set by List, ignored by Add
}

// Scheduler keeps entries and starts each in time. Its methods may be called from several goroutines and processes at once.
type Scheduler interface {
	// Name is "at", "cron", "systemd", "launchd" or "service".
	Name() string
	// Check is nil if the scheduler works here, now and for this user; otherwise it says why not, and its Hint what to do.
	Check(ctx context.Context) error
	// Express is nil if the scheduler can run s.
	Express(s *Spec) error
	// Line is what Add would write, as a person could type it: one line, or two with a "\n" between them.
	Line(e Entry) (string, error)
	// Add writes e and reads it back. It replaces the entries of the same job, and at no moment is there none of them.
	// An error that is ErrNotRunning says that the entry is in place but waits for a daemon. After another one the old entry,
	// the new one or, with at, both are there.
	Add(ctx context.Context, e Entry) error
	// Remove takes away every entry of the job and says how many there were. None is not an error.
	Remove(ctx context.Context, job string) (removed int, err error)
	// List is every entry that Add could have written for this user, and no other.
	List(ctx context.Context) ([]Entry, error)
}

// Retrier is a Scheduler that can start a job at a time of its own choice, beside its schedule: a run that failed asks for the next try.
// Cron is none.
type Retrier interface {
	// Retry starts the job once more at e.Next, which has to be before its next slot. A second call replaces the first, and
	// Remove takes it away too.
	Retry(ctx context.Context, e Entry) error
}

// Noter is a Scheduler of which something has to be known before a job is left to it.
type Noter interface {
	// Note is one sentence, or empty.
	Note() string
}
