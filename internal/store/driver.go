package store

import (
	"context"
	"errors"
	"time"
)

// A Driver is what a service on another machine can do: it keeps objects under keys. A
// Remote makes a Store of it.
//
// A key is the name of an archive, SHA256SUMS, or SideDir, "/" and a name; what stands
// before it, a prefix or a directory, is the driver's own affair. So is trying again
// what a connection or a busy server broke, for as long as ctx allows and a person
// would wait: an error of a Driver is final.
//
// Rules for every method:
//   - A missing object is fs.ErrNotExist, a context that is done its context.Cause.
//   - What a method changed when it returned nil is as durable as the service can make it.
//   - Methods may be called from several goroutines at once.
//   - Errors are *Error, with the object's full address as Path, and without secrets.
type Driver interface {
	// List returns the objects in the top of the destination (dir is empty) or in
	// SideDir, by their names without it; nothing that is deeper. What does not exist
	// is empty. It returns everything or an error.
	List(ctx context.Context, dir string) ([]Object, error)

	// Open opens an object for reading at any place, over as few requests as the
	// reading allows. The caller closes it. ctx governs the reading, too.
	Open(ctx context.Context, key string) (Reader, error)

	// Get returns the first limit bytes of an object, all of them if limit is
	// negative, and its Version.
	Get(ctx context.Context, key string, limit int64) ([]byte, Version, error)

	// Put creates or replaces a small object: a reader sees the old bytes or the new.
	// With NotThere, only if there is none, and with another Version, only if it is
	// still that one: if not, ErrConflict. A service without such conditions looks
	// first, as shortly before as it can.
	Put(ctx context.Context, key string, data []byte, only Version) (Version, error)

	// Create begins an archive. Its Settle returns errors.ErrUnsupported: instead,
	// Commit returns nil only if the service has every byte that was written, each
	// checked there or read back from there. What CopyRange appended was not sent
	// again; the service copied it from an object that Commit had checked.
	Create(ctx context.Context, key string) (Pending, error)

	// Copies says whether CopyRange of Create's Pending copies on the service's side
	// what an object already there holds.
	Copies(ctx context.Context) bool

	// Link is that of Store.
	Link(ctx context.Context, old, new string) error

	// Remove removes an object: fs.ErrNotExist if there is none, ErrRetained if the
	// service does not let it go.
	Remove(ctx context.Context, key string) error

	// Unfinished returns the keys of what was begun, and neither committed nor closed:
	// archives, and half written objects of Put, by the key they were to have. Discard
	// removes what there is of one.
	Unfinished(ctx context.Context) ([]string, error)
	Discard(ctx context.Context, key string) error

	// Now is the time by the clock that Object.ModTime is by.
	Now(ctx context.Context) (time.Time, error)

	// Free is that of Store.
	Free(ctx context.Context) (bytes int64, err error)

	// Find returns the destinations at and below this one that have a sidecar whose name
	// ends in suffix. What cannot be looked into is an error beside what was found.
	Find(ctx context.Context, suffix string) ([]Found, error)

	// At is the destination at a path below this one, by slashes; empty: this one. It
	// asks nothing of the service, and its Close does nothing: it is over when the one
	// is closed that it was made of.
	At(below string) Driver

	// String is the destination as a person would type it, without secrets.
	String() string

	// Close ends its connections.
	Close() error
}

// A Version tells one content of an object from another one. The zero Version is any.
type Version string

// NotThere is the Version of an object that does not exist.
const NotThere Version = "none"

// A Found is a destination that Find found.
type Found struct {
	Below string   // where it is, for At
	Sides []Object // the sidecars asked for, by name; only Name, Size and ModTime count
}

var (
	// ErrConflict says that an object is not the one that a change was made of.
	ErrConflict = errors.New("it was changed meanwhile")

	// ErrRetained says that the destination keeps what was to be removed: by a lock on
	// the object, or because whoever asks may only add.
	ErrRetained = errors.New("the destination does not let it go")
)
