package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
	"tinybackup/internal/store/storetest"
)

// A copyBench is a bench whose copies go to memories, and to a directory.
type copyBench struct {
	*bench
	far  map[string]*storetest.Memory // by destination
	near string                       // the directory
}

func newCopyBench(t *testing.T, far ...string) *copyBench {
	t.Helper()
	b := &copyBench{bench: newBench(t), far: make(map[string]*storetest.Memory)}
	for _, dest := range far {
		b.far[dest] = storetest.NewMemory()
	}
	b.near = filepath.Join(filepath.Dir(b.dst), "near")
	b.mkdir(b.near)
	b.env.openRemote = func(_ context.Context, dest string, _ Access) (store.Driver, error) {
		m := b.far[dest]
		if m == nil {
			return nil, fmt.Errorf("opened %q", dest)
		}
		return m, nil
	}
	b.env.sleep = func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) }
	return b
}

// to has a run make copies.
func to(copies ...string) func(*Options) {
	return func(o *Options) {
		for _, text := range copies {
			var c Copy
			if err := c.UnmarshalFlag(text); err != nil {
				panic(err)
			}
			o.CopyTo = append(o.CopyTo, c)
		}
	}
}

// archivesIn are the archives of a directory.
func (b *copyBench) archivesIn(dir string) []string {
	b.t.Helper()
	other := *b.bench
	other.dst = dir
	return other.archives()
}

// same checks that a memory's archives are those of dst, byte for byte, with their
// manifests and their lines.
func (b *copyBench) same(m *storetest.Memory, names ...string) {
	b.t.Helper()
	if got := kept(m); !slices.Equal(got, names) {
		b.t.Errorf("the copy has %q, want %q", got, names)
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(b.dst, name))
		if err == nil && m.Object(name) != string(data) {
			b.t.Errorf("%s: the copy is another one", name)
		}
		side, err := os.ReadFile(filepath.Join(b.dst, ".tinybackup", name+".manifest"))
		if err == nil && m.Object(".tinybackup/"+name+".manifest") != string(side) {
			b.t.Errorf("%s: the copy has another manifest", name)
		}
		if !strings.Contains(m.Object("SHA256SUMS"), "  "+name+"\n") {
			b.t.Errorf("%s: no checksum", name)
		}
	}
}

// Copies are made in each destination, each with its own policy, and every command takes
// them as it takes any destination.
func TestCopies(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "sftp://nas/b", "s3://bucket/x")
	nas, s3 := b.far["sftp://nas/b"], b.far["s3://bucket/x"]
	b.write("large", string(storetest.Random(1, 3<<20)))
	copies := to("sftp://nas/b keep=1", b.near+" keep=2", "s3://bucket/x")
	var all []string
	for i := range 3 {
		b.write("todo.txt", fmt.Sprint("version ", i))
		r := b.good(copies)
		all = append(all, r.Archive)
		if r.WarningCount != 0 || len(r.Copies) != 3 {
			t.Fatalf("run %d: %+v", i, r)
		}
		for j, c := range r.Copies {
			if !slices.Equal(c.Archives, []string{r.Archive}) || c.Newest != r.Archive || c.Error != "" || c.Kept != []int{1, min(i+1, 2), i + 1}[j] {
				t.Errorf("run %d: %+v", i, c)
			}
			if remote := j != 1; remote && i > 0 && (c.Sent > 1<<20 || c.Sent+c.Shared != r.Written) {
				t.Errorf("run %d: sent %d and shared %d bytes to %s for a small change", i, c.Sent, c.Shared, c.Dest)
			}
		}
	}
	if sent := s3.Sent(); sent > 5<<20 {
		t.Errorf("%d bytes were sent in all, for 3 MiB and two small changes", sent)
	}
	b.same(nas, all[2])
	b.same(s3, all...)
	if got := b.archivesIn(b.near); !slices.Equal(got, all[1:]) {
		t.Errorf("the directory has %q", got)
	}
	// Nothing changed: nothing is sent.
	sent := s3.Sent()
	same := b.good(copies)
	if same.Read != 0 || s3.Sent() != sent || same.Copies[1].Sent != 0 {
		t.Errorf("nothing had changed: sent %d bytes, and %d to the directory", s3.Sent()-sent, same.Copies[1].Sent)
	}
	b.dst = b.near
	b.checkSums(2)
	for _, from := range []string{b.near, "s3://bucket/x"} {
		if v, err := Verify(t.Context(), b.env, VerifyOptions{From: from}); err != nil || v.Bad() != 0 || len(v.Archives) < 2 {
			t.Errorf("verify %s: %+v, %v", from, v, err)
		}
		if l, err := List(t.Context(), b.env, ListOptions{Dest: from}); err != nil || len(l.Archives) < 2 {
			t.Errorf("list %s: %+v, %v", from, l, err)
		}
		target := filepath.Join(t.TempDir(), "back")
		if _, err := Restore(t.Context(), b.env, RestoreOptions{From: from, Target: target}); err != nil {
			t.Errorf("restore %s: %v", from, err)
		}
		if got, _ := os.ReadFile(filepath.Join(target, "todo.txt")); string(got) != "version 2" {
			t.Errorf("restored from %s: %q", from, got)
		}
	}
}

