package sched

import "time"

const (
	// OnTime is how late a run may begin and still be on time: at and cron start within a minute, but a machine may be just booting, and
	// cron replays up to five minutes of a clock that was set (cron(8)).
	OnTime = 15 * time.Minute
	// Guard is how long before the next slot an earlier one is no longer made up for: its run would only be in the way of the next.
	Guard = 30 * time.Minute

	// early is how much before its slot a run may come, as the clocks of a machine and of its timers are not one.
	early = 30 * time.Second
	// setBack is how far in the future a settled slot may lie without being taken for the work of a clock that was wrong. Vixie cron
	// (cron.c) repeats nothing within the same three hours, and takes more for a new time.
	setBack = 3 * time.Hour
	// countMissed bounds how many missed slots are counted one by one.
	countMissed = 10000
)

// CatchUp says what becomes of a slot whose time has passed.
type CatchUp struct {
	Once  bool          // one run makes up for all that passed while nothing could run
	Grace time.Duration // but not later than this after the newest of them; 0: until shortly before the next
}

// Book is what is remembered of a job's slots.
type Book struct {
	Settled time.Time // the newest slot that is done with: served, missed or given up; at first, when the job was installed
	Slot    time.Time // the slot that was tried last; zero: none yet
	Tries   int       // of Slot, without success
	Tried   time.Time // when the last of these began
}

// Missed are slots that passed without a run.
type Missed struct {
	First, Last time.Time
	Count       int // up to 10,000
}

// Verdict is what is to be done at a time.
type Verdict struct {
	Slot    time.Time // to be served now; zero: there is nothing to do
	Late    bool      // more than OnTime after its slot
	Retry   bool      // Slot was tried before
	Missed  Missed    // slots that nobody serves any more; the caller reports them
	Settled time.Time // what Book.Settled is from now on, before Slot is tried. It goes back only if a clock was set back by more than three hours
	Next    time.Time // when there will be something to do: the next try, or the next slot; zero: never
}

// Backoff is how long after the beginning of the tries-th failed try of a slot the next one begins.
func Backoff(tries int) time.Duration {
	const first, last = 5 * time.Minute, 6 * time.Hour
	wait := first
	for ; tries > 1 && wait < last; tries-- {
		wait *= 2
	}
	return min(wait, last)
}

// Owed says what is to be done at now: which slot is owed, whoever asks and how often, and which were missed. Of several slots that have
// passed, the newest is served and the others are missed. It depends on nothing but its arguments.
func (s *Spec) Owed(b Book, c CatchUp, now time.Time) Verdict {
	soon := now.Add(early)
	newest, passed := s.Prev(soon)
	if !passed {
		newest = time.Time{}
	}
	b = s.believed(b, newest, now)
	tried := b.Tries > 0 && b.Slot.After(b.Settled)
	if tried && b.Slot.Before(newest) {
		b.Settled, tried = b.Slot, false // it failed, and that was told
	}
	done := b.Settled
	if tried && b.Slot.After(soon) {
		done = b.Slot.Add(-time.Nanosecond) // the clock was set back since: it comes again, and nothing before it
	}
	v := Verdict{Settled: b.Settled}
	next, more := s.Next(later(soon, done))
	if more {
		v.Next = next
	}
	if !passed || !newest.After(done) {
		return v
	}
	v.Missed = s.between(b.Settled, newest)
	if v.Missed.Count > 0 {
		v.Settled = v.Missed.Last
	}

	guard := Guard
	if more {
		guard = min(guard, next.Sub(newest)/2)
	}
	ends := func(at time.Time) bool { // whether it is too late to begin at that time
		return c.Grace > 0 && at.Sub(newest) > c.Grace || more && next.Sub(at) < guard
	}
	v.Late = now.Sub(newest) > OnTime
	switch {
	case tried && b.Slot.Equal(newest):
		try := b.Tried.Add(Backoff(b.Tries))
		if b.Tried.After(now) { // by a clock that was set back since
			try = now
		}
		switch {
		case ends(later(try, now)):
			v.Settled = newest // given up
		case try.After(soon):
			v.Next = try
		default:
			v.Slot, v.Retry = newest, true
		}
	case v.Late && (!c.Once || ends(now)):
		v.Missed, v.Settled = v.Missed.and(newest), newest
	default:
		v.Slot = newest
	}
	return v
}

// believed is b without a try of what is no slot of s, whose text was edited since, and without what a clock has written that was hours
// ahead: that says nothing about today, and slots count from now, or from newest if that has just come.
func (s *Spec) believed(b Book, newest, now time.Time) Book {
	ahead := now.Add(setBack)
	if b.Tries > 0 {
		slot, passed := s.Prev(b.Slot)
		if !passed || !slot.Equal(b.Slot) || slot.After(ahead) {
			b.Slot, b.Tries = time.Time{}, 0
		}
	}
	if b.Settled.After(ahead) {
		b.Settled = now
		if now.Sub(newest) <= OnTime {
			b.Settled = newest.Add(-time.Minute)
		}
	}
	return b
}

// between are the slots after from and before to.
func (s *Spec) between(from, to time.Time) Missed {
	var m Missed
	for m.Count < countMissed {
		t, more := s.Next(from)
		if !more || !t.Before(to) {
			return m
		}
		m, from = m.and(t), t
	}
	if t, passed := s.Prev(to.Add(-time.Nanosecond)); passed {
		m.Last = t
	}
	return m
}

// and is m with one more slot, the newest.
func (m Missed) and(slot time.Time) Missed {
	if m.Count == 0 {
		m.First = slot
	}
	m.Last = slot
	m.Count++
	return m
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
