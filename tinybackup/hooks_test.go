package tinybackup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hooked are options with hooks that write what they see of themselves into files.
func (b *bench) hooked(before, after string) func(*Options) {
	return func(o *Options) { o.Before, o.After = before, after }
}

// seen is what a hook wrote into a file of the bench.
func (b *bench) seen(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(b.src), name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	return string(text)
}

// in is a command line that runs in the directory of the bench.
func (b *bench) in(line string) string {
	return "cd " + shellQuote(filepath.Dir(b.src)) + " && { " + line + "; }"
}

// The after hook is run, too, after an error that is longer than any variable can be.
func TestAfterHookOfLongError(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := newRun(b.env, Options{Source: b.src, Dest: b.dst, Name: "notes", After: b.in(`printf %s "$TINYBACKUP_ERROR" >after`)}, "")
	r.pulse.owed.Store(true)
	r.afterHook(t.Context(), errors.New(strings.Repeat("ä", 1<<17)))
	if got := b.seen("after"); !strings.HasPrefix(got, "ää") || len(got) != maxHookError {
		t.Errorf("got %d bytes; warnings: %q", len(got), r.report.Warnings)
	}
}

// Hooks are told what they are run for, one before and one after the archive is made,
// and not what is secret, nor what a tinybackup in them would take for its options.
func TestHooks(t *testing.T) {
	for _, kv := range []string{"TINYBACKUP_NOTIFY=secret", "TINYBACKUP_KEEP=1", "OTHER=kept"} {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	b := newBench(t)
	b.env.Dirs.Plain = true
	r := b.good(b.hooked(b.in("env >before; ls dest >listed; echo said; echo also >&2"), b.in("env >after; pwd; stat -c %s \"$TINYBACKUP_ARCHIVE\" >size")))
	before, after := b.seen("before"), b.seen("after")
	for _, want := range []string{"HOOK=before", "SOURCE=" + b.src, "DEST=" + b.dst, "NAME=notes", "JOB="} {
		if !strings.Contains(before, "\nTINYBACKUP_"+want+"\n") {
			t.Errorf("before: no %s in\n%s", want, before)
		}
	}
	for _, want := range []string{"HOOK=after", "RESULT=ok", "EXIT=0", "WARNINGS=0", "NAME=notes", "ARCHIVE=" + filepath.Join(b.dst, r.Archive), fmt.Sprintf("SIZE=%d", r.Written)} {
		if !strings.Contains(after, "\nTINYBACKUP_"+want+"\n") {
			t.Errorf("after: no %s in\n%s", want, after)
		}
	}
	for _, text := range []string{before, after} {
		if strings.Contains(text, "secret") || strings.Contains(text, "TINYBACKUP_KEEP") || !strings.Contains(text, "OTHER=kept\n") || !strings.Contains(text, "/usr/sbin") {
			t.Errorf("the environment is\n%s", text)
		}
	}
	if listed := b.seen("listed"); strings.Contains(listed, "notes-") {
		t.Errorf("the archive was there before the before hook: %s", listed)
	}
	if got, want := strings.TrimSpace(b.seen("size")), fmt.Sprint(r.Written); got != want {
		t.Errorf("the after hook finds an archive of %s bytes, want %s", got, want)
	}
	log := b.log.String()
	for _, want := range []string{`msg=said hook=before`, `msg=also hook=before`, `msg="before hook is done"`, `msg="after hook begins"`} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in the log:\n%s", want, log)
		}
	}
	if strings.Contains(log, "env >before") {
		t.Errorf("the log has the command itself:\n%s", log)
	}
}

// A before hook may make the source. Without it, there is none.
func TestHookMakesSource(t *testing.T) {
	b := newBench(t)
	made := filepath.Join(filepath.Dir(b.src), "made")
	edit := func(before string) func(*Options) {
		return func(o *Options) {
			o.Source, o.Before, o.After = made, before, b.in("rm -r made; echo $TINYBACKUP_RESULT >result")
		}
	}
	if r := b.good(edit(b.in("mkdir made && echo x >made/dump"))); r.Entries != 2 {
		t.Errorf("report %+v", r)
	}
	if _, err := os.Stat(made); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the after hook did not end after the source was read: %v", err)
	}
	if _, err := b.run(edit("true")); err == nil || !strings.Contains(err.Error(), `made": no such file`) {
		t.Errorf("a before hook that makes nothing: %v", err)
	}
	if got := b.seen("result"); got != "failed\n" {
		t.Errorf("the after hook was told %q", got)
	}
	if _, err := b.run(edit(b.in("mkfifo made"))); err == nil || !strings.Contains(err.Error(), `made" is a named pipe`) {
		t.Errorf("a before hook that makes a FIFO: %v", err)
	}
	_, err := b.run(func(o *Options) { edit("true")(o); o.DryRun = true })
	if err == nil || !strings.Contains(hintOf(err), "--dry-run does not run that") {
		t.Errorf("dry run: %v, hint %q", err, hintOf(err))
	}
}

