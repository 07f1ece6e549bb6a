package sched

import (
	"fmt"
	"hash/fnv"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cron forgets a time at which the machine was off, and what was skipped by more than three hours (cron(8)); and it starts nothing again
// that has failed. So a job may have a second line that asks every quarter of an hour whether something is owed: the same command, which
// ends at once if nothing is.

const (
	// askEvery is how far apart the second line's times are.
	askEvery = 15 * time.Minute
	// askFrom is the longest distance between slots at which the schedule itself asks often enough.
	askFrom = 30 * time.Minute
)

// askFields are the times of a job's second line: M,M+15,M+30,M+45 of every hour. M is another one for each job, so that not all of a
// machine's ask in one minute.
func askFields(job string) string {
	m := askMinutes(job)
	return fmt.Sprintf("%d,%d,%d,%d * * * *", m[0], m[1], m[2], m[3])
}

func askMinutes(job string) [4]int {
	const quarter = int(askEvery / time.Minute)
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.TrimSuffix(filepath.Base(job), ".ini"))) // never fails
	m := int(h.Sum32() % uint32(quarter))
	return [4]int{m, m + quarter, m + 2*quarter, m + 3*quarter}
}

// wantsAsking is true for five fields whose slots are more than half an hour apart anywhere in a week: else the next slot comes soon, and
// nothing is made up for shortly before it. It looks at the slots themselves, and not from the time of install on, so that a line that is
// read is judged as it was when it was written.
func wantsAsking(fields string) bool {
	// The plainest are seen at a glance: one time of day.
	if words := strings.Fields(fields); len(words) == 5 && strings.Trim(words[0]+words[1], "0123456789") == "" {
		return true
	}
	spec, err := Parse(fields, time.Unix(0, 0).UTC())
	if err != nil {
		return true
	}
	const week = 7 * 24 * time.Hour
	for last := spec.Anchor; last.Before(spec.Anchor.Add(week)); {
		next, more := spec.Next(last)
		if !more || next.Sub(last) > askFrom {
			return true
		}
		last = next
	}
	return false
}

// askLine is the second line for a job's line, without a newline.
func askLine(binary, job string) string { return askFields(job) + " " + Command(binary, job) }

// A listedLine is an own line of a table, and whether the job's second line is there, too.
type listedLine struct {
	tableLine
	asked bool
}

// listLines are the own lines of a table. The second line of a job, as Add writes it, goes with the first of its lines that may have one;
// what a person has changed, or what is there once more, is a line by itself.
func listLines(text string) []listedLine {
	var list []listedLine
	for _, l := range ownLines(text) {
		list = append(list, listedLine{tableLine: l})
	}
	first := make(map[string]int) // where a line stands first
	for _, l := range list {
		line := strings.TrimSuffix(text[l.start:l.end], "\n")
		if _, there := first[line]; !there {
			first[line] = l.start
		}
	}
	had := make(map[string]bool)
	second := make(map[int]bool) // the starts of those that go with another
	for i, l := range list {
		if had[l.job] || l.when == askFields(l.job) || !wantsAsking(l.when) {
			continue
		}
		had[l.job] = true
		if start, there := first[askLine(l.binary, l.job)]; there {
			list[i].asked = true
			second[start] = true
		}
	}
	return slices.DeleteFunc(list, func(l listedLine) bool { return second[l.start] })
}
