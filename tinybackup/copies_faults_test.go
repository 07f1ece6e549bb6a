package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tinybackup/internal/store"
	"tinybackup/internal/store/storetest"
)

var errDown = errors.New("no route to host")

// One that is down neither hides nor undoes another, and gets what it missed when it is
// back: what is still at hand, and what its own policy will keep.
func TestCopyDown(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "sftp://nas/b", "sftp://other/b")
	down, up := b.far["sftp://nas/b"], b.far["sftp://other/b"]
	copies := func(o *Options) {
		o.Keep = 3
		to("sftp://nas/b keep=all", "sftp://other/b keep=all")(o)
	}
	var all []string
	run := func() Report {
		t.Helper()
		b.write("todo.txt", fmt.Sprint("version ", len(all)))
		r := b.good(copies)
		all = append(all, r.Archive)
		return r
	}
	run()
	var slept []time.Duration
	b.env.sleep = func(_ context.Context, d time.Duration) error { slept = append(slept, d); return nil }
	down.Fail = func(string, string) error { return &store.Error{Op: "connect to", Path: "nas", Err: errDown} }
	for i := range 4 {
		r := run()
		c := r.Copies[0]
		if r.WarningCount != 1 || r.Warnings[0] != "copy to sftp://nas/b: connect to: no route to host" || !strings.Contains(c.Error, "no route") {
			t.Errorf("down: %+v", r)
		}
		if len(c.Archives) != 0 || c.Behind != min(i+2, 3) || r.Copies[1].Error != "" || r.Kept != min(i+2, 3) {
			t.Errorf("down: %+v", r)
		}
	}
	if len(slept) != 4*len(copyPauses) {
		t.Errorf("waited %v for further attempts", slept)
	}
	b.same(up, all...)
	down.Fail = nil
	r := run()
	if c := r.Copies[0]; r.WarningCount != 0 || !slices.Equal(c.Archives, all[3:]) || c.Missed != 2 || c.Behind != 0 {
		t.Errorf("back again: %+v", r)
	}
	b.same(down, append(all[:1:1], all[3:]...)...)
}

// A connection that broke is tried again within the run.
func TestCopyTriesAgain(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "sftp://nas/b")
	var failed atomic.Bool
	b.far["sftp://nas/b"].Fail = func(method, _ string) error {
		if method == "write" && failed.CompareAndSwap(false, true) {
			return &store.Error{Op: "write", Path: "nas", Err: errDown}
		}
		return nil
	}
	r := b.good(to("sftp://nas/b"))
	if !failed.Load() || r.WarningCount != 0 || len(r.Copies[0].Archives) != 1 {
		t.Errorf("got %+v", r)
	}
	b.same(b.far["sftp://nas/b"], r.Archive)
}

// Whichever call of the service fails, alone or with all after it: the backup is right, the copy
// has whole archives only, and the next run makes it whole.
func TestCopyFaults(t *testing.T) {
	t.Parallel()
	const dest = "sftp://nas/b"
	for k := int64(1); ; k += int64(times(11, 1)) {
		b := newCopyBench(t, dest)
		m := b.far[dest]
		copies := func(o *Options) {
			o.Keep = 2
			to(dest)(o)
		}
		var all []string
		for i := range 2 {
			b.write("todo.txt", fmt.Sprint("version ", i))
			all = append(all, b.good(copies).Archive)
		}
		var calls atomic.Int64
		once := k%2 == 0 // or all that follow, too
		m.Fail = func(method, key string) error {
			if n := calls.Add(1); n == (k+1)/2 || !once && n > (k+1)/2 {
				return &store.Error{Op: method, Path: key, Err: errDown}
			}
			return nil
		}
		b.write("todo.txt", "version 2")
		r := b.good(copies)
		all = append(all, r.Archive)
		hit := calls.Load() >= (k+1)/2
		if got := b.archives(); !slices.Equal(got, all[1:]) {
			t.Fatalf("call %d: the destination has %q", k, got)
		}
		m.Fail = nil
		m.Set(".tinybackup/notes.series.lock", "") // whose process is gone, when the next run comes
		checkWhole(t, b, m, k)
		b.write("todo.txt", "version 3")
		r = b.good(copies)
		all = append(all, r.Archive)
		if r.WarningCount != 0 {
			t.Fatalf("call %d: the next run warns of %q", k, r.Warnings)
		}
		b.same(m, all[2:]...)
		if t.Failed() || !hit {
			if k < 40 {
				t.Errorf("only %d calls were made", k/2)
			}
			return
		}
	}
}

// checkWhole verifies all that a copy has.
func checkWhole(t *testing.T, b *copyBench, m *storetest.Memory, k int64) {
	t.Helper()
	v, err := Verify(t.Context(), b.env, VerifyOptions{From: "sftp://nas/b"})
	// Lines of archives that are gone may be left for the next run.
	if err != nil || v.Bad() != len(v.Missing) || len(kept(m)) == 0 {
		t.Fatalf("call %d: the copy has %q: %+v, %v", k, kept(m), v, err)
	}
}

// A destination that hangs is left alone, and the next one has its turn.
func TestCopyHangs(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "sftp://dead/b", "sftp://nas/b")
	stuck := make(chan struct{})
	defer close(stuck)
	b.far["sftp://dead/b"].Fail = func(method, _ string) error {
		if method == "write" {
			<-stuck
		}
		return nil
	}
	r := b.good(func(o *Options) {
		o.StallTimeout = Limit(time.Second)
		to("sftp://dead/b", "sftp://nas/b")(o)
	})
	if c := r.Copies[0]; r.WarningCount != 1 || !strings.Contains(c.Error, "it hangs, and was given up") || c.Behind != 1 || len(r.Copies[1].Archives) != 1 {
		t.Errorf("got %+v", r)
	}
	b.same(b.far["sftp://nas/b"], r.Archive)
}

// What was told of a run that is ended by a signal is true: the archive is stored, and
// the copies are behind.
func TestCopySignal(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t, "sftp://a/b", "sftp://b/b")
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	b.far["sftp://a/b"].Fail = func(method, _ string) error {
		if method == "create" {
			cancel(why)
		}
		return nil
	}
	o := Options{Source: b.src, Dest: b.dst}
	to("sftp://a/b", "sftp://b/b")(&o)
	r, err := Run(ctx, b.env, o, "")
	if err != nil || r.WarningCount != 2 || len(b.archives()) != 1 {
		t.Fatalf("got %+v, %v", r, err)
	}
	for _, c := range r.Copies {
		if c.Behind != 1 || !strings.Contains(c.Error, "enough") {
			t.Errorf("got %+v", c)
		}
	}
	if names := append(kept(b.far["sftp://a/b"]), kept(b.far["sftp://b/b"])...); names != nil {
		t.Errorf("the copies have %q", names)
	}
}
