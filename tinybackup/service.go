package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// servicePoll is how long the service sleeps at most: so late does it notice a
	// new job, a clock that was set, and the end of a suspend.
	servicePoll = time.Second
	// serviceRunsAtOnce is how many backups it runs at the same time: two, so that
	// a large one does not keep a small one waiting, and a small machine can still
	// do something else.
	serviceRunsAtOnce = 2
)

// A service starts the jobs of --scheduler service, each as a process of its own:
// what becomes of one backup is nothing to the others, nor to the service.
type service struct {
	env    Env
	binary string
	log    *slog.Logger

	seen string             // what the jobs' directory looked like when it was read
	jobs map[string]Job     // by path
	due  map[string]dueTime // by path; none: to be found out

	running map[string]*running // by path
	ended   chan ended

	trouble  string // why the jobs could not be read, the last time
	stopping bool
}

// A dueTime is when a job has something to do.
type dueTime struct {
	at    time.Time // zero: never
	asked time.Time // when this was found out
	slot  time.Time // the slot that the job was last started for
	begun time.Time // and when
}

// A running run of a job.
type running struct {
	cmd  *exec.Cmd
	told bool // to end
}

// An ended run of a job.
type ended struct {
	path string
	err  error
	said string // what it wrote to standard error
}

// Serve runs the jobs of the built-in scheduler until ctx is cancelled or the
// process gets SIGTERM or SIGINT; it lets the backups that are going on finish,
// but ends them at SIGINT, and at a second signal. ready is called when it is up.
//
// A service that is running already is a *BusyError.
func Serve(ctx context.Context, env Env, ready func()) (err error) {
	binary, err := env.binary()
	if err != nil {
		return err
	}
	lock, err := lockFile(ctx, serviceLock(env.Dirs), "the service", 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	file, err := openLog(filepath.Join(env.Dirs.State, "service.log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	s := &service{
		env: env, binary: binary,
		log:     slog.New(teeHandler{env.Log.Handler(), file.handler(env.LogLevel, env.Now)}),
		jobs:    make(map[string]Job),
		due:     make(map[string]dueTime),
		running: make(map[string]*running),
		ended:   make(chan ended),
	}
	goOnUnread()
	// From before the first run on: main lets go of the signals at the first one, and
	// a second one that found nobody would kill us and leave the runs alone.
	signals := make(chan os.Signal, 2)
	catch(signals)
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := s.reload(); err != nil {
		return err
	}
	s.log.Info("service started", "process", os.Getpid(), "jobs", len(s.jobs))
	ready()
	s.loop(ctx, signals)
	s.log.Info("service stopped", "process", os.Getpid())
	return nil
}

// loop starts what is due, until it is told to stop and nothing runs any more.
func (s *service) loop(ctx context.Context, signals <-chan os.Signal) {
	done := ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if s.stopping && len(s.running) == 0 {
			return
		}
		select {
		case <-done:
			done = nil
			// A signal comes in by its own channel as well, and once is enough.
			if !errors.As(context.Cause(ctx), new(*SignalError)) {
				s.stop(false)
			}
		case got := <-signals:
			s.stop(got == syscall.SIGINT)
		case e := <-s.ended:
			s.finish(e)
			timer.Reset(0)
		case <-timer.C:
			s.tryReload()
			timer.Reset(s.startDue())
		}
	}
}

// tryReload is reload; what keeps it from reading is told once, not every second.
func (s *service) tryReload() {
	trouble := ""
	if err := s.reload(); err != nil {
		trouble = err.Error()
	}
	if trouble != s.trouble && trouble != "" {
		s.log.Warn("the jobs cannot be read: " + trouble)
	}
	s.trouble = trouble
}

// stop starts nothing more. With now, and when it is told for a second time, it
// also ends what runs.
func (s *service) stop(now bool) {
	if !s.stopping {
		s.log.Info("service stops", "running", len(s.running))
	}
	if now || s.stopping {
		s.endRuns()
	}
	s.stopping = true
}

// endRuns tells the runs to end cleanly: each once, as a second signal kills.
func (s *service) endRuns() {
	for path, r := range s.running {
		if r.told {
			continue
		}
		r.told = true
		s.log.Info("run is ended", "job", s.name(path))
		// It may have ended by itself a moment ago.
		if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			s.log.Warn("the run cannot be ended: "+err.Error(), "job", s.name(path))
		}
	}
}

// reload reads the jobs again if their directory does not look as before.
func (s *service) reload() error {
	looks, err := fingerprint(s.env.Dirs.Jobs)
	if err != nil || (looks == s.seen && looks != "") {
		return err
	}
	jobs, broken, err := Jobs(s.env.Dirs)
	if err != nil {
		return err
	}
	s.seen = looks
	was := s.jobs
	s.jobs = make(map[string]Job)
	for _, job := range jobs {
		if job.Scheduler != "service" {
			continue
		}
		s.jobs[job.Path] = job
		s.ask(job.Path)
		if _, known := was[job.Path]; !known {
			s.log.Info("job taken up", "id", job.ID, "job", job.Options.Name, "time", job.Time)
		}
	}
	for path, job := range was {
		if _, still := s.jobs[path]; !still {
			s.log.Info("job dropped", "id", job.ID, "job", job.Options.Name)
			delete(s.due, path)
		}
	}
	for _, b := range broken {
		s.log.Warn("job cannot be used: "+b.Err.Error(), "id", b.ID)
	}
	return nil
}

