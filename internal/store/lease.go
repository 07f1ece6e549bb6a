package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	leaseTime  = 5 * time.Minute // how long a lock outlives a run that nobody hears of any more
	leaseRenew = time.Minute     // how often its run says that it is still there
	leaseFresh = 20 * time.Second
	leasePoll  = 5 * time.Second  // how often a lock that is held is looked at again, at last
	leaseEnd   = 30 * time.Second // how long unlocking may take
)

var errLeaseLost = errors.New("another run has taken the lock: this one was out of reach for too long")

// lease is the lock of a series on a service that knows no locks: an object that says
// who holds it and until when, by the service's clock. Its run renews it; one that
// doesn't, being killed or cut off, loses it after leaseTime. On the machine where it
// ran it is seen at once that it is gone.
//
// Every change is made on the condition that nobody else made one, so two can't both
// get it; a run that lost it finds out before it names or removes anything. Where the
// service has no such conditions, a moment is left in which two may think they have it;
// the lock of the job, on its machine, still keeps its runs apart.
type lease struct {
	r      *Remote
	key    string
	ours   leaseObject
	mu     sync.Mutex    // over the rest, once it is held
	ahead  time.Duration // of the service's clock before ours
	said   time.Time     // when it was last renewed
	lost   error
	stop   context.CancelFunc
	closed chan struct{}
}

// leaseObject is what the object holds, as JSON. One that was released stays: to remove
// it would be a change without a condition.
type leaseObject struct {
	Holder
	Token    string    `json:"token"` // tells this holding from all others
	Until    time.Time `json:"until"`
	Released bool      `json:"released,omitempty"`
	Process  int       `json:"process"`         // the number of the process,
	Where    string    `json:"where,omitempty"` // and in what its number is one; empty: not known
}

// Lock implements Store.
func (r *Remote) Lock(ctx context.Context, series string, info Holder, wait time.Duration) (func() error, error) {
	const op = "lock"
	if err := r.beginWith(ctx, op, series); err != nil {
		return nil, err
	}
	l := &lease{
		r: r, key: SideDir + "/" + series + seriesLock,
		ours:   leaseObject{Holder: info, Token: rand.Text(), Process: os.Getpid(), Where: processSpace()},
		closed: make(chan struct{}),
	}
	end := time.Now().Add(wait)
	for poll := lockPoll; ; poll = min(2*poll, leasePoll) {
		holder, err := l.take(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrConflict) {
			return nil, err
		}
		left := time.Until(end)
		if left <= 0 {
			return nil, &LockedError{Holder: holder, Path: r.String() + "/" + l.key, Asked: info.Since, Lease: leaseTime}
		}
		if err := r.pause(ctx, op, min(poll, left)); err != nil {
			return nil, err
		}
	}
	l.hold(ctx)
	return l.release, nil
}

// Unlocked implements Store.
func (r *Remote) Unlocked(ctx context.Context, series string) bool {
	_, _, err := r.driver.Get(ctx, SideDir+"/"+series+seriesLock, -1)
	return errors.Is(err, fs.ErrNotExist)
}

// take makes the object ours, if nobody has it: else ErrConflict, and who has it.
func (l *lease) take(ctx context.Context) (Holder, error) {
	const attempts = 3 // when somebody is quicker, to learn who
	for attempt := 1; ; attempt++ {
		if err := l.ask(ctx); err != nil {
			return Holder{}, err
		}
		theirs, ver, err := l.read(ctx)
		if err != nil {
			return Holder{}, err
		}
		// Ours it may be by now, if an answer was lost.
		if ver != NotThere && theirs.Token != l.ours.Token && !l.free(theirs) {
			return theirs.Holder, ErrConflict
		}
		if err = l.put(ctx, ver); !errors.Is(err, ErrConflict) || attempt == attempts {
			return theirs.Holder, err
		}
	}
}

// ask learns what the service's clock says: each time anew, for ours may be set while we
// wait or hold the lock.
func (l *lease) ask(ctx context.Context) error {
	now, err := l.r.driver.Now(ctx)
	if err == nil {
		l.ahead = time.Until(now)
	}
	return err
}

