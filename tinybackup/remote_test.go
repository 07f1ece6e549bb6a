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

// newRemoteBench is a bench whose destination is on another machine, which is memory.
func newRemoteBench(t *testing.T) (*bench, *storetest.Memory) {
	t.Helper()
	b, m := newBench(t), storetest.NewMemory()
	b.dst = "sftp://nas/backup"
	b.env.openRemote = func(_ context.Context, dest string, access Access) (store.Driver, error) {
		if dest != b.dst {
			return nil, fmt.Errorf("opened %q, want %q", dest, b.dst)
		}
		return m, nil
	}
	return b, m
}

// kept are the archives that a memory has.
func kept(m *storetest.Memory) (names []string) {
	for _, key := range m.Keys() {
		if _, ok := rotate.ParseName(key); ok {
			names = append(names, key)
		}
	}
	return names
}

// Every command takes a destination on another machine as it takes a directory.
func TestRemote(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	b.write("sub/deep.txt", strings.Repeat("deep\n", 1000))
	keep2 := func(o *Options) { o.Keep, o.Dest = 2, b.dst+"//" }
	first := b.good(keep2)
	b.write("todo.txt", "buy bread\n")
	second := b.good(keep2)
	same := b.good(keep2)
	if same.Read != 0 || len(same.Removed) != 1 || same.Removed[0] != first.Archive {
		t.Errorf("the third run read %d, removed %q", same.Read, same.Removed)
	}
	if got := kept(m); len(got) != 2 || got[0] != second.Archive || got[1] != same.Archive {
		t.Errorf("the destination has %q", got)
	}
	l, err := List(t.Context(), b.env, ListOptions{Dest: b.dst + "/"})
	if err != nil || len(l.Archives) != 2 || l.Foreign != 0 || l.Dest != b.dst {
		t.Errorf("list: %+v, %v", l, err)
	}
	v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst})
	if err != nil || v.Bad() != 0 || len(v.Archives) != 2 {
		t.Errorf("verify: %+v, %v", v, err)
	}
	v, err = Verify(t.Context(), b.env, VerifyOptions{From: b.dst + "/" + second.Archive})
	if err != nil || v.Bad() != 0 || len(v.Archives) != 1 {
		t.Errorf("verify of one: %+v, %v", v, err)
	}
	target := t.TempDir()
	for from, want := range map[string]string{b.dst: "buy bread\n", b.dst + "/" + second.Archive: "buy bread\n"} {
		_, err := Restore(t.Context(), b.env, RestoreOptions{From: from, Target: target, Paths: []string{"todo.txt"}, Overwrite: true})
		if got, _ := os.ReadFile(filepath.Join(target, "todo.txt")); err != nil || string(got) != want {
			t.Errorf("restore from %s: %q, %v", from, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(target, "sub")); err == nil {
		t.Error("restored what was not asked for")
	}
	n := 0
	err = ListFiles(t.Context(), b.env, Choice{From: b.dst}, func(FileEntry) error { n++; return nil })
	if err != nil || n != 4 {
		t.Errorf("list --files: %d entries, %v", n, err)
	}
}

// noise fills a file of the source with n bytes that no codec makes less of.
func (b *bench) noise(name string, seed uint64, n int) {
	b.write(name, string(storetest.Random(seed, n)))
}

// What did not change is not sent again, also if all of the source is read; the checksum
// of the whole is not known then, until verify has read all of it.
func TestRemoteSendsOnce(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	const files, size = 12, 1 << 20
	for i := range files {
		b.noise(fmt.Sprintf("%02d", i), uint64(i), size)
	}
	block := func(o *Options) { o.BlockSize = 1 << 20 }
	first := b.good(block)
	sums := func() string { return m.Object("SHA256SUMS") }
	if m.Sent() < files*size || !strings.Contains(sums(), first.SHA256) {
		t.Fatalf("the first run sent %d, SHA256SUMS has %q", m.Sent(), sums())
	}
	b.noise("05", 99, size)
	sent, opened := m.Sent(), m.Requests("read")
	second := b.good(block)
	if got := m.Sent() - sent; got < size || got > 4*size {
		t.Errorf("the second run sent %d bytes for %d that changed", got, size)
	}
	if got := m.Requests("read") - opened; got != 0 {
		t.Errorf("the second run read the previous archive, %d times", got)
	}
	if second.SHA256 != "" || strings.Contains(sums(), second.Archive) {
		t.Errorf("nobody read all of the second archive, and its sha256 is %q; SHA256SUMS:\n%s", second.SHA256, sums())
	}
	sent = m.Sent()
	same := b.good(block)
	again := b.good(func(o *Options) { block(o); o.Reread = true })
	if m.Sent() != sent || again.Read < files*size || same.SHA256 != "" {
		t.Errorf("two runs sent %d bytes, although nothing had changed; --reread read %d", m.Sent()-sent, again.Read)
	}
	for n, want := range []string{"", "line of SHA256SUMS"} {
		v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst})
		if err != nil || v.Bad() != 0 || len(v.Archives) != 4 {
			t.Fatalf("verify: %+v, %v", v, err)
		}
		for _, a := range v.Archives {
			if a.Archive == second.Archive && want != "" && !slices.Contains(a.Checked, want) {
				t.Errorf("verify number %d compared %q", n+1, a.Checked)
			}
			if !strings.Contains(sums(), "  "+a.Archive+"\n") {
				t.Errorf("SHA256SUMS lacks %s after verify", a.Archive)
			}
		}
	}
	if r := b.good(block); r.SHA256 == "" || !strings.Contains(sums(), r.SHA256+"  "+second.Archive) {
		t.Errorf("as verify has read the same bytes, their sha256 is known, and not %q", r.SHA256)
	}
	dir := t.TempDir()
	for _, name := range append(kept(m), "SHA256SUMS") {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(m.Object(name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.dst = dir
	b.checkSums(5)
}

// With --verify, an archive is read back before older ones may go; one that is not what
// was written does not stay.
func TestRemoteVerify(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	verify := func(o *Options) { o.Verify, o.Keep = true, 1 }
	first := b.good(verify)
	b.write("todo.txt", "buy bread\n")
	second := b.good(verify)
	if !slices.Equal(second.Removed, []string{first.Archive}) || !strings.Contains(m.Object("SHA256SUMS"), second.Archive) {
		t.Errorf("removed %q, SHA256SUMS has %q", second.Removed, m.Object("SHA256SUMS"))
	}
	rotted := false
	m.Fail = func(method, key string) error {
		if name, ok := rotate.ParseName(key); ok && method == "read" && !rotted && name.Time.Equal(b.clock) {
			rotted = true
			return &store.Error{Op: method, Path: key, Err: errors.New("bad sector")}
		}
		return nil
	}
	b.write("todo.txt", "buy cheese\n")
	_, err := b.run(verify)
	wantHint(t, err, "bad sector")
	m.Fail = nil
	if got := kept(m); !rotted || !slices.Equal(got, []string{second.Archive}) || len(m.Keys()) != 5 {
		t.Errorf("the destination has %q", m.Keys())
	}
}

// Archives that the destination does not let go are counted, and no fault.
func TestRemoteRetained(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	keep := func(o *Options) { o.Keep = 1 }
	first := b.good(keep)
	m.Retain(true)
	b.write("todo.txt", "buy bread\n")
	left := strings.Replace(first.Archive, "-202", "-201", 1) + ".manifest" // of a killed run
	m.Set(store.SideDir+"/"+left, "{}")
	r := b.good(keep)
	if strings.Contains(b.log.String(), left) || m.Object(store.SideDir+"/"+left) == "" {
		t.Errorf("said of what was retained: %s", b.log.String())
	}
	if r.WarningCount != 0 || len(r.Removed) != 0 || !slices.Equal(r.Retained, []string{first.Archive}) || r.Kept != 2 {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(m.Object("SHA256SUMS"), first.SHA256) || m.Object(store.SideDir+"/"+first.Archive+".manifest") == "" {
		t.Errorf("what is known of a retained archive is gone: %q", m.Keys())
	}
	m.Retain(false)
	b.write("todo.txt", "buy cheese\n")
	if r := b.good(keep); len(r.Removed) != 2 || strings.Contains(m.Object("SHA256SUMS"), first.SHA256) {
		t.Errorf("let go, removed %q; SHA256SUMS has %q", r.Removed, m.Object("SHA256SUMS"))
	}
}

// A run asks for what it needs of many archives, and not for all of each.
func TestRemoteRequests(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	const runs = 20
	for range runs {
		b.good(func(o *Options) { o.Keep = runs })
	}
	count := func(what string, do func(), limits map[string]int) {
		before := map[string]int{}
		methods := []string{"list", "get", "put", "open", "read", "remove"}
		for _, method := range methods {
			before[method] = m.Requests(method)
		}
		do()
		for _, method := range methods {
			if got, limit := m.Requests(method)-before[method], limits[method]; got > limit {
				t.Errorf("%s: %d times %s, want %d at most", what, got, method, limit)
			}
		}
	}
	count("run", func() { b.good(func(o *Options) { o.Keep = runs }) },
		map[string]int{"list": 4, "get": runs + 10, "put": 8, "open": 1, "remove": 4})
	count("restore", func() {
		if _, err := Restore(t.Context(), b.env, RestoreOptions{From: b.dst, Target: t.TempDir()}); err != nil {
			t.Error(err)
		}
	}, map[string]int{"list": 1, "get": 1, "open": 1, "read": 4})
	count("list", func() {
		if _, err := List(t.Context(), b.env, ListOptions{Dest: b.dst}); err != nil {
			t.Error(err)
		}
	}, map[string]int{"list": 3, "get": runs})
}

// What goes wrong when the archive is stored is a warning.
func TestRemoteLateFault(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	stored := false
	m.Fail = func(method, key string) error {
		stored = stored || method == "put" && key == "SHA256SUMS"
		if stored && method == "put" && strings.HasSuffix(key, ".lock") {
			return &store.Error{Op: method, Path: key, Err: errors.New("connection reset")}
		}
		return nil
	}
	if r := b.good(nil); r.WarningCount != 1 || !strings.Contains(r.Warnings[0], "connection reset") || len(kept(m)) != 1 {
		t.Errorf("%+v", r)
	}
}

// A manifest that cannot be had is none that is not there: nobody rotates without it.
func TestRemoteManifestOutOfReach(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	job := installRemote(t, b)
	first := b.good(nil)
	m.Fail = func(method, key string) error {
		if method == "get" && strings.HasSuffix(key, ".manifest") {
			return &store.Error{Op: method, Path: key, Err: errors.New("connection reset")}
		}
		return nil
	}
	if _, err := b.run(nil); err == nil || !strings.Contains(err.Error(), "connection reset") {
		t.Errorf("run: %v", err)
	}
	if _, err := List(t.Context(), b.env, ListOptions{Dest: b.dst}); err == nil {
		t.Error("list says nothing of it")
	}
	s, err := StatusOf(t.Context(), b.env, Selection{})
	if err != nil || len(s.Jobs) != 1 || s.Jobs[0].ID != job.ID || !strings.Contains(s.Jobs[0].Unasked, "connection reset") {
		t.Errorf("statusof: %+v, %v", s, err)
	}
	if got := kept(m); !slices.Equal(got, []string{first.Archive}) {
		t.Errorf("the destination has %q", got)
	}
}

// A destination that does not even come back from being asked does not hold statusof up.
func TestRemoteSilent(t *testing.T) {
	t.Parallel()
	b, _ := newRemoteBench(t)
	asked, end := make(chan bool), make(chan bool)
	b.env.openRemote = func(context.Context, string, Access) (store.Driver, error) {
		close(asked)
		<-end
		return storetest.NewMemory(), nil
	}
	defer close(end)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-asked
		cancel(errSilent)
	}()
	if d := askRemote(ctx, b.env, Options{Dest: b.dst}); !errors.Is(d.err, errSilent) || d.free != -1 {
		t.Errorf("got %+v", d)
	}
}

// A file that somebody put there under a name of their own can be restored, too.
func TestRemoteForeign(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	r := b.good(nil)
	m.Set("mine.tar.zst", m.Object(r.Archive))
	opened := b.dst
	b.env.openRemote = func(_ context.Context, dest string, _ Access) (store.Driver, error) {
		if dest != opened {
			return storetest.NewMemory(), nil
		}
		return m, nil
	}
	target := t.TempDir()
	if _, err := Restore(t.Context(), b.env, RestoreOptions{From: b.dst + "/mine.tar.zst", Target: target}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(target, "notes", "todo.txt")); string(got) != "buy milk\n" {
		t.Errorf("restored %q, %v", got, err)
	}
	_, err := Restore(t.Context(), b.env, RestoreOptions{From: b.dst + "/other", Target: target})
	wantHint(t, err, `destination "sftp://nas/backup/other" holds no archives`)
}

// statusof says that a destination cannot be asked. That is no problem by itself, but
// if runs fail as well, it is why.
func TestRemoteUnasked(t *testing.T) {
	t.Parallel()
	b, _ := newRemoteBench(t)
	job := installRemote(t, b)
	if _, err := RunJob(t.Context(), b.env, job, RunOnce{Now: true}); err != nil {
		t.Fatal(err)
	}
	status := func() JobStatus {
		t.Helper()
		s, err := StatusOf(t.Context(), b.env, Selection{})
		if err != nil || len(s.Jobs) != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		return s.Jobs[0]
	}
	hasProblem := func(js JobStatus) bool {
		for _, p := range js.Problems {
			if strings.Contains(p.Why, "no route") {
				return true
			}
		}
		return false
	}
	if js := status(); js.Unasked != "" || js.Archives != 1 {
		t.Errorf("there: %+v", js)
	}
	b.env.openRemote = func(context.Context, string, Access) (store.Driver, error) { return nil, errors.New("no route") }
	if js := status(); js.Unasked != "no route" || hasProblem(js) || !strings.Contains(js.problems(), "could not be asked: no route") {
		t.Errorf("away: %+v", js)
	}
	b.clock = b.clock.Add(time.Hour)
	if _, err := RunJob(t.Context(), b.env, job, RunOnce{Now: true}); err == nil {
		t.Fatal("a run without a destination succeeded")
	}
	if js := status(); js.Unasked != "no route" || !hasProblem(js) {
		t.Errorf("away, and failing: %+v", js)
	}
}

// installRemote makes a job of a bench, and no entry of a scheduler.
func installRemote(t *testing.T, b *bench) Job {
	t.Helper()
	j := Job{ID: "00000001", Time: "0 2 * * *", Scheduler: "service", Installed: b.clock, Options: Options{Source: b.src, Dest: b.dst}}
	j.Path = filepath.Join(b.env.Dirs.Jobs, j.ID+".ini")
	if err := j.Options.Resolve(); err != nil {
		t.Fatal(err)
	}
	j.StateDir, j.LogFile = jobDefaults(b.env.Dirs, j.ID, j.Options.Name)
	if err := j.Write(b.env.Dirs); err != nil {
		t.Fatal(err)
	}
	j, err := LoadJob(b.env.Dirs, j.ID)
	if err != nil {
		t.Fatal(err)
	}
	return j
}