// A before hook that fails keeps the backup from being made, and says why; the after
// hook is told.
func TestHookFails(t *testing.T) {
	for name, c := range map[string]struct{ before, want, hint, result string }{
		"exit status": {"echo one; echo two; echo; echo three; echo four >&2; exit 3", "before hook: exit status 3; it printed: two / three / four", "without a terminal", "failed 1 before hook: exit status 3"},
		"silent":      {"false", "before hook: exit status 1", "", "failed 1 before hook: exit status 1"},
		"signal":      {"kill -9 $$", "before hook: signal: killed", "", "failed 1 before hook: signal: killed"},
		"no command":  {"/none/such", "before hook: exit status 127; it printed: ", "", "failed 1 before hook: exit status 127"},
		"not now":     {"echo busy; exit 75", "notes: the before hook says: not now (exit status 75; it printed: busy)", "try again later", "skipped 4 notes: the before hook says: not now"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			_, err := b.run(b.hooked(c.before, b.in(`echo "$TINYBACKUP_RESULT $TINYBACKUP_EXIT $TINYBACKUP_ERROR" >after; env | grep -c ARCHIVE >>after`)))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || !strings.Contains(hintOf(err), c.hint) {
				t.Errorf("got %v, hint %q, want %s, hint %q", err, hintOf(err), c.want, c.hint)
			}
			if got := b.archives(); len(got) != 0 {
				t.Errorf("archives %q", got)
			}
			if got := b.seen("after"); !strings.HasPrefix(got, c.result) || !strings.HasSuffix(got, "\n0\n") {
				t.Errorf("the after hook was told %q, want %q and no archive", got, c.result)
			}
			if strings.HasPrefix(c.result, "skipped") != errors.As(err, new(*BusyError)) {
				t.Errorf("the error is a %T", err)
			}
		})
	}
}

// An after hook that fails is a warning; and it is run whatever the run ended with.
func TestAfterHook(t *testing.T) {
	b := newBench(t)
	r := b.good(b.hooked("", "echo no room; exit 2"))
	if r.WarningCount != 1 || r.Archive == "" || r.Warnings[0] != "after hook: exit status 2; it printed: no room" {
		t.Errorf("report %+v", r)
	}
	tell := b.in("echo $TINYBACKUP_RESULT $TINYBACKUP_EXIT $TINYBACKUP_WARNINGS >after")
	_, err := b.run(func(o *Options) {
		b.hooked("rm -r "+shellQuote(b.src)+"/*", tell)(o)
	})
	if err == nil || b.seen("after") != "failed 1 0\n" {
		t.Errorf("an emptied source: %v, and the after hook was told %q", err, b.seen("after"))
	}
}

// A hook that takes too long is ended with all that it has started, and one that is
// told to end may tidy up before it does.
func TestHookTimeout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ line, said string }{
		"hangs":           {"echo $$ >pid; sleep 1000", ""},
		"children":        {"sleep 1000 & sleep 1000 & echo $! >pid; wait", ""},
		"tidies up":       {"trap 'echo tidy; exit 9' TERM; echo $$ >pid; sleep 1000 & wait", "; it printed: tidy"},
		"child tidies up": {"(trap 'sleep 0.2; echo tidy >tidied; exit' TERM; while :; do sleep 0.05; done) & echo $! >pid; wait", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			_, err := b.run(func(o *Options) {
				o.Before, o.After, o.HookTimeout = b.in(c.line), "true", Duration(3*time.Second)
			})
			if err == nil || !strings.HasPrefix(err.Error(), "before hook: it was ended: it took longer than 3s") || !strings.HasSuffix(err.Error(), c.said) || !strings.Contains(hintOf(err), "--hook-timeout") {
				t.Errorf("got %v, hint %q", err, hintOf(err))
			}
			pid, err := strconv.Atoi(strings.TrimSpace(b.seen("pid")))
			if err != nil {
				t.Fatal(err)
			}
			if alive(pid) {
				t.Errorf("process %d goes on", pid)
			}
			if name == "child tidies up" && b.seen("tidied") != "tidy\n" {
				t.Error("the child was killed before it could tidy up")
			}
		})
	}
}

