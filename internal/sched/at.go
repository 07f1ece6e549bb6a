package sched

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	// AtZone is the TZ in which at(1) is told the time, since 02:30 is twice or not at all in some nights of a local zone.
	// at freezes it into the job, so a run finds it in its environment. It is a spelling of UTC that people do not use: a run that
	// sees TZ=UTC0 may take it for ours and unset it, and has the machine's zone again.
	AtZone = "UTC0"

	// TestClockVariable names the clock of the tests. It is passed on to a queued job, only if it is set, as nothing else is:
	// a chain of jobs under an accelerated atd must keep its clock.
	TestClockVariable = "TINYBACKUP_TEST_CLOCK"

	// defaultQueue is our queue: a lower-case letter other than b, which waits for an idle machine. Its jobs run at nice 19.
	defaultQueue = 't'

	// bodyEnd follows the command in a job: atd gives it the job's own text as its input.
	bodyEnd = " </dev/null"
)

// At keeps entries in the queue of at(1), each for one time: who runs it must Add the next one, and first of all, as atd forgets
// a job when it starts it.
type At struct {
	Queue    byte             // the queue's letter, a to z without b; 0 means t
	LockPath string           // changes hold this file's lock; it must be the same for all processes of the user. Made if need be, and never removed
	Runner   Runner           // how at, atq and atrm are run; the zero value runs them
	Now      func() time.Time // the clock; nil means time.Now

	root string // where /proc and /run are looked for; tests put a tree of their own here
}

var (
	_ Scheduler = (*At)(nil)
	_ Retrier   = (*At)(nil)
)

// Name is "at".
func (a *At) Name() string { return "at" }

// Check tells whether there is an at that this user may use, and an atd that runs its jobs.
func (a *At) Check(ctx context.Context) error {
	if runtime.GOOS != "linux" {
		// Other systems' at is polled by cron, or off by default, and prints other lists.
		return &BackendError{Op: "at", Err: errors.New("only the at of Linux is supported, not that of " + runtime.GOOS), hint: "use --scheduler cron or service"}
	}
	if _, err := a.queued(ctx); err != nil {
		return err
	}
	if atDaemon.state(a.root) == stopped {
		return &BackendError{Op: "at", Err: ErrNotRunning, hint: atdHint}
	}
	return nil
}

const atdHint = "start it, e.g. `service atd start`, or use --scheduler cron or service"

// Express is nil: any time can be queued.
func (a *At) Express(*Spec) error { return nil }

// Line is the shell command that would queue e: the call of at, and the job's text as its input.
func (a *At) Line(e Entry) (string, error) {
	body, err := a.body(e)
	if err != nil {
		return "", err
	}
	when, err := roundUp(e.Next)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("cd / && TZ=%s %s <<'END'\n%sEND", AtZone, a.submission(body, when), body), nil
}

// Add queues e for e.Next, rounded up to the next whole minute; a past time runs at once. The new job is queued and read back before
// the older ones of the same e.Job are taken out, so whatever ends this halfway leaves at least one. A job that is running stays.
//
// If atd is not running at takes the job all the same, to be run when atd is started: Add then does its work and returns ErrNotRunning.
func (a *At) Add(ctx context.Context, e Entry) error {
	body, err := a.body(e)
	if err != nil {
		return err
	}
	when, err := roundUp(e.Next)
	if err != nil {
		return err
	}
	unlock, err := lockFile(ctx, a.LockPath)
	if err != nil {
		return err
	}
	defer unlock()
	older, err := a.waiting(ctx, e.Job)
	if err != nil {
		return err
	}
	id, awake, err := a.submit(ctx, body, when)
	if err != nil {
		return err
	}
	if err := a.verify(ctx, id, body, when); err != nil {
		return err
	}
	// A number is used again once its job has gone.
	older = slices.DeleteFunc(older, func(old string) bool { return old == id })
	if _, err := a.drop(ctx, older); err != nil {
		return fmt.Errorf("the new job %s is queued, but its elder is too: %w", id, err)
	}
	if !awake {
		return &BackendError{Op: "at", Err: ErrNotRunning, hint: atdHint}
	}
	return nil
}

// Retry puts a run at e.Next in the place of the queued one: that run queues the slot after it again, as every run does.
// Its errors are those of Add.
func (a *At) Retry(ctx context.Context, e Entry) error { return a.Add(ctx, e) }

