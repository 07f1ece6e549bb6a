package store_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
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
