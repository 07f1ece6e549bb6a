package store

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const (
	lockPoll = 100 * time.Millisecond // how often a lock that is held is tried again

	// A run that has the lock writes who it is a moment later. Whoever comes in
	// between sees the one before, or nobody, and looks again.
	holderLooks = 25
	holderPause = 20 * time.Millisecond
)

// Lock implements Store: flock(2) on SERIES.series.lock in .tinybackup. The kernel ends
// it with the process, so there are no stale locks to judge. The file is never removed:
// a process could then lock the removed file and another one the new file of that name,
// each sure to be alone. What it says stays in it too, about the last holder.
//
// On NFS Linux turns flock into byte-range locks of the server, which hold between
// machines; NFS before 4 needs lockd for it. Mounted with "nolock" or "local_lock=flock"
// they keep apart the processes of one machine only.
func (l *Local) Lock(ctx context.Context, series string, info Holder, wait time.Duration) (func() error, error) {
	const op = "lock"
	if err := checkName(op, series); err != nil {
		return nil, err
	}
	if err := l.begin(ctx, op); err != nil {
		return nil, err
	}
	if err := l.ensureSide(); err != nil {
		return nil, err
	}
	path := l.side(series + seriesLock)
	lock, err := l.acquire(ctx, path, wait)
	if err != nil {
		return nil, err
	}
	if lock == nil {
		return nil, &LockedError{Holder: findHolder(path, info.Host), Path: path, Asked: info.Since}
	}
	writeHolder(path, info)
	return func() error { return fail("unlock", path, release(lock)) }, nil
}

// Unlocked implements Store.
func (l *Local) Unlocked(_ context.Context, series string) bool {
	_, err := os.Lstat(l.side(series + seriesLock))
	return errors.Is(err, fs.ErrNotExist)
}

// acquire takes the lock of the file path, which it creates if need be. It returns nil
// if the lock was held by others all the time. Each look counts as a step: waiting has
// a limit of its own.
func (l *Local) acquire(ctx context.Context, path string, wait time.Duration) (*flock.Flock, error) {
	const op = "lock"
	// For writing, as NFS demands it for an exclusive lock.
	lock := flock.New(path,
		flock.SetFlag(os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW), flock.SetPermissions(filePerm))
	over := time.NewTimer(max(wait, 0))
	defer over.Stop()
	for last := wait <= 0; ; {
		var got bool
		err := retry(func() (err error) {
			got, err = lock.TryLock()
			return err
		})
		switch {
		case err != nil:
			return nil, fail(op, path, err)
		case got:
			return lock, nil
		case last:
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, fail(op, path, context.Cause(ctx))
		case <-over.C:
			last = true
		case <-time.After(lockPoll):
			l.step()
		}
	}
}

// release ends a lock. What interrupts the call must not leave it locked, for this
// process may want it again.
func release(lock *flock.Flock) error { return retry(lock.Close) }

// writeHolder says in the lock file who holds it. That it is for the eye of others
// only, and that a full disk must not keep a run from starting, is why no error counts.
// A second descriptor does no harm: flock(2) locks belong to the first.
func writeHolder(path string, info Holder) {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	data, err := json.Marshal(info)
	if err != nil {
		return
	}
	data = append(data, '\n')
	// Cut afterwards, so that it never is empty; readers stop after one JSON value.
	if n, err := f.WriteAt(data, 0); err == nil {
		_ = f.Truncate(int64(n))
	}
}

// findHolder reads who holds the lock; zero if that can't be known.
func findHolder(path, host string) Holder {
	var h Holder
	for look := range holderLooks {
		if look > 0 {
			time.Sleep(holderPause)
		}
		h = readHolder(path)
		gone := h.Host == host && h.PID > 0 && syscall.Kill(h.PID, 0) == syscall.ESRCH
		if h.PID != 0 && !gone {
			break
		}
	}
	return h
}

func readHolder(path string) Holder {
	f, _, err := openRegular(path)
	if err != nil {
		return Holder{}
	}
	defer f.Close() // only read from
	var h Holder
	const limit = 64 << 10 // ours are far smaller, and the file may not be ours
	if err := json.NewDecoder(io.LimitReader(f, limit)).Decode(&h); err != nil || h.PID < 0 {
		return Holder{}
	}
	return h
}