// Remove takes every waiting job of job out of the queue. One that is running goes on, and is not counted.
func (a *At) Remove(ctx context.Context, job string) (removed int, err error) {
	unlock, err := lockFile(ctx, a.LockPath)
	if err != nil {
		return 0, err
	}
	defer unlock()
	ids, err := a.waiting(ctx, job)
	if err != nil {
		return 0, err
	}
	return a.drop(ctx, ids)
}

// body is the text of the job.
func (a *At) body(e Entry) (string, error) {
	if err := checkCommand(e.Binary, e.Job); err != nil {
		return "", err
	}
	if q := a.queue(); q < 'a' || q > 'z' || q == 'b' {
		return "", fmt.Errorf("at: queue %q is not a letter from a to z other than b", q)
	}
	return Command(e.Binary, e.Job) + bodyEnd + "\n", nil
}

func (a *At) queue() byte {
	if a.Queue == 0 {
		return defaultQueue
	}
	return a.Queue
}

func (a *At) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

// roundUp is the minute to ask for: at drops seconds, which would start the job before its time, and a run must not be early.
func roundUp(t time.Time) (time.Time, error) {
	minute := t.UTC().Truncate(time.Minute)
	if minute.Before(t) {
		minute = minute.Add(time.Minute)
	}
	if year := minute.Year(); t.IsZero() || year < 1970 || year > 9999 {
		return time.Time{}, fmt.Errorf("at: no time to queue the job for: %s", t)
	}
	return minute, nil
}

// submission is the call of at that queues body.
func (a *At) submission(body string, when time.Time) Program {
	env := environment("TZ=" + AtZone)
	if clock, ok := os.LookupEnv(TestClockVariable); ok {
		env = append(env, TestClockVariable+"="+clock)
	}
	return Program{Name: "at", Args: []string{"-q", string(a.queue()), "-t", when.Format("200601021504")}, Env: env, Stdin: body}
}

var (
	jobNumber = regexp.MustCompile(`(?mi)^job (\S+) at `)
	// at says this, in more than one wording and with a path that differs, and exits 0.
	atdAsleep = regexp.MustCompile(`(?i)signal atd|no atd running|daemon not running`)
)

// submit queues body. awake is false if at could not tell atd of it.
func (a *At) submit(ctx context.Context, body string, when time.Time) (id string, awake bool, err error) {
	p := a.submission(body, when)
	out, err := a.Runner.run(ctx, p)
	if err != nil {
		return "", false, missingAt(err)
	}
	if out.Code != 0 {
		return "", false, refusal(p, out)
	}
	answer := jobNumber.FindStringSubmatch(out.Stderr)
	if answer == nil {
		return "", false, fmt.Errorf("%s: no job number in its answer %q", p, strings.TrimSpace(out.Stderr))
	}
	return answer[1], !atdAsleep.MatchString(out.Stderr), nil
}

// verify reads the queued job back: its text, its queue and its time. A wrong one is taken out again.
func (a *At) verify(ctx context.Context, id, body string, when time.Time) error {
	command, found, err := a.command(ctx, id)
	if err != nil {
		return err
	}
	if found && command+bodyEnd+"\n" != body {
		// Whosever it is, it is not the job that was queued: leave it alone.
		return fmt.Errorf("at: job %s reads back as %q", id, command)
	}
	jobs, err := a.queued(ctx)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		switch {
		case job.id != id:
		case job.queue == runningQueue:
			return nil
		case found && job.queue == a.queue() && job.when.Equal(when):
			return nil
		case found:
			_, err := a.drop(ctx, []string{id})
			return errors.Join(fmt.Errorf("at: job %s was queued in %q for %s instead of %q for %s",
				id, job.queue, job.when.Format(time.RFC3339), a.queue(), when.Format(time.RFC3339)), err)
		}
	}
	if when.After(a.now()) {
		return fmt.Errorf("at: job %s for %s is not in the queue", id, when.Format(time.RFC3339))
	}
	return nil // its time had come, and it has run
}

// missingAt explains a program that could not be started.
func missingAt(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return &BackendError{Op: "at", Err: errors.New("not installed"), hint: "install at, e.g. `apt install at`, or use --scheduler cron or service"}
	}
	return err
}

// refusal explains a program that has failed.
func refusal(p Program, out Output) error {
	e := &BackendError{Op: "at", Err: failure(p, out), hint: "use --scheduler cron or service"}
	if notPermitted.MatchString(out.Stderr) {
		e.denied = true
		e.hint = "root can allow it in /etc/at.allow and /etc/at.deny; or use --scheduler cron or service"
	}
	return e
}
