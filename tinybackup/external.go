package tinybackup

import (
	"context"

	"tinybackup/internal/sched"
)

// scheduledElsewhere is what a job's file calls an engine that is not ours to ask.
const scheduledElsewhere = "external"

// An externalScheduler is somebody else who starts a job: a file of cron.d, a
// CronJob of Kubernetes, a build server. It is never chosen by itself, and nothing
// is known of what it has.
type externalScheduler struct{}

var _ sched.Scheduler = externalScheduler{}

// Name is "external".
func (externalScheduler) Name() string { return scheduledElsewhere }

// Check is nil: whether it works shows in the job's runs.
func (externalScheduler) Check(context.Context) error { return nil }

// Express is nil: it is whoever can.
func (externalScheduler) Express(*sched.Spec) error { return nil }

// Line is the command that it should start.
func (externalScheduler) Line(e sched.Entry) (string, error) {
	return sched.Command(e.Binary, e.Job), nil
}

// Add has nothing to do.
func (externalScheduler) Add(context.Context, sched.Entry) error { return nil }

// Remove has nothing to do.
func (externalScheduler) Remove(context.Context, string) (int, error) { return 0, nil }

// List is empty.
func (externalScheduler) List(context.Context) ([]sched.Entry, error) { return nil, nil }
