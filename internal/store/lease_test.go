package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tinybackup/internal/store"
	"tinybackup/internal/store/storetest"
)

const leaseKey = ".tinybackup/a.series.lock"

func lockOf(t *testing.T, m *storetest.Memory, pid int) (*store.Remote, func() error, error) {
	t.Helper()
	r := store.NewRemote(m)
	unlock, err := r.Lock(t.Context(), "a", store.Holder{PID: pid, Host: "here"}, 0)
	return r, unlock, err
}

func wantLocked(t *testing.T, err error, pid int) {
	t.Helper()
	var locked *store.LockedError
	if !errors.As(err, &locked) || locked.PID != pid {
		t.Fatalf("got %v, want it locked by %d", err, pid)
	}
}

// A run that is there keeps its lock for hours; one that is cut off loses it, finds out,
// and names nothing any more.
func TestLeaseTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		var cut atomic.Bool
		m.Fail = func(method, key string) error {
			if cut.Load() && method == "put" {
				return errors.New("no route to host")
			}
			return nil
		}
		first, unlock, err := lockOf(t, m, 1)
		if err != nil {
			t.Fatal(err)
		}
		p, err := first.Create(t.Context(), "a-1")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		time.Sleep(7*time.Hour + time.Second)
		_, _, err = lockOf(t, m, 2)
		wantLocked(t, err, 1)

		cut.Store(true)
		time.Sleep(4 * time.Minute)
		_, _, err = lockOf(t, m, 2)
		wantLocked(t, err, 1)
		if err := p.Commit(); err == nil {
			t.Error("Commit while cut off: got nil, want an error")
		}
		time.Sleep(2 * time.Minute)
		cut.Store(false)
		// What was cut off is renewed only a little later: the other one is quicker.
		second, unlock2, err := lockOf(t, m, 2)
		if err != nil {
			t.Fatalf("after its time: %v", err)
		}
		late, err := first.Create(t.Context(), "a-2")
		if err != nil {
			t.Fatal(err)
		}
		defer late.Close()
		for op, err := range map[string]error{"Commit": late.Commit(), "Remove": first.Remove(t.Context(), "a-0")} {
			if err == nil || !strings.Contains(err.Error(), "another run has taken the lock") {
				t.Errorf("%s of the one that lost the lock: got %v", op, err)
			}
		}
		if err := unlock(); err != nil {
			t.Errorf("unlock of what is lost: %v", err)
		}
		_, _, err = lockOf(t, m, 3)
		wantLocked(t, err, 2)
		storetest.Put(t, second, "a-3", []byte("x"))
		if err := unlock2(); err != nil {
			t.Error(err)
		}
		if _, unlock, err := lockOf(t, m, 3); err != nil {
			t.Errorf("after the unlock: %v", err)
		} else if err := unlock(); err != nil {
			t.Error(err)
		}
	})
}

// What a killed process of this machine held is free at once; what one of another
// machine holds, whose number is nobody's here, is not.
func TestLeaseOfTheDead(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory()
	_, _, err := lockOf(t, m, 1)
	if err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	number := func(pid int) string { return fmt.Sprintf(`"process":%d,`, pid) }
	dead := strings.Replace(m.Object(leaseKey), number(os.Getpid()), number(gone.Process.Pid), 1)
	m.Set(leaseKey, dead)
	if _, unlock, err := lockOf(t, m, 2); err != nil {
		t.Errorf("of a process that is gone: %v", err)
	} else {
		unlock()
	}
	m.Set(leaseKey, strings.Replace(dead, `"where":"`, `"where":"elsewhere `, 1))
	_, _, err = lockOf(t, m, 2)
	wantLocked(t, err, 1)
}

// Of many that come at once, one gets it: each time.
func TestLeaseOnce(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory()
	for range 20 {
		won := make(chan func() error, 16)
		errs := make(chan error, 16)
		for pid := range cap(won) {
			go func() {
				_, unlock, err := lockOf(t, m, pid+1)
				if err == nil {
					won <- unlock
				}
				errs <- err
			}()
		}
		for range cap(won) {
			err := <-errs
			if locked := (*store.LockedError)(nil); err != nil && !errors.As(err, &locked) {
				t.Errorf("got %v", err)
			}
		}
		if len(won) != 1 {
			t.Fatalf("%d got the lock, want 1", len(won))
		}
		if err := (<-won)(); err != nil {
			t.Error(err)
		}
	}
}

// Whatever a single call answers when the lock is taken, renewed or released, nobody
// else can be sure of it meanwhile, and no answer keeps it for ever.
func TestLeaseLostAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		r, unlock, err := lockOf(t, m, 1)
		if err != nil {
			t.Fatal(err)
		}
		m.Touch(leaseKey) // as if a renewal had been made whose answer got lost
		time.Sleep(30 * time.Second)
		storetest.Put(t, r, "a-1", []byte("x"))
		m.Touch(leaseKey)
		if err := unlock(); err != nil {
			t.Error(err)
		}
		if _, unlock, err := lockOf(t, m, 2); err != nil {
			t.Errorf("after the unlock: %v", err)
		} else {
			unlock()
		}
	})
}

