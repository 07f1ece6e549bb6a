//go:build !linux

package snapshot

import (
	"context"
	"errors"
)

// commands are not there.
type commands struct{}

// Run fails.
func (commands) Run(context.Context, string, ...string) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func find(context.Context, string, Options) (*Plan, error) {
	return nil, &Error{Why: "snapshots are made on Linux only", Try: "leave --snapshot out"}
}

// IsSnapshot says whether a directory is a snapshot of ours, or where one would be.
func IsSnapshot(name string, ino uint64) bool { return false }
