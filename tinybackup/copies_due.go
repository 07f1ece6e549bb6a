package tinybackup

import (
	"slices"
	"time"

	"tinybackup/internal/rotate"
)

// dueCopies are the archives at hand that a copy lacks, oldest first: those newer than
// the newest that is there which its policy will keep, and the newest at hand in any
// case. missed is how many archives were made since, and are not at hand any more.
//
// Both lists are the newest first. What is there from the future was named by a clock
// that was wrong: it keeps nothing away.
func dueCopies(here, there []stored, o Options, now time.Time) (due []stored, missed int) {
	if len(here) == 0 {
		return nil, 0
	}
	newest := newestOf(there, now)
	var fresh []stored
	all := append([]stored(nil), there...)
	for i, a := range here {
		if holds(there, a.Name) || i > 0 && newest != nil && !a.name.Time.After(newest.name.Time) {
			continue
		}
		fresh = append(fresh, a)
		a.held = false // there it is not
		all = append(all, a)
	}
	keep := make(map[string]bool)
	for _, v := range decide(all, o, now).Verdicts {
		keep[v.Item.Name.String()] = v.Keep
	}
	for i, a := range fresh {
		if keep[a.Name] || i == 0 && a.Name == here[0].Name {
			due = append(due, a)
		}
	}
	slices.Reverse(due)
	return due, gap(newest, fresh)
}

// newestOf is the newest of archives, which are listed that way, that is not in the
// future; nil: there is none.
func newestOf(all []stored, now time.Time) *stored {
	for i := range all {
		if !all[i].name.Time.After(now.Add(rotate.Ahead)) {
			return &all[i]
		}
	}
	return nil
}

func holds(all []stored, name string) bool {
	return slices.ContainsFunc(all, func(a stored) bool { return a.Name == name })
}

// gap is how many archives were made between the newest copy and the newest one at
// hand, and are none of fresh: their serial numbers tell.
func gap(newest *stored, fresh []stored) int {
	if newest == nil || newest.manifest == nil || len(fresh) == 0 || fresh[0].manifest == nil {
		return 0
	}
	from, to := newest.manifest.Serial, fresh[0].manifest.Serial
	if from == 0 || to < from {
		return 0 // the numbers began anew
	}
	return max(0, int(to-from)-len(fresh))
}
