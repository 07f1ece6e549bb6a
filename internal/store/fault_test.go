package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
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
	partial, _ := filepath.Glob(filepath.Join(dir, sideName, "*"+partialSuffix))
	temp, _ := filepath.Glob(filepath.Join(dir, sideName, "*"+tempSuffix))
	return append(partial, temp...)
}

// Every call fails once: without having done anything, or having done it. The run says
// so, leaves nothing unfinished and harms nothing; the next run works.
func TestFaultAtEveryStep(t *testing.T) { // not parallel: counts descriptors
	fds := descriptors(t)
	for _, when := range []string{"before", "after"} {
		for step := 0; ; step++ {
			if calls := faultAt(t, step, when); calls <= step {
				if calls < 35 {
					t.Errorf("got %d calls in a run, want more", calls)
				}
				break
			}
		}
	}
	if got := descriptors(t); got != fds {
		t.Errorf("open descriptors: got %d, want as many as before, %d", got, fds)
	}
}

// faultAt makes a backup whose call number step fails, and returns how many it made.
func faultAt(t *testing.T, step int, when string) (calls int) {
	dir := t.TempDir()
	if err := prepare(dir); err != nil {
		t.Fatal(err)
	}
	l := openDir(t, dir)
	l.pace = 100_000
	where := "" // stays so if the call failed anyway
	fault := func(op, path string) error {
		if calls != step+1 {
			return nil
		}
		where = fmt.Sprintf("%s %d, %s %s", when, step, op, filepath.Base(path))
		if op == "write" {
			return &fs.PathError{Op: op, Path: path, Err: syscall.ENOSPC}
		}
		return &fs.PathError{Op: op, Path: path, Err: syscall.EIO}
	}
	before, after := fault, nothing
	if when == "after" {
		before, after = nothing, fault
	}
	l.calls = hooked(systemCalls(), func(op, path string) error { calls++; return before(op, path) }, after)
	done, err := backup(l, "s-3", silent)
	moved := when == "after" && strings.Contains(where, "renameExcl") // seen to be done
	if (err == nil) != (where == "" || moved) {
		t.Errorf("%s: got error %v", where, err)
	}
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Hint() == "" || e.Op == "" || !strings.HasPrefix(e.Path, dir)) {
		t.Errorf("%s: error without op, path or hint: %v", where, err)
	}
	if err := check(dir, "s-3", done); err != nil {
		t.Errorf("%s: %v", where, err)
	}
	if _, err := os.Lstat(l.path("s-3")); len(done) == 0 && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: the run failed, but its archive is there", where)
	}
	// A file that could not be removed, or that an open made and did not give us.
	tolerated := strings.Contains(where, "remove ") || when == "after" && strings.Contains(where, "open ")
	if left := leftovers(dir); len(left) > 0 && !tolerated {
		t.Errorf("%s: left behind %q", where, left)
	}
	l.calls = systemCalls()
	if _, err := backup(l, "s-4", silent); err != nil && !errors.Is(err, fs.ErrNotExist) { // s-1 is gone
		t.Errorf("%s: the next run: %v", where, err)
	}
	wantArchive(t, l, "s-4", archived)
	if left := leftovers(dir); len(left) > 0 {
		t.Errorf("%s: left behind after the next run %q", where, left)
	}
	return calls
}

// A run is killed before and after every call.
func TestKilledAtEveryStep(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			for step := 0; ; step++ {
				dir := t.TempDir()
				if err := prepare(dir); err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), roleVar+"=backup", "DIR="+dir, "STEP="+strconv.Itoa(step), "WHEN="+when)
				out, err := cmd.Output()
				done := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
				if err == nil {
					calls, err := strconv.Atoi(done[len(done)-1])
					if err != nil || calls < 35 {
						t.Fatalf("%d: got %q, want the number of calls in a run", step, out)
					}
					if step >= calls {
						break
					}
					continue // that call failed by itself
				}
				if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
					t.Fatalf("%d: got %v, want it killed", step, err)
				}
				if err := check(dir, "s-3", done); err != nil {
					t.Errorf("%d: %v", step, err)
				}
				l := openDir(t, dir)
				if _, err := backup(l, "s-4", silent); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%d: the next run: %v", step, err)
				}
				wantArchive(t, l, "s-4", archived)
				if left := leftovers(dir); len(left) > 0 {
					t.Errorf("%d: left behind after the next run %q", step, left)
				}
			}
		})
	}
}

// roleBackup makes a backup in $DIR and kills itself $WHEN (before or after) call number
// $STEP. It prints what it got done, and in the end how many calls that were.
func roleBackup() error {
	l, err := OpenLocal(os.Getenv("DIR"))
	if err != nil {
		return err
	}
	step, err := strconv.Atoi(os.Getenv("STEP"))
	if err != nil {
		return err
	}
	n := -1
	die := func() {
		if n == step {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it arrives
		}
	}
	l.pace = 100_000
	l.calls = hooked(systemCalls(), func(op, path string) error {
		if n++; os.Getenv("WHEN") == "before" {
			die()
		}
		return nil
	}, func(op, path string) error {
		if os.Getenv("WHEN") == "after" {
			die()
		}
		return nil
	})
	_, err = backup(l, "s-3", func(step string) { fmt.Println(step) })
	fmt.Println(n + 1)
	return err
}

