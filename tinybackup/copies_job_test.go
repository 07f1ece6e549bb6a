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

// newCopyJob is a job with copies at "sftp://nas/b", which is memory, and in a directory.
func newCopyJob(t *testing.T) (h *heard, nas *storetest.Memory, near string) {
	t.Helper()
	nas, near = storetest.NewMemory(), t.TempDir()
	h = newHeard(t, func(o *Options) { to("sftp://nas/b keep=5", near)(o) })
	h.env.openRemote = func(context.Context, string, Access) (store.Driver, error) { return nas, nil }
	h.env.sleep = func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) }
	return h, nas, near
}

// status is how the job is.
func (h *heard) status() JobStatus {
	h.t.Helper()
	l := newLook(h.t.Context(), h.env, []numbered{{number: 1, job: h.job}})
	defer l.close()
	js := JobStatus{ID: h.job.ID, Problems: []Problem{}}
	if last, ok, err := h.job.History().LastStored(); err == nil && ok {
		js.LastGood = &last
	}
	l.copies(&js, h.job.Options)
	return js
}

// A copy that fails is told when that begins and when it ends; its runs are done, and are
// not tried again; statusof says how far it is behind.
func TestCopyOfJob(t *testing.T) {
	t.Parallel()
	h, nas, near := newCopyJob(t)
	days := 0
	night := func(want string) Report {
		t.Helper()
		r, err := h.start(days, "02:30")
		days = 1
		if err != nil || r.Archive == "" {
			t.Fatalf("got %+v, %v", r, err)
		}
		h.expect(h.now.Format(time.DateOnly), want, "start, ")
		if again, err := h.start(0, "02:45"); err != nil || again.Nothing == "" {
			t.Errorf("the slot was tried again: %+v, %v", again, err)
		}
		return r
	}
	night("")
	if js := h.status(); len(js.Problems) != 0 {
		t.Errorf("all is well: %+v", js.Problems)
	}
	nas.Fail = func(method, key string) error { return &store.Error{Op: method, Path: key, Err: errDown} }
	night(titleWarnings)
	contains(t, "the message", h.last(), "copy to sftp://nas/b:", "no route to host", "1 behind")
	failing := h.now
	night("")
	js := h.status()
	if len(js.Problems) != 1 {
		t.Fatalf("got %+v", js.Problems)
	}
	p := js.Problems[0]
	contains(t, "the problem", p.Why, "its copy to sftp://nas/b is 2 archives behind since "+failing.Format("Mon 2006-01-02"), "its last is of 2d 0h ago", "no route to host")
	if p.State != StateLate || !strings.Contains(p.Mend, "run --now --job") {
		t.Errorf("got %+v", p)
	}
	if l, err := List(t.Context(), h.env, ListOptions{Dest: near}); err != nil || len(l.Archives) != 3 {
		t.Errorf("the other copy: %+v, %v", l, err)
	}
	nas.Fail = nil
	if r := night(titleCopies); len(r.Copies[0].Archives) != 3 {
		t.Errorf("got %+v", r)
	}
	contains(t, "the message", h.last(), "Copies are made again to sftp://nas/b.", "3 archives")
	if js := h.status(); len(js.Problems) != 0 || len(kept(nas)) != 4 {
		t.Errorf("all is well again: %+v, %q", js.Problems, kept(nas))
	}
	night("")
	for night("").Kept < 7 {
	}
	l, err := List(t.Context(), h.env, ListOptions{Dest: "sftp://nas/b"})
	if err != nil || len(l.Archives) != 5 || !slices.Contains(l.Archives[4].Reasons, "last #5") {
		t.Errorf("the copy's own policy: %+v, %v", l, err)
	}
}

