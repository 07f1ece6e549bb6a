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

	seen  string               // what the jobs' directory looked like when it was read
	jobs  map[string]Job       // by path
	begun map[string]time.Time // when each job's run was last started, by path

	running map[string]*running // by path
	ended   chan ended

	trouble  string // why the jobs could not be read, the last time
	stopping bool
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
		begun:   make(map[string]time.Time),
		running: make(map[string]*running),
		ended:   make(chan ended),
	}
	// From before the first run on: main lets go of the signals at the first one, and
	// a second one that found nobody would kill us and leave the runs alone.
	signals := make(chan os.Signal, 2)
	notify(signals)
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
		if _, known := was[job.Path]; !known {
			s.begun[job.Path] = lastBegun(job, s.env.Now())
			s.log.Info("job taken up", "id", job.ID, "job", job.Options.Name, "time", job.Time)
		}
	}
	for path, job := range was {
		if _, still := s.jobs[path]; !still {
			s.log.Info("job dropped", "id", job.ID, "job", job.Options.Name)
			delete(s.begun, path)
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

// lastBegun is from when on a job's slots are still to come: the newest run in
// its history, or its install. A run in the future was begun by a clock that was
// wrong, and does not count.
func lastBegun(job Job, now time.Time) time.Time {
	begun := job.Installed
	runs, err := job.History().Last(-1)
	if err != nil {
		return now // rather a slot too few than the same one again and again
	}
	for _, run := range runs {
		if run.Result != ResultSkipped && run.Start.After(begun) && !run.Start.After(now) {
			begun = run.Start
		}
	}
	return begun
}

// startDue starts the runs whose slot has come, the longest overdue first, and
// says how long there is nothing to do. A slot that passed while the service, or
// the machine, was off is made up for; several of them by one run.
func (s *service) startDue() time.Duration {
	now := s.env.Now()
	wait := servicePoll
	type due struct {
		slot time.Time
		path string
	}
	var ready []due
	for path, job := range s.jobs {
		if s.running[path] != nil || s.stopping {
			continue
		}
		spec, err := job.Spec()
		if err != nil {
			continue // Jobs has parsed it
		}
		from := s.begun[path]
		if from.After(now.Add(time.Minute)) {
			s.log.Info("clock was set back", "job", s.name(path), "from", from)
			from = now
			s.begun[path] = now
		}
		slot, more := spec.Next(from)
		switch {
		case !more:
		case slot.After(now):
			wait = min(wait, slot.Sub(now))
		default:
			ready = append(ready, due{slot, path})
		}
	}
	slices.SortFunc(ready, func(a, b due) int {
		if c := a.slot.Compare(b.slot); c != 0 {
			return c
		}
		return strings.Compare(a.path, b.path)
	})
	for _, d := range ready {
		if len(s.running) < serviceRunsAtOnce {
			s.start(d.path, d.slot)
		}
	}
	return max(wait, time.Millisecond)
}

// start starts the run of a job.
func (s *service) start(path string, slot time.Time) {
	s.begun[path] = s.env.Now()
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
	s.log.Info("run started", "job", s.name(path), "slot", slot, "process", cmd.Process.Pid)
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
