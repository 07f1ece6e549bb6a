package rotate

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Ahead is how far the time in a name may lie ahead of the clock: machines that share a
// destination differ by that much, and a clock that has just been set does from itself.
const Ahead = 5 * time.Minute

// few is how many archives may be removed at once, however few stay.
const few = 3

// Item is an archive of a destination.
type Item struct {
	Name       Name
	Size       int64 // bytes; carried along, nothing is decided by it
	Held       bool  // somebody wants it kept, whatever the policy
	Incomplete bool  // some of the source could not be read
}

// Verdict is what becomes of one Item, and why.
type Verdict struct {
	Item    Item
	Keep    bool
	Reasons []string // at least one: "newest", "daily #3", "oldest daily", "held"; "not covered by the policy"
}

// PlanOptions are what Plan needs to know besides the archives and the policy.
type PlanOptions struct {
	Zone      *time.Location // whose hours, days and weeks the rules count: the job's; nil is UTC
	Now       time.Time      // the clock; the zero time makes every archive one of the future, so none is removed
	AllowMany bool           // remove also unusually many at once
}

// Decision is what Plan makes of the archives.
type Decision struct {
	Verdicts []Verdict // one for each Item, newest first
	// Refused says why nothing may be removed, whatever the verdicts: the clock is behind, it would be
	// unusually many at once, or the list or the policy cannot be right. "" if there is no objection.
	Refused string
}

// Plan decides which archives of a series stay. It does not change items.
//
// The rules of p run over the complete archives, newest first, and once more with fresh counts
// over the incomplete ones, whose reasons end in " (incomplete)": so neither kind displaces the
// other, and the policy bounds both. Whatever the policy, these stay: the newest complete archive
// (if there is none, the newest incomplete one), those held, and those more than five minutes in
// the future of Now, which take part in no rule.
//
// The Decision refuses any removal if an archive is that far in the future (then it is the clock
// that is wrong, as a rule); if more than three and more than stay would go, unless AllowMany is
// set; and if p is out of range, or the items are not different archives of one series.
func Plan(items []Item, p Policy, o PlanOptions) Decision {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	d := Decision{Verdicts: newestFirst(items)}
	var complete, incomplete, future []*Verdict
	for i := range d.Verdicts {
		v := &d.Verdicts[i]
		if v.Item.Held {
			v.keep("held")
		}
		switch {
		case v.Item.Name.Time.After(o.Now.Add(Ahead)):
			v.keep("in the future")
			future = append(future, v)
		case v.Item.Incomplete:
			incomplete = append(incomplete, v)
		default:
			complete = append(complete, v)
		}
	}

	if len(complete) > 0 {
		complete[0].keep("newest")
		p.apply(complete, complete[0].Item.Name.Time, o.Zone, "")
	} else if len(incomplete) > 0 {
		incomplete[0].keep("newest (incomplete)")
	}
	if len(incomplete) > 0 {
		// Of the two kinds the newer: an incomplete archive ages also while none follows it. But
		// above only the complete ones count: incomplete ones would else make them age.
		newest := incomplete[0].Item.Name.Time
		if len(complete) > 0 && complete[0].Item.Name.Time.After(newest) {
			newest = complete[0].Item.Name.Time
		}
		p.apply(incomplete, newest, o.Zone, " (incomplete)")
	}
	for i := range d.Verdicts {
		v := &d.Verdicts[i]
		if p.IsZero() {
			v.keep("no policy")
		} else if !v.Keep {
			v.Reasons = []string{"not covered by the policy"}
		}
	}

	switch {
	case p.IsZero():
	case p.Check() != nil:
		d.Refused = p.Check().Error()
	case len(future) > 0:
		newest := future[0].Item.Name
		d.Refused = fmt.Sprintf("the clock (%s) is behind the newest archive, %s (%s)",
			o.Now.In(o.Zone).Format("2006-01-02 15:04:05 MST"), newest, newest.Time.In(o.Zone).Format("2006-01-02 15:04:05 MST"))
	default:
		d.Refused = d.doubt()
		if d.Refused == "" && !o.AllowMany {
			d.Refused = d.tooMany()
		}
	}
	return d
}