// The mount point of a disk that is not there is not filled with copies.
func TestCopyUnmounted(t *testing.T) {
	t.Parallel()
	h, _, near := newCopyJob(t)
	if r, err := h.start(0, "02:30"); err != nil || r.WarningCount != 0 {
		t.Fatalf("got %+v, %v", r, err)
	}
	disk := near + ".disk"
	if err := errors.Join(os.Rename(near, disk), os.Mkdir(near, 0o700)); err != nil {
		t.Fatal(err)
	}
	r, err := h.start(1, "02:30")
	if err != nil || r.WarningCount != 1 || !strings.Contains(r.Copies[1].Error, "is not what it was") || r.Copies[1].Behind != 1 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if left, _ := os.ReadDir(near); len(left) != 0 {
		t.Errorf("the mount point has %v", left)
	}
	if err := errors.Join(os.Remove(near), os.Rename(disk, near)); err != nil {
		t.Fatal(err)
	}
	if r, err = h.start(1, "02:30"); err != nil || r.WarningCount != 0 || len(r.Copies[1].Archives) != 2 {
		t.Fatalf("mounted again: %+v, %v", r, err)
	}
	// Somebody emptied it, and says so.
	if err := errors.Join(os.RemoveAll(near), os.Mkdir(near, 0o700)); err != nil {
		t.Fatal(err)
	}
	if r, err = RunJob(t.Context(), h.env, h.job, RunOnce{Now: true}); err != nil || r.WarningCount != 0 || len(r.Copies[1].Archives) != 4 {
		t.Fatalf("emptied: %+v, %v", r, err)
	}
}

// A copy that is out of reach is told of by install, and no reason to refuse.
func TestProbeCopies(t *testing.T) {
	t.Parallel()
	h, nas, near := newCopyJob(t)
	if notes := probeCopies(t.Context(), h.env, h.job); len(notes) != 0 {
		t.Errorf("got %q", notes)
	}
	if left, _ := os.ReadDir(filepath.Join(near, store.SideDir)); len(left) != 0 || len(nas.Keys()) != 0 {
		t.Errorf("left %v, %q", left, nas.Keys())
	}
	nas.Fail = func(string, string) error { return errDown }
	if err := os.Remove(filepath.Join(near, store.SideDir)); err == nil || errors.Is(err, os.ErrNotExist) {
		err = os.Remove(near)
		if err != nil {
			t.Fatal(err)
		}
	}
	notes := probeCopies(t.Context(), h.env, h.job)
	if len(notes) != 2 || !strings.Contains(notes[0], "sftp://nas/b could not be made now: no route") || !strings.Contains(notes[1], "does not exist") {
		t.Errorf("got %q", notes)
	}
}

