package store

import (
	"context"
	"errors"
	"io/fs"
	"strings"
)

// Sweep implements Store. The names that series is asked about are those of archives
// (for NAME.partial) and of sidecars (for NAME.side.temp). What it removes need not be
// gone for good after a power cut: the next Sweep finds it again.
func (l *Local) Sweep(ctx context.Context, series func(name string) bool) ([]string, error) {
	const op = "sweep"
	entries, err := l.readSideDir(ctx, op)
	if err != nil {
		return nil, err
	}
	var removed []string
	var errs []error
	for _, e := range entries {
		final, ok := strings.CutSuffix(e.Name(), PartialSuffix)
		if !ok {
			final, ok = strings.CutSuffix(e.Name(), sideTempSuffix)
		}
		if !ok || e.IsDir() || !series(final) {
			continue
		}
		switch err := l.calls.remove(l.side(e.Name())); {
		case err == nil:
			removed = append(removed, e.Name())
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fail(op, l.side(e.Name()), err))
		}
	}
	return removed, errors.Join(errs...)
}
