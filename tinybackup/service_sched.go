package tinybackup

import (
	"context"
	"os"
	"path/filepath"

	"tinybackup/internal/sched"
)

// A serviceScheduler is the built-in service as install and statusof see it. It
// has no entries of its own: the service reads the job files.
type serviceScheduler struct{ env Env }

var (
	_ sched.Scheduler  = serviceScheduler{}
	_ sched.Surrounder = serviceScheduler{}
)

// Name is "service".
func (s serviceScheduler) Name() string { return "service" }

// Check is nil: the service works everywhere. It need not be running yet when a
// job is installed.
func (s serviceScheduler) Check(context.Context) error { return nil }

// Express is nil: the service runs whatever has slots.
func (s serviceScheduler) Express(*sched.Spec) error { return nil }

// Line is the command that the service will start.
func (s serviceScheduler) Line(e sched.Entry) (string, error) {
	return sched.Command(e.Binary, e.Job), nil
}

// Surroundings are those of who starts the service: here, whoever asks.
func (s serviceScheduler) Surroundings() sched.Surroundings {
	return sched.Surroundings{Env: os.Environ(), Dir: "/"}
}

// Add has nothing to do: the job's file is there already, and the service looks.
func (s serviceScheduler) Add(context.Context, sched.Entry) error { return nil }

// Remove has nothing to do: it ends with the job's file.
func (s serviceScheduler) Remove(context.Context, string) (int, error) { return 0, nil }

// List are the jobs whose files name the service.
func (s serviceScheduler) List(context.Context) ([]sched.Entry, error) {
	jobs, _, err := Jobs(s.env.Dirs)
	if err != nil {
		return nil, err
	}
	binary, err := s.env.binary()
	if err != nil {
		return nil, err
	}
	var list []sched.Entry
	for _, job := range jobs {
		if job.Scheduler != s.Name() {
			continue
		}
		spec, err := job.Spec()
		if err != nil {
			continue // Jobs has parsed it
		}
		list = append(list, sched.Entry{Job: job.ref(s.env.Dirs), Binary: binary, Spec: spec, Where: job.Path})
	}
	return list, nil
}

// serviceLock is the file that a running service has locked, with its process id
// in it.
func serviceLock(dirs Dirs) string { return filepath.Join(dirs.State, "service.pid") }

// serviceRuns says whether the service of these directories is running.
func serviceRuns(dirs Dirs) bool {
	_, locked := isLocked(serviceLock(dirs))
	return locked
}