// fingerprint is what a change of a job file changes: their names, and of each
// its inode, its size and its time. A directory that is not there has none.
func fingerprint(dir string) (string, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return "none", nil
	}
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, file := range files {
		info, err := file.Info()
		if err != nil || !strings.HasSuffix(file.Name(), ".ini") {
			continue
		}
		var ino uint64
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			ino = st.Ino
		}
		fmt.Fprintf(&b, "%s %d %d %d %v\n", file.Name(), ino, info.Size(), info.ModTime().UnixNano(), info.Mode())
	}
	return b.String() + "end", nil
}

const (
	// serviceAsks is how long what a job has to do is taken for known: a run by hand
	// or a clock that was set may change it.
	serviceAsks = time.Minute
	// serviceAgain is how long a run that did not settle its slot, nor so much as note
	// that it tried, is left alone.
	serviceAgain = 5 * time.Minute
)

// ask forgets when a job is due, so that it is found out anew.
func (s *service) ask(path string) {
	d := s.due[path]
	d.asked = time.Time{}
	s.due[path] = d
}

// nextDue finds out when a job has something to do, and for which slot.
func (s *service) nextDue(path string, job Job, now time.Time) dueTime {
	d := s.due[path]
	if d.asked.After(now.Add(time.Minute)) {
		s.log.Info("clock was set back", "job", s.name(path), "from", d.asked)
	}
	if since := now.Sub(d.asked); since >= 0 && since < serviceAsks && (d.at.IsZero() || d.at.After(now)) {
		return d
	}
	d.asked, d.at = now, time.Time{}
	spec, err := job.Spec()
	if err != nil {
		return d // Jobs has parsed it
	}
	book, err := job.slots()
	if err != nil {
		return d // rather a slot too late than the same one again and again
	}
	v := job.owed(spec, book, now)
	slot := v.Slot
	if slot.IsZero() && !v.Settled.Equal(book.Settled) {
		slot = v.Settled // to be told of, or at least noted
	}
	switch {
	case slot.IsZero():
		d.at = v.Next
	case slot.Equal(d.slot) && book.Tried.Before(d.begun) && now.Before(d.begun.Add(serviceAgain)):
		d.at = d.begun.Add(serviceAgain)
	default:
		d.at, d.slot = now, slot
	}
	return d
}

// startDue starts the jobs that have something to do, the longest overdue first,
// and says how long there is nothing more.
func (s *service) startDue() time.Duration {
	now := s.env.Now()
	wait := servicePoll
	var ready []string
	for path, job := range s.jobs {
		if s.running[path] != nil || s.stopping {
			continue
		}
		d := s.nextDue(path, job, now)
		s.due[path] = d
		switch {
		case d.at.IsZero():
		case d.at.After(now):
			wait = min(wait, d.at.Sub(now))
		default:
			ready = append(ready, path)
		}
	}
	slices.SortFunc(ready, func(a, b string) int {
		if c := s.due[a].slot.Compare(s.due[b].slot); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	for _, path := range ready {
		if len(s.running) < serviceRunsAtOnce {
			s.start(path, now)
		}
	}
	return max(wait, time.Millisecond)
}

// start starts the run of a job.
func (s *service) start(path string, now time.Time) {
	d := s.due[path]
	d.begun, d.asked = now, time.Time{}
	s.due[path] = d
	cmd := exec.Command(s.binary, "run", "--job", path)
	cmd.Dir = "/" // so that no directory is in use by a service that runs for years
	said := &tail{max: 4096}
	cmd.Stderr = said
	// A group of its own: Ctrl-C in our terminal is for us to pass on, or not.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		s.log.Error("run cannot be started: "+err.Error(), "job", s.name(path))
		return
	}
	s.log.Info("run started", "job", s.name(path), "slot", d.slot, "process", cmd.Process.Pid)
	s.running[path] = &running{cmd: cmd}
	go func() {
		err := cmd.Wait()
		s.ended <- ended{path: path, err: err, said: said.String()}
	}()
}

// finish notes the end of a run.
func (s *service) finish(e ended) {
	delete(s.running, e.path)
	said := strings.TrimSpace(e.said)
	if e.err == nil && said == "" {
		s.log.Info("run done", "job", s.name(e.path))
		return
	}
	status := "exit status 0"
	if e.err != nil {
		status = e.err.Error()
	}
	s.log.Warn("run done: "+status, "job", s.name(e.path), "said", said)
}

// name is what a person calls the job of a path.
func (s *service) name(path string) string {
	if job, found := s.jobs[path]; found {
		return job.Options.Name
	}
	return path
}

// A tail keeps the last max bytes that are written to it.
type tail struct {
	max  int
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if extra := len(t.data) - t.max; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.data) }
