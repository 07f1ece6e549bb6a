package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Mode says which snapshots are wanted.
type Mode string

// The modes.
const (
	Auto  Mode = "auto" // whatever the source allows
	LVM   Mode = "lvm"
	Btrfs Mode = "btrfs"
)

// Kind says what a snapshot is.
type Kind string

// The kinds of snapshots.
const (
	KindLVM   Kind = "lvm"      // with a bounded room for changes
	KindThin  Kind = "lvm-thin" // in the pool of its origin
	KindBtrfs Kind = "btrfs"
)

// A Runner runs a command of lvm2 to its end and returns its standard output. The
// error of one that fails is what it has said on standard error.
type Runner interface {
	Run(ctx context.Context, command string, args ...string) ([]byte, error)
}

// Options say what is wanted.
type Options struct {
	Mode Mode
	// Size is how many bytes of the origin may change until a classic LVM snapshot
	// is worthless. Zero: a tenth of the origin, at least 1 GiB; and never more than
	// the volume group has.
	Size int64
	// Runner runs lvm2's commands; nil: those of the machine.
	Runner Runner

	sys   string        // where sysfs is; empty: /sys
	pause time.Duration // before a removal is tried again; 0: half a second
	user  int           // who asks; -1 where there are none
}

// An Error is why there is no snapshot, or none that is worth anything.
type Error struct {
	Why string // one line, lower case, no period
	Try string // what to do about it; may be empty
}

func (e *Error) Error() string { return e.Why }

// Hint is Try.
func (e *Error) Hint() string { return e.Try }

// A Plan is how a snapshot of a source would be made.
type Plan struct {
	Kind   Kind
	Origin string // what it is of: VG/LV, or the path of a subvolume
	Size   int64  // bytes that may change, of KindLVM; else 0: there is no bound
	Way    Way    // who makes it
}

// A Way makes and removes snapshots of one kind. Its methods are what those of Plan
// and Snapshot do.
type Way interface {
	Sweep(ctx context.Context) (removed []string, err error)
	// Take fills in Path, Name and Size. When it fails, nothing is left of what it made.
	Take(ctx context.Context, s *Snapshot) error
	Check(ctx context.Context, s *Snapshot) (used float64, err error)
	Remove(ctx context.Context, s *Snapshot) error
	Instead(rel string, ino uint64) string
}

// Find says how a snapshot of the source at path would be made: a directory, a file
// or a block device, an absolute path without symbolic links, but for a device. It
// changes nothing.
//
// If there is none to be had, the error is an *Error that says why.
func Find(ctx context.Context, path string, o Options) (*Plan, error) {
	if o.Runner == nil {
		o.Runner = commands{}
	}
	if o.sys == "" {
		o.sys = "/sys"
	}
	if o.pause == 0 {
		o.pause = 500 * time.Millisecond
	}
	o.user = os.Geteuid()
	return find(ctx, path, o)
}

// Sweep removes the snapshots that killed processes have left: of logical volumes
// all, of btrfs those of the same subvolume. It returns the names of what it has
// removed; the error is about those that it could not remove.
func (p *Plan) Sweep(ctx context.Context) (removed []string, err error) {
	return p.Way.Sweep(ctx)
}

// Take makes the snapshot. After an error, which may be an *Error, nothing is left of
// it. Else the caller has to Close it, whatever happens, and not before all that was
// opened below its Path is closed.
func (p *Plan) Take(ctx context.Context) (*Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	s := &Snapshot{Kind: p.Kind, Origin: p.Origin, way: p.Way}
	if err := p.Way.Take(ctx, s); err != nil {
		return nil, err
	}
	// lvm2's commands are not interrupted: they may have stopped the origin.
	if ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), s.Close(ctx))
	}
	return s, nil
}

// Snapshot is a source as it was at one moment.
type Snapshot struct {
	Path   string // what to read instead of the source
	Kind   Kind
	Origin string // as in Plan
	Name   string // VG/LV, or the path of the subvolume that is the snapshot
	Size   int64  // as in Plan; what it came to

	way    Way
	closed bool
}

// Check says how full the snapshot is, in percent: of its Size; of a thin one its
// pool; 0 with btrfs. It fails with an *Error if what was read up to now is not one
// moment of the source.
func (s *Snapshot) Check(ctx context.Context) (used float64, err error) {
	return s.way.Check(ctx, s)
}

// Instead is where to read a directory that lies in the source and not in its
// snapshot, by its path below the source and its inode number in the snapshot: a file
// system that is mounted there, or a subvolume below that of the source. Empty: it
// is in the snapshot.
func (s *Snapshot) Instead(rel string, ino uint64) string {
	return s.way.Instead(rel, ino)
}

// Close removes the snapshot, also if ctx is done. The error says what is left.
func (s *Snapshot) Close(ctx context.Context) error {
	if s.closed {
		return nil
	}
	s.closed = true
	return s.way.Remove(context.WithoutCancel(ctx), s)
}

// removalTries is how often a removal is tried: whatever looks at new devices, such
// as udev, may have the snapshot open for a moment.
const removalTries = 20

// insist tries to remove something until it is gone.
func insist(pause time.Duration, remove func() error) error {
	var err error
	for i := range removalTries {
		if i > 0 {
			time.Sleep(pause)
		}
		if err = remove(); err == nil {
			return nil
		}
	}
	return err
}

// leftError says that a snapshot is left.
func leftError(name, command string, err error) error {
	return fmt.Errorf("snapshot %s is left, and makes writing slower: %w; the next run removes it, or: %s", name, err, command)
}