// read returns what the object holds, and its version. What can't be understood is an
// object of nobody.
func (l *lease) read(ctx context.Context) (leaseObject, Version, error) {
	var o leaseObject
	data, ver, err := l.r.driver.Get(ctx, l.key, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return o, NotThere, nil
	}
	if err != nil {
		return o, "", err
	}
	if json.Unmarshal(data, &o) != nil {
		return leaseObject{Released: true}, ver, nil
	}
	return o, ver, nil
}

// put writes our object over the version that was read.
func (l *lease) put(ctx context.Context, over Version) error {
	said := time.Now()
	l.ours.Until = said.Add(l.ahead + leaseTime).UTC()
	data, err := json.Marshal(l.ours)
	if err != nil {
		return err
	}
	_, err = l.r.driver.Put(ctx, l.key, append(data, '\n'), over)
	if err == nil {
		l.said = said
	}
	return err
}

// free says whether nobody holds what the object tells of.
func (l *lease) free(o leaseObject) bool {
	left := o.Until.Sub(time.Now().Add(l.ahead))
	switch {
	case o.Released, left <= 0:
		return true
	case left > 2*leaseTime: // no run says so; the service's clock was set back
		return true
	}
	return o.Where != "" && o.Where == l.ours.Where && syscall.Kill(o.Process, 0) == syscall.ESRCH
}

// hold renews the lease until release.
func (l *lease) hold(ctx context.Context) {
	l.r.mu.Lock()
	l.r.leases[l] = true
	l.r.mu.Unlock()
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(l.closed)
		tick := time.NewTicker(leaseRenew)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				// It is tried again, and told when it matters: see stillHeld. A connection
				// that is dead is not to keep it until the lease has run out.
				ctx, cancel := context.WithTimeout(ctx, leaseRenew)
				_ = l.renew(ctx)
				cancel()
			}
		}
	}()
}

// renew says that the run is still there, unless it did so a moment ago. It fails for
// ever once another run has the lock.
func (l *lease) renew(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// By the wall clock: the other one stands still while a machine sleeps.
	if since := time.Now().Round(0).Sub(l.said.Round(0)); l.lost != nil || since >= 0 && since < leaseFresh {
		return l.lost
	}
	if err := l.ask(ctx); err != nil {
		return err
	}
	const attempts = 2 // an answer that was lost leaves our own object with another version
	for attempt := 1; ; attempt++ {
		// It is looked at before it is written: there are services that take conditions
		// without a word, and do not heed them.
		theirs, ver, err := l.read(ctx)
		if err != nil {
			return err
		}
		if ver == NotThere || theirs.Token != l.ours.Token {
			l.lost = fail("lock", l.r.String()+"/"+l.key, errLeaseLost)
			return l.lost
		}
		if err = l.put(ctx, ver); !errors.Is(err, ErrConflict) || attempt == attempts {
			return err
		}
	}
}

// release ends the lease. It may be called more than once.
func (l *lease) release() error {
	l.r.mu.Lock()
	held := l.r.leases[l]
	delete(l.r.leases, l)
	l.r.mu.Unlock()
	if !held {
		return nil
	}
	l.stop()
	<-l.closed
	ctx, cancel := context.WithTimeoutCause(context.Background(), leaseEnd, errors.New("no answer"))
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	theirs, ver, err := l.read(ctx)
	if err != nil || ver == NotThere || theirs.Token != l.ours.Token {
		return err
	}
	l.ours.Released = true
	return ignore(l.put(ctx, ver), ErrConflict) // somebody took it over: it is not ours to release
}

// stillHeld says that all locks taken are ours, before something is done that relies on it.
func (r *Remote) stillHeld(ctx context.Context) error {
	r.mu.Lock()
	var all []*lease
	for l := range r.leases {
		all = append(all, l)
	}
	r.mu.Unlock()
	for _, l := range all {
		if err := l.renew(ctx); err != nil {
			return err
		}
	}
	return nil
}

// processSpace names what a process's number is a number in: this start of this machine,
// and this container. Empty where the system doesn't tell: then a lock that was not
// released ends with its time.
func processSpace() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + space
}