// alive says whether a process is there that is not just waited for.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !errors.Is(err, os.ErrNotExist)
	}
	return !bytes.Contains(stat, []byte(") Z "))
}

// A process that ignores SIGTERM is killed.
func TestEndGroupKills(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	pidFile := filepath.Join(t.TempDir(), "pid")
	ended := make(chan error, 1)
	go func() {
		ended <- runShell(ctx, "trap '' TERM; echo $$ >"+shellQuote(pidFile)+"; while :; do sleep 1; done", os.Environ(), &output{})
	}()
	pid := 0
	for pid == 0 {
		text, _ := os.ReadFile(pidFile)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		time.Sleep(10 * time.Millisecond)
	}
	why := errors.New("enough")
	cancel(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if alive(pid) {
		t.Errorf("process %d goes on", pid)
	}
}

// What a hook leaves running may hold its output open: the run goes on without it,
// and it goes on without the run.
func TestHookLeavesChild(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.good(b.hooked(b.in("echo said; sleep 1000 & echo $! >pid"), ""))
	if r.Archive == "" || !strings.Contains(b.log.String(), "msg=said hook=before") {
		t.Errorf("report %+v, log\n%s", r, b.log.String())
	}
	pid, err := strconv.Atoi(strings.TrimSpace(b.seen("pid")))
	if err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Error("the child of a hook that succeeded was ended")
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// Of megabytes that a hook prints, the end is kept.
func TestHookOutput(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.run(b.hooked("seq 1 500000; echo; printf 'no newline \\033[2J\\377'; exit 1", ""))
	if want := `before hook: exit status 1; it printed: 499999 / 500000 / no newline \x1b[2J\xff`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	log := b.log.String()
	if len(log) > 1<<20 || !strings.Contains(log, "msg=500000 hook=before\n") || strings.Contains(log, "msg=400000 hook") || !strings.Contains(log, "left out") {
		t.Errorf("a log of %d bytes", len(log))
	}
}

// A run that is told to end while it reads tells its after hook so.
func TestHookAfterSignal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	b.env.Progress = func(Progress) { cancel(&SignalError{Signal: syscall.SIGHUP}) }
	o := Options{Source: b.src, Dest: b.dst, After: b.in(`echo "$TINYBACKUP_RESULT $TINYBACKUP_EXIT $TINYBACKUP_ARCHIVE" >>after`)}
	if _, err := Run(ctx, b.env, o, ""); !errors.As(err, new(*SignalError)) {
		t.Errorf("got %v", err)
	}
	if got := b.seen("after"); got != "failed 129 \n" || len(b.archives()) != 0 {
		t.Errorf("the after hook was told %q, archives %q", got, b.archives())
	}
}

// A run that is told to end ends its before hook, and tidies up.
func TestHookInterrupted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	o := Options{Source: b.src, Dest: b.dst, Before: b.in("echo >started; sleep 1000"), After: b.in("echo $TINYBACKUP_RESULT $TINYBACKUP_EXIT >after")}
	ended := make(chan error, 1)
	go func() {
		_, err := Run(ctx, b.env, o, "")
		ended <- err
	}()
	for b.seen("started") == "" {
		time.Sleep(10 * time.Millisecond)
	}
	cancel(&SignalError{Signal: syscall.SIGTERM})
	if err := <-ended; !errors.As(err, new(*SignalError)) || strings.Contains(err.Error(), "hook") {
		t.Errorf("got %v", err)
	}
	if got := b.seen("after"); got != "failed 143\n" {
		t.Errorf("the after hook was told %q", got)
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	var all bytes.Buffer
	tl := &output{}
	for i := range 40000 {
		line := fmt.Sprintf("line %d\n", i)
		all.WriteString(line)
		if n, err := tl.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	lines, cut := tl.lines()
	got := strings.Join(lines, "\n") + "\n"
	if want := all.String()[all.Len()-outputKept:]; got != want || cut != int64(all.Len()-outputKept) {
		t.Errorf("%d bytes were cut, and %d kept, of %d", cut, len(got), all.Len())
	}
}
