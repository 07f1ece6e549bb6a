package sched

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fakeAt is at, atq and atrm in memory, with the words of at 3.2.5, that can be made to fail.
type fakeAt struct {
	jobs   []fakeAtJob
	last   int
	asleep bool                             // no atd
	old    bool                             // at before 3.2.4, which has no atq -o
	before func(p Program) (*Output, error) // may answer in its place
	calls  []string
	env    []string // of the last at
}

type fakeAtJob struct {
	id    int
	when  time.Time
	queue string
	user  string
	text  string
}

const atHead = "#!/bin/sh\n# atrun uid=0 gid=0\n# mail root 0\numask 22\nHOME=/root; export HOME\ncd / || {\n\t echo 'Execution directory inaccessible' >&2\n\t exit 1\n}\n"

func (f *fakeAt) put(when time.Time, queue, user, body string) int {
	f.last++
	f.jobs = append(f.jobs, fakeAtJob{f.last, when, queue, user, atHead + body + "\n"})
	return f.last
}

func (f *fakeAt) exec(ctx context.Context, p Program) (Output, error) {
	f.calls = append(f.calls, p.Name+strings.Join(p.Args[:min(1, len(p.Args))], ""))
	if f.before != nil {
		if out, err := f.before(p); out != nil || err != nil {
			if out == nil {
				out = &Output{}
			}
			return *out, err
		}
	}
	var out Output
	switch {
	case p.Name == "at" && p.Args[0] == "-q":
		f.env = p.Env
		when, err := time.Parse("200601021504", p.Args[3])
		if err != nil {
			return Output{Stderr: "invalid date format: " + p.Args[3] + "\n", Code: 1}, nil
		}
		id := f.put(when, p.Args[1], "root", p.Stdin)
		out.Stderr = fmt.Sprintf("warning: commands will be executed using /bin/sh\njob %d at %s\n", id, when.Format(time.ANSIC))
		if f.asleep {
			out.Stderr += "Can't open /run/atd.pid to signal atd. No atd running?\n"
		}
	case p.Name == "at":
		for _, job := range f.jobs {
			if strconv.Itoa(job.id) == p.Args[1] {
				return Output{Stdout: job.text}, nil
			}
		}
		return Output{Stderr: "Cannot find jobid " + p.Args[1] + "\n", Code: 1}, nil
	case p.Name == "atq" && f.old && len(p.Args) > 0:
		return Output{Stderr: "atq: invalid option -- 'o'\nUsage: at …\n", Code: 1}, nil
	case p.Name == "atq":
		for _, job := range f.jobs {
			when := job.when.Format(time.ANSIC)
			if len(p.Args) > 0 {
				when = strconv.FormatInt(job.when.Unix(), 10)
			}
			out.Stdout += fmt.Sprintf("%d\t%s %s %s\n", job.id, when, job.queue, job.user)
		}
	case p.Name == "atrm":
		for _, id := range p.Args {
			n := len(f.jobs)
			f.jobs = slices.DeleteFunc(f.jobs, func(job fakeAtJob) bool { return strconv.Itoa(job.id) == id })
			if len(f.jobs) == n {
				out.Stderr += "Cannot find jobid " + id + "\n"
				out.Code = 1
			}
		}
	}
	return out, nil
}

// count is how many jobs wait for ownJob.
func (f *fakeAt) count() (n int) {
	for _, job := range f.jobs {
		if job.queue == "t" && strings.Contains(job.text, " run --job "+ownJob+bodyEnd+"\n") {
			n++
		}
	}
	return n
}

var atNow = time.Date(2026, 11, 21, 9, 2, 3, 0, time.UTC)

func newAt(t *testing.T, f *fakeAt) *At {
	t.Helper()
	return &At{LockPath: filepath.Join(t.TempDir(), "lock"), Runner: Runner{Exec: f.exec}, Now: func() time.Time { return atNow }}
}

func atEntry(after time.Duration) Entry {
	return Entry{Job: ownJob, Binary: "/usr/local/bin/tinybackup", Next: atNow.Add(after)}
}

const ownBody = "'/usr/local/bin/tinybackup' run --job 3f2a91c0 </dev/null\n"

