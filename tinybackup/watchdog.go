package tinybackup

import (
	"context"
	"fmt"
	"time"
)

// DefaultStallTimeout is after how long without progress a run is ended when
// Options.StallTimeout does not say.
const DefaultStallTimeout = Limit(2 * time.Hour)

// A run that was told to end gets a quarter of its stall timeout for each step of
// that, such as the removal of what it wrote, but within these bounds. Then it hangs.
const (
	minGrace = 2 * time.Second
	maxGrace = time.Minute
)

// lastWords is how much longer than the grace the rest may take when a run hangs:
// history, log and messages may be on what hangs, too.
const lastWords = 4

// ticksPerLimit is how finely a watchdog counts: what it ends had up to an eighth
// more than its limit.
const ticksPerLimit = 8

// A watchdog ends a run that stands still, or takes too long, by its context. A run
// that does not end then hangs: a call into a disk or a server that is gone may never
// come back, and no signal reaches it. Such a run is left where it is.
//
// It counts its own ticks instead of looking at a clock. So what stops the process as
// a whole is not taken for a stall: SIGSTOP, a machine without a moment for it, or a
// suspend. (In that, Linux' CLOCK_MONOTONIC stands still, which Go's timers go by;
// clock_gettime(2).)
type watchdog struct {
	pulse          *pulse
	stall, timeout time.Duration // 0: no limit
	grace, tick    time.Duration
	cause          error // why it ended the run; nil: it did not
}

func newWatchdog(o Options, p *pulse) *watchdog {
	d := &watchdog{pulse: p, stall: o.StallTimeout.or(DefaultStallTimeout), timeout: o.Timeout.or(Never), grace: maxGrace}
	least := d.grace
	if d.stall > 0 {
		d.grace = min(max(d.stall/4, minGrace), maxGrace)
		least = min(d.grace, d.stall)
	}
	d.tick = least / ticksPerLimit
	return d
}

// guard runs work with a context of its own, and returns its error, or why the
// watchdog ended it. If work hangs, it goes on by itself when guard returns.
func (d *watchdog) guard(ctx context.Context, work func(context.Context) error) (hangs bool, err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	ended := make(chan error, 1)
	go func() { ended <- work(ctx) }()
	ticker := time.NewTicker(d.tick)
	defer ticker.Stop()
	var late <-chan time.Time
	if d.timeout > 0 {
		timer := time.NewTimer(d.timeout)
		defer timer.Stop()
		late = timer.C
	}
	return d.attend(ctx, end, ended, ticker.C, late)
}

// attend waits until the work has ended, or hangs. ticks come every d.tick.
func (d *watchdog) attend(ctx context.Context, end context.CancelCauseFunc, ended <-chan error, ticks, late <-chan time.Time) (hangs bool, err error) {
	told := ctx.Done() // nil once that was heard: from then on it is the grace that counts
	still, seen := time.Duration(0), int64(0)
	for {
		select {
		case err := <-ended:
			return false, d.reason(err)
		case <-told:
			told, still = nil, 0
		case <-late:
			d.end(ctx, end, d.tooLong())
		case <-ticks:
			if still += d.tick; d.pulse.moved(&seen) {
				still = 0
			}
			switch {
			case told == nil && still >= d.grace:
				return true, context.Cause(ctx)
			case told != nil && d.stall > 0 && still >= d.stall:
				d.end(ctx, end, d.stalled())
			}
		}
	}
}

// end tells the work to end, if nobody else has.
func (d *watchdog) end(ctx context.Context, end context.CancelCauseFunc, cause error) {
	if ctx.Err() == nil {
		d.cause = cause
		end(cause)
	}
}

// reason is why the work failed: the watchdog's own words, if it ended that, and not
// those of the call that noticed.
func (d *watchdog) reason(err error) error {
	if err == nil || d.cause == nil {
		return err
	}
	return d.cause
}

func (d *watchdog) stalled() error {
	return &HintError{
		Err:  fmt.Errorf("no progress for %v while %s", Duration(d.stall), d.pulse.where()),
		Hint: "see whether it answers, and what dmesg says; --stall-timeout TIME waits longer",
	}
}

func (d *watchdog) tooLong() error {
	return &HintError{
		Err:  fmt.Errorf("not done within %v, but still %s", Duration(d.timeout), d.pulse.where()),
		Hint: "give it more with --timeout TIME, or see what slows it down",
	}
}

// hanging is why a run was ended, and that it did not end.
func hanging(why error) error {
	return &HintError{Err: fmt.Errorf("%w; it hangs, and was given up", why), Hint: hintOf(why)}
}

// answerLimit is how long a path may take to answer before a run begins.
const answerLimit = 5 * time.Minute

// answers gives the error of ask, or one of its own if that hangs for too long: so it
// does for a path on a server that is gone. Then ask goes on by itself.
func answers(ctx context.Context, path string, limit time.Duration, ask func() error) error {
	answer := make(chan error, 1)
	go func() { answer <- ask() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return &HintError{
			Err:  fmt.Errorf("destination %q does not answer within %v", path, Duration(limit)),
			Hint: reachHint(path),
		}
	}
}
