// Package store is where archives go. Store is one destination: a directory of this
// machine (Local), or something on another one (Remote), reached by a Driver. All pass
// the same conformance suite.
//
// What a destination holds, whatever its kind:
//
//	NAME            an archive: complete, never changed, never replaced
//	SHA256SUMS      one line per archive, for sha256sum -c
//	.tinybackup/    sidecars (small files about archives), locks, files being written
//
// The package knows nothing of series, dates or policies: a name is a name. Which
// archives to remove is decided elsewhere, from List and from nothing else.
package store

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Store is one destination.
//
// Rules for every method and every implementation:
//   - A name is one path element in valid form: see checkName. The store's own
//     names (SHA256SUMS, .tinybackup) are refused.
//   - A missing object is fs.ErrNotExist, a name already taken fs.ErrExist, a context
//     that is done its context.Cause: all by errors.Is.
//   - Once a method that changes something returns nil, the change survives a power
//     cut. If it returns an error, archives that were there before are untouched.
//   - Methods may be called from several goroutines and processes at once. What must
//     not be done twice at once (writing archives of one series, sweeping them) is
//     kept apart by Lock, which is the caller's to take.
//   - Errors name what was attempted and on what; *Error also gives a hint.
type Store interface {
	// List returns the archives and other plain files of the destination, in no
	// particular order, without the store's own files and without unfinished ones.
	// An error means that nothing is known: the list is then nil, never partial.
	List(ctx context.Context) ([]Object, error)

	// Create begins an archive. Nobody sees it before Commit. What a killed run
	// left unfinished under the same name is discarded: call it under the lock of
	// the series. A name already taken is fs.ErrExist, here or from Commit. ctx
	// governs the Pending too: once it is done, writing and committing fail.
	// The caller closes the Pending.
	Create(ctx context.Context, name string) (Pending, error)

	// Link gives the archive old a second name, new: the same bytes, stored once.
	// A name already taken is fs.ErrExist; errors.ErrUnsupported says that the
	// destination has no such thing, and the caller copies.
	Link(ctx context.Context, old, new string) error

	// ShareUnit returns the size in bytes of the blocks that archives can share by
	// Pending.CopyRange, 0 where they can't. Finding out may cost a few files' making.
	ShareUnit(ctx context.Context) int64

	// Open opens an archive for reading; fs.ErrNotExist if there is none. The
	// caller closes it. ctx governs the opening only.
	Open(ctx context.Context, name string) (Reader, error)

	// ReadBack returns the bytes of an archive as read past the cache, like
	// Pending.Settle. The caller closes the reader.
	ReadBack(ctx context.Context, name string) (io.ReadCloser, error)

	// Remove removes an archive. One that is not there is fs.ErrNotExist, and the
	// caller knows whether that matters.
	Remove(ctx context.Context, name string) error

	// ReadSide returns a sidecar, fs.ErrNotExist if there is none.
	ReadSide(ctx context.Context, name string) ([]byte, error)
	// ReadSideHead returns at least the first n bytes of a sidecar, and whether that is
	// all of it. Where reading is cheap, it always is.
	ReadSideHead(ctx context.Context, name string, n int64) (data []byte, whole bool, err error)
	// WriteSide creates or replaces a sidecar: a reader sees the old bytes or the
	// new. Names ending in .partial, .temp or .lock are refused.
	WriteSide(ctx context.Context, name string, data []byte) error
	// RemoveSide removes a sidecar, fs.ErrNotExist if there is none.
	RemoveSide(ctx context.Context, name string) error
	// ListSide returns the names of all sidecars, sorted.
	ListSide(ctx context.Context) ([]string, error)

	// Sums returns the SHA256SUMS file: archive name to lower-case hex digest. A
	// missing file is an empty map. Lines that are not ours are not in it.
	Sums(ctx context.Context) (map[string]string, error)
	// SetSums first drops the lines of the names in drop, then sets those in set: a
	// line that exists keeps its place, new ones go to the end, by name. All other
	// lines stay byte for byte. Either may be nil. Safe against other SetSums, also
	// of other processes. A file without lines is removed by Local.
	SetSums(ctx context.Context, set map[string]string, drop []string) error

	// Lock takes the exclusive lock of a series, or fails with *LockedError when it
	// is still held after wait (zero or less: try once). info is what others are
	// told about us. The lock ends with unlock or with the process, however that
	// ends; unlock may be called more than once.
	Lock(ctx context.Context, series string, info Holder, wait time.Duration) (unlock func() error, err error)

	// Sweep removes what killed runs left unfinished: partial archives and half
	// written sidecars whose final name satisfies series. It returns the names of
	// the files removed, also next to an error. Call it under the lock of the
	// series, and let series accept nothing of another one.
	Sweep(ctx context.Context, series func(name string) bool) ([]string, error)

	// Unlocked says that the series was never locked: so nobody has its lock now, and
	// nothing of it was made in SideDir. False where that cannot be known.
	Unlocked(ctx context.Context, series string) bool

	// HasSide says whether there is a SideDir: whether this is a destination of ours.
	HasSide(ctx context.Context) (bool, error)

	// Writable returns why nothing can be written to the destination, nil if it looks as
	// if something could. It changes nothing. Probe tries, with a small file that it
	// removes again: what is in the way of an archive is in the way of that.
	Writable(ctx context.Context) error
	Probe(ctx context.Context) error

	// Find returns the destinations at and below this one that have a sidecar whose
	// name ends in suffix, sorted by Below: see Driver.Find. What cannot be looked into
	// is an error beside what was found.
	Find(ctx context.Context, suffix string) ([]Found, error)

	// At is the destination at a path below this one: see Driver.At. Only a directory
	// of this machine has to exist.
	At(ctx context.Context, below string) (Store, error)

	// Now is the time by the clock that Object.ModTime is by; errors.ErrUnsupported:
	// by that of this machine.
	Now(ctx context.Context) (time.Time, error)

	// Watch tells a watchdog what is done: step is called when a method begins, so that
	// all before it has ended. naming gets each call that gives an archive its final name,
	// and makes it; or, if that may not be any more, returns an error instead. Call Watch
	// before anything else.
	Watch(step func(), naming func(give func() error) error)

	// Free returns the bytes that we may still write, errors.ErrUnsupported where
	// that cannot be known.
	Free(ctx context.Context) (bytes int64, err error)

	// String is the destination as a person would type it, without secrets.
	String() string

	// Close ends connections; nothing may be called after it.
	Close() error
}

