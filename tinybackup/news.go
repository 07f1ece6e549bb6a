package tinybackup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tinybackup/internal/notify"
	"tinybackup/internal/source"
)

// A piece of news is one thing that those who want to hear are told.
type news struct {
	event Events
	notify.Message
}

// A storyteller knows what every message says: which backup, and where.
type storyteller struct {
	host   string
	job    string // id; empty: a run by hand
	name   string
	source string
	dest   string
	log    string // the path of the log; may be empty
}

// tailLines is how much of the log a message about a failure has.
const (
	tailLines = 12
	tailBytes = 1500
)

// title is the line that a phone shows.
func (s storyteller) title(what string) string {
	return oneLine(fmt.Sprintf("%s: %s on %s", what, s.name, s.host))
}

// A story is the text of a message: lines with a label each, and an end.
type story struct {
	b strings.Builder
}

// say adds a line, unless it is empty.
func (s *story) say(label, text string) {
	if text != "" {
		s.b.WriteString(label + oneLine(text) + "\n")
	}
}

// about says which backup this is.
func (t storyteller) about(s *story) {
	id := ""
	if t.job != "" {
		id = "job " + t.job + ", "
	}
	s.say("Backup: ", id+t.source+" -> "+t.dest)
}

// failed tells that a run stored nothing, and what to do.
func (t storyteller) failed(what string, err error, report Report, next string, tail string) notify.Message {
	s := &story{}
	for _, line := range strings.Split(err.Error(), "\n") {
		s.say("", line)
	}
	s.say("What to do: ", hintOf(err))
	t.about(s)
	s.say("Began: ", t.began(report))
	s.say("Next try: ", next)
	s.say("Log: ", t.log)
	if lines := lastOf(tail, tailLines, tailBytes); lines != "" {
		s.b.WriteString("\n" + lines)
	}
	return notify.Message{Title: t.title(what), Text: s.b.String()}
}

// stored tells of a backup, after more to say of it: how large, how long, what was kept,
// its copies, and what it warns of.
func (t storyteller) stored(what string, report Report, more ...string) notify.Message {
	s := &story{}
	for _, text := range more {
		s.say("", text)
	}
	s.say("", report.summary())
	for _, c := range report.Copies {
		s.say("", c.String())
	}
	if report.WarningCount > 0 {
		s.say("", plural(int64(report.WarningCount), "warning", "warnings")+":")
		for _, w := range report.Warnings[:min(len(report.Warnings), firstWarnings)] {
			s.say("- ", w)
		}
	}
	t.about(s)
	s.say("Began: ", t.began(report))
	if report.WarningCount > 0 {
		s.say("Log: ", t.log)
	}
	return notify.Message{Title: t.title(what), Text: s.b.String()}
}

// plain tells one sentence.
func (t storyteller) plain(what, sentence, hint string) notify.Message {
	s := &story{}
	s.say("", sentence)
	s.say("What to do: ", hint)
	t.about(s)
	s.say("Log: ", t.log)
	return notify.Message{Title: t.title(what), Text: s.b.String()}
}

// began says when a run began, and how long it took.
func (t storyteller) began(r Report) string {
	if r.Start.IsZero() {
		return ""
	}
	text := r.Start.Format(clockFormat + " MST")
	if r.End.After(r.Start) {
		text += ", took " + took(r.Duration())
	}
	return text
}

// lastOf is the end of text: at most so many lines and bytes, whole lines unless
// the last one alone has more.
func lastOf(text string, lines, bytes int) string {
	rows := strings.Split(strings.TrimRight(text, "\n"), "\n")
	rows = rows[max(0, len(rows)-lines):]
	for len(rows) > 1 && len(strings.Join(rows, "\n")) > bytes {
		rows = rows[1:]
	}
	text = strings.Join(rows, "\n")
	return strings.ToValidUTF8(text[max(0, len(text)-bytes):], "")
}

// What titles begin with.
const (
	titleFailed    = "Backup failed"
	titleStill     = "Backup still fails"
	titleMissed    = "Backup missed"
	titleSkipped   = "Backup skipped"
	titleWarnings  = "Backup with warnings"
	titleRecovered = "Backups succeed again"
	titleCopies    = "Copies are made again"
	titleStored    = "Backup stored"
	titleStarted   = "Backup begins"
	titleUnable    = "Backup cannot run"
	titleAble      = "Backup can run again"
)

// newsOf is what there is to tell of a run that has ended; before is the last run that
// stored something, whose warnings were told then.
//   - A failure is told when it begins and when it goes on, as the history has it.
//   - Warnings are told when they are others than those of the run before: a file
//     that cannot be read every night is told of once.
//   - A recovery says all that a success would; copies that are made again are one.
func (t storyteller) newsOf(report Report, err error, before HistoryEntry, next, tail string) []news {
	var busy *BusyError
	var again []news
	if dests := recovered(report.Copies, before.Copies); err == nil && len(dests) > 0 {
		again = []news{{EventRecovery | EventSuccess, t.stored(titleCopies, report, copiesAgain(dests))}}
	}
	switch {
	case isNotNow(err):
		return nil
	case errors.As(err, &busy):
		return []news{{EventFailure, t.failed(titleSkipped, err, report, next, "")}}
	case err != nil && report.Change == ChangeStillFailing:
		return []news{{EventFailure, t.failed(titleStill, err, report, next, tail)}}
	case err != nil && (report.Change == ChangeFailed || t.job == ""):
		return []news{{EventFailure, t.failed(titleFailed, err, report, next, tail)}}
	case err != nil: // it was told before
		return nil
	case report.Change == ChangeRecovered:
		return []news{{EventRecovery | EventSuccess, t.stored(titleRecovered, report)}}
	case report.WarningCount > 0 && !sameWarnings(report, before.First):
		return append(again, news{EventWarning | EventSuccess, t.stored(titleWarnings, report)})
	case again != nil:
		return again
	}
	return []news{{EventSuccess, t.stored(titleStored, report)}}
}

// isNotNow says whether a run was put off by its own before hook: nothing is wrong
// with that, and it is tried again soon.
func isNotNow(err error) bool {
	var busy *BusyError
	return errors.As(err, &busy) && busy.NotNow
}

// sameWarnings says whether the first warnings of a run are those of another one, in
// any order: files are read side by side.
func sameWarnings(report Report, before []string) bool {
	return slices.Equal(alike(report.Warnings[:min(len(report.Warnings), firstWarnings)]), alike(before))
}

// alike are warnings, sorted, without the sizes of files that grew: those of a log are
// others every night.
func alike(warnings []string) []string {
	var all []string
	for _, w := range warnings {
		if what, _, grew := strings.Cut(w, source.Grew); grew {
			w = what + source.Grew
		}
		all = append(all, w)
	}
	slices.Sort(all)
	return all
}

// outcomeText is how a run has ended, in a line: the last one of a ping's body.
func outcomeText(report Report, err error) string {
	if err != nil {
		return "failed: " + err.Error()
	}
	return report.summary()
}

// day is how messages write a moment to come.
func day(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Format(clockFormat)
}