// Remove returns the archives to remove, oldest first, so that a removal cut short leaves the
// newer ones; nil if there are none or the Decision is Refused.
func (d Decision) Remove() []Item {
	if d.Refused != "" {
		return nil
	}
	var gone []Item
	for _, v := range slices.Backward(d.Verdicts) {
		if !v.Keep {
			gone = append(gone, v.Item)
		}
	}
	return gone
}

// newestFirst returns a blank Verdict for each item, in an order that does not depend on theirs:
// by time, then by name, then by all else that tells two of them apart.
func newestFirst(items []Item) []Verdict {
	list := make([]Verdict, len(items))
	for i, it := range items {
		list[i].Item = it
	}
	slices.SortStableFunc(list, func(a, b Verdict) int {
		if c := b.Item.Name.Time.Compare(a.Item.Name.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Item.rank(), b.Item.rank())
	})
	return list
}

// rank orders items of one time. It begins with the name; the rest is for lists that cannot be right.
func (it Item) rank() string {
	n := it.Name
	return fmt.Sprintf("%s %q %q %q %d %t %t", n, n.Series, n.Kind, n.Codec, it.Size, it.Held, it.Incomplete)
}

func (v *Verdict) keep(reason string) {
	v.Keep = true
	v.Reasons = append(v.Reasons, reason)
}

// bucket tells the periods of a rule apart; what its numbers are is the rule's own.
type bucket [5]int

// period returns the bucket that the i-th newest archive, made at t, falls into under the rule called word.
func period(word string, i int, t time.Time) bucket {
	year, month, day := t.Date()
	switch word {
	case "hourly":
		// With the offset, because the hour that autumn repeats is two hours.
		_, offset := t.Zone()
		return bucket{year, int(month), day, t.Hour(), offset}
	case "daily":
		return bucket{year, int(month), day}
	case "weekly":
		// The ISO year, not the calendar's: 2024-12-30 is in week 1 of 2025.
		isoYear, week := t.ISOWeek()
		return bucket{isoYear, week}
	case "monthly":
		return bucket{year, int(month)}
	case "yearly":
		return bucket{year}
	}
	return bucket{i} // "last": each archive is its own period
}

// apply keeps those of list, which is newest first, that a rule of p covers; newest is the time
// from which Within counts, and suffix ends each reason.
func (p Policy) apply(list []*Verdict, newest time.Time, zone *time.Location, suffix string) {
	for _, r := range p.counts() {
		used := 0
		// A set, for a period may come in two parts: clocks have been set back over midnight.
		seen := map[bucket]bool{}
		for i, v := range list {
			if *r.count != All && used >= int(*r.count) {
				break
			}
			b := period(r.word, i, v.Item.Name.Time.In(zone))
			if !seen[b] {
				seen[b] = true
				used++
				v.keep(fmt.Sprintf("%s #%d%s", r.word, used, suffix))
			} else if i == len(list)-1 {
				v.keep("oldest " + r.word + suffix)
			}
		}
	}
	if p.Within.IsZero() {
		return
	}
	start := p.Within.Before(newest.In(zone))
	for _, v := range list {
		if v.Item.Name.Time.After(start) {
			v.keep("within " + p.Within.String() + suffix)
		}
	}
}

// doubt returns why the list cannot be right, or "". To remove one of two items of one name would
// remove both; a name that String cannot make, or of another series, is not ours to remove.
func (d Decision) doubt() string {
	seen := map[string]bool{}
	for _, v := range d.Verdicts {
		n, first := v.Item.Name, d.Verdicts[0].Item.Name
		if err := n.Check(); err != nil {
			return "the list has what is no archive: " + err.Error()
		}
		if n.Series != first.Series {
			return fmt.Sprintf("the list has archives of two series, %q and %q", first.Series, n.Series)
		}
		if seen[n.String()] {
			return fmt.Sprintf("the list has %s twice", n)
		}
		seen[n.String()] = true
	}
	return ""
}

// tooMany returns why the removal is unusually large, or "". A run adds one archive, so the
// rotation after it removes a few; many at once mean that the policy was changed, maybe by a slip.
func (d Decision) tooMany() string {
	removed := 0
	for _, v := range d.Verdicts {
		if !v.Keep {
			removed++
		}
	}
	if removed > max(few, len(d.Verdicts)-removed) {
		return fmt.Sprintf("it would remove %d of %d archives at once", removed, len(d.Verdicts))
	}
	return ""
}
