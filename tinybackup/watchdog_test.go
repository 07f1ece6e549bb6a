package tinybackup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/store"
)

// A kennel is a watchdog whose ticks a test makes, and the work that it watches.
type kennel struct {
	t      *testing.T
	dog    *watchdog
	pulse  *pulse
	ctx    context.Context
	end    context.CancelCauseFunc
	ended  chan error
	ticks  chan time.Time
	late   chan time.Time
	result chan error // what attend returned
	hangs  bool       // once result has come
}

func newKennel(t *testing.T, o Options) *kennel {
	t.Helper()
	k := &kennel{t: t, pulse: &pulse{}, ended: make(chan error), ticks: make(chan time.Time), late: make(chan time.Time), result: make(chan error)}
	k.pulse.begin("reading /dev/sdb")
	k.dog = newWatchdog(o, k.pulse)
	k.ctx, k.end = context.WithCancelCause(context.Background())
	go func() {
		hangs, err := k.dog.attend(k.ctx, k.end, k.ended, k.ticks, k.late)
		k.hangs = hangs
		k.result <- err
	}()
	k.tick(1) // which sees the beat of the beginning
	return k
}

// tick makes n ticks; each has been counted when the next one is taken.
func (k *kennel) tick(n int) {
	k.t.Helper()
	for range n {
		select {
		case k.ticks <- time.Time{}:
		case err := <-k.result:
			k.t.Fatalf("the watchdog left early: %v", err)
		}
	}
}

// grace makes ticks until the watchdog gives the work up, and counts them.
func (k *kennel) grace() (n int, err error) {
	for {
		select {
		case k.ticks <- time.Time{}:
			n++
		case err := <-k.result:
			return n, err
		}
	}
}

func (k *kennel) told() bool { return k.ctx.Err() != nil }

// wantHint checks an error's words, and that it has a hint and is exit status 1.
func wantHint(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) || hintOf(err) == "" || exitStatus(context.Background(), err) != exitFailed {
		t.Errorf("got %v (hint %q), want %q with a hint, and exit status 1", err, hintOf(err), text)
	}
}

func TestWatchdogStall(t *testing.T) {
	t.Parallel()
	k := newKennel(t, Options{StallTimeout: Limit(80 * time.Minute)})
	stall := int(80 * time.Minute / k.dog.tick)
	k.pulse.watch(nil)(Progress{Done: 5 << 30, Total: 29 << 30})
	k.tick(stall - 2)
	k.pulse.beat()
	k.tick(stall - 2)
	if k.told() {
		t.Fatal("progress did not extend it")
	}
	k.tick(4)
	<-k.ctx.Done()
	wantHint(t, context.Cause(k.ctx), "no progress for 1h20m while reading /dev/sdb at 5.0 GiB of 29.0 GiB")
	k.ended <- errors.New(`write "x": no progress`)
	err := <-k.result
	if k.hangs || err != context.Cause(k.ctx) {
		t.Errorf("got %v, %v, want the watchdog's own error, and that it did not hang", k.hangs, err)
	}
}

func TestWatchdogHold(t *testing.T) {
	t.Parallel()
	k := newKennel(t, Options{StallTimeout: Limit(time.Minute)})
	release := k.pulse.hold()
	k.tick(1000)
	release()
	k.tick(2)
	if k.told() {
		t.Fatal("what has a limit of its own was taken for a stall")
	}
	k.tick(int(time.Minute / k.dog.tick))
	<-k.ctx.Done()
	k.ended <- nil
	if err := <-k.result; err != nil {
		t.Errorf("the work came to its end all the same: got %v", err)
	}
}

