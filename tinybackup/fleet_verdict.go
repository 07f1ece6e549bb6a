package tinybackup

import (
	"fmt"
	"strings"
	"time"

	"tinybackup/internal/rotate"
)

// The states that only a job has that is seen from its destination.
const (
	StateSilent   State = "silent"    // late, and the planned run after that was not heard of either
	StateRemoved  State = "removed"   // it was uninstalled; its archives stay
	StateNoRecord State = "no record" // archives are all that is known of it
)

// fleetStates are all that a FleetJob may have.
var fleetStates = []State{StateOK, StateLate, StateFailed, StateSilent, StateBroken, StateRemoved, StateNoRecord}

// clockApart is how far the clock of a host may be from that of the destination, and
// nothing is made of it: so long may it take to leave a record, too.
const clockApart = 5 * time.Minute

// ahead is how far the clock of a record's host is ahead of the destination's, negative
// if it is behind; zero if they agree. heard is when the destination got the record.
func (r Record) ahead(heard time.Time) time.Duration {
	d := r.Recorded.Sub(heard)
	if heard.IsZero() || r.Recorded.IsZero() || !r.Removed.IsZero() || d.Abs() < clockApart {
		return 0
	}
	return d
}

// judge says how the job is that j's record tells of, as of now by the destination's clock.
// newest is the newest of its archives there.
func (j *FleetJob) judge(r Record, newest rotate.Name, now time.Time) {
	l := look{now: now} // for how it words times
	then := now.Add(r.ahead(j.Heard))
	at := func(t time.Time) string { return l.clock(t.In(now.Location())) }
	switch {
	case !r.Removed.IsZero():
		j.settle(StateRemoved, "it was uninstalled on "+at(r.Removed), "")
	case j.lost(r, newest):
		j.settle(StateBroken, fmt.Sprintf("its newest archive, %s, is gone", r.LastGood.Archive), j.rerun())
	case !r.Next.IsZero() && then.After(r.SilentAfter):
		j.settle(StateSilent, fmt.Sprintf("nothing was heard of it for %s, since %s; its run of %s was the first that did not come",
			roughly(now.Sub(j.Heard)), at(j.Heard), at(r.Next)), strings.TrimPrefix(j.asks()+"; if it is gone for good: "+j.forget(), "; "))
	case r.Last.Result == ResultFailed && r.Failures > 1:
		j.settle(StateFailed, fmt.Sprintf("it failed %d times since %s: %s", r.Failures, at(r.Failing), r.Last.Error), j.asks())
	case r.Last.Result == ResultFailed:
		j.settle(StateFailed, fmt.Sprintf("it failed on %s: %s", at(r.Last.Start), r.Last.Error), j.asks())
	case !r.Next.IsZero() && then.After(r.LateAfter):
		j.settle(StateLate, fmt.Sprintf("nothing was heard of its run of %s, %s after its time", at(r.Next), roughly(then.Sub(r.Next))), j.asks())
	case r.Last.Warnings > 0:
		j.settle(StateOK, "its last run had "+plural(int64(r.Last.Warnings), "warning", "warnings"), "")
	default:
		j.settle(StateOK, "", "")
	}
}

// settle gives the job its state.
func (j *FleetJob) settle(state State, why, mend string) {
	j.State, j.Why, j.Mend = state, why, mend
	j.OK = state == StateOK || state == StateRemoved || state == StateNoRecord
}

// lost says whether the archive is gone that the record tells of: no newer one took its
// place.
func (j *FleetJob) lost(r Record, newest rotate.Name) bool {
	if r.LastGood == nil || j.unlisted {
		return false
	}
	name, ok := rotate.ParseName(r.LastGood.Archive)
	return ok && name.Series == r.Name && (newest.Series == "" || name.Time.After(newest.Time))
}

// What to type where the host of the job is another one.

// asks is what tells more there.
func (j *FleetJob) asks() string {
	if j.ID == "" {
		return ""
	}
	return "tinybackup statusof " + j.ID + j.there()
}

// rerun is what backs up there now.
func (j *FleetJob) rerun() string {
	if j.ID == "" {
		return ""
	}
	return rerun(j.ID) + j.there()
}

// there says where to type it, as a comment for a shell. What no host is called would be
// more to type.
func (j *FleetJob) there() string {
	if shellQuote(j.Host) != j.Host {
		return "  # on its host"
	}
	return "  # on " + j.Host
}

// forget is how to have it listed no more.
func (j *FleetJob) forget() string {
	if isRemote(j.Record) {
		return "remove " + shellQuote(j.Record)
	}
	return "rm " + shellQuote(j.Record)
}

// clockNote says how wrong the clock of the host is; empty: it is not.
func (j FleetJob) clockNote() string {
	d := time.Duration(j.ClockAhead) * time.Second
	switch {
	case d > 0:
		return fmt.Sprintf("%s ahead", roughly(d))
	case d < 0:
		return fmt.Sprintf("%s behind", roughly(-d))
	}
	return ""
}

// unread makes the job one whose record cannot be used.
func (j *FleetJob) unread(err error) {
	j.settle(StateBroken, fmt.Sprintf("its record cannot be used: %v", err), "")
}
