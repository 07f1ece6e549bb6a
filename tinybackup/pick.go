package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tinybackup/internal/store"
)

// picked is an archive to read, and the destination it is in.
type picked struct {
	stored
	store   *store.Local
	foreign bool // its name is none of ours: somebody else made it, or renamed it
}

// pick finds the archive that from and the rest ask for. from is an archive's
// file, or a destination: then it is the newest one called name that is not
// younger than at. Empty and zero leave that open.
func pick(ctx context.Context, env Env, from, name string, at time.Time) (picked, error) {
	path, err := resolvePath(from)
	if err != nil {
		return picked{}, err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return picked{}, &HintError{Err: fmt.Errorf("archive or destination %q: %w", path, fs.ErrNotExist), Hint: "check the spelling; if it is on another disk, mount that first"}
	case err != nil:
		return picked{}, err
	case info.IsDir():
		return pickNewest(ctx, env, path, name, at)
	case !info.Mode().IsRegular():
		return picked{}, &UsageError{Msg: fmt.Sprintf("%q is a %s", path, kindOf(info.Mode())), Hint: "give an archive, or the directory that it is in"}
	}
	if !at.IsZero() || name != "" {
		return picked{}, &UsageError{Msg: fmt.Sprintf("%q is one archive: --at and --name choose among those of a destination", path), Hint: "give " + shellQuote(filepath.Dir(path)) + " instead"}
	}
	return pickFile(ctx, path)
}

// pickFile takes one archive by its path.
func pickFile(ctx context.Context, path string) (picked, error) {
	st, err := openStore(filepath.Dir(path))
	if err != nil {
		return picked{}, err
	}
	all, err := listStored(ctx, st, "")
	if err != nil {
		return picked{}, err
	}
	base := filepath.Base(path)
	for _, a := range all {
		if a.Name == base {
			return picked{stored: a, store: st}, nil
		}
	}
	return picked{stored: stored{Object: store.Object{Name: base}}, store: st, foreign: true}, nil
}

// pickNewest takes the newest archive of a destination that is asked for.
func pickNewest(ctx context.Context, env Env, dest, name string, at time.Time) (picked, error) {
	st, err := openStore(dest)
	if err != nil {
		return picked{}, err
	}
	all, err := listStored(ctx, st, name)
	if err != nil {
		return picked{}, err
	}
	if len(all) == 0 {
		return picked{}, noArchives(dest, name)
	}
	if names := seriesOf(all); len(names) > 1 {
		return picked{}, &UsageError{
			Msg:  fmt.Sprintf("destination %q holds archives of several names: %s", dest, strings.Join(names, ", ")),
			Hint: "say which with --name NAME",
		}
	}
	if at.IsZero() {
		return picked{stored: all[0], store: st}, nil
	}
	i := slices.IndexFunc(all, func(a stored) bool { return !a.name.Time.After(at) })
	if i < 0 {
		oldest := all[len(all)-1].name.Time.In(env.Now().Location())
		return picked{}, &HintError{
			Err:  fmt.Errorf("destination %q holds no archive as old as %s", dest, at.Format("2006-01-02 15:04:05")),
			Hint: "the oldest is of " + oldest.Format("2006-01-02 15:04:05"),
		}
	}
	return picked{stored: all[i], store: st}, nil
}

// seriesOf are the names that archives are called by, each once, sorted.
func seriesOf(all []stored) []string {
	var names []string
	for _, a := range all {
		names = append(names, a.name.Series)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
