package tinybackup

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// A pulse is how a run shows that it is alive, and where it stands. Its watchdog
// looks at it; all that work for the run beat it. Its methods may be called from any
// goroutine.
type pulse struct {
	beats atomic.Int64 // how often something was done
	held  atomic.Int32 // steps under way that have a limit of their own
	owed  atomic.Bool  // the after hook

	mu     sync.Mutex
	step   string   // what is done now, such as "reading /dev/sdb"
	far    Progress // how far that is; zero: not known
	over   error    // why the run was given up; nil: it was not
	stored *Report  // of the archive that has its name; nil: there is none yet

	naming sync.Mutex // held while an archive gets its name
}

// beat says that something was done: bytes have moved, or a step has ended.
func (p *pulse) beat() { p.beats.Add(1) }

// begin says what the run does from now on: "reading /dev/sdb".
func (p *pulse) begin(step string) {
	p.beat()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step, p.far = step, Progress{}
}

// enter says what is done in between, until leave is called: "writing to /mnt/stick".
func (p *pulse) enter(step string) (leave func()) {
	p.beat()
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.step
	p.step = step
	return func() {
		p.beat()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.step = was
	}
}

// hold says that what follows has a limit of its own, as hooks have: it does not count
// as standing still until release is called.
func (p *pulse) hold() (release func()) {
	p.held.Add(1)
	return func() {
		p.beat()
		p.held.Add(-1)
	}
}

// moved says whether anything was done since seen was the number of beats.
func (p *pulse) moved(seen *int64) bool {
	n := p.beats.Load()
	moved := n != *seen || p.held.Load() > 0
	*seen = n
	return moved
}

// watch is an Env's Progress that beats, and then tells next; but not after the run
// was given up: whoever listens has been told of its end by then.
func (p *pulse) watch(next func(Progress)) func(Progress) {
	return func(step Progress) {
		p.beat()
		p.mu.Lock()
		p.far = step
		over := p.over != nil
		p.mu.Unlock()
		if next != nil && !over {
			next(step)
		}
	}
}

// where says what is done now, and how far that is.
func (p *pulse) where() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.step
	if p.far.Done > 0 && p.held.Load() == 0 { // a hook counts what it prints
		text += " at " + Size(p.far.Done).String()
		if p.far.Total >= p.far.Done {
			text += " of " + Size(p.far.Total).String()
		}
	}
	return text
}

// errGivenUp says that nothing is stored any more for a run that was given up.
var errGivenUp = errors.New("the run was given up")

// name has step give an archive its final name, but not once the run was given up.
func (p *pulse) name(step func() error) error {
	p.naming.Lock()
	defer p.naming.Unlock()
	p.mu.Lock()
	over := p.over
	p.mu.Unlock()
	if over != nil {
		return fmt.Errorf("%w: %w", errGivenUp, over)
	}
	return step()
}

// hasStored keeps the report of an archive that has its name: whatever becomes of
// the run from here on, this much is true.
func (p *pulse) hasStored(r Report) {
	p.beat()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stored = &r
}

// giveUp ends a run that hangs: from now on it names no archive, should it ever come
// back. Only a name that the kernel is just giving, and hangs in, can't be taken back;
// that archive is whole. It returns the report of what the run has stored, if it has.
func (p *pulse) giveUp(why error) (stored *Report) {
	if p.naming.TryLock() {
		defer p.naming.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = why
	return p.stored
}
