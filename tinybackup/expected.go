package tinybackup

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"tinybackup/internal/sched"
)

// What a scheduler should have of a job, and how what it has differs: statusof
// tells of it, repair mends it.

// A faultKind is how the entries of a scheduler are not as they should be.
type faultKind int

const (
	faultMissing faultKind = iota // there is none: nothing starts the job
	faultTwice                    // there are more than there should be
	faultTimes                    // the times are not the job's
	faultGone                     // the program that is started is not there
	faultOther                    // it is there, but is not this program, or another version of it
)

// A fault is one difference between what a scheduler has and what it should have.
type fault struct {
	kind     faultKind
	text     string // a sentence, without what to do
	harmless bool   // the job is started in time all the same: only repair cares
}

// expected is the entry that a job's scheduler should have now. Its Next is zero
// if the job has no run to come.
func (j Job) expected(env Env, spec *sched.Spec, now time.Time) (sched.Entry, error) {
	binary, err := env.binary()
	if err != nil {
		return sched.Entry{}, err
	}
	next, _ := spec.Next(now)
	return j.entry(env.Dirs, binary, spec, next), nil
}

// faults compares what the scheduler s has of a job, as List gave it, with the
// entry that it should have. Who runs now is no longer started by its entry.
func faults(s sched.Scheduler, want sched.Entry, have []sched.Entry) []fault {
	var found []fault
	switch s.Name() {
	case "cron":
		found = lineFaults(s, want, have)
	case "at":
		found = queueFaults(want, have)
	case "systemd", "launchd":
		found = unitFaults(s, want, have)
	case scheduledElsewhere: // what its engine has is not known here
	default:
		if len(have) == 0 {
			found = []fault{{kind: faultMissing, text: "its entry is missing from " + s.Name()}}
		}
	}
	seen := make(map[string]bool)
	for _, e := range have {
		if e.Running || seen[e.Binary] {
			continue
		}
		seen[e.Binary] = true
		switch {
		case !isProgram(e.Binary):
			found = append(found, fault{kind: faultGone, text: fmt.Sprintf("%s starts the program %q, which is not there", e.Where, e.Binary)})
		case !sameProgram(e.Binary, want.Binary):
			found = append(found, fault{
				kind: faultOther, harmless: true,
				text: otherProgram(e),
			})
		}
	}
	return found
}

// otherProgram is the sentence about an entry that starts another version.
func otherProgram(e sched.Entry) string {
	return fmt.Sprintf("%s starts %q, which is another version than this one", e.Where, e.Binary)
}

// lineFaults compares lines of a crontab. Fields that a person has written in
// another way are good if they mean the same.
func lineFaults(s sched.Scheduler, want sched.Entry, have []sched.Entry) (found []fault) {
	if len(have) == 0 {
		return []fault{{kind: faultMissing, text: "its line is missing from cron"}}
	}
	wanted, asks, err := wantedFields(s, want)
	if err != nil {
		return []fault{{kind: faultTimes, text: fmt.Sprintf("%s has other times than its job file: %v", have[0].Where, err)}}
	}
	first, asked := "", false // where the right line stands; whether it has its second one
	for _, e := range have {
		switch {
		case fieldsOf(e.Spec) != wanted:
			found = append(found, fault{kind: faultTimes, text: e.Where + " has other times than its job file"})
		case first != "":
			found = append(found, fault{kind: faultTwice, text: fmt.Sprintf("it is there twice: %s and %s", first, e.Where)})
		default:
			first, asked = e.Where, e.CatchUp
		}
	}
	switch {
	case len(found) > 0 || asks == asked:
	case asks:
		found = []fault{{kind: faultTimes, harmless: true, text: first + " lacks the second line, for what is missed"}}
	default:
		found = []fault{{kind: faultTimes, harmless: true, text: first + " has a second line, for what is missed, that it need not have"}}
	}
	return found
}

// wantedFields are the five fields of the line that a crontab should have, and
// whether there should be a second line for what the first one misses.
func wantedFields(s sched.Scheduler, want sched.Entry) (fields string, asks bool, err error) {
	text, err := s.Line(want)
	if err != nil {
		return "", false, err
	}
	line, _, asks := strings.Cut(text, "\n")
	return strings.TrimSuffix(line, " "+sched.Command(want.Binary, want.Job)), asks, nil
}

// fieldsOf is a schedule as five fields, or "" of what a person has typed and
// nobody can read.
func fieldsOf(s *sched.Spec) string {
	if s == nil {
		return ""
	}
	fields, err := s.Cron()
	if err != nil {
		return ""
	}
	return fields
}

// queueFaults looks at the queue of at, which should have one run, no later than
// the next slot.
func queueFaults(want sched.Entry, have []sched.Entry) (found []fault) {
	if len(have) == 0 {
		return []fault{{kind: faultMissing, text: "the chain is broken, at has no run of it"}}
	}
	waiting := slices.DeleteFunc(slices.Clone(have), func(e sched.Entry) bool { return e.Running })
	if len(waiting) == 0 {
		return nil // the run that goes on has queued the next, or is about to
	}
	first := slices.MinFunc(waiting, func(a, b sched.Entry) int { return a.Next.Compare(b.Next) })
	// at knows whole minutes only.
	if !want.Next.IsZero() && first.Next.After(want.Next.Add(time.Minute)) {
		found = append(found, fault{
			kind: faultTimes, text: fmt.Sprintf("%s is later than its next run should be, %s", first.Where, want.Next.Format(clockFormat)),
		})
	}
	if len(waiting) > 1 {
		found = append(found, fault{
			kind: faultTwice, harmless: true, // for a moment each time that the next run is queued
			text: fmt.Sprintf("it is there twice: %s and %s", waiting[0].Where, waiting[1].Where),
		})
	}
	return found
}

// unitFaults looks at the files of a scheduler that has some for each job, and at
// what it says of them itself.
func unitFaults(s sched.Scheduler, want sched.Entry, have []sched.Entry) []fault {
	if len(have) == 0 {
		return []fault{{kind: faultMissing, text: "its entry is missing from " + s.Name()}}
	}
	var found []fault
	for _, e := range have {
		want.Binary = e.Binary // which one is looked at besides
		if text, err := s.Line(want); err != nil || e.Text != text {
			found = append(found, fault{kind: faultTimes, text: e.Where + " is not as its job file says, or was changed by hand"})
			continue
		}
		if e.Fault != nil {
			found = append(found, fault{kind: faultMissing, text: e.Fault.Error()})
		}
	}
	return found
}

// isProgram says whether path can be started.
func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// sameProgram says whether two paths are one program: one file, or a copy of it.
// Of what cannot be read nothing is said against it.
func sameProgram(a, b string) bool {
	if samePlace(a, b) {
		return true
	}
	same, err := sameContent(a, b)
	return same || err != nil
}

// sameContent compares two files.
func sameContent(a, b string) (bool, error) {
	x, err := contentSum(a)
	if err != nil {
		return false, err
	}
	y, err := contentSum(b)
	return x == y, err
}

// contentSum is the SHA-256 of a file's bytes.
func contentSum(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
