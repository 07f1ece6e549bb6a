package store

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// findDepth is how far below a directory destinations are looked for, as in
// BACKUPS/HOST/JOB, and one more.
const findDepth = 3

// lostFound is what only root may look into at the top of many a file system: fsck(8)
// puts there what it finds, and nobody else.
const lostFound = "lost+found"

// Find implements Store. It enters neither a hidden directory nor lost+found, and follows no
// symbolic link.
func (l *Local) Find(ctx context.Context, suffix string) ([]Found, error) {
	found, err := l.find(ctx, suffix, "", findDepth)
	return tidy(found), err
}

// find is Find of the directory at below, and so many levels deeper.
func (l *Local) find(ctx context.Context, suffix, below string, deeper int) ([]Found, error) {
	const op = "search"
	sides, err := l.sideObjects(ctx, suffix)
	var found []Found
	if len(sides) > 0 {
		found = []Found{{Below: below, Sides: sides}}
	}
	if deeper == 0 || ctx.Err() != nil {
		return found, err
	}
	entries, listErr := os.ReadDir(l.dir)
	errs := []error{err, fail(op, l.dir, listErr)}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || e.Name() == lostFound {
			continue
		}
		sub, err := OpenLocal(filepath.Join(l.dir, e.Name()))
		if err == nil {
			var more []Found
			sub.Watch(l.step, l.naming)
			more, err = sub.find(ctx, suffix, path.Join(below, e.Name()), deeper-1)
			found = append(found, more...)
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return found, errors.Join(errs...)
}

// sideObjects are the sidecars whose names end in suffix.
func (l *Local) sideObjects(ctx context.Context, suffix string) ([]Object, error) {
	const op = "search"
	entries, err := l.readSideDir(ctx, op)
	var sides []Object
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		if info, err := e.Info(); err == nil { // else it was removed since
			sides = append(sides, Object{Name: e.Name(), Size: info.Size(), ModTime: info.ModTime()})
		}
	}
	return sides, err
}

// At implements Store.
func (l *Local) At(ctx context.Context, below string) (Store, error) {
	if err := l.begin(ctx, "open destination"); err != nil {
		return nil, err
	}
	return OpenLocal(filepath.Join(l.dir, filepath.FromSlash(below)))
}

// tidy sorts what was found, and leaves out what is no sidecar, such as locks.
func tidy(found []Found) []Found {
	for i := range found {
		sides := slices.DeleteFunc(found[i].Sides, func(o Object) bool { return checkSide("search", o.Name) != nil })
		slices.SortFunc(sides, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
		found[i].Sides = sides
	}
	found = slices.DeleteFunc(found, func(f Found) bool { return len(f.Sides) == 0 })
	slices.SortFunc(found, func(a, b Found) int { return strings.Compare(a.Below, b.Below) })
	return found
}

// Now implements Store: whether a file's time is by the clock of a server is not to be
// known without making one.
func (l *Local) Now(context.Context) (time.Time, error) { return time.Time{}, errors.ErrUnsupported }