// What a destination retains is neither a warning nor an error, and keeps its line and
// its manifest.
func TestCopyRetained(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "s3://bucket/x", "s3://bucket/main")
	locked := b.far["s3://bucket/x"]
	locked.Retain(true)
	var all []string
	for i := range 4 {
		b.write("todo.txt", fmt.Sprint("version ", i))
		r := b.good(to("s3://bucket/x keep=2"))
		all = append(all, r.Archive)
		if c := r.Copies[0]; r.WarningCount != 0 || len(c.Retained) != max(0, i-1) || c.Kept != i+1 || len(c.Removed) != 0 {
			t.Errorf("run %d: %+v", i, r)
		}
	}
	b.same(locked, all...)
	// The backup's own destination may be such a one, too.
	b.dst = "s3://bucket/main"
	b.far[b.dst].Retain(true)
	for i := range 4 {
		b.write("todo.txt", fmt.Sprint("version ", i))
		r := b.good(func(o *Options) { o.Keep = 2 })
		if r.WarningCount != 0 || len(r.Retained) != max(0, i-1) || r.Kept != i+1 {
			t.Errorf("run %d: %+v", i, r)
		}
	}
	for _, name := range kept(b.far[b.dst]) {
		if b.far[b.dst].Object(".tinybackup/"+name+".manifest") == "" {
			t.Errorf("%s has lost its manifest", name)
		}
	}
}

// What is encrypted is copied as it is, its manifest, too; what has not changed is not
// sent again.
func TestCopyEncrypted(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "sftp://nas/b")
	m := b.far["sftp://nas/b"]
	b.env.stateDir = t.TempDir() // as of a job, which remembers what it cannot read
	copies := func(o *Options) {
		o.Encrypt = []string{"age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z"}
		to("sftp://nas/b", b.near)(o)
	}
	var all []string
	for range 2 {
		all = append(all, b.good(copies).Archive)
	}
	b.same(m, all...)
	if sent, size := m.Sent(), int64(len(m.Object(all[0]))); m.Object(all[0]) != m.Object(all[1]) || sent != size {
		t.Errorf("%d bytes were sent, of two archives of %d that are to be the same", sent, size)
	}
	if got := b.archivesIn(b.near); !slices.Equal(got, all) {
		t.Errorf("the directory has %q", got)
	}
}

// A damaged archive at hand is not copied, and does not stop those after it.
func TestCopyOfDamaged(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "sftp://nas/b")
	first := b.good(nil)
	b.write("todo.txt", "other")
	second := b.good(nil)
	path := filepath.Join(b.dst, first.Archive)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	b.write("todo.txt", "third")
	third := b.good(to("sftp://nas/b"))
	if c := third.Copies[0]; third.WarningCount != 1 || !strings.Contains(c.Error, first.Archive+": the archive is damaged") || !strings.Contains(c.Hint, "verify") {
		t.Errorf("got %+v", third)
	}
	b.same(b.far["sftp://nas/b"], second.Archive, third.Archive)
	if r := b.good(to("sftp://nas/b")); r.WarningCount != 0 {
		t.Errorf("the next run: %+v", r)
	}
}

// What the copy has is not trusted blindly: a copy whose bytes on its disk are bad is
// not made another name of, once it would be the last one.
func TestCopyOnBadDisk(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t)
	copies := func(o *Options) { to(b.near + " keep=1")(o) }
	b.good(copies)
	b.write("todo.txt", "other")
	second := b.good(copies)
	path := filepath.Join(b.near, second.Archive)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.near, "notes-20200101T000000Z.tar.zst"), data, 0o644); err != nil {
		t.Fatal(err) // what rotation will remove
	}
	third := b.good(copies)
	if third.WarningCount != 1 || !strings.Contains(third.Warnings[0], "is not used") {
		t.Errorf("got %+v", third)
	}
	v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.near})
	if err != nil || v.Bad() != 0 || len(v.Archives) != 1 {
		t.Errorf("verify: %+v, %v", v, err)
	}
}

// The archives of another machine, or another source, are none of ours.
func TestCopyOfOthers(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t)
	other := newBench(t)
	other.dst = b.near
	theirs := other.good(nil)
	r := b.good(to(b.near))
	if r.WarningCount != 1 || !strings.Contains(r.Copies[0].Error, "already has archives") || r.Copies[0].Hint == "" {
		t.Errorf("got %+v", r)
	}
	if got := b.archivesIn(b.near); !slices.Equal(got, []string{theirs.Archive}) {
		t.Errorf("the copy has %q", got)
	}
}