// That the clock of this machine is set while a lock is held ends nothing. As far as the
// two of them go, it is as if that of the service were.
func TestLeaseClockIsSet(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{-3 * time.Hour, 15 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			m := storetest.NewMemory()
			r, unlock, err := lockOf(t, m, 1)
			if err != nil {
				t.Fatal(err)
			}
			waiting := make(chan error, 1)
			go func() {
				second, err := store.NewRemote(m).Lock(t.Context(), "a", store.Holder{PID: 2, Host: "there"}, time.Hour)
				if err == nil {
					defer second()
				}
				waiting <- err
			}()
			time.Sleep(30 * time.Second)
			if len(waiting) > 0 {
				t.Fatalf("by %v: the other one got it, or failed: %v", step, <-waiting)
			}
			var object map[string]any
			if err := json.Unmarshal([]byte(m.Object(leaseKey)), &object); err != nil {
				t.Fatal(err)
			}
			m.SetClock(step)
			object["until"] = time.Now().Add(step + 270*time.Second)
			data, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			m.Set(leaseKey, string(data))
			time.Sleep(10 * time.Minute)
			storetest.Put(t, r, "a-1", []byte("x"))
			if len(waiting) > 0 {
				t.Errorf("by %v: the other one got it, or failed: %v", step, <-waiting)
			}
			if err := unlock(); err != nil {
				t.Error(err)
			}
			if err := <-waiting; err != nil {
				t.Error(err)
			}
		})
	}
}

// lossy is a service whose answers to some puts are lost: what is tried again finds that
// something was changed meanwhile.
type lossy struct {
	*storetest.Memory
	lose int // so many answers
}

func (l *lossy) Put(ctx context.Context, key string, data []byte, only store.Version) (store.Version, error) {
	ver, err := l.Memory.Put(ctx, key, data, only)
	if err == nil && l.lose > 0 {
		l.lose--
		return "", &store.Error{Op: "put", Path: key, Err: store.ErrConflict}
	}
	return ver, err
}

// Whose answer to taking the lock was lost has it all the same.
func TestLeaseTakenUnheard(t *testing.T) {
	t.Parallel()
	r := store.NewRemote(&lossy{Memory: storetest.NewMemory(), lose: 2})
	unlock, err := r.Lock(t.Context(), "a", store.Holder{PID: 1, Host: "here"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Put(t, r, "a-1", []byte("x"))
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

// A renewal that hangs is given up in time for another one.
func TestLeaseRenewalHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		deaf := &deaf{Memory: m}
		r := store.NewRemote(deaf)
		unlock, err := r.Lock(t.Context(), "a", store.Holder{PID: 1, Host: "here"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		deaf.next.Store(true)
		time.Sleep(6*time.Minute + 30*time.Second)
		_, _, err = lockOf(t, m, 2)
		wantLocked(t, err, 1)
		storetest.Put(t, r, "a-1", []byte("x"))
		if err := unlock(); err != nil {
			t.Error(err)
		}
	})
}

// deaf is a service that does not answer the next put for a while.
type deaf struct {
	*storetest.Memory
	next atomic.Bool
}

func (d *deaf) Put(ctx context.Context, key string, data []byte, only store.Version) (store.Version, error) {
	if d.next.Swap(false) {
		select {
		case <-ctx.Done():
			return "", &store.Error{Op: "put", Path: key, Err: context.Cause(ctx)}
		case <-time.After(6 * time.Minute):
		}
	}
	return d.Memory.Put(ctx, key, data, only)
}

// A run that has lost its lock while it was out of reach takes nothing away that another
// one may have made since: no archive, nothing beside it, and no line about it.
func TestLeaseLostTakesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		m := storetest.NewMemory()
		first, unlock, err := lockOf(t, m, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		m.Set(leaseKey, `{"released":true}`) // it was asleep, and another one came and went
		second, unlock2, err := lockOf(t, m, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock2()
		storetest.Put(t, second, "a-1", []byte("x"))
		for _, err := range []error{
			second.WriteSide(ctx, "a-1.manifest", []byte("{}")),
			second.SetSums(ctx, map[string]string{"a-1": strings.Repeat("0", 64)}, nil),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		before := m.Keys()
		time.Sleep(30 * time.Second)
		for op, err := range map[string]error{
			"Remove":     first.Remove(ctx, "a-1"),
			"RemoveSide": first.RemoveSide(ctx, "a-1.manifest"),
			"SetSums":    first.SetSums(ctx, nil, []string{"a-1"}),
		} {
			if err == nil || !strings.Contains(err.Error(), "another run has taken the lock") {
				t.Errorf("%s: got %v", op, err)
			}
		}
		if got, err := second.Sums(ctx); err != nil || len(got) != 1 || !slices.Equal(m.Keys(), before) {
			t.Errorf("left are %q and the sums %v, %v", m.Keys(), got, err)
		}
	})
}

// heedless is a service that takes conditions and does not heed them.
type heedless struct{ *storetest.Memory }

func (h *heedless) Put(ctx context.Context, key string, data []byte, _ store.Version) (store.Version, error) {
	return h.Memory.Put(ctx, key, data, "")
}

// A run that has lost its lock finds out also where that cannot be made a condition, and
// leaves it to the other one.
func TestLeaseWithoutConditions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &heedless{storetest.NewMemory()}
		first := store.NewRemote(m)
		unlock, err := first.Lock(t.Context(), "a", store.Holder{PID: 1, Host: "here"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		m.Set(leaseKey, `{"released":true}`) // it was asleep, and another one came
		second := store.NewRemote(m)
		unlock2, err := second.Lock(t.Context(), "a", store.Holder{PID: 2, Host: "there"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if err := first.Remove(t.Context(), "a-1"); err == nil || !strings.Contains(err.Error(), "another run has taken the lock") {
			t.Errorf("of the one that lost the lock: got %v", err)
		}
		storetest.Put(t, second, "a-2", []byte("x"))
		if err := unlock2(); err != nil {
			t.Error(err)
		}
	})
}
