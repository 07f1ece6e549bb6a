package sched

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// runningQueue is where atq shows a job that has been started. The queue it came from is not shown.
	runningQueue = '='
	// queueTries is how often at, atq and atrm are asked when a job goes while they look.
	queueTries = 10
	// dropAtOnce bounds the arguments of one atrm.
	dropAtOnce = 500
)

// queuedJob is a row of atq.
type queuedJob struct {
	id    string
	when  time.Time
	queue byte
	user  string
}

// List is our jobs, waiting and running, in the order of their times. Spec is nil: at does not know why it runs a job.
func (a *At) List(ctx context.Context) ([]Entry, error) {
	jobs, err := a.ours(ctx)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, job := range jobs {
		command, found, err := a.command(ctx, job.id)
		if err != nil {
			return nil, err
		}
		binary, name, ok := ParseCommand(command)
		if !found || !ok {
			continue
		}
		entries = append(entries, Entry{Job: name, Binary: binary, Next: job.when, Where: atWhere + job.id, Running: job.queue == runningQueue})
	}
	return entries, nil
}

const atWhere = "at job "

// waiting is the numbers of the jobs of job that have not been started.
func (a *At) waiting(ctx context.Context, job string) ([]string, error) {
	entries, err := a.List(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if e.Job == job && !e.Running {
			ids = append(ids, strings.TrimPrefix(e.Where, atWhere))
		}
	}
	return ids, nil
}

// ours is the jobs of atq that may be ours: this user's, in our queue or running, each once.
func (a *At) ours(ctx context.Context) ([]queuedJob, error) {
	jobs, err := a.queued(ctx)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 { // to all others atq shows their own only
		root := "root"
		if u, err := user.LookupId("0"); err == nil {
			root = u.Username
		}
		jobs = slices.DeleteFunc(jobs, func(job queuedJob) bool { return job.user != root })
	}
	jobs = slices.DeleteFunc(jobs, func(job queuedJob) bool { return job.queue != a.queue() && job.queue != runningQueue })
	// A job that is being started may be listed twice: running wins, as "=" sorts before the letters.
	slices.SortStableFunc(jobs, func(x, y queuedJob) int {
		return cmp.Or(strings.Compare(x.id, y.id), cmp.Compare(x.queue, y.queue))
	})
	jobs = slices.CompactFunc(jobs, func(x, y queuedJob) bool { return x.id == y.id })
	slices.SortStableFunc(jobs, func(x, y queuedJob) int {
		return cmp.Or(x.when.Compare(y.when), cmp.Compare(len(x.id), len(y.id)), strings.Compare(x.id, y.id))
	})
	return jobs, nil
}

// queued is all that atq shows this user.
func (a *At) queued(ctx context.Context) ([]queuedJob, error) {
	// -o is new in at 3.2.4. Without it the time is shown in our TZ and, by LC_ALL, in English.
	p := Program{Name: "atq", Args: []string{"-o", "%s"}, Env: environment("TZ=" + AtZone)}
	out, err := a.look(ctx, p)
	if err == nil && out.Code != 0 && strings.Contains(out.Stderr, " option") { // "invalid option -- 'o'"
		p.Args = nil
		out, err = a.look(ctx, p)
	}
	if err != nil {
		return nil, err
	}
	if out.Code != 0 {
		return nil, refusal(p, out)
	}
	return parseQueue(out.Stdout)
}

// vanished is what at, atq and atrm say of a job that was there when they read the directory; at -c says the second.
var vanished = regexp.MustCompile(`Cannot stat|Cannot open .*: No such file`)

// look runs a program that goes through the queue, and again if a job has been run or removed meanwhile: all of them read the
// directory, stat each file in it, and give up at the first that has gone (list_jobs and process_jobs in at.c).
func (a *At) look(ctx context.Context, p Program) (Output, error) {
	for try := 1; ; try++ {
		out, err := a.Runner.run(ctx, p)
		if err != nil {
			return out, missingAt(err)
		}
		if out.Code == 0 || try == queueTries || !vanished.MatchString(out.Stderr) {
			return out, nil
		}
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-time.After(time.Duration(try) * 5 * time.Millisecond):
		}
	}
}