// Object is one plain file of a destination.
type Object struct {
	Name      string
	Size      int64 // bytes
	ModTime   time.Time
	Allocated int64  // bytes that it occupies on disk; Size where that is unknown
	File      uint64 // the same for names of one file, as Link makes them; 0 where unknown
	Own       int64  // of these, what it shares with no other file: removing it frees them
}

// Reader reads one archive, from several goroutines if need be. Size is in bytes, as
// of the opening.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Pending is an archive that is being written. One goroutine at a time uses it. After
// an error from any method only Close is left: a second attempt at making bytes
// durable may succeed without them being so (the kernel reports a failed writeback
// once, fsync(2)).
type Pending interface {
	// Write appends. It returns less than len(p) only with an error.
	io.Writer

	// CopyRange appends n bytes of src, a Reader of the same store, from off on, in
	// such a way that both files share them. It returns false if it can't, and has
	// done nothing then: ranges that are no whole blocks of ShareUnit, on both sides,
	// are not shared, but for the last bytes of src, which may be.
	CopyRange(src io.ReaderAt, off, n int64) (bool, error)

	// Settle ends the writing, makes the bytes durable and returns them as read
	// back past the cache; the caller hashes them and compares, and closes the
	// reader. It may be called again, for another reading. errors.ErrUnsupported says
	// that nothing can be read before it has its name: then Commit checks all that was
	// written itself, see Driver.Create.
	Settle() (io.ReadCloser, error)

	// Commit gives the archive its final name, never replacing one (fs.ErrExist);
	// durable when it returns. It settles first if nobody did. After an error the
	// name is not there, as far as the destination still lets us see to that.
	Commit() error

	// Close removes what is not committed; safe after Commit, and twice. Its error
	// says that something was left behind, for Sweep to find.
	Close() error
}

// Holder is what a run says about itself to those that find its lock taken.
type Holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Job   string    `json:"job,omitempty"`
	Since time.Time `json:"since"`
}

// LockedError says that another run holds the lock.
type LockedError struct {
	Holder               // zero if it could not be read
	Path   string        // the lock
	Asked  time.Time     // since when the run that did not get it is running
	Lease  time.Duration // how long it outlives a run that is not heard of any more; 0: not at all
}

func (e *LockedError) Error() string {
	const msg = "another run holds the lock"
	if e.PID == 0 {
		return msg
	}
	if e.Since.IsZero() {
		return fmt.Sprintf("%s: pid %d on %s", msg, e.PID, e.Host)
	}
	since := e.Since.Local()
	layout := "15:04"
	if y, m, d := e.Asked.Local().Date(); since.Year() != y || since.Month() != m || since.Day() != d {
		layout = "2006-01-02 15:04"
	}
	return fmt.Sprintf("%s: pid %d on %s since %s", msg, e.PID, e.Host, since.Format(layout))
}

// Hint says what a person can do.
func (e *LockedError) Hint() string {
	if e.Lease > 0 {
		return fmt.Sprintf("the lock %q ends with the run that holds it, or %.0f minutes after that was last heard of", e.Path, e.Lease.Minutes())
	}
	return fmt.Sprintf("the lock %q ends with the run that holds it; removing the file would not end it", e.Path)
}
