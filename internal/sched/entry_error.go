package sched

import "errors"

// ErrNotRunning means that a scheduler took an entry, or would, but that the daemon that starts the jobs is not running.
var ErrNotRunning = errors.New("its daemon is not running")

// BackendError is a scheduler that does not work here or that refuses an entry.
type BackendError struct {
	Op   string // "crontab", "at -t 202611220230", …
	Err  error  // what is wrong
	hint string
}

// Error is `op: cause`.
func (e *BackendError) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *BackendError) Unwrap() error { return e.Err }

// Hint says what to do about it, or is empty.
func (e *BackendError) Hint() string { return e.hint }