// queueTimes are the ways in which versions of atq print a time: as C's locale does, and before 3.1.10 as ISO does.
var queueTimes = []string{time.ANSIC, "2006-01-02 15:04"}

// parseQueue reads atq's rows: number, tab, time, queue, user. A row that it does not understand is an error:
// it might be the one that is looked for.
func parseQueue(text string) ([]queuedJob, error) {
	var jobs []queuedJob
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		id, rest, ok := strings.Cut(line, "\t")
		words := strings.Fields(rest)
		if !ok || id == "" || len(words) < 3 || !isQueue(words[len(words)-2]) {
			return nil, fmt.Errorf("atq: a line that is not understood: %q", line)
		}
		n := len(words)
		when, err := parseQueueTime(strings.Join(words[:n-2], " "))
		if err != nil {
			return nil, fmt.Errorf("atq: a time that is not understood: %q", line)
		}
		jobs = append(jobs, queuedJob{id: id, when: when, queue: words[n-2][0], user: words[n-1]})
	}
	return jobs, nil
}

// isQueue says whether a word can be the queue of a job: a letter, or "=" while it runs.
func isQueue(word string) bool {
	return len(word) == 1 && (word[0]|0x20 >= 'a' && word[0]|0x20 <= 'z' || word[0] == '=')
}

func parseQueueTime(text string) (time.Time, error) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC(), nil
	}
	for _, layout := range queueTimes {
		if t, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("unknown time")
}

// command is the last line of the job, without what follows our commands; "" if it doesn't end like one of ours.
// found is false if there is no such job any more.
func (a *At) command(ctx context.Context, id string) (command string, found bool, err error) {
	p := Program{Name: "at", Args: []string{"-c", id}, Env: environment("TZ=" + AtZone)}
	out, err := a.look(ctx, p)
	switch {
	case err != nil:
		return "", false, err
	case out.Code == 0:
		return lastCommand(out.Stdout), true, nil
	case strings.Contains(out.Stderr, noSuchJob):
		return "", false, nil
	}
	return "", false, refusal(p, out)
}

// noSuchJob is what at and atrm say of a number that is not in the queue.
const noSuchJob = "Cannot find jobid"

// lastCommand finds the command in a job's text. It is its last line: all that stands before it is at's.
func lastCommand(text string) string {
	text = strings.TrimRight(text, "\n")
	last := text[strings.LastIndexByte(text, '\n')+1:]
	// Red Hat's at gives the job's lines to ${SHELL:-/bin/sh}, between << 'marcinDELIMITER…' and that word.
	if open := "<< '" + last + "'\n"; strings.HasPrefix(last, "marcinDELIMITER") && strings.Contains(text, open) {
		text = strings.TrimRight(strings.TrimSuffix(text, last), "\n")
		last = text[strings.LastIndexByte(text, '\n')+1:]
	}
	command, ok := strings.CutSuffix(last, bodyEnd)
	if !ok {
		return ""
	}
	return command
}

// drop takes the jobs out of the queue and looks whether they are gone. Those that had started by then are not counted.
func (a *At) drop(ctx context.Context, ids []string) (removed int, err error) {
	for some := range slices.Chunk(ids, dropAtOnce) {
		p := Program{Name: "atrm", Args: some, Env: environment("TZ=" + AtZone)}
		out, err := a.Runner.run(ctx, p)
		if err == nil && out.Code != 0 && vanished.MatchString(out.Stderr) {
			// It has given up halfway: do the rest, now that some of its own numbers are not there any more.
			if out, err = a.look(ctx, p); err == nil {
				out = Output{}
			}
		}
		if err != nil {
			return removed, missingAt(err)
		}
		gone := strings.Count(out.Stderr, noSuchJob)
		if out.Code != 0 && gone == 0 {
			return removed, refusal(p, out)
		}
		removed += len(some) - gone
	}
	if len(ids) == 0 {
		return 0, nil
	}
	jobs, err := a.queued(ctx)
	if err != nil {
		return removed, err
	}
	for _, job := range jobs {
		if job.queue != runningQueue && slices.Contains(ids, job.id) {
			return removed, fmt.Errorf("atrm: job %s is still in the queue", job.id)
		}
	}
	return removed, nil
}
