package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
	"tinybackup/internal/store/storetest"
)

// An archive at hand that is too short, or cannot be read, is not copied, and does not
// stop those after it.
func TestCopyOfUnreadable(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		spoil func(archive, manifest string) error
		want  string
	}{
		"cut off": {func(archive, _ string) error { return os.Truncate(archive, 100) }, "the archive is damaged: it has 100 bytes, and its manifest tells of"},
		"unreadable": {func(_, manifest string) error {
			return errors.Join(os.Remove(manifest), os.Mkdir(manifest, 0o700))
		}, "the archive cannot be read: "},
	} {
		b := newCopyBench(t, "sftp://nas/b")
		first := b.good(nil)
		b.write("todo.txt", "other")
		second := b.good(nil)
		err := c.spoil(filepath.Join(b.dst, first.Archive), filepath.Join(b.dst, ".tinybackup", first.Archive+".manifest"))
		if err := errors.Join(err, os.Remove(filepath.Join(b.dst, "SHA256SUMS"))); err != nil {
			t.Fatal(err)
		}
		b.write("todo.txt", "third")
		third := b.good(to("sftp://nas/b"))
		if c1 := third.Copies[0]; !strings.Contains(c1.Error, first.Archive+": "+c.want) || !strings.Contains(c1.Hint, "verify") {
			t.Errorf("%s: got %+v", what, third)
		}
		b.same(b.far["sftp://nas/b"], second.Archive, third.Archive)
	}
}

// A copy whose disk is full of old archives has room once those are gone that its policy
// does not keep: also if they are there because it was full before.
func TestCopyFull(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "sftp://nas/b")
	m, down, held := b.far["sftp://nas/b"], false, 0
	m.Fail = func(method, key string) error {
		if _, ours := rotate.ParseName(key); down || ours && method == "write" && held == 3 {
			return &store.Error{Op: method, Path: key, Err: map[bool]error{true: errDown, false: syscall.ENOSPC}[down]}
		} else if ours && method == "commit" {
			held++
		} else if ours && method == "remove" {
			held--
		}
		return nil
	}
	var all []string
	run := func() Report {
		t.Helper()
		b.write("todo.txt", fmt.Sprint("version ", len(all)))
		r := b.good(to("sftp://nas/b keep=2"))
		all = append(all, r.Archive)
		return r
	}
	run()
	run()
	down = true
	run()
	down = false
	r := run()
	if c := r.Copies[0]; r.WarningCount != 0 || !slices.Equal(c.Archives, all[2:]) || !slices.Equal(c.Removed, all[:2]) || c.Kept != 2 || c.Behind != 0 {
		t.Errorf("got %+v", r)
	}
	b.same(m, all[2:]...)
	held = 3 // by others: there is nothing of ours that could go
	r = run()
	if c := r.Copies[0]; r.WarningCount != 1 || !strings.Contains(c.Error, "no space left") || c.Behind != 1 || len(c.Removed) != 0 {
		t.Errorf("got %+v", r)
	}
	b.same(m, all[2:4]...)
}

// A destination that has the new archive before it was copied is the destination of the
// backup, or shared with another job: it is left alone.
func TestCopyIsThere(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t)
	first := b.good(nil)
	m := storetest.NewMemory()
	b.env.openRemote = func(context.Context, string, Access) (store.Driver, error) {
		for _, name := range b.archives() {
			m.Set(name, "other")
		}
		return m, nil
	}
	r := b.good(to("sftp://nas/b keep=1"))
	if c := r.Copies[0]; r.WarningCount != 1 || !strings.Contains(c.Error, r.Archive+" is there already") || !strings.Contains(c.Hint, "--name") {
		t.Errorf("got %+v", r)
	}
	if got := kept(m); !slices.Equal(got, []string{first.Archive, r.Archive}) || m.Object(r.Archive) != "other" {
		t.Errorf("the copy has %q", got)
	}
}

// Nothing is copied, and nothing removed, if the new archive is not at hand any more.
func TestCopyOfGone(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "sftp://nas/b")
	b.good(to("sftp://nas/b"))
	o := Options{Source: b.src, Dest: b.dst, Keep: 1}
	to("sftp://nas/b")(&o)
	if err := o.Resolve(); err != nil {
		t.Fatal(err)
	}
	r := newRun(b.env, o, "")
	r.after, r.report.Archive = []stored{}, "notes-20300101T000000Z.tar.zst"
	r.copyAll(t.Context())
	if c := r.report.Copies[0]; !strings.Contains(c.Error, r.report.Archive+": it is gone") {
		t.Errorf("got %+v", c)
	}
}

// When nothing has changed, a copy on another machine is not read either.
func TestCopyUnchangedIsNotRead(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "s3://bucket/x")
	b.clock = time.Now().AddDate(1, 0, 0) // what has not changed is known not to have
	m := b.far["s3://bucket/x"]
	for range 2 {
		b.good(to("s3://bucket/x keep=1"))
	}
	reads := m.Requests("read")
	if r := b.good(to("s3://bucket/x keep=1")); r.Read != 0 || len(r.Copies[0].Removed) != 1 || m.Requests("read") != reads {
		t.Errorf("%d reads: %+v", m.Requests("read")-reads, r)
	}
}

// A map of blocks that a killed run left, and that is not let go, is not in the way of
// its archive.
func TestCopyMapRetained(t *testing.T) {
	t.Parallel()
	here, there := storetest.NewMemory(), storetest.NewMemory()
	const name = "card-20300101T000000Z.img.zst"
	here.Set(name+bmapSuffix, "map")
	there.Set(name+bmapSuffix, "map")
	parsed, _ := rotate.ParseName(name)
	s := &sending{copying: &copying{from: store.NewRemote(here)}, st: store.NewRemote(there)}
	if mapped, err := s.copyMap(t.Context(), &original{stored: stored{Object: store.Object{Name: name}, name: parsed}}); mapped || err != nil {
		t.Errorf("got %v, %v", mapped, err)
	}
}