// Where renaming without replacing is unknown, and where hard links are as well.
func TestPublishFallbacks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what string
		fail map[string]error
	}{
		{"renameat2", nil},
		{"link, old kernel", map[string]error{"renameExcl": syscall.ENOSYS}},
		{"link, NFS", map[string]error{"renameExcl": syscall.EINVAL}},
		{"look and rename, FAT", map[string]error{"renameExcl": syscall.EINVAL, "link": &os.LinkError{Err: syscall.EPERM}}},
		{"look and rename, SMB", map[string]error{"renameExcl": syscall.ENOTSUP, "link": &os.LinkError{Err: syscall.ENOTSUP}}},
	} {
		l := openDir(t, t.TempDir())
		l.calls = hooked(l.calls, func(op, path string) error { return c.fail[op] }, nothing)
		put(t, l, "a", []byte("a"))
		wantArchive(t, l, "a", []byte("a"))
		p := create(t, l, "b")
		p.Write([]byte("ours"))
		settle(t, p)
		write(t, l.path("b"), "somebody else's")
		wantIs(t, c.what, p.Commit(), fs.ErrExist)
		if err := p.Close(); err != nil {
			t.Errorf("%s: Close: %v", c.what, err)
		}
		wantArchive(t, l, "b", []byte("somebody else's"))
		wantNames(t, l, "a", "b")
		if left := leftovers(l.dir); len(left) > 0 {
			t.Errorf("%s: left behind %q", c.what, left)
		}
	}

	// NFS: the link was made, the answer lost, the repeated request refused.
	l := openDir(t, t.TempDir())
	l.calls = hooked(l.calls, func(op, path string) error {
		if op == "renameExcl" {
			return syscall.EINVAL
		}
		return nil
	}, func(op, path string) error {
		if op == "link" {
			return &os.LinkError{Err: syscall.EEXIST}
		}
		return nil
	})
	put(t, l, "a", []byte("a"))
	wantArchive(t, l, "a", []byte("a"))
	if left := leftovers(l.dir); len(left) > 0 {
		t.Errorf("left behind %q", left)
	}

	// The second name can't be removed: no harm, Sweep does it.
	l = openDir(t, t.TempDir())
	l.calls = hooked(l.calls, func(op, path string) error {
		if op == "renameExcl" {
			return syscall.EINVAL
		}
		if _, err := os.Lstat(path); op == "remove" && err == nil {
			return syscall.EIO
		}
		return nil
	}, nothing)
	put(t, l, "a", []byte("a"))
	l.calls = systemCalls()
	if got, err := l.Sweep(t.Context(), anyName); err != nil || !slices.Equal(got, []string{"a.partial"}) {
		t.Errorf("Sweep: got %q, %v", got, err)
	}
	wantArchive(t, l, "a", []byte("a"))
}

// File systems that can't sync are used all the same; one that fails to is not, and
// is not asked again, for a second fsync would lie.
func TestSyncErrors(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.EINVAL, syscall.ENOTSUP, syscall.ENOTTY} {
		l := openDir(t, t.TempDir())
		l.calls.sync = func(f *os.File) error { return &fs.PathError{Op: "sync", Path: f.Name(), Err: errno} }
		put(t, l, "a", []byte("a"))
		if err := l.WriteSide(t.Context(), "a", nil); err != nil {
			t.Errorf("WriteSide with %v from fsync: %v", errno, err)
		}
	}
	l := openDir(t, t.TempDir())
	l.calls.sync = func(f *os.File) error {
		if f.Name() == l.dir || f.Name() == filepath.Dir(l.side("x")) {
			return syscall.ENOENT
		}
		return nil
	}
	put(t, l, "a", []byte("a"))

	for _, op := range []string{"sync", "write", "flush", "close"} {
		l := openDir(t, t.TempDir())
		l.pace = 1
		failed := false
		l.calls = hooked(l.calls, func(got, path string) error {
			if got == op && strings.HasSuffix(path, partialSuffix) && !failed {
				failed = true
				return syscall.EIO
			}
			return nil
		}, nothing)
		p := create(t, l, "a")
		p.Write([]byte("12"))
		for range 2 {
			wantIs(t, "Settle after a failed "+op, second(p.Settle()), syscall.EIO)
		}
		wantIs(t, "Write after a failed "+op, second(p.Write([]byte("3"))), syscall.EIO)
		wantIs(t, "Commit after a failed "+op, p.Commit(), syscall.EIO)
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if got := leftovers(l.dir); len(got) > 0 {
			t.Errorf("left behind %q", got)
		}
		wantNames(t, l)
	}
}

// Close says when it could not clean up; Sweep says so too, and what it did remove.
func TestCleaningUpFails(t *testing.T) {
	t.Parallel()
	l := openDir(t, t.TempDir())
	p := create(t, l, "a")
	p.Write([]byte("x"))
	create(t, l, "b")
	l.calls.remove = func(path string) error {
		if strings.HasSuffix(path, "a.partial") {
			return &fs.PathError{Op: "unlinkat", Path: path, Err: syscall.EIO}
		}
		return os.Remove(path)
	}
	err := p.Close()
	if want := fmt.Sprintf("remove %q: input/output error", l.side("a.partial")); err == nil || err.Error() != want {
		t.Errorf("Close: got %v, want %s", err, want)
	}
	got, err := l.Sweep(t.Context(), anyName)
	wantIs(t, "Sweep", err, syscall.EIO)
	if !slices.Equal(got, []string{"b.partial"}) {
		t.Errorf("Sweep: got %q, want what it did remove", got)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("/proc is not mounted")
	}
	return len(entries)
}