// Waiting for another run is no stall: --lock-wait is its limit.
func TestLockWaitIsNoStall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.good(nil)
	unlock, err := mustOpen(t, b.dst).Lock(context.Background(), "notes", store.Holder{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(2500*time.Millisecond, func() {
		if err := unlock(); err != nil {
			t.Error(err)
		}
	})
	b.good(func(o *Options) { o.StallTimeout, o.LockWait = Limit(time.Second), Duration(time.Hour) })
}

func TestWatchdogTimeout(t *testing.T) {
	t.Parallel()
	k := newKennel(t, Options{Timeout: Limit(6 * time.Hour)})
	leave := k.pulse.enter("writing to /mnt/stick")
	k.late <- time.Time{}
	<-k.ctx.Done()
	wantHint(t, context.Cause(k.ctx), "not done within 6h, but still writing to /mnt/stick")
	leave()
	k.ended <- context.Cause(k.ctx)
	<-k.result
}

func TestWatchdogNever(t *testing.T) {
	t.Parallel()
	k := newKennel(t, Options{StallTimeout: Never})
	k.tick(10000)
	if k.told() {
		t.Error("ended, though it was not to be")
	}
	other := errors.New("disk on fire")
	k.ended <- other
	if err := <-k.result; err != other {
		t.Errorf("got %v, want the work's error", err)
	}
}

// What does not end when it is told to is left alone, after a while that its clean-up
// extends.
func TestWatchdogGrace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stall Limit
		want  time.Duration
	}{{Limit(time.Second), minGrace}, {Limit(2 * time.Minute), 30 * time.Second}, {0, maxGrace}, {Never, maxGrace}} {
		k := newKennel(t, Options{StallTimeout: c.stall})
		cause := &SignalError{}
		k.end(cause)
		k.tick(3)
		k.pulse.beat()
		n, err := k.grace()
		got := time.Duration(n) * k.dog.tick
		if !k.hangs || err != cause || got < c.want || got > c.want+30*k.dog.tick {
			t.Errorf("stall timeout %v: hangs %v, %v, after %v; want %v after %v", c.stall, k.hangs, err, got, cause, c.want)
		}
	}
}

// stuck has the runs of a bench hang in a phase, until release is called.
func stuck(b *bench, phase string) (release func()) {
	free := make(chan struct{})
	b.env.Progress = func(p Progress) {
		if p.Phase == phase {
			<-free
		}
	}
	return func() { close(free) }
}

// wholeRun waits until a run that was given up has come to its end after all.
func (b *bench) wholeRun() {
	b.t.Helper()
	unlock, err := mustOpen(b.t, b.dst).Lock(context.Background(), "notes", store.Holder{}, time.Minute)
	if err == nil {
		err = unlock()
	}
	if err != nil {
		b.t.Error(err)
	}
}

// A run that hangs is given up, and stores nothing when it comes back.
func TestRunHangs(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"reading", "checking"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			hangsIn(t, phase)
		})
	}
}

func hangsIn(t *testing.T, phase string) {
	b := newBench(t)
	b.good(nil)
	b.write("new.txt", "new")
	before := b.files()
	release := stuck(b, phase)
	report, err := b.run(func(o *Options) { o.StallTimeout = Limit(time.Second) })
	wantHint(t, err, "no progress for 1s while")
	if !strings.Contains(err.Error(), "it hangs, and was given up") || report.Archive != "" || report.Source != b.src || report.End.IsZero() {
		t.Errorf("%s: got %v, %+v", phase, err, report)
	}
	side := filepath.Join(b.dst, store.SideDir)
	partials := func() []string { names, _ := filepath.Glob(filepath.Join(side, "*.partial")); return names }
	if len(partials()) != 1 {
		t.Errorf("%s: got %q, want what the hanging run writes", phase, partials())
	}
	release()
	waitUntil(t, func() bool { return len(partials()) == 0 })
	b.wholeRun()
	if got := b.files(); strings.Join(got, "\n") != strings.Join(before, "\n") {
		t.Errorf("%s: files %q, want %q as before", phase, got, before)
	}
}

