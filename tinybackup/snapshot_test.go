package tinybackup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tinybackup/internal/archive"
	"tinybackup/internal/source/snapshot"
)

// fakeWay plays a snapshot that is a directory of the test's own.
type fakeWay struct {
	path   string
	archiv func() []string // what is stored
	steps  []string        // what was done, and how many archives there were then

	sweepErr, takeErr, checkErr, removeErr error
	atTake                                 func()
}

func (w *fakeWay) step(name string) {
	w.steps = append(w.steps, name+strings.Repeat("+", len(w.archiv())))
}

func (w *fakeWay) Sweep(context.Context) ([]string, error) {
	w.step("sweep")
	return []string{"vg0/tinybackup_old"}, w.sweepErr
}

func (w *fakeWay) Take(_ context.Context, s *snapshot.Snapshot) error {
	w.step("take")
	if w.atTake != nil {
		w.atTake()
	}
	if w.takeErr != nil {
		return w.takeErr
	}
	s.Path, s.Name, s.Size = w.path, "vg0/tinybackup_x", 8<<20
	return nil
}

func (w *fakeWay) Check(context.Context, *snapshot.Snapshot) (float64, error) {
	w.step("check")
	return 12.4, w.checkErr
}

func (w *fakeWay) Remove(ctx context.Context, _ *snapshot.Snapshot) error {
	w.step("remove")
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return w.removeErr
}

func (w *fakeWay) Instead(string, uint64) string { return "" }

// withSnapshots is a bench whose source has a snapshot: an older state of it.
func withSnapshots(t *testing.T) (*bench, *fakeWay) {
	t.Helper()
	b := newBench(t)
	w := &fakeWay{path: filepath.Join(t.TempDir(), "frozen"), archiv: b.archives}
	if err := os.CopyFS(w.path, os.DirFS(b.src)); err != nil {
		t.Fatal(err)
	}
	b.write("todo.txt", "nothing left to do\n")
	b.env.findSnapshot = func(_ context.Context, path string, o snapshot.Options) (*snapshot.Plan, error) {
		if path != b.src {
			t.Errorf("asked for a snapshot of %q, want %q", path, b.src)
		}
		return &snapshot.Plan{Kind: snapshot.KindLVM, Origin: "vg0/root", Size: max(o.Size, 4<<20), Way: w}, nil
	}
	return b, w
}

func wantLVM(o *Options) { o.Snapshot = "lvm" }

