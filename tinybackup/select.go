package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tinybackup/internal/sched"
)

// A Selection says which jobs are meant: all of them, if it is zero.
type Selection struct {
	Source, Dest string   // the jobs of this pair
	Time         string   // of these, the one at this time
	Refs         []string // ids, or numbers of statusof
}

// selectArgs are the arguments of the commands that take jobs.
type selectArgs struct {
	Jobs []string `positional-arg-name:"SOURCE DEST | ID"`
}

// selection makes sense of arguments: SOURCE DEST, or ids and numbers. A path
// that looks like one of these can be written ./12.
func (a selectArgs) selection(time string) (Selection, error) {
	refs := 0
	for _, arg := range a.Jobs {
		if isJobID(arg) || isNumber(arg) {
			refs++
		}
	}
	switch {
	case refs == len(a.Jobs):
		if time != "" {
			return Selection{}, &UsageError{Msg: "--time needs a source and a destination", Hint: "give SOURCE DEST --time SPEC, or just an id"}
		}
		return Selection{Refs: a.Jobs}, nil
	case len(a.Jobs) == 2 && refs == 0:
		s := Selection{Source: a.Jobs[0], Dest: a.Jobs[1], Time: time}
		for _, path := range []*string{&s.Source, &s.Dest} {
			resolved, err := resolveSource(*path)
			if err != nil {
				return Selection{}, err
			}
			*path = resolved
		}
		return s, nil
	}
	for _, arg := range a.Jobs {
		if !isJobID(arg) && !isNumber(arg) {
			return Selection{}, &UsageError{
				Msg:  fmt.Sprintf("%q is neither the id nor the number of a job", arg),
				Hint: "give SOURCE DEST, or ids and numbers as tinybackup statusof shows them",
			}
		}
	}
	return Selection{}, nil
}

// isNumber says whether s is a number as statusof shows them.
func isNumber(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n < 1e6 && strconv.Itoa(n) == s
}

// A numbered job is a job, or a broken one, with its number in statusof.
type numbered struct {
	number int
	job    Job
	broken *BrokenJob // nil for a job
}

func (n numbered) id() string {
	if n.broken != nil {
		return n.broken.ID
	}
	return n.job.ID
}

func (n numbered) path() string {
	if n.broken != nil {
		return n.broken.Path
	}
	return n.job.Path
}

// allJobs numbers the jobs, in the order of Jobs; broken ones come last.
func allJobs(dirs Dirs) ([]numbered, error) {
	jobs, broken, err := Jobs(dirs)
	if err != nil {
		return nil, err
	}
	var all []numbered
	for _, job := range jobs {
		all = append(all, numbered{number: len(all) + 1, job: job})
	}
	for i := range broken {
		all = append(all, numbered{number: len(all) + 1, broken: &broken[i]})
	}
	return all, nil
}

// isZero says whether all jobs are meant.
func (s Selection) isZero() bool { return s.Source == "" && len(s.Refs) == 0 }

// pick gives the jobs of a selection. None is an error, unless all were asked for.
func (s Selection) pick(all []numbered) ([]numbered, error) {
	if s.isZero() {
		return all, nil
	}
	var picked []numbered
	for _, ref := range s.Refs {
		found := false
		for _, n := range all {
			if n.id() == ref || strconv.Itoa(n.number) == ref {
				picked, found = addJob(picked, n), true
			}
		}
		if !found {
			return nil, &UsageError{Msg: fmt.Sprintf("there is no job %q", ref), Hint: "tinybackup statusof shows the jobs there are"}
		}
	}
	if s.Source == "" {
		return picked, nil
	}
	times := ""
	for _, n := range all {
		o := n.job.Options
		if n.broken != nil || o.Source != s.Source || !samePlace(o.Dest, s.Dest) {
			continue
		}
		times += fmt.Sprintf(", %q", n.job.Time)
		if s.Time == "" || sameTime(n.job, s.Time, n.job.Once) {
			picked = append(picked, n)
		}
	}
	switch {
	case len(picked) > 0:
		return picked, nil
	case times != "":
		return nil, &UsageError{Msg: fmt.Sprintf("no job backs up %q to %q at %q", s.Source, s.Dest, s.Time), Hint: "there is one at " + strings.TrimPrefix(times, ", ")}
	}
	return nil, &UsageError{Msg: fmt.Sprintf("no job backs up %q to %q", s.Source, s.Dest), Hint: "tinybackup statusof shows the jobs there are"}
}

// addJob adds a job that is not there yet: it may be named by id and number.
func addJob(to []numbered, n numbered) []numbered {
	for _, have := range to {
		if have.number == n.number {
			return to
		}
	}
	return append(to, n)
}

// entries are what the schedulers have, by the name of the scheduler. A scheduler
// that cannot be asked is missing there, and why is in trouble. Those called
// except are not asked.
func entries(ctx context.Context, env Env, except ...string) (byName map[string][]sched.Entry, trouble map[string]error) {
	byName, trouble = make(map[string][]sched.Entry), make(map[string]error)
	for _, s := range env.allSchedulers() {
		if slices.Contains(except, s.Name()) {
			continue
		}
		list, err := s.List(ctx)
		if err != nil {
			trouble[s.Name()] = err
			continue
		}
		byName[s.Name()] = list
	}
	return byName, trouble
}

// orphaned says whether the job of an entry is gone. An id is looked up in dirs
// only if schedulers' runs do so as well; a path is looked up wherever it is.
func orphaned(dirs Dirs, e sched.Entry) bool {
	path := e.Job
	if !filepath.IsAbs(path) {
		if !dirs.Plain {
			return false
		}
		path = filepath.Join(dirs.Jobs, e.Job+".ini")
	}
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// entriesOf are those of a list that start the job: by its file's path, or by its
// id if ids are looked up in dirs. A copy of a job in another place has the same id.
func entriesOf(dirs Dirs, list []sched.Entry, n numbered) []sched.Entry {
	var own []sched.Entry
	for _, e := range list {
		if e.Job == n.path() || (dirs.Plain && e.Job == n.id()) {
			own = append(own, e)
		}
	}
	return own
}
