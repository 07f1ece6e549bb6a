package tinybackup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
)

// bench is a place to run backups in: a source, a destination, a clock that the
// test sets, and a log to read.
type bench struct {
	t        *testing.T
	env      Env
	clock    time.Time
	src, dst string
	log      bytes.Buffer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, src: filepath.Join(dir, "notes"), dst: filepath.Join(dir, "dest")}
	b.clock = time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	b.env = Env{
		Dirs:   Dirs{Jobs: filepath.Join(dir, "jobs"), State: filepath.Join(dir, "state"), Log: filepath.Join(dir, "log")},
		Now:    func() time.Time { return b.clock },
		Stdout: &b.log, Stderr: &b.log,
		Log: slog.New(slog.NewTextHandler(&b.log, nil)),
	}
	b.mkdir(b.src)
	b.mkdir(b.dst)
	b.write("todo.txt", "buy milk\n")
	b.write("sub/deep.txt", "deep\n")
	return b
}

func (b *bench) mkdir(path string) {
	b.t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		b.t.Fatal(err)
	}
}

// write writes a file of the source.
func (b *bench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.src, name)
	b.mkdir(filepath.Dir(path))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// run backs up, and moves the clock by a day.
func (b *bench) run(edit func(*Options)) (Report, error) {
	b.t.Helper()
	o := Options{Source: b.src, Dest: b.dst}
	if edit != nil {
		edit(&o)
	}
	r, err := Run(context.Background(), b.env, o, "")
	b.clock = b.clock.AddDate(0, 0, 1)
	return r, err
}

// good is a run that must succeed.
func (b *bench) good(edit func(*Options)) Report {
	b.t.Helper()
	r, err := b.run(edit)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// files are the names in the destination, our own directory's too.
func (b *bench) files() []string {
	b.t.Helper()
	var out []string
	err := filepath.WalkDir(b.dst, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".lock") {
			rel, _ := filepath.Rel(b.dst, path)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bench) archives() []string {
	return slices.DeleteFunc(b.files(), func(name string) bool {
		_, ok := rotate.ParseName(name)
		return !ok
	})
}

// checkSums has sha256sum(1) check the destination.
func (b *bench) checkSums(n int) {
	b.t.Helper()
	cmd := exec.Command("sha256sum", "--strict", "-c", "SHA256SUMS")
	cmd.Dir = b.dst
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), ": OK") != n {
		b.t.Errorf("sha256sum -c: %v, want %d good archives:\n%s", err, n, out)
	}
}

func TestRunDirectory(t *testing.T) {
	b := newBench(t)
	r := b.good(nil)
	if want := "notes-20261121T023000Z.tar.zst"; r.Archive != want || r.Entries != 4 || r.WarningCount != 0 || r.Kept != 1 {
		t.Errorf("report %+v", r)
	}
	want := []string{".tinybackup/" + r.Archive + ".manifest", ".tinybackup/notes.status", "SHA256SUMS", r.Archive}
	if got := b.files(); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	b.checkSums(1)
	out, err := exec.Command("sh", "-c", `zstd -dcq "$1" | tar -tf -`, "sh", filepath.Join(b.dst, r.Archive)).Output()
	if got, want := string(out), "notes/\nnotes/sub/\nnotes/sub/deep.txt\nnotes/todo.txt\n"; err != nil || got != want {
		t.Errorf("tar -t: %v\n%s", err, got)
	}
}

func TestRunFileWithEachCodec(t *testing.T) {
	commands := map[string]string{"zstd": "zstd -dcq", "xz": "xz -dc", "gzip": "gzip -dc", "none": "cat"}
	for codec, command := range commands {
		t.Run(codec, func(t *testing.T) {
			b := newBench(t)
			r := b.good(func(o *Options) {
				o.Source, o.Compress.Codec = filepath.Join(b.src, "todo.txt"), codec
			})
			out, err := exec.Command("sh", "-c", command+` < "$1"`, "sh", filepath.Join(b.dst, r.Archive)).Output()
			if err != nil || string(out) != "buy milk\n" {
				t.Errorf("%s: %v, %q", command, err, out)
			}
		})
	}
}