// What is in the archive is what the snapshot holds, under the source's own name; the
// snapshot goes after the rotation, and the report, the log and the manifest tell of it.
func TestRunSnapshot(t *testing.T) {
	t.Parallel()
	b, w := withSnapshots(t)
	r := b.good(wantLVM)
	if want := []string{"sweep", "take", "check", "remove+"}; !slices.Equal(w.steps, want) {
		t.Errorf("steps: got %q, want %q", w.steps, want)
	}
	if want := (Snapshot{Kind: "lvm", Origin: "vg0/root", Size: 8 << 20, Used: 12.4}); r.Snapshot == nil || *r.Snapshot != want || r.Source != b.src {
		t.Errorf("got %+v of %s, want %+v", r.Snapshot, r.Source, want)
	}
	if want := "LVM snapshot of vg0/root, with 8.0 MiB for changes: 12 % used"; r.Snapshot.String() != want {
		t.Errorf("got %q, want %q", r.Snapshot, want)
	}
	for _, want := range []string{"removed the snapshot that a killed run left", "snapshot=vg0/tinybackup_old", "snapshot taken", `"snapshot removed" snapshot=vg0/tinybackup_x used=12%`} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &b.log)
		}
	}
	data, err := os.ReadFile(filepath.Join(b.dst, ".tinybackup", archive.SideName(r.Archive)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := archive.ReadManifest(data)
	if err != nil || m.Source != b.src || m.Snapshot != r.Snapshot.String() {
		t.Errorf("manifest: got source %q, snapshot %q, %v", m.Source, m.Snapshot, err)
	}
	target := filepath.Join(t.TempDir(), "back")
	if _, err := Restore(t.Context(), b.env, RestoreOptions{From: b.dst, Target: target}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(target, "todo.txt")); err != nil || string(got) != "buy milk\n" {
		t.Errorf("restored %q, %v, want what the snapshot holds", got, err)
	}
}

// A snapshot that was full makes no archive, and rotates none away, whatever was read.
func TestRunSnapshotFull(t *testing.T) {
	t.Parallel()
	b, w := withSnapshots(t)
	b.good(nil)
	before := b.files()
	w.checkErr = &snapshot.Error{Why: "it was full", Try: "give it more"}
	_, err := b.run(func(o *Options) { o.Snapshot, o.Keep = "auto", 1 })
	// Both are in one directory here.
	if want := "give it more; what is written to the destination counts, as it is on the same volume"; err == nil || err.Error() != "it was full" || hintOf(err) != want {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
	if got := b.files(); !slices.Equal(got, before) {
		t.Errorf("there are %q, want %q", got, before)
	}
	if got := w.steps[len(w.steps)-1]; got != "remove+" {
		t.Errorf("the last step: got %q, want that it is removed", got)
	}

	// It explains why something could not be read; what else is wrong does not.
	plan := &snapshot.Plan{Kind: snapshot.KindLVM, Way: w}
	r := &run{Env: b.env}
	r.report.Snapshot = &Snapshot{}
	if r.view, err = plan.Take(t.Context()); err != nil {
		t.Fatal(err)
	}
	unread := errors.New("input/output error")
	if got := r.checkView(t.Context(), unread); got == nil || got.Error() != "it was full" {
		t.Errorf("unread, as it was full: got %v", got)
	}
	w.checkErr = errors.New("lvs is ill")
	if got := r.checkView(t.Context(), unread); got != unread {
		t.Errorf("unread for another reason: got %v, want %v", got, unread)
	}
	if got := r.checkView(t.Context(), nil); got != w.checkErr {
		t.Errorf("nobody knows whether it was full: got %v, want %v", got, w.checkErr)
	}
}

// Without a snapshot, auto says why and reads the source itself; the others fail,
// and leave nothing in a new destination.
func TestRunNoSnapshot(t *testing.T) {
	t.Parallel()
	b, w := withSnapshots(t)
	w.takeErr = errors.New("two\nlines")
	if _, err := b.run(wantLVM); err == nil || len(b.archives()) > 0 {
		t.Errorf("take fails: got %v, archives %q", err, b.archives())
	}
	r := b.good(func(o *Options) { o.Snapshot = "auto" })
	if r.WarningCount != 1 || r.Snapshot == nil || r.Snapshot.Kind != "" || r.Snapshot.Why != "two; lines" {
		t.Errorf("take fails, with auto: got %+v, %d warnings", r.Snapshot, r.WarningCount)
	}
	if slices.ContainsFunc(w.steps, func(s string) bool { return strings.HasPrefix(s, "remove") }) {
		t.Errorf("removed what was never made: %q", w.steps)
	}

	b = newBench(t)
	b.env.findSnapshot = func(context.Context, string, snapshot.Options) (*snapshot.Plan, error) {
		return nil, &snapshot.Error{Why: "there is none", Try: "buy one"}
	}
	if _, err := b.run(wantLVM); err == nil || err.Error() != "there is none" || hintOf(err) != "buy one" || len(b.files()) > 0 {
		t.Errorf("none to be had: got %v, hint %q, left %q", err, hintOf(err), b.files())
	}
	r = b.good(func(o *Options) { o.Snapshot = "auto" })
	if r.WarningCount != 0 || r.Snapshot == nil || r.Snapshot.String() != "no snapshot: there is none" {
		t.Errorf("none to be had, with auto: got %+v, %d warnings", r.Snapshot, r.WarningCount)
	}
	if r = b.good(func(o *Options) { o.Snapshot = "none" }); r.Snapshot != nil {
		t.Errorf("with none: got %+v", r.Snapshot)
	}
}

// What can't be removed is a warning: the archive is stored.
func TestRunSnapshotLeft(t *testing.T) {
	t.Parallel()
	b, w := withSnapshots(t)
	w.sweepErr, w.removeErr = errors.New("an old one is left"), errors.New("a new one is left")
	r := b.good(wantLVM)
	if want := []string{"an old one is left", "a new one is left"}; !slices.Equal(r.Warnings, want) || len(b.archives()) != 1 {
		t.Errorf("got %q and the archives %q, want %q", r.Warnings, b.archives(), want)
	}
}

// A run that is ended after it has its snapshot removes it.
func TestRunSnapshotInterrupted(t *testing.T) {
	t.Parallel()
	b, w := withSnapshots(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	w.atTake = func() { cancel(why) }
	_, err := Run(ctx, b.env, Options{Source: b.src, Dest: b.dst, Snapshot: "auto"}, "")
	if !errors.Is(err, why) || len(b.archives()) > 0 || w.steps[len(w.steps)-1] != "remove" {
		t.Errorf("got %v, archives %q, steps %q", err, b.archives(), w.steps)
	}
}

// A dry run, and the check of a job, say what would be made, and make nothing.
func TestPlanSnapshot(t *testing.T) {
	t.Parallel()
	b, w := withSnapshots(t)
	r := b.good(func(o *Options) { o.Snapshot, o.DryRun, o.SnapshotSize = "lvm", true, 64<<20 })
	b.log.Reset()
	if err := r.print(b.env); err != nil {
		t.Fatal(err)
	}
	if want := "\n              LVM snapshot of vg0/root, with 64.0 MiB for changes\n"; !strings.Contains(b.log.String(), want) {
		t.Errorf("got %q, want it to say %q", &b.log, want)
	}
	job := Job{ID: "12345678", Options: Options{Source: b.src, Dest: b.dst, Snapshot: "lvm"}, StateDir: filepath.Join(t.TempDir(), "state"), LogFile: filepath.Join(t.TempDir(), "log")}
	if err := CheckJob(t.Context(), b.env, job); err != nil {
		t.Error(err)
	}
	if len(w.steps) > 0 {
		t.Errorf("did %q", w.steps)
	}
	b.env.findSnapshot = func(context.Context, string, snapshot.Options) (*snapshot.Plan, error) {
		return nil, &snapshot.Error{Why: "there is none"}
	}
	if err := CheckJob(t.Context(), b.env, job); err == nil || err.Error() != "there is none" {
		t.Errorf("a job without its snapshot: got %v", err)
	}
}

func TestCheckSnapshot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o    Options
		good bool
	}{
		{Options{}, true}, {Options{Snapshot: "none"}, true}, {Options{Snapshot: "auto"}, true}, {Options{Snapshot: "zfs"}, false},
		{Options{Snapshot: "lvm", SnapshotSize: 1 << 30}, true}, {Options{Snapshot: "auto", SnapshotSize: 1 << 30}, true},
		// A file that many jobs share may set a size for those that have use for it.
		{Options{Snapshot: "btrfs", SnapshotSize: 1 << 30}, true}, {Options{SnapshotSize: 1 << 30}, true}, {Options{Snapshot: "lvm", SnapshotSize: -1}, false},
		{Options{Snapshot: "auto", Live: true}, true}, {Options{Snapshot: "lvm", Live: true}, false},
	} {
		c.o.Source, c.o.Dest, c.o.Name = "/src", "/dst", "src"
		err := c.o.checkWords()
		if (err == nil) != c.good || err != nil && !errors.As(err, new(*UsageError)) {
			t.Errorf("%+v: got %v, want it to be good: %v", c.o, err, c.good)
		}
	}
}

// An ordinary directory that is called like a snapshot of ours is backed up.
func TestRunNameOfSnapshot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.mkdir(filepath.Join(b.src, ".tinybackup-1.2.3.00000000.0000abcd"))
	r := b.good(nil)
	if r.Entries != 5 || r.WarningCount > 0 {
		t.Errorf("got %d entries, %d warnings, want the directory of that name to be one of 5", r.Entries, r.WarningCount)
	}
}
