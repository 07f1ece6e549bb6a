package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"tinybackup/internal/sched"
)

// A witness sees what two schedulers do to the entries of a job, lets one step
// fail, and finds the moments at which nobody would start the job.
type witness struct {
	steps   int
	failAt  int // the step that fails, counted from 1
	half    bool
	seen    []*witnessed
	without bool // at some moment there was no entry
}

func (w *witness) step() error {
	if w.steps++; w.steps == w.failAt {
		return fmt.Errorf("step %d fails", w.steps)
	}
	return nil
}

func (w *witness) look() {
	if !slices.ContainsFunc(w.seen, func(s *witnessed) bool { return len(s.entries) > 0 }) {
		w.without = true
	}
}

// witnessed is a scheduler that a witness looks at.
type witnessed struct {
	*memoryScheduler
	w *witness
}

func (s *witnessed) Add(ctx context.Context, e sched.Entry) error {
	err := s.w.step()
	if err == nil || s.w.half {
		err = errors.Join(err, s.memoryScheduler.Add(ctx, e))
	}
	s.w.look()
	return err
}

func (s *witnessed) Remove(ctx context.Context, job string) (int, error) {
	err := s.w.step()
	if err != nil && !s.w.half {
		return 0, err
	}
	n, err2 := s.memoryScheduler.Remove(ctx, job)
	s.w.look()
	return n, errors.Join(err, err2)
}

// Whichever step of an update fails, before or after it has done its work, all is
// as it was; and there is a line at every moment, also if all goes well.
func TestUpdateAllOrNothing(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"cron", "at"} {
		steps := map[string]int{"cron": 2, "at": 3}[to] // preflight, Add, and Remove from the old one
		for failAt := 0; failAt <= steps; failAt++ {
			for _, half := range []bool{false, true} {
				t.Run(fmt.Sprintf("to %s, step %d, half done %v", to, failAt, half), func(t *testing.T) {
					t.Parallel()
					updateWithFault(t, to, failAt, half)
				})
			}
		}
	}
}

// updateWithFault moves a job of cron from 2:30 to 3:30, and to another scheduler;
// its step failAt fails, none if that is 0.
func updateWithFault(t *testing.T, to string, failAt int, half bool) {
	w := &witness{}
	env, source, dest := memoryEnv(t, nil)
	w.seen = []*witnessed{{&memoryScheduler{name: "cron"}, w}, {&memoryScheduler{name: "at"}, w}}
	env.schedulers = []sched.Scheduler{w.seen[0], w.seen[1]}
	env.preflight = func(context.Context, sched.Surroundings, string) error { return w.step() }
	install := func(time, scheduler string) ([]InstalledJob, error) {
		n := NewJob{Options: Options{Source: source, Dest: dest}, Time: time}
		return Install(t.Context(), env, InstallOptions{Scheduler: scheduler, Jobs: []NewJob{n}})
	}
	first, err := install("2:30", "cron")
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(first[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	w.steps, w.failAt, w.half, w.without = 0, failAt, half, false
	second, err := install("3:30", to)
	if (err != nil) != (failAt > 0) {
		t.Errorf("got error %v", err)
	}
	if w.without {
		t.Error("there was a moment without a line")
	}
	after, err := os.ReadFile(first[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	keeper, fields := "cron", "30 2 * * *"
	if failAt == 0 {
		keeper, fields = to, "30 3 * * *"
		if second[0].ID != first[0].ID || !second[0].Updated || !strings.Contains(string(after), "time = 3:30") {
			t.Errorf("got %+v, and the file\n%s", second, after)
		}
	} else if string(after) != string(before) {
		t.Errorf("the file is\n%s, want\n%s", after, before)
	}
	for _, s := range w.seen {
		var got []string
		for _, e := range s.entries {
			got = append(got, fieldsOf(e.Spec))
		}
		if (s.name == keeper) != slices.Equal(got, []string{fields}) || (s.name != keeper && len(got) > 0) {
			t.Errorf("%s has %q, and %s should have %q", s.name, got, keeper, fields)
		}
	}
}