func mustOpen(t *testing.T, dir string) *store.Local {
	t.Helper()
	st, err := store.OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// Once a run was given up, no archive gets its name, by either way to one.
func TestGivenUpNamesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	st := mustOpen(t, dir)
	p := &pulse{}
	st.Watch(p.beat, p.name)
	ctx := context.Background()
	archive := func(name string) store.Pending {
		pending, err := st.Create(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pending.Write([]byte("bytes")); err != nil {
			t.Fatal(err)
		}
		return pending
	}
	first := archive("first")
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	second := archive("second")
	if stored := p.giveUp(errors.New("stalled")); stored != nil {
		t.Errorf("got %+v, want no report: nothing was stored", stored)
	}
	if err := second.Commit(); !errors.Is(err, errGivenUp) {
		t.Errorf("commit: got %v, want %v", err, errGivenUp)
	}
	if err := st.Link(ctx, "first", "third"); !errors.Is(err, errGivenUp) {
		t.Errorf("link: got %v, want %v", err, errGivenUp)
	}
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[1].Name() != "first" {
		t.Errorf("got %v, %v, want the first archive alone", entries, err)
	}
}

// The after hook is run for a run that hangs, too, and once: what the before hook has
// stopped must start again.
func TestHangsAfterHook(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	said := filepath.Join(t.TempDir(), "said")
	release := stuck(b, "reading")
	_, err := b.run(func(o *Options) {
		o.StallTimeout = Limit(time.Second)
		o.Before, o.After = "echo before >>"+said, `echo "after $TINYBACKUP_RESULT $TINYBACKUP_EXIT" >>`+said
	})
	wantHint(t, err, "it hangs")
	release()
	b.wholeRun()
	got, err := os.ReadFile(said)
	if want := "before\nafter failed 1\n"; err != nil || string(got) != want {
		t.Errorf("the hooks said %q, %v, want %q", got, err, want)
	}
}

// What hangs after the archive has its name is a warning: it is stored.
func TestHangsAfterStoring(t *testing.T) {
	t.Parallel()
	r := newRun(newBench(t).env, Options{}, "")
	r.pulse.hasStored(Report{Archive: "notes.tar"})
	report, err := r.giveUp(t.Context(), Options{}, Report{}, errors.New("no progress"))
	if err != nil || report.Archive != "notes.tar" || report.WarningCount != 1 || !strings.Contains(report.Warnings[0], "no progress; it hangs") {
		t.Errorf("got %+v, %v, want the stored archive with a warning", report, err)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	free := make(chan struct{})
	defer close(free)
	ctx, cancel := context.WithCancelCause(context.Background())
	other := errors.New("other")
	if err := answers(ctx, "/mnt", time.Hour, func() error { return other }); err != other {
		t.Errorf("got %v, want %v", err, other)
	}
	hang := func() error { <-free; return nil }
	wantHint(t, answers(ctx, "/mnt/nas", 1500*time.Millisecond, hang), `destination "/mnt/nas" does not answer within 1s500ms`)
	cancel(other)
	if err := answers(ctx, "/mnt", time.Hour, hang); err != other {
		t.Errorf("cancelled: got %v, want %v", err, other)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Limit{"never": Never, "0": Never, "0s": Never, "90s": Limit(90 * time.Second), "2h": DefaultStallTimeout} {
		var got, back Limit
		if err := got.UnmarshalFlag(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
		written, err := got.MarshalFlag()
		if err != nil {
			t.Error(err)
		}
		if err := back.UnmarshalFlag(written); err != nil || back != want {
			t.Errorf("%q is written %q, which is read as %v, %v", text, written, back, err)
		}
	}
	for _, text := range []string{"", "-1s", "ever", "none", "10"} {
		if err := new(Limit).UnmarshalFlag(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	for _, l := range []Limit{-2, Limit(time.Millisecond)} {
		for _, o := range []Options{{StallTimeout: l}, {Timeout: l}} {
			o.Source, o.Dest, o.Name = "/a", "/b", "a"
			if err := o.checkWords(); err == nil || exitStatus(context.Background(), err) != exitUsage {
				t.Errorf("%v: got %v, want a usage error", l, err)
			}
		}
	}
	if err := (Options{Source: "/a", Dest: "/b", Name: "a", StallTimeout: Limit(time.Hour), Timeout: Limit(time.Minute)}).checkWords(); err != nil {
		t.Errorf("a stall timeout that is longer than the timeout: %v", err)
	}
}