func TestCopyOption(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"/mnt/usb":                                   "/mnt/usb",
		" /mnt/my usb  keep=3 ":                      "/mnt/my usb keep=3",
		"/mnt/keep me keepsakes":                     "/mnt/keep me keepsakes",
		"s3://b/x keep=all":                          "s3://b/x keep=all",
		"sftp://nas/b keep-within=30d keep-weekly=4": "sftp://nas/b keep-weekly=4 keep-within=30d",
		"x keep=1 keep-hourly=2 keep-daily=3 keep-monthly=all keep-yearly=9": "x keep=1 keep-hourly=2 keep-daily=3 keep-monthly=all keep-yearly=9",
		"/a=b keep-daily=7 c keep=2":                                         "/a=b keep-daily=7 c keep=2",
	} {
		var c, back Copy
		if err := c.UnmarshalFlag(text); err != nil || c.String() != want {
			t.Errorf("%q: got %q, %v, want %q", text, c, err, want)
		}
		if err := back.UnmarshalFlag(c.String()); err != nil || back != c {
			t.Errorf("%q: read back as %+v, %v", text, back, err)
		}
	}
	for text, want := range map[string]string{
		"/x keep=0":              "keep=all keeps every one",
		"/x keep-dayly=7":        `"keep-dayly", did you mean keep-daily?`,
		"/x keepfoobarbaz=7":     "the rules are keep, keep-hourly",
		"/x keep=many":           `count "many"`,
		"/x keep=-1":             `count "-1"`,
		"/x keep=1 keep=2":       "twice",
		"/x keep-within=soon":    "soon",
		"keep=3":                 "no destination",
		"/x keep-daily=0 keep=0": "keep no archive",
	} {
		var c Copy
		if err := c.UnmarshalFlag(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	for _, o := range []Options{
		{CopyTo: []Copy{{Dest: "/dst"}}},
		{CopyTo: []Copy{{Dest: "/a"}, {Dest: "/b"}, {Dest: "/a"}}},
		{CopyTo: []Copy{{}}},
		{CopyTo: []Copy{{Dest: "/src"}}},
		{CopyTo: []Copy{{Dest: "/"}}},
		{CopyTo: []Copy{{Dest: "ftp://x/y"}}},
		{CopyTo: []Copy{{Dest: "/x\x00"}}},
	} {
		o.Source, o.Dest, o.Name = "/src", "/dst", "n"
		var usage *UsageError
		if err := o.checkWords(); !errors.As(err, &usage) {
			t.Errorf("%q: got %v, want a refusal", o.CopyTo, err)
		}
	}
	o := Options{Source: "/src", Dest: "/dst", Name: "n"}
	to("/dst2", "/src/copies", "s3://bucket/x keep=all")(&o)
	if err := o.checkWords(); err != nil {
		t.Errorf("got %v", err)
	}
}

// A run that is killed while it makes copies has served its slot: the next start makes
// the copies, and no further archive.
func TestCopyKilled(t *testing.T) {
	t.Parallel()
	h, nas, near := newCopyJob(t)
	if _, err := h.start(0, "02:30"); err != nil {
		t.Fatal(err)
	}
	h.titles()
	history := h.job.History().path()
	before, err := os.ReadFile(history)
	if err != nil {
		t.Fatal(err)
	}
	var book []byte // as the one leaves it that is killed now
	nas.Fail = func(method, key string) error {
		if method == "create" {
			book, _ = os.ReadFile(h.job.slotsPath())
			return &store.Error{Op: method, Path: key, Err: errDown}
		}
		return nil
	}
	killed, err := h.start(1, "02:30")
	if err != nil || len(book) == 0 {
		t.Fatalf("got %+v, %v", killed, err)
	}
	h.titles()
	if err := errors.Join(os.WriteFile(h.job.slotsPath(), book, 0o600), os.WriteFile(history, before, 0o600)); err != nil {
		t.Fatal(err)
	}
	nas.Fail = nil

	slots, err := h.job.slots()
	if err != nil {
		t.Fatal(err)
	}
	runs, err := readRuns(h.job.History(), h.now, 0)
	if runs.interrupted(slots); err != nil || runs.failed != nil || runs.good == nil || runs.good.Archive != killed.Archive || runs.good.Written != killed.Written {
		t.Errorf("what statusof knows: %+v, %v", runs, err)
	}
	js := JobStatus{ID: h.job.ID, LastGood: runs.good}
	newLook(t.Context(), h.env, nil).copies(&js, h.job.Options)
	if len(js.Problems) != 2 || !strings.Contains(js.Problems[0].Why, "is 1 archive behind since") || !strings.Contains(js.Problems[0].Why, "interrupted while it made copies") {
		t.Errorf("what statusof says: %+v", js.Problems)
	}

	r, err := h.start(0, "02:45")
	if err != nil || r.Archive != killed.Archive || !r.CopiesOnly || r.WarningCount != 0 || !slices.Equal(r.Copies[0].Archives, []string{killed.Archive}) {
		t.Errorf("got %+v, %v", r, err)
	}
	if got := h.titles(); got != titleWarnings+", "+titleCopies {
		t.Errorf("got messages %q", got)
	}
	if l, err := List(t.Context(), h.env, ListOptions{Dest: h.job.Options.Dest}); err != nil || len(l.Archives) != 2 || len(kept(nas)) != 2 {
		t.Errorf("got %+v, %q, %v", l, kept(nas), err)
	}
	if l, err := List(t.Context(), h.env, ListOptions{Dest: near}); err != nil || len(l.Archives) != 2 {
		t.Errorf("the other copy: %+v, %v", l, err)
	}
	all, err := h.job.History().Last(-1)
	if err != nil || len(all) != 3 || all[1].Result != ResultWarnings || all[1].Archive != killed.Archive || all[1].Slot.IsZero() || all[2].Result != ResultOK {
		t.Errorf("the history: %+v, %v", all, err)
	}
	if js := h.status(); len(js.Problems) != 0 {
		t.Errorf("all is well again: %+v", js.Problems)
	}
	if again, err := h.start(0, "03:00"); err != nil || again.Nothing == "" {
		t.Errorf("the slot was tried again: %+v, %v", again, err)
	}
	if r, err := h.start(1, "02:30"); err != nil || r.CopiesOnly || len(r.Copies[0].Archives) != 1 {
		t.Errorf("the next night: %+v, %v", r, err)
	}
}

// What somebody has removed of the copies is told of before the next run finds out; but a
// disk or a server that is not there says nothing.
func TestCopiesGone(t *testing.T) {
	t.Parallel()
	h, nas, near := newCopyJob(t)
	var last Report
	for day := range 2 {
		var err error
		if last, err = h.start(min(day, 1), "02:30"); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, problems ...string) {
		t.Helper()
		js := h.status()
		if len(js.Problems) != len(problems) {
			t.Fatalf("%s: %+v", what, js.Problems)
		}
		for i, p := range js.Problems {
			contains(t, what, p.Why, problems[i])
		}
	}
	want("all is well")
	if err := os.Remove(filepath.Join(near, last.Archive)); err != nil {
		t.Fatal(err)
	}
	want("the newest", "its newest copy, "+last.Archive+", is gone from "+near)
	nas.Fail = func(method, key string) error { return &store.Error{Op: method, Path: key, Err: errDown} }
	want("a server that is down", "its newest copy, ")
	nas.Fail = nil
	for _, key := range nas.Keys() {
		if err := nas.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	want("all of them", "its copies are gone from sftp://nas/b, all of them", "its newest copy, ")
	disk := near + ".disk"
	if err := errors.Join(os.Rename(near, disk), os.Mkdir(near, 0o700)); err != nil {
		t.Fatal(err)
	}
	want("a disk that is not mounted", "its copies are gone from sftp://nas/b")
	if err := errors.Join(os.Remove(near), os.Rename(disk, near)); err != nil {
		t.Fatal(err)
	}
	if r, err := RunJob(t.Context(), h.env, h.job, RunOnce{Now: true}); err != nil || r.WarningCount != 0 {
		t.Fatalf("got %+v, %v", r, err)
	}
	want("sent again")
}

// A copy that takes long does not keep the next run from its time: what is left then is
// left to that.
func TestCopySlow(t *testing.T) {
	t.Parallel()
	h, nas, _ := newCopyJob(t)
	nas.Fail = func(method, key string) error { return &store.Error{Op: method, Path: key, Err: errDown} }
	for range 3 {
		if _, err := h.start(1, "02:30"); err != nil {
			t.Fatal(err)
		}
	}
	nas.Fail = func(method, key string) error {
		if _, ours := rotate.ParseName(key); ours && method == "commit" {
			h.now = h.now.Add(25 * time.Hour)
		}
		return nil
	}
	r, err := h.start(1, "02:30")
	if c := r.Copies[0]; err != nil || r.WarningCount != 1 || len(c.Archives) != 1 || c.Behind != 3 || !strings.Contains(c.Error, "the next run is due") {
		t.Errorf("got %+v, %v", r, err)
	}
	nas.Fail = nil
	if r, err = RunJob(t.Context(), h.env, h.job, RunOnce{}); err != nil || r.WarningCount != 0 || len(r.Copies[0].Archives) != 4 {
		t.Errorf("the next run: %+v, %v", r, err)
	}
}

// The lock that a killed run of the same job left at a service is waited for.
func TestCopyLockOfKilled(t *testing.T) {
	t.Parallel()
	h, nas, _ := newCopyJob(t)
	lock := func(job string, left time.Duration) {
		nas.Set(".tinybackup/notes.series.lock", fmt.Sprintf(`{"pid": 1, "host": %q, "job": %q, "token": "x", "until": %q}`,
			h.env.hostName(), job, time.Now().Add(left).Format(time.RFC3339Nano)))
	}
	lock("0000000b", time.Minute)
	if r, err := h.start(0, "02:30"); err != nil || r.WarningCount != 1 || !strings.Contains(r.Copies[0].Error, "another run holds the lock") {
		t.Errorf("another job's: %+v, %v", r, err)
	}
	lock(h.job.ID, time.Second)
	if r, err := h.start(1, "02:30"); err != nil || r.WarningCount != 0 || len(r.Copies[0].Archives) != 2 {
		t.Errorf("got %+v, %v", r, err)
	}
}
