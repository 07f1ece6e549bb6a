package tinybackup

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"tinybackup/internal/rotate"
	"tinybackup/internal/sched"
	"tinybackup/internal/store"
)

// A look is what is found out once for all jobs of a Status. It is not changed any
// more when it looks at jobs, so that it can look at several at a time.
type look struct {
	env     Env
	now     time.Time
	recent  int  // how many runs are wanted of a job
	service bool // the built-in scheduler is running
	entries map[string][]sched.Entry
	byJob   map[string]map[string][]sched.Entry // of a scheduler, by what its line calls the job
	trouble map[string]error                    // why a scheduler could not list, by name
	check   map[string]error                    // why a scheduler starts nothing, by name
	dests   map[string]*destination             // by path
	other   map[string]bool                     // programs that are another version than this one, by path
}

// A destination is what is in one, or why that is not known.
type destination struct {
	store  *store.Local
	free   int64             // bytes; -1 if that is not known
	side   bool              // .tinybackup is there
	series map[string]series // by name
	err    error
}

// A series is the archives of one name in a destination.
type series struct {
	count  int
	bytes  int64
	newest stored // without its manifest
	most   int64  // the size of the largest of the newest ones, in bytes
}

// spaceOf is how many of the newest archives tell how large the next may be.
const spaceOf = 3

// newLook asks every scheduler and every destination of these jobs once.
func newLook(ctx context.Context, env Env, jobs []numbered) *look {
	l := &look{
		env: env, now: env.Now(), service: serviceRuns(env.Dirs), check: make(map[string]error),
		byJob: make(map[string]map[string][]sched.Entry), dests: make(map[string]*destination), other: make(map[string]bool),
	}
	if binary, err := env.binary(); err == nil {
		l.env.Binary = binary
	} else if binary, err := os.Executable(); err == nil { // of go run: all it does here is look
		l.env.Binary = binary
	}
	var paths []string
	used := make(map[string]bool)
	for _, n := range jobs {
		if n.broken != nil {
			continue
		}
		used[n.job.Scheduler] = true
		if dest := n.job.Options.Dest; l.dests[dest] == nil {
			l.dests[dest] = &destination{free: -1}
			paths = append(paths, dest)
		}
	}
	l.entries, l.trouble = entries(ctx, l.env, "service") // which has what the job files say
	for name, list := range l.entries {
		l.byJob[name] = make(map[string][]sched.Entry)
		for _, e := range list {
			l.byJob[name][e.Job] = append(l.byJob[name][e.Job], e)
			if _, known := l.other[e.Binary]; !known { // they are read whole to compare them
				l.other[e.Binary] = isProgram(e.Binary) && !sameProgram(e.Binary, l.env.Binary)
			}
		}
	}
	for _, s := range env.allSchedulers() {
		if used[s.Name()] && l.trouble[s.Name()] == nil {
			l.check[s.Name()] = s.Check(ctx)
		}
	}
	if !l.service {
		l.check["service"] = &HintError{Err: sched.ErrNotRunning, Hint: "tinybackup start"}
	}
	parallel(len(paths), func(i int) { l.dests[paths[i]].look(ctx, paths[i]) })
	return l
}

// entriesOf are those that a scheduler has of a job.
func (l *look) entriesOf(scheduler string, n numbered) []sched.Entry {
	all := l.byJob[scheduler]
	own := all[n.path()]
	if l.env.Dirs.Plain {
		own = append(own[:len(own):len(own)], all[n.id()]...)
	}
	return own
}

// look lists a destination.
func (d *destination) look(ctx context.Context, path string) {
	if d.store, d.err = openStore(path); d.err != nil {
		return
	}
	if n, err := d.store.Free(ctx); err == nil {
		d.free = n
	}
	var objects []store.Object
	if objects, d.err = d.store.List(ctx); d.err != nil {
		return
	}
	_, err := os.Lstat(filepath.Join(path, store.SideDir))
	d.side = err == nil
	d.series = make(map[string]series)
	var all []stored
	for _, o := range objects {
		if name, ok := rotate.ParseName(o.Name); ok {
			all = append(all, stored{Object: o, name: name})
		}
	}
	sortStored(all)
	for _, a := range all {
		s, more := d.series[a.name.Series]
		if !more {
			s.newest = a
		}
		if s.count < spaceOf {
			s.most = max(s.most, a.Size)
		}
		s.count++
		s.bytes += a.Size
		d.series[a.name.Series] = s
	}
}
