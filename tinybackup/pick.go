package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"tinybackup/internal/store"
)

// picked is an archive to read, and the destination it is in.
type picked struct {
	stored
	store   store.Store
	foreign bool // its name is none of ours: somebody else made it, or renamed it
}

// A Choice says which archive is meant.
type Choice struct {
	From string    // an archive, or a destination
	Name string    // of a destination: of those called so; empty: it has no others
	At   time.Time // of a destination: the newest that is not younger; zero: the newest
	// Identity are the files with the secret keys that read it, if it is encrypted.
	Identity []string
	Access
}

// pick finds the archive that is meant. The caller closes its store.
func pick(ctx context.Context, env Env, c Choice) (picked, error) {
	path, err := resolvePath(c.From)
	if err != nil {
		return picked{}, err
	}
	if isRemote(path) {
		return pickRemote(ctx, env, path, c)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return picked{}, &HintError{Err: fmt.Errorf("archive or destination %q: %w", path, fs.ErrNotExist), Hint: "check the spelling; if it is on another disk, mount that first"}
	case err != nil:
		return picked{}, err
	case info.IsDir():
		return pickNewest(ctx, env, path, c)
	case !info.Mode().IsRegular():
		return picked{}, &UsageError{Msg: fmt.Sprintf("%q is a %s", path, kindOf(info.Mode())), Hint: "give an archive, or the directory that it is in"}
	}
	return pickFile(ctx, env, path, c)
}

// pickRemote is pick on another machine, where what is called like an archive of ours
// is one, and all else is a destination; unless it holds nothing, and is an archive that
// somebody else made.
func pickRemote(ctx context.Context, env Env, at string, c Choice) (picked, error) {
	if namesArchive(at) {
		return pickFile(ctx, env, at, c)
	}
	p, err := pickNewest(ctx, env, at, c)
	if !holdsNothing(err) || !isFile(ctx, env, at, c.Access) {
		return p, err
	}
	return pickFile(ctx, env, at, c)
}

// holdsNothing says whether an error is that a destination has no archive, or is none.
func holdsNothing(err error) bool {
	return errors.As(err, new(*emptyDestError)) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// isFile says whether a place on another machine is a single file.
func isFile(ctx context.Context, env Env, at string, access Access) bool {
	dest, name := splitDest(at)
	if name == "" {
		return false
	}
	st, err := openStore(ctx, env, dest, access)
	if err != nil {
		return false
	}
	defer st.Close()
	src, err := st.Open(ctx, name)
	if err != nil {
		return false
	}
	src.Close()
	return true
}

// pickFile takes one archive by where it is.
func pickFile(ctx context.Context, env Env, at string, c Choice) (_ picked, err error) {
	dest, name := splitDest(at)
	if !c.At.IsZero() || c.Name != "" {
		return picked{}, &UsageError{Msg: fmt.Sprintf("%q is one archive: --at and --name choose among those of a destination", at), Hint: "give " + shellQuote(dest) + " instead"}
	}
	st, err := openStore(ctx, env, dest, c.Access)
	if err != nil {
		return picked{}, err
	}
	defer func() { closeAfter(&err, st) }()
	objects, err := st.List(ctx)
	if err != nil {
		return picked{}, err
	}
	for _, a := range storedOf(objects, "") {
		if a.Name == name {
			err := a.complete(ctx, st)
			return picked{stored: a, store: st}, err
		}
	}
	return picked{stored: stored{Object: store.Object{Name: name}}, store: st, foreign: true}, nil
}

// closeAfter closes a store after an error, which stays the error.
func closeAfter(err *error, st store.Store) {
	if *err != nil {
		st.Close()
	}
}

// pickNewest takes the newest archive of a destination that is asked for.
func pickNewest(ctx context.Context, env Env, dest string, c Choice) (_ picked, err error) {
	st, err := openStore(ctx, env, dest, c.Access)
	if err != nil {
		return picked{}, err
	}
	defer func() { closeAfter(&err, st) }()
	objects, err := st.List(ctx)
	if err != nil {
		return picked{}, err
	}
	all := storedOf(objects, c.Name)
	if len(all) == 0 {
		return picked{}, noArchives(dest, c.Name)
	}
	if names := seriesOf(all); len(names) > 1 {
		return picked{}, &UsageError{
			Msg:  fmt.Sprintf("destination %q holds archives of several names: %s", dest, strings.Join(names, ", ")),
			Hint: "say which with --name NAME",
		}
	}
	i := 0
	if !c.At.IsZero() {
		i = slices.IndexFunc(all, func(a stored) bool { return !a.name.Time.After(c.At) })
	}
	if i < 0 {
		oldest := all[len(all)-1].name.Time.In(env.Now().Location())
		return picked{}, &HintError{
			Err:  fmt.Errorf("destination %q holds no archive as old as %s", dest, c.At.Format("2006-01-02 15:04:05")),
			Hint: "the oldest is of " + oldest.Format("2006-01-02 15:04:05"),
		}
	}
	err = all[i].complete(ctx, st)
	return picked{stored: all[i], store: st}, err
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
