package tinybackup

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"tinybackup/internal/sched"
)

// A driver is a scheduler in a simulated machine, with the habits of the real one.
type driver interface {
	// tick is called once in every minute in which the machine is on.
	tick(w *world)
	// jumped is called after the clock has made a jump: the machine was off, or
	// asleep, or somebody has set it.
	jumped(w *world, boot bool)
}

// remembered is a sched.Scheduler that keeps one time to start the job at.
type remembered struct {
	name string
	next time.Time
	wake time.Time // before that it does not look
}

func (r *remembered) Name() string                                { return r.name }
func (r *remembered) Check(context.Context) error                 { return nil }
func (r *remembered) Express(*sched.Spec) error                   { return nil }
func (r *remembered) Line(sched.Entry) (string, error)            { return "", errors.New("no line") }
func (r *remembered) Remove(context.Context, string) (int, error) { return 0, nil }
func (r *remembered) List(context.Context) ([]sched.Entry, error) { return nil, nil }

// Add keeps whole minutes, as at does, and has its daemon look at once.
func (r *remembered) Add(_ context.Context, e sched.Entry) error {
	r.next = e.Next.Truncate(time.Minute)
	if r.next.Before(e.Next) {
		r.next = r.next.Add(time.Minute)
	}
	r.wake = time.Time{}
	return nil
}

// atDriver is atd: it starts a queued run when its time has come, or is past. After
// a jump it may sleep on for an hour.
type atDriver struct{ remembered }

func (a *atDriver) Retry(ctx context.Context, e sched.Entry) error { return a.Add(ctx, e) }

func (a *atDriver) tick(w *world) {
	if a.next.IsZero() || w.now.Before(a.next) || w.now.Before(a.wake) {
		return
	}
	a.next = time.Time{}
	w.trigger(1)
}

func (a *atDriver) jumped(w *world, boot bool) {
	a.wake = time.Time{}
	if !boot && a.next.Before(w.now) {
		a.wake = w.now.Add(time.Duration(w.random.IntN(60)) * time.Minute)
	}
}

// systemdDriver is a timer with Persistent=, and a passing one for other tries.
type systemdDriver struct {
	remembered           // the passing timer
	last       time.Time // when the lasting one was triggered
}

func (s *systemdDriver) Retry(ctx context.Context, e sched.Entry) error { return s.Add(ctx, e) }

func (s *systemdDriver) tick(w *world) {
	if !s.next.IsZero() && !w.now.Before(s.next) {
		s.next = time.Time{}
		w.trigger(1)
	}
	if next, more := w.slotAfter(s.last); more && !w.now.Before(next) {
		s.last = w.now
		w.trigger(1)
	}
}

func (s *systemdDriver) jumped(_ *world, boot bool) {
	if boot {
		s.next = time.Time{}
	}
}

// serviceDriver is the service, with its own way to find out what is due.
type serviceDriver struct {
	s     *service
	quiet time.Time // before that it has nothing to do
	runs  bool
}

func (s *serviceDriver) tick(w *world) {
	if s.runs || w.now.Before(s.quiet) && w.random.IntN(2000) > 0 {
		return
	}
	path := w.job.Path
	d := s.s.nextDue(path, w.job, w.now)
	s.s.due[path] = d
	if s.quiet = d.at; d.at.IsZero() || d.at.After(w.now.Add(24*time.Hour)) {
		s.quiet = w.now.Add(24 * time.Hour)
	}
	if d.at.IsZero() || d.at.After(w.now) {
		return
	}
	d.begun, d.asked = w.now, time.Time{}
	s.s.due[path] = d
	s.quiet, s.runs = time.Time{}, true
	defer func() { s.runs = false }()
	w.trigger(1)
}

func (s *serviceDriver) jumped(w *world, boot bool) {
	s.quiet = time.Time{}
	if boot || s.s == nil {
		s.s = &service{env: w.env, log: slog.New(slog.DiscardHandler), due: make(map[string]dueTime), jobs: map[string]Job{w.job.Path: w.job}}
	}
}

// cronDriver is Debian's cron.c, with the job's lines. It counts the minutes that
// the clock on the wall shows.
type cronDriver struct {
	lines            []cronLine
	virtual, running int64
}

// A cronLine is a line as find_jobs of cron.c reads it.
type cronLine struct {
	minute, hour, day, month, weekday uint64
	dayStar, weekdayStar, wild        bool
	asks                              bool
}

// newCronLine reads the numeric fields that install writes.
func newCronLine(fields string) cronLine {
	f := strings.Fields(fields)
	set := func(text string, low, high int) (all uint64) {
		for part := range strings.SplitSeq(text, ",") {
			part, stepText, stepped := strings.Cut(part, "/")
			from, to, step := low, high, 1
			if a, b, isRange := strings.Cut(part, "-"); isRange {
				from, to = atoi(a), atoi(b)
			} else if part != "*" {
				from, to = atoi(part), atoi(part)
			}
			if stepped {
				step = atoi(stepText)
			}
			for i := from; i <= to; i += step {
				all |= 1 << i
			}
		}
		return all
	}
	l := cronLine{
		minute: set(f[0], 0, 59), hour: set(f[1], 0, 23), day: set(f[2], 1, 31), month: set(f[3], 1, 12), weekday: set(f[4], 0, 7),
		dayStar: f[2][0] == '*', weekdayStar: f[4][0] == '*', wild: f[0][0] == '*' || f[1][0] == '*',
	}
	l.weekday |= l.weekday >> 7 & 1
	return l
}

func atoi(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

// due says whether the line has a minute of the wall clock.
func (l cronLine) due(wall int64) bool {
	if l.minute>>(wall%60)&1 == 0 || l.hour>>(wall/60%24)&1 == 0 {
		return false
	}
	return l.dueDay(wall / (24 * 60))
}

func (l cronLine) dueDay(days int64) bool {
	date := time.Unix(days*24*3600, 0).UTC()
	day, weekday := l.day>>date.Day()&1 == 1, l.weekday>>int(date.Weekday())&1 == 1
	if l.month>>int(date.Month())&1 == 0 {
		return false
	}
	if l.dayStar || l.weekdayStar {
		return day && weekday
	}
	return day || weekday
}

// find is find_jobs: how many lines are started for a minute.
func (c *cronDriver) find(w *world, wall int64, wild, fixed bool) (n int) {
	for _, l := range c.lines {
		if (l.wild && wild || !l.wild && fixed) && l.due(wall) && !w.idle(l.asks) {
			n++
		}
	}
	return n
}

// tick is the main loop.
func (c *cronDriver) tick(w *world) {
	clock := w.wall()
	if clock == c.running {
		return
	}
	c.running = clock
	n := 0
	switch diff := c.running - c.virtual; {
	case diff == 1:
		c.virtual = c.running
		n = c.find(w, c.virtual, true, true)
	case diff > 3*60 || diff <= -3*60: // the clock was set
		c.virtual = c.running
		n = c.find(w, c.virtual, true, true)
	case diff > 5: // wildcard lines once, and the fixed times that were skipped
		n = c.find(w, c.running, true, false)
		for c.virtual < c.running {
			c.virtual++
			n += c.find(w, c.virtual, false, true)
		}
	case diff > 0: // woken late
		for c.virtual < c.running {
			c.virtual++
			n += c.find(w, c.virtual, true, true)
		}
	default: // set back: fixed times are not repeated
		n = c.find(w, c.running, true, false)
	}
	w.trigger(n)
}

func (c *cronDriver) jumped(w *world, boot bool) {
	if boot {
		c.virtual, c.running = w.wall(), w.wall()
	}
}
