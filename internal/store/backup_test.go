package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hooked returns calls that consult before ahead of each real call, and after when that
// went well. Their errors become those of the call; a write that fails has written half.
func hooked(real fileCalls, before, after func(op, path string) error) fileCalls {
	around := func(op, path string, call func() error) error {
		if err := before(op, path); err != nil {
			return err
		}
		if err := call(); err != nil {
			return err
		}
		return after(op, path)
	}
	return fileCalls{
		mkdir: func(path string, perm fs.FileMode) error {
			return around("mkdir", path, func() error { return real.mkdir(path, perm) })
		},
		open: func(path string, flag int, perm fs.FileMode) (f *os.File, err error) {
			err = around("open", path, func() error { f, err = real.open(path, flag, perm); return err })
			if err != nil && f != nil {
				f.Close()
				f = nil
			}
			return f, err
		},
		write: func(f *os.File, p []byte) (n int, err error) {
			if err := before("write", f.Name()); err != nil {
				n, _ := real.write(f, p[:len(p)/2])
				return n, err
			}
			if n, err = real.write(f, p); err == nil {
				err = after("write", f.Name())
			}
			return n, err
		},
		flush: func(f *os.File, off, n int64, wait bool) error {
			return around("flush", f.Name(), func() error { return real.flush(f, off, n, wait) })
		},
		drop: real.drop,
		clone: func(to, from *os.File, off, n, at int64) error {
			return around("clone", to.Name(), func() error { return real.clone(to, from, off, n, at) })
		},
		sync: func(f *os.File) error {
			return around("sync", f.Name(), func() error { return real.sync(f) })
		},
		close: func(f *os.File) error {
			err := before("close", f.Name())
			return errors.Join(real.close(f), err, after("close", f.Name())) // close(2): closed even so
		},
		rename: func(from, to string) error {
			return around("rename", to, func() error { return real.rename(from, to) })
		},
		renameExcl: func(from, to string) error {
			return around("renameExcl", to, func() error { return real.renameExcl(from, to) })
		},
		link: func(from, to string) error {
			return around("link", to, func() error { return real.link(from, to) })
		},
		remove: func(path string) error {
			return around("remove", path, func() error { return real.remove(path) })
		},
	}
}

func nothing(op, path string) error { return nil }

// Around a backup in the tests below: the destination before, and what is stored.
var (
	oldOne   = []byte("the oldest of the series, to be removed")
	oldTwo   = []byte("the one before")
	other    = []byte("another series")
	archived = randomBytes(42, 300_000)
	sidecar  = []byte(`{"manifest":"new"}`)
)

// prepare fills an empty destination.
func prepare(dir string) error {
	l, err := OpenLocal(dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.path(sumsName), []byte("# foreign\n"), 0o600); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"s-1": oldOne, "s-2": oldTwo, "other-1": other} {
		p, err := l.Create(background(), name)
		if err != nil {
			return err
		}
		p.Write(data)
		if err := errors.Join(p.Commit(), p.Close(), l.WriteSide(background(), name+".json", data),
			l.SetSums(background(), map[string]string{name: digestOf(data)}, nil)); err != nil {
			return err
		}
	}
	return nil
}

// backup is a run as the program makes it: it stores name and removes s-1. It returns
// what it got done, each step durable, and tells did as it goes.
func backup(l *Local, name string, did func(step string)) (done []string, err error) {
	ctx := background()
	unlock, err := l.Lock(ctx, "s", Holder{PID: os.Getpid(), Host: "here"}, 0)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := l.Sweep(ctx, isOfS); err != nil {
		return done, err
	}
	p, err := l.Create(ctx, name)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	for piece := range slices.Chunk(archived, 100_000) {
		if _, err := p.Write(piece); err != nil {
			return done, err
		}
	}
	r, err := p.Settle()
	if err != nil {
		return done, err
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return done, err
	}
	if !bytes.Equal(got, archived) {
		return done, errors.New("read back something else")
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"commit", p.Commit},
		{"side", func() error { return l.WriteSide(ctx, name+".json", sidecar) }},
		{"sums", func() error {
			return l.SetSums(ctx, map[string]string{name: digestOf(archived)}, []string{"s-1"})
		}},
		{"remove", func() error { return l.Remove(ctx, "s-1") }},
		{"remove side", func() error { return l.RemoveSide(ctx, "s-1.json") }},
	} {
		if err := step.do(); err != nil {
			return done, err
		}
		done = append(done, step.name)
		did(step.name)
	}
	return done, nil
}

func silent(step string) {}

func isOfS(name string) bool { return strings.HasPrefix(name, "s-") }

// check returns all that is wrong in the destination dir after a backup of name that
// got as far as done, whatever happened to it.
func check(dir, name string, done []string) error {
	l, err := OpenLocal(dir)
	if err != nil {
		return err
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	// holds compares a file. It may be absent only if absent says so.
	holds := func(path string, want []byte, absent bool) {
		got, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && absent:
		case err != nil:
			wrong("%w", err)
		case !bytes.Equal(got, want):
			wrong("%s: got %d bytes %.40q, want %d", path, len(got), got, len(want))
		}
	}
	is := func(step string) bool { return slices.Contains(done, step) }
	holds(l.path("s-2"), oldTwo, false)
	holds(l.path("other-1"), other, false)
	holds(l.side("s-2.json"), oldTwo, false)
	holds(l.side("other-1.json"), other, false)
	holds(l.path("s-1"), oldOne, is("sums")) // the step before is done, so this one may have begun
	holds(l.side("s-1.json"), oldOne, is("remove"))
	holds(l.path(name), archived, !is("commit"))
	holds(l.side(name+".json"), sidecar, !is("side"))
	for step, path := range map[string]string{"remove": l.path("s-1"), "remove side": l.side("s-1.json")} {
		if _, err := os.Lstat(path); is(step) && !errors.Is(err, fs.ErrNotExist) {
			wrong("%s: got %v, want it gone", path, err)
		}
	}

	before := map[string]string{"s-1": digestOf(oldOne), "s-2": digestOf(oldTwo), "other-1": digestOf(other)}
	after := maps.Clone(before)
	delete(after, "s-1")
	after[name] = digestOf(archived)
	sums, err := l.Sums(background())
	if err != nil {
		wrong("%w", err)
	}
	if !maps.Equal(sums, after) && (is("sums") || !maps.Equal(sums, before)) {
		wrong("SHA256SUMS: got %v, want those of before or after", sums)
	}
	if data, _ := os.ReadFile(l.path(sumsName)); !bytes.HasPrefix(data, []byte("# foreign\n")) {
		wrong("SHA256SUMS: the foreign line is gone: %q", data)
	}
	return errors.Join(errs...)
}

// leftovers returns the files in .tinybackup that should not outlive a run.
func leftovers(dir string) []string {
	partial, _ := filepath.Glob(filepath.Join(dir, SideDir, "*"+PartialSuffix))
	temp, _ := filepath.Glob(filepath.Join(dir, SideDir, "*"+TempSuffix))
	return append(partial, temp...)
}