// A copy that lies in the source is not backed up, and one that is the destination under
// another name is refused; neither keeps the backup from being made.
func TestCopyPlaces(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t)
	inside := filepath.Join(b.src, "copies")
	b.mkdir(inside)
	for range 2 {
		if r := b.good(to(inside)); r.Entries != 4 || r.WarningCount != 0 {
			t.Errorf("got %+v", r)
		}
	}
	alias := filepath.Join(filepath.Dir(b.dst), "alias")
	if err := os.Symlink(b.dst, alias); err != nil {
		t.Fatal(err)
	}
	var usage *UsageError
	if _, err := b.run(to(alias)); !errors.As(err, &usage) || !strings.Contains(err.Error(), "is the destination itself") {
		t.Errorf("got %v", err)
	}
	r := b.good(to(filepath.Join(b.near, "none")))
	if r.WarningCount != 1 || !strings.Contains(r.Copies[0].Error, "does not exist") || !strings.Contains(r.Copies[0].Hint, "mount") {
		t.Errorf("got %+v", r)
	}
}

// A dry run says what would be copied, and changes nothing.
func TestCopyDryRun(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "sftp://nas/b", "sftp://down/b")
	b.far["sftp://down/b"].Fail = func(string, string) error { return errDown }
	first := b.good(nil)
	before := b.files()
	r := b.good(func(o *Options) {
		o.DryRun = true
		to("sftp://nas/b", b.near+" keep=1", "sftp://down/b")(o)
	})
	if got := r.Copies[0].Archives; !slices.Equal(got, []string{first.Archive, r.Archive}) {
		t.Errorf("would copy %q", got)
	}
	if got := r.Copies[1].Archives; !slices.Equal(got, []string{r.Archive}) {
		t.Errorf("would copy %q", got)
	}
	if !slices.Equal(b.files(), before) || len(b.far["sftp://nas/b"].Keys()) != 0 || len(b.archivesIn(b.near)) != 0 {
		t.Error("a dry run changed something")
	}
	b.log.Reset()
	if err := r.print(b.env); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"would copy    sftp://nas/b/" + r.Archive, "would copy    " + b.near, "could not copy to sftp://down/b: no route"} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("printed\n%s\nwant %s", b.log.String(), want)
		}
	}
}

func TestDueCopies(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	// An archive for each day of November 2026 in words such as "3" or, if incomplete, "3i".
	archives := func(days string) (all []stored) {
		for _, word := range strings.Fields(days) {
			var day int
			var kind string
			_, _ = fmt.Sscanf(word, "%d%s", &day, &kind)
			a := stored{name: rotate.Name{Series: "n", Time: time.Date(2026, 11, day, 2, 0, 0, 0, time.UTC), Kind: rotate.KindDir, Codec: "zstd"}}
			a.Name = a.name.String()
			a.held = kind == "h"
			all = append(all, a)
		}
		sortStored(all)
		return all
	}
	for name, c := range map[string]struct{ here, there, policy, want string }{
		"nothing there":             {"1 2 3", "", "keep=all", "1 2 3"},
		"nothing at hand":           {"", "1", "keep=all", ""},
		"up to date":                {"1 2 3", "3", "keep=all", ""},
		"the newest alone":          {"1 2 3", "", "keep=1", "3"},
		"what was missed":           {"1 2 3 4", "2", "keep=all", "3 4"},
		"none before the newest":    {"1 2 3 4", "3", "keep=all", "4"},
		"what the policy keeps":     {"1 2 3 4 5 6", "1", "keep=2", "5 6"},
		"one a week":                {"2 3 9 10 16 17", "", "keep-weekly=2", "10 17"},
		"and the newest":            {"2 3 9 10 16 17", "17", "keep-weekly=2", ""},
		"others there count":        {"5 6", "1 2 3 4", "keep=3", "5 6"},
		"held at hand, not there":   {"1h 2 3", "", "keep=1", "3"},
		"from the future, there":    {"1 2 3", "40", "keep=all", "1 2 3"},
		"of the same time":          {"3", "3", "keep=1", ""},
		"there is what was at hand": {"4", "1 2 3", "keep=1", "4"},
		"older than what is there":  {"1 2", "3", "keep=all", "2"},
	} {
		var cp Copy
		if err := cp.UnmarshalFlag("/x " + c.policy); err != nil {
			t.Fatal(err)
		}
		due, _ := dueCopies(archives(c.here), archives(c.there), Options{}.forCopy(cp), now)
		var days []string
		for _, a := range due {
			days = append(days, fmt.Sprint(a.name.Time.YearDay()-304))
		}
		if got := strings.Join(days, " "); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
