package tinybackup

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

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
	copied  map[string]func() destination       // those of copies, by path: asked when that is wanted, and once
	other   map[string]bool                     // programs that are another version than this one, by path
}

// A destination is what is in one, or why that is not known.
type destination struct {
	store  store.Store
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
		copied: make(map[string]func() destination),
	}
	if binary, err := env.binary(); err == nil {
		l.env.Binary = binary
	} else if binary, err := os.Executable(); err == nil { // of go run: all it does here is look
		l.env.Binary = binary
	}
	var asked []Options // one for each destination
	used := make(map[string]bool)
	for _, n := range jobs {
		if n.broken != nil {
			continue
		}
		used[n.job.Scheduler] = true
		if dest := n.job.Options.Dest; l.dests[dest] == nil {
			l.dests[dest] = &destination{}
			asked = append(asked, n.job.Options)
		}
		for _, c := range n.job.Options.CopyTo {
			l.copied[c.Dest] = sync.OnceValue(func() destination { return askCopy(ctx, env, n.job.Options.forCopy(c)) })
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
	l.askAll(ctx, asked)
	return l
}

// askAll looks into the destinations of these options. Those on other machines are
// asked all at once: what takes long is the way there.
func (l *look) askAll(ctx context.Context, asked []Options) {
	var remote sync.WaitGroup
	defer remote.Wait()
	var local []*destination
	var at []Options
	for _, o := range asked {
		d := l.dests[o.Dest]
		if !isRemote(o.Dest) {
			local, at = append(local, d), append(at, o)
			continue
		}
		remote.Go(func() { *d = askRemote(ctx, l.env, o) })
	}
	parallel(len(local), func(i int) { *local[i] = lookInto(ctx, l.env, at[i]) })
}

// remoteLimit is how long a destination on another machine may take to answer when
// somebody wants to know how things are.
const remoteLimit = 15 * time.Second

// errSilent says that a destination took longer than that.
var errSilent = fmt.Errorf("it does not answer within %v", remoteLimit)

// askCopy is lookInto for the destination of a copy, whose disk or server may be gone, and
// closes it.
func askCopy(ctx context.Context, env Env, o Options) destination {
	ctx, cancel := context.WithTimeoutCause(ctx, remoteLimit, errSilent)
	defer cancel()
	d := askBounded(ctx, env, o)
	d.close()
	return d
}

// patience ends a context of what is asked of a destination on another machine when
// that has taken too long.
func patience(ctx context.Context, dest string) (context.Context, context.CancelFunc) {
	if !isRemote(dest) {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, remoteLimit, errSilent)
}

// askRemote is lookInto, with an end also if what is asked knows none.
func askRemote(ctx context.Context, env Env, o Options) destination {
	ctx, cancel := patience(ctx, o.Dest)
	defer cancel()
	return askBounded(ctx, env, o)
}

// askBounded is lookInto until ctx ends.
func askBounded(ctx context.Context, env Env, o Options) destination {
	answer := make(chan destination)
	go func() {
		d := lookInto(ctx, env, o)
		select {
		case answer <- d:
		case <-ctx.Done():
			d.close()
		}
	}()
	select {
	case d := <-answer:
		return d
	case <-ctx.Done():
		return destination{free: -1, err: context.Cause(ctx)}
	}
}

// close closes the destination, if it is open.
func (d *destination) close() {
	if d.store != nil {
		d.store.Close()
	}
}

// close ends what newLook began.
func (l *look) close() {
	for _, d := range l.dests {
		d.close()
	}
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

// lookInto lists the destination of o.
func lookInto(ctx context.Context, env Env, o Options) (d destination) {
	d.free = -1
	if d.store, d.err = openStore(ctx, env, o.Dest, o.Access); d.err != nil {
		return d
	}
	if n, err := d.store.Free(ctx); err == nil {
		d.free = n
	}
	var objects []store.Object
	if objects, d.err = d.store.List(ctx); d.err != nil {
		return d
	}
	if d.side, d.err = d.store.HasSide(ctx); d.err != nil {
		return d
	}
	d.series = seriesIn(objects)
	return d
}

// seriesIn are the archives among what is in a destination, by name.
func seriesIn(objects []store.Object) map[string]series {
	found := make(map[string]series)
	for _, a := range storedOf(objects, "") {
		s, more := found[a.name.Series]
		if !more {
			s.newest = a
		}
		if s.count < spaceOf {
			s.most = max(s.most, a.Size)
		}
		s.count++
		s.bytes += a.Size
		found[a.name.Series] = s
	}
	return found
}