func TestRunRotates(t *testing.T) {
	b := newBench(t)
	for range 5 {
		b.good(func(o *Options) { o.Keep = 3 })
	}
	want := []string{"notes-20261123T023000Z.tar.zst", "notes-20261124T023000Z.tar.zst", "notes-20261125T023000Z.tar.zst"}
	if got := b.archives(); !slices.Equal(got, want) {
		t.Errorf("archives %q, want %q", got, want)
	}
	if n := len(b.files()); n != 3+3+2 {
		t.Errorf("%d files are left, want 3 archives, 3 manifests, the record, SHA256SUMS: %q", n, b.files())
	}
	b.checkSums(3)
}

// What is not ours is never touched, whatever it is called.
func TestRunLeavesForeignFiles(t *testing.T) {
	b := newBench(t)
	foreign := []string{"notes-20200101T000000Z.tar.zst.bak", "notes-2-20200101T000000Z.tar.zst", "notes.tar", "notes-20261301T000000Z.tar"}
	for _, name := range foreign {
		if err := os.WriteFile(filepath.Join(b.dst, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		b.good(func(o *Options) { o.Keep = 1 })
	}
	for _, name := range foreign {
		if data, err := os.ReadFile(filepath.Join(b.dst, name)); err != nil || string(data) != "mine" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRunHeld(t *testing.T) {
	b := newBench(t)
	first := b.good(nil)
	if err := os.WriteFile(filepath.Join(b.dst, ".tinybackup", first.Archive+".hold"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b.good(func(o *Options) { o.Keep = 1 })
	}
	if got := b.archives(); len(got) != 2 || got[0] != first.Archive {
		t.Errorf("archives %q, want the first, which is held, and the newest", got)
	}
}

func TestRunClockBehind(t *testing.T) {
	b := newBench(t)
	for range 3 {
		b.good(nil)
	}
	b.clock = b.clock.AddDate(-1, 0, 0)
	r := b.good(func(o *Options) { o.Keep = 1 })
	if len(r.Removed) != 0 || !strings.Contains(r.Unrotated, "clock") || r.WarningCount == 0 {
		t.Errorf("report %+v, want nothing removed, and a warning about the clock", r)
	}
	if n := len(b.archives()); n != 4 {
		t.Errorf("%d archives, want 4", n)
	}
}

func TestRunManyAtOnce(t *testing.T) {
	b := newBench(t)
	for range 8 {
		b.good(nil)
	}
	r := b.good(func(o *Options) { o.Keep = 1 })
	if len(r.Removed) != 0 || r.Unrotated == "" {
		t.Errorf("report %+v, want nothing removed", r)
	}
	r = b.good(func(o *Options) { o.Keep, o.Yes = 1, true })
	if len(r.Removed) != 9 || r.Kept != 1 {
		t.Errorf("report %+v, want all but one removed", r)
	}
}

func TestRunDryRun(t *testing.T) {
	b := newBench(t)
	for range 3 {
		b.good(nil)
	}
	before := b.files()
	r := b.good(func(o *Options) { o.Keep, o.DryRun = 2, true })
	if got := b.files(); !slices.Equal(got, before) {
		t.Errorf("files %q, want %q as before", got, before)
	}
	if r.Archive != "notes-20261124T023000Z.tar.zst" || len(r.Removed) != 2 || r.Kept != 2 || len(r.Plan) != 4 || r.Entries != 4 {
		t.Errorf("report %+v", r)
	}
}

func TestRunDryRunCreatesNothing(t *testing.T) {
	b := newBench(t)
	b.good(func(o *Options) { o.DryRun = true })
	if entries, err := os.ReadDir(b.dst); err != nil || len(entries) != 0 {
		t.Errorf("the destination has %v, %v", entries, err)
	}
}

// The archive is not written into itself.
func TestRunIntoItself(t *testing.T) {
	b := newBench(t)
	b.dst = filepath.Join(b.src, "backups")
	b.mkdir(b.dst)
	b.good(nil)
	r := b.good(nil)
	if r.Entries != 4 || r.WarningCount != 0 {
		t.Errorf("report %+v, want the 4 entries outside of the destination", r)
	}
}

func TestRunEmptySource(t *testing.T) {
	b := newBench(t)
	b.good(nil)
	before := b.files()
	if err := os.RemoveAll(b.src); err != nil {
		t.Fatal(err)
	}
	b.mkdir(b.src)
	_, err := b.run(func(o *Options) { o.Keep = 1 })
	var hint *HintError
	if !errors.As(err, &hint) || !strings.Contains(err.Error(), "is empty, and was not in the last backup") {
		t.Errorf("got %v", err)
	}
	if got := b.files(); !slices.Equal(got, before) {
		t.Errorf("files %q, want %q as before", got, before)
	}
	b.good(func(o *Options) { o.Yes = true })
	b.good(nil) // it was empty in the last backup
}

// A source that is refused leaves nothing in a destination that is new to it.
func TestRunRefusedLeavesNothing(t *testing.T) {
	for name, spoil := range map[string]func(b *bench){
		"missing":     func(b *bench) { b.src += "-gone" },
		"empty":       func(b *bench) { b.src += "-empty"; b.mkdir(b.src) },
		"empty file":  func(b *bench) { b.write("none", ""); b.src += "/none" },
		"no such dir": func(b *bench) { b.src = filepath.Join(b.src, "a", "b") },
		"no file":     func(b *bench) { b.src = "/dev/null" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			spoil(b)
			for _, dry := range []bool{true, false} {
				if _, err := b.run(func(o *Options) { o.DryRun = dry }); err == nil {
					t.Errorf("it was not refused (dry run: %v)", dry)
				}
			}
			if left, err := os.ReadDir(b.dst); err != nil || len(left) > 0 {
				t.Errorf("left in the destination: %v, %v", left, err)
			}
		})
	}
	// The same in a destination that others use: no lock is left.
	b := newBench(t)
	b.good(nil)
	b.src += "-empty"
	b.mkdir(b.src)
	if _, err := b.run(nil); err == nil {
		t.Error("an empty source was not refused")
	}
	locks, err := filepath.Glob(filepath.Join(b.dst, ".tinybackup", "*.series.lock"))
	if err != nil || len(locks) != 1 {
		t.Errorf("locks %q, want the first one's only", locks)
	}
	b.good(func(o *Options) { o.Yes = true })
}

func TestRunAnotherOwner(t *testing.T) {
	b := newBench(t)
	b.good(nil)
	b.src = filepath.Join(filepath.Dir(b.src), "other", "notes")
	b.write("x", "x")
	_, err := b.run(nil)
	var usage *UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "already has archives called \"notes\"") || !strings.Contains(usage.Hint, "--name") {
		t.Errorf("got %v", err)
	}
	b.good(func(o *Options) { o.Name = "other" })
}

// Machines of the same name, with the same paths, as they come from one image, would
// rotate each other's archives away.
func TestRunTwoMachines(t *testing.T) {
	const one, two = "00000001", "00000002"
	for _, encrypted := range []bool{false, true} {
		b := newBench(t)
		edit := func(*Options) {}
		if encrypted {
			_, key := ageKey(t)
			edit = encryptTo(key)
		}
		run := func(job string, asked bool) error {
			t.Helper()
			b.clock = b.clock.Add(time.Hour)
			env := b.env
			env.asked = asked
			o := Options{Source: b.src, Dest: b.dst, Keep: 9}
			edit(&o)
			if err := o.Resolve(); err != nil {
				t.Fatal(err)
			}
			_, err := Run(t.Context(), env, o, job)
			return err
		}
		for _, job := range []string{one, one, two, two} { // the first may have been installed anew
			if err := run(job, false); err != nil {
				t.Fatalf("job %s: %v", job, err)
			}
		}
		var usage *UsageError
		if err := run(one, false); !errors.As(err, &usage) || !strings.Contains(err.Error(), "newer ones of job "+two) || !strings.Contains(usage.Hint, "--name NAME") {
			t.Errorf("got %v", err)
		}
		for _, job := range []string{two, ""} {
			if err := run(job, false); err != nil {
				t.Errorf("job %q: %v", job, err)
			}
		}
		if err := run(two, false); err != nil { // after one that was made by hand
			t.Error(err)
		}
		if err := run(one, true); err != nil {
			t.Errorf("the other one is gone: %v", err)
		}
		if err := run(one, false); err != nil {
			t.Errorf("the other one is gone: %v", err)
		}
	}
}

// What killed runs left is swept, and SHA256SUMS mended.
func TestRunMends(t *testing.T) {
	b := newBench(t)
	first := b.good(nil)
	side := filepath.Join(b.dst, ".tinybackup")
	left := []string{"notes-20261121T030000Z.tar.zst.partial", "notes-20261121T030000Z.tar.zst.manifest"}
	others := []string{"other-20261121T030000Z.tar.zst.partial", "other-20261121T030000Z.tar.zst.manifest"}
	for _, name := range append(slices.Clone(left), others...) {
		if err := os.WriteFile(filepath.Join(side, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gone := "0000000000000000000000000000000000000000000000000000000000000000  notes-20261120T000000Z.tar.zst\n"
	if err := os.WriteFile(filepath.Join(b.dst, "SHA256SUMS"), []byte(gone), 0o600); err != nil {
		t.Fatal(err)
	}
	second := b.good(nil)
	for _, name := range left {
		if _, err := os.Stat(filepath.Join(side, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(side, name)); err != nil {
			t.Errorf("%s of another series: %v", name, err)
		}
	}
	b.checkSums(2)
	if got, want := b.archives(), []string{first.Archive, second.Archive}; !slices.Equal(got, want) {
		t.Errorf("archives %q, want %q", got, want)
	}
}

// A manifest that is damaged, or another's, is told of in the log, and no more.
func TestRunDamagedManifest(t *testing.T) {
	b := newBench(t)
	first, second := b.good(nil), b.good(nil)
	side := filepath.Join(b.dst, ".tinybackup")
	data, err := os.ReadFile(filepath.Join(side, archive.SideName(first.Archive)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(side, archive.SideName(second.Archive)), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(side, archive.SideName(first.Archive)), data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	r := b.good(nil)
	if r.Kept != 3 || strings.Count(b.log.String(), "manifest is not used") != 2 {
		t.Errorf("kept %d, log:\n%s", r.Kept, b.log.String())
	}
}

func TestRunUnreadable(t *testing.T) {
	b := newBench(t)
	b.write("socket-like", "x")
	if err := os.Remove(filepath.Join(b.src, "socket-like")); err != nil {
		t.Fatal(err)
	}
	// A file that even root can't read to its end: an image cut short under a loop
	// device is a device; /proc/self/mem is a file that gives EIO.
	if err := os.Symlink("/proc/self/mem", filepath.Join(b.src, "link")); err != nil {
		t.Fatal(err)
	}
	r, err := b.run(func(o *Options) { o.Source = "/proc/self/task"; o.Name = "task" })
	if err != nil {
		t.Fatal(err)
	}
	if r.WarningCount == 0 || len(r.Warnings) == 0 {
		t.Errorf("report %+v, want warnings about files of /proc that can't be read", r)
	}
	if n := len(b.archives()); n != 1 {
		t.Errorf("%d archives", n)
	}
}

func TestRunCancelled(t *testing.T) {
	b := newBench(t)
	b.good(nil)
	before := b.files()
	for i := range 300 {
		b.write(fmt.Sprintf("many/%d", i), strings.Repeat("x", 100_000))
	}
	cause := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	b.env.Progress = func(Progress) { cancel(cause) }
	_, err := Run(ctx, b.env, Options{Source: b.src, Dest: b.dst}, "")
	if !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
	if got := b.files(); !slices.Equal(got, before) {
		t.Errorf("files %q, want %q as before", got, before)
	}
}

func TestRunLocked(t *testing.T) {
	b := newBench(t)
	b.good(nil)
	inside := make(chan struct{})
	done := make(chan error)
	env := b.env
	env.Progress = func(p Progress) {
		if inside != nil {
			close(inside)
			inside = nil
			<-done
		}
	}
	ended := make(chan error)
	began := inside
	go func() {
		_, err := Run(context.Background(), env, Options{Source: b.src, Dest: b.dst}, "")
		ended <- err
	}()
	<-began
	_, err := Run(context.Background(), b.env, Options{Source: b.src, Dest: b.dst}, "")
	var busy *BusyError
	if !errors.As(err, &busy) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("got %v, want who holds the lock", err)
	}
	done <- nil
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRunTwiceInASecond(t *testing.T) {
	b := newBench(t)
	first := b.good(nil)
	b.clock = b.clock.AddDate(0, 0, -1)
	second := b.good(nil)
	if first.Archive == second.Archive || len(b.archives()) != 2 {
		t.Errorf("archives %q", b.archives())
	}
}