func TestAtAddListRemove(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("old %v", old), func(t *testing.T) {
			f := &fakeAt{old: old}
			f.put(atNow, "a", "root", "echo a person's")
			f.put(atNow, "t", "root", "echo a person's, in our queue")
			f.put(atNow.Add(2*time.Hour), "t", "tb", ownBody)
			f.put(atNow.Add(2*time.Hour), "t", "root", "'/b' run --job 00000001 </dev/null\n")
			f.put(atNow, "=", "root", ownBody)
			f.put(atNow.Add(3*time.Hour), "t", "root", ownBody)
			f.put(atNow.Add(3*time.Hour), "c", "root", ownBody)
			kept := slices.Clone(f.jobs)
			a := newAt(t, f)
			if err := a.Add(t.Context(), atEntry(time.Hour)); err != nil {
				t.Fatal(err)
			}
			entries, err := a.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, fmt.Sprintf("%s %s %s %v", e.Where, e.Job, e.Next.Format("15:04:05"), e.Running))
			}
			want := []string{"at job 5 3f2a91c0 09:02:03 true", "at job 8 3f2a91c0 10:03:00 false", "at job 4 00000001 11:02:03 false"}
			if old {
				want[0] = "at job 5 3f2a91c0 09:02:03 true"
			}
			if !slices.Equal(got, want) {
				t.Errorf("List: got %q, want %q", got, want)
			}
			if got := f.jobs[len(f.jobs)-1].text; got != atHead+ownBody+"\n" {
				t.Errorf("the job: got %q", got)
			}
			if n, err := a.Remove(t.Context(), ownJob); n != 1 || err != nil {
				t.Errorf("Remove: got %d, %v, want 1", n, err)
			}
			if n, err := a.Remove(t.Context(), ownJob); n != 0 || err != nil {
				t.Errorf("Remove again: got %d, %v, want 0", n, err)
			}
			kept = slices.DeleteFunc(kept, func(job fakeAtJob) bool { return job.id == 6 })
			if !slices.Equal(f.jobs, kept) {
				t.Errorf("what is left: got %v, want %v", f.jobs, kept)
			}
		})
	}
}

