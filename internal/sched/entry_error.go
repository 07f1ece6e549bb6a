package sched

import "errors"

// ErrNotRunning means that a scheduler took an entry, or would, but that the daemon that starts the jobs is not running.
var ErrNotRunning = errors.New("its daemon is not running")

// ErrNotAllowed means that a scheduler may not be used by this user, as cron.allow(5) or at.allow(5) and their like say.
var ErrNotAllowed = errors.New("not allowed")

// BackendError is a scheduler that does not work here or that refuses an entry.
type BackendError struct {
	Op   string // "crontab", "at -t 202611220230", …
	Err  error  // what is wrong
	hint string

	denied bool // it is ErrNotAllowed too
}

// Error is `op: cause`.
func (e *BackendError) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *BackendError) Unwrap() error { return e.Err }

// Is knows ErrNotAllowed.
func (e *BackendError) Is(target error) bool { return e.denied && target == ErrNotAllowed }

// Hint says what to do about it, or is empty.
func (e *BackendError) Hint() string { return e.hint }