func TestAtRetry(t *testing.T) {
	f := &fakeAt{}
	f.put(atNow, "=", "root", ownBody) // the run that failed
	a := newAt(t, f)
	for _, after := range []time.Duration{24 * time.Hour, 5 * time.Minute, 10 * time.Minute} {
		if err := a.Retry(t.Context(), atEntry(after)); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.count(); got != 1 {
		t.Fatalf("jobs that wait: got %d, want 1", got)
	}
	want, _ := roundUp(atNow.Add(10 * time.Minute))
	if got := f.jobs[len(f.jobs)-1].when; !got.Equal(want) {
		t.Errorf("the next try: got %s, want %s", got, want)
	}
}

func TestAtRoundsUp(t *testing.T) {
	for _, test := range []struct{ next, want string }{
		{"2026-11-21T09:02:00Z", "202611210902"},
		{"2026-11-21T09:02:00.000000001Z", "202611210903"},
		{"2026-11-21T09:02:01Z", "202611210903"},
		{"2026-12-31T23:59:59Z", "202701010000"},
		{"2027-03-28T02:30:00+01:00", "202703280130"}, // a night with a gap in Berlin
		{"2027-10-31T02:30:00+01:00", "202710310130"}, // the second 02:30 of one with a repeat
		{"2027-10-31T02:30:00+02:00", "202710310030"},
	} {
		next, err := time.Parse(time.RFC3339Nano, test.next)
		if err != nil {
			t.Fatal(err)
		}
		line, err := (&At{}).Line(Entry{Job: ownJob, Binary: "/usr/local/bin/tinybackup", Next: next})
		want := "cd / && TZ=UTC0 at -q t -t " + test.want + " <<'END'\n" + ownBody + "END"
		if err != nil || line != want {
			t.Errorf("%s: got %q, %v, want %q", test.next, line, err, want)
		}
	}
	for name, e := range map[string]Entry{
		"no time":      {Job: ownJob, Binary: "/b"},
		"year 10000":   {Job: ownJob, Binary: "/b", Next: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"before 1970":  {Job: ownJob, Binary: "/b", Next: time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)},
		"relative":     {Job: ownJob, Binary: "b", Next: atNow},
		"two lines":    {Job: ownJob, Binary: "/b\nEND", Next: atNow},
		"no such job":  {Job: "notes", Binary: "/b", Next: atNow},
		"job on lines": {Job: "/x\n/y", Binary: "/b", Next: atNow},
	} {
		f := &fakeAt{}
		if line, err := newAt(t, f).Line(e); err == nil {
			t.Errorf("%s: got %q, want an error", name, line)
		}
		if err := newAt(t, f).Add(t.Context(), e); err == nil || len(f.calls) != 0 {
			t.Errorf("%s: Add gave %v and called %v", name, err, f.calls)
		}
	}
	for _, queue := range []byte{'b', 'A', '=', '1', ' '} {
		if line, err := (&At{Queue: queue}).Line(atEntry(0)); err == nil {
			t.Errorf("queue %q: got %q, want an error", queue, line)
		}
	}
	if err := (&At{}).Express(nil); err != nil {
		t.Errorf("Express: %v", err)
	}
}

func TestAtTestClock(t *testing.T) {
	const clock = "1700000000 123 60"
	f := &fakeAt{}
	t.Setenv("SECRET_TOKEN", "hush")
	if err := newAt(t, f).Add(t.Context(), atEntry(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(f.env, "\n"); strings.Contains(all, TestClockVariable) || strings.Contains(all, "hush") || !strings.Contains(all, "TZ=UTC0") {
		t.Errorf("the environment: got %s", all)
	}
	t.Setenv(TestClockVariable, clock)
	if err := newAt(t, f).Add(t.Context(), atEntry(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(f.env, TestClockVariable+"="+clock) {
		t.Errorf("the environment lacks the clock: %v", f.env)
	}
}

// Whichever step fails, a job that was queued stays queued or has its successor.
func TestAtFailures(t *testing.T) {
	steps := []string{"atq-o", "at-c", "at-q", "at-c", "atq-o", "atrm2", "atq-o"}
	for call := range steps {
		for _, fault := range []struct {
			name string
			out  *Output
			err  error
		}{
			{"status 1", &Output{Stderr: "Cannot open lockfile /var/spool/cron/atjobs/.SEQ: Disk quota exceeded\n", Code: 1}, nil},
			{"killed", nil, errors.New("signal: killed")},
			{"not there", nil, exec.ErrNotFound},
		} {
			t.Run(fmt.Sprintf("call %d (%s), %s", call+1, steps[call], fault.name), func(t *testing.T) {
				f := &fakeAt{}
				f.put(atNow, "a", "root", "echo a person's")
				f.put(atNow.Add(time.Hour), "t", "root", ownBody)
				f.before = func(p Program) (*Output, error) {
					if len(f.calls) == call+1 {
						return fault.out, fault.err
					}
					return nil, nil
				}
				err := newAt(t, f).Add(t.Context(), atEntry(2*time.Hour))
				if err == nil {
					t.Fatal("no error")
				}
				if got := f.calls[call]; got != steps[call] {
					t.Fatalf("call %d is %s, not %s: the table of this test is out of date", call+1, got, steps[call])
				}
				if n := f.count(); n < 1 || n > 2 {
					t.Errorf("%d jobs are queued after %v, want 1 or 2: %v", n, err, f.jobs)
				}
				if f.jobs[0].queue != "a" {
					t.Errorf("the foreign job has gone: %v", f.jobs)
				}
			})
		}
	}
}

func TestAtVerifies(t *testing.T) {
	for _, test := range []struct {
		name  string
		after time.Duration
		spoil func(f *fakeAt, p Program) *Output // after at -q has queued the job
		says  string                             // "": no error
		jobs  int
	}{
		{name: "another text", after: time.Hour, says: "reads back", jobs: 2, spoil: func(f *fakeAt, p Program) *Output {
			f.jobs[len(f.jobs)-1].text = atHead + "echo another's\n"
			return nil
		}},
		{name: "another minute", after: time.Hour, says: "for 2026-11-21T09:03:00Z instead", jobs: 1, spoil: func(f *fakeAt, p Program) *Output {
			job := &f.jobs[len(f.jobs)-1]
			job.when = job.when.Add(-time.Hour)
			return nil
		}},
		{name: "another queue", after: time.Hour, says: `in 'a'`, jobs: 1, spoil: func(f *fakeAt, p Program) *Output {
			f.jobs[len(f.jobs)-1].queue = "a"
			return nil
		}},
		{name: "gone", after: time.Hour, says: "not in the queue", jobs: 1, spoil: func(f *fakeAt, p Program) *Output {
			f.jobs = f.jobs[:len(f.jobs)-1]
			return nil
		}},
		{name: "started", after: 0, jobs: 1, spoil: func(f *fakeAt, p Program) *Output {
			f.jobs[len(f.jobs)-1].queue = "="
			return nil
		}},
		{name: "run already", after: -time.Hour, jobs: 0, spoil: func(f *fakeAt, p Program) *Output {
			f.jobs = f.jobs[:len(f.jobs)-1]
			return nil
		}},
		{name: "no number", after: time.Hour, says: "no job number", jobs: 2, spoil: func(f *fakeAt, p Program) *Output {
			return &Output{Stderr: "warning: commands will be executed using /bin/sh\n"}
		}},
		{name: "RHEL's wrapping", after: time.Hour, jobs: 1, spoil: func(f *fakeAt, p Program) *Output {
			f.jobs[len(f.jobs)-1].text = atHead + "${SHELL:-/bin/sh} << 'marcinDELIMITER3c8750f7'\n" + ownBody + "\nmarcinDELIMITER3c8750f7\n"
			return nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fakeAt{}
			f.put(atNow.Add(time.Minute), "t", "root", ownBody)
			f.before = func(p Program) (*Output, error) {
				if p.Name != "at" || p.Args[0] != "-q" {
					return nil, nil
				}
				f.before = nil
				out, err := f.exec(t.Context(), p)
				if spoilt := test.spoil(f, p); spoilt != nil {
					out = *spoilt
				}
				return &out, err
			}
			err := newAt(t, f).Add(t.Context(), atEntry(test.after))
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("got %v, want an error that says %q", err, test.says)
			}
			if got := len(f.jobs); got != test.jobs && test.name != "started" {
				t.Errorf("%d jobs, want %d: %v", got, test.jobs, f.jobs)
			}
		})
	}
}

// A job that is just being started is listed twice: it runs.
func TestAtJobThatStarts(t *testing.T) {
	f := &fakeAt{}
	f.put(atNow, "t", "root", ownBody)
	started := f.jobs[0]
	started.queue = "="
	for _, order := range [][]fakeAtJob{{f.jobs[0], started}, {started, f.jobs[0]}} {
		f.jobs = order
		entries, err := newAt(t, f).List(t.Context())
		if err != nil || len(entries) != 1 || !entries[0].Running {
			t.Errorf("got %+v, %v, want one that runs", entries, err)
		}
	}
}

// A job may be run or removed while atq or at -c look; atq then gives up, and has to be asked again.
func TestAtJobsThatVanish(t *testing.T) {
	f := &fakeAt{}
	f.put(atNow.Add(time.Hour), "t", "root", ownBody)
	f.put(atNow.Add(time.Hour), "t", "root", "'/b' run --job 00000001 </dev/null\n")
	asked, opened := 0, false
	f.before = func(p Program) (*Output, error) {
		switch {
		case p.Name == "at" && p.Args[1] == "1" && !opened:
			opened = true
			return &Output{Stderr: "Cannot open =0001401c88fa8: No such file or directory\n", Code: 1}, nil
		case p.Name == "atq" && asked < 3:
			asked++
			return &Output{Stdout: "2\t179", Stderr: "Cannot stat in /var/spool/cron/atjobs: No such file or directory\n", Code: 1}, nil
		case p.Name == "at" && p.Args[1] == "1":
			return &Output{Stderr: "Cannot find jobid 1\n", Code: 1}, nil
		}
		return nil, nil
	}
	entries, err := newAt(t, f).List(t.Context())
	if err != nil || len(entries) != 1 || entries[0].Job != "00000001" {
		t.Errorf("got %+v, %v, want the one that is left", entries, err)
	}
	f.before = func(p Program) (*Output, error) {
		return &Output{Stderr: "Cannot stat in /var/spool/cron/atjobs: Input/output error\n", Code: 1}, nil
	}
	if _, err := newAt(t, f).List(t.Context()); err == nil || !strings.Contains(err.Error(), "Cannot stat") {
		t.Errorf("for ever: got %v, want an error", err)
	}
}

func TestAtRemoveVerifies(t *testing.T) {
	f := &fakeAt{}
	f.put(atNow.Add(time.Hour), "t", "root", ownBody)
	f.put(atNow.Add(2*time.Hour), "t", "root", ownBody)
	f.before = func(p Program) (*Output, error) {
		if p.Name == "atrm" {
			return &Output{}, nil // and nothing is done
		}
		return nil, nil
	}
	if n, err := newAt(t, f).Remove(t.Context(), ownJob); err == nil {
		t.Errorf("jobs that stay: got %d, %v, want an error", n, err)
	}
	f.before = func(p Program) (*Output, error) {
		if p.Name == "atrm" { // the first one starts just now
			f.before = nil
			f.jobs = f.jobs[1:]
		}
		return nil, nil
	}
	if n, err := newAt(t, f).Remove(t.Context(), ownJob); n != 1 || err != nil || len(f.jobs) != 0 {
		t.Errorf("one that has started: got %d, %v, %v, want 1", n, err, f.jobs)
	}
}

func TestAtAsleep(t *testing.T) {
	f := &fakeAt{asleep: true}
	f.put(atNow.Add(time.Hour), "t", "root", ownBody)
	a := newAt(t, f)
	err := a.Add(t.Context(), atEntry(2*time.Hour))
	if !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v, want ErrNotRunning", err)
	}
	if n := f.count(); n != 1 || f.jobs[0].id != 2 {
		t.Errorf("the queue: got %v, want the new job alone", f.jobs)
	}
	for _, wording := range []string{"Can't open /var/run/atd.pid to signal atd. No atd running?", "Warning: at daemon not running"} {
		if !atdAsleep.MatchString(wording) {
			t.Errorf("%q is not known", wording)
		}
	}
}

func TestAtCheck(t *testing.T) {
	alive := tree(t, map[string]string{"proc/1/stat": "1 (init) S 0", "run/atd.pid": "9\n", "proc/9/stat": "9 (atd) S 1"})
	dead := tree(t, map[string]string{"proc/1/stat": "1 (init) S 0"})
	for _, test := range []struct {
		name, root string
		out        *Output
		err        error
		says, hint string
	}{
		{name: "works", root: alive},
		{name: "not installed", root: alive, err: &exec.Error{Name: "atq", Err: exec.ErrNotFound}, says: "not installed", hint: "apt install at"},
		{name: "down", root: dead, says: "not running", hint: "service atd start"},
		{name: "denied", root: alive, out: &Output{Stderr: "You do not have permission to use atq.\n", Code: 1}, says: "You do not have permission", hint: "at.allow"},
		{name: "not understood", root: alive, out: &Output{Stdout: "Date\tOwner Queue Job#\n"}, says: "not understood"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAt(t, &fakeAt{before: func(Program) (*Output, error) { return test.out, test.err }})
			a.root = test.root
			err := a.Check(t.Context())
			if test.says == "" {
				if err != nil {
					t.Errorf("got %v, want nil", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want an error that says %q", err, test.says)
			}
			var backend *BackendError
			if test.hint != "" && (!errors.As(err, &backend) || !strings.Contains(backend.Hint(), test.hint)) {
				t.Errorf("got %v, want a hint at %q", err, test.hint)
			}
			if got, want := errors.Is(err, ErrNotRunning), test.name == "down"; got != want {
				t.Errorf("ErrNotRunning: got %v, want %v", got, want)
			}
		})
	}
}

func TestParseQueue(t *testing.T) {
	when := time.Date(2026, 11, 21, 9, 2, 0, 0, time.UTC)
	want := queuedJob{"204", when, 't', "root"}
	for _, text := range []string{
		"204\t1795251720 t root\n",
		"204\tSat Nov 21 09:02:00 2026 t root\n",
		"204\t2026-11-21 09:02 t root\n",
		"204\t1795251720 t root",
	} {
		if got, err := parseQueue(text); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	if got, err := parseQueue("1\tWed Jan  1 01:01:00 2020 = a-b.c\n"); err != nil || got[0].queue != runningQueue || got[0].user != "a-b.c" || got[0].when.Day() != 1 {
		t.Errorf("a day of one digit: got %v, %v", got, err)
	}
	for _, text := range []string{"x\n", "1\tt root\n", "1\tyesterday t root\n", "1\t1795251720 tt root\n", "\t1795251720 t root\n", "\n"} {
		if got, err := parseQueue(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
	if got, err := parseQueue(""); err != nil || len(got) != 0 {
		t.Errorf("no jobs: got %v, %v", got, err)
	}
}

func TestLastCommand(t *testing.T) {
	const command = "'/b' run --job 3f2a91c0"
	const line = command + bodyEnd + "\n"
	for _, test := range []struct{ name, text, want string }{
		{"ours", atHead + line + "\n", command},
		{"no empty line", atHead + line, command},
		{"something after it", atHead + line + "id\n", ""},
		{"another input", atHead + command + " <x\n", ""},
		{"nothing", "", ""},
		{"RHEL", atHead + "${SHELL:-/bin/sh} << 'marcinDELIMITER0a'\n" + line + "\nmarcinDELIMITER0a\n", command},
		{"RHEL, not the last", atHead + "${SHELL:-/bin/sh} << 'marcinDELIMITER0a'\n" + line + "id\nmarcinDELIMITER0a\n", ""},
		{"a made-up end", atHead + line + "marcinDELIMITER0a\n", ""},
	} {
		if got := lastCommand(test.text); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
