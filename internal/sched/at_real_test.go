package sched

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func startAtd(t *testing.T) (stop func()) {
	t.Helper()
	return startDaemon(t, "/run/atd.pid", "atd", "-f", "-b", "1", "-l", "50")
}

// inAnHour is a time with seconds, so that rounding shows.
func inAnHour() time.Time { return time.Now().Truncate(time.Minute).Add(time.Hour + time.Second) }

func TestRealAtQueue(t *testing.T) {
	if !inNamespace(t, "at", "atq", "atrm", "atd") {
		return
	}
	ctx := t.Context()
	a := &At{LockPath: filepath.Join(t.TempDir(), "lock")}
	stop := startAtd(t)
	if err := a.Check(ctx); err != nil {
		t.Fatalf("Check with atd running: %v", err)
	}
	t.Setenv("SECRET_TOKEN", "hush")
	t.Setenv("TZ", "Europe/Berlin")

	// Other people's jobs: in queues of their own, in ours, of another user, and one that only looks like ours.
	output(t, "echo mine\n", "at", "-q", "a", "-t", "203001010000")
	output(t, "echo mine\n", "at", "-q", "t", "-t", "203001010000")
	output(t, "'/b' run --job "+ownJob+" </dev/null\n", "at", "-q", "c", "-t", "203001010000")
	output(t, "'/b' run --job "+ownJob+" </dev/null\necho more\n", "at", "-q", "t", "-t", "203001010000")
	output(t, "'/b' run --job "+ownJob+" </dev/null\n", "setpriv", "--reuid", fmt.Sprint(testUID), "--regid", fmt.Sprint(testUID), "--clear-groups", "at", "-q", "t", "-t", "203001010000")
	foreignJobs := output(t, "", "atq")

	const odd = `/opt/my $(tools) 'q' "d" %s \ ` + "`x`" + `/tiny;backup`
	jobFile := `/var/lib/a 'b' $c/job.ini`
	next := inAnHour()
	for job, binary := range map[string]string{ownJob: odd, jobFile: odd, "00000001": "/usr/local/bin/tinybackup"} {
		if err := a.Add(ctx, Entry{Job: job, Binary: binary, Next: next}); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := a.List(ctx)
	if err != nil || len(entries) != 3 {
		t.Fatalf("List: got %+v, %v, want 3 entries", entries, err)
	}
	for _, e := range entries {
		if want := next.Add(59 * time.Second); !e.Next.Equal(want) || e.Running || !strings.HasPrefix(e.Where, "at job ") {
			t.Errorf("List: got %+v, want a waiting job for %s", e, want)
		}
		if e.Job != "00000001" && e.Binary != odd {
			t.Errorf("List: the binary is %q, want %q", e.Binary, odd)
		}
	}

	// A second Add replaces.
	next = next.Add(24 * time.Hour)
	if err := a.Add(ctx, Entry{Job: ownJob, Binary: odd, Next: next}); err != nil {
		t.Fatal(err)
	}
	entries, err = a.List(ctx)
	if err != nil || len(entries) != 3 || entries[2].Job != ownJob || !entries[2].Next.Equal(next.Add(59*time.Second)) {
		t.Fatalf("List after a second Add: got %+v, %v", entries, err)
	}

	text := output(t, "", "at", "-c", strings.TrimPrefix(entries[2].Where, atWhere))
	if strings.Contains(text, "hush") || strings.Contains(text, "Berlin") || !strings.Contains(text, "\ncd / || {\n") || !strings.Contains(text, "TZ=UTC0; export TZ\n") {
		t.Errorf("the job's text:\n%s", text)
	}

	// What a person is shown queues the same job.
	line, err := a.Line(Entry{Job: "0000000a", Binary: odd, Next: next})
	if err != nil {
		t.Fatal(err)
	}
	output(t, line, "env", "-u", "TZ", "sh")
	entries, err = a.List(ctx)
	if err != nil || len(entries) != 4 || !slices.ContainsFunc(entries, func(e Entry) bool {
		return e.Job == "0000000a" && e.Binary == odd && e.Next.Equal(next.Add(59*time.Second))
	}) {
		t.Errorf("List after pasting %s: got %+v, %v", line, entries, err)
	}

	for job, want := range map[string]int{ownJob: 1, jobFile: 1, "00000001": 1, "0000000a": 1, "ffffffff": 0} {
		if n, err := a.Remove(ctx, job); n != want || err != nil {
			t.Errorf("Remove(%q): got %d, %v, want %d", job, n, err, want)
		}
	}
	if got := output(t, "", "atq"); !sameLines(got, foreignJobs) {
		t.Errorf("the foreign jobs: got\n%swant\n%s", got, foreignJobs)
	}
	stop()
}

// sameLines compares lists in which the order is that of a directory.
func sameLines(a, b string) bool {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// The real atd runs the job, with the very words and a small environment; while it runs it is listed as running and can be queued anew.
func TestRealAtRuns(t *testing.T) {
	if !inNamespace(t, "at", "atq", "atrm", "atd", "mkfifo") {
		return
	}
	ctx := t.Context()
	a := &At{LockPath: filepath.Join(t.TempDir(), "lock")}
	const log, gate = "/run/log", "/run/gate"
	output(t, "", "mkfifo", gate)
	binary := script(t, `my 'tools'/tiny $(backup)`, fmt.Sprintf(`echo "$# $1 $2 $3 $TZ $PWD [$(cat)] $SECRET_TOKEN" >> %s; read x < %s`+"\n", log, gate))
	t.Setenv("SECRET_TOKEN", "hush")
	past := time.Now().Add(-time.Hour)

	// Without atd the job waits, and Add says so.
	if err := a.Check(ctx); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Check without atd: got %v, want ErrNotRunning", err)
	}
	if err := a.Add(ctx, Entry{Job: ownJob, Binary: binary, Next: past}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Add without atd: got %v, want ErrNotRunning", err)
	}
	entries, err := a.List(ctx)
	if err != nil || len(entries) != 1 || entries[0].Running {
		t.Fatalf("List without atd: got %+v, %v, want one that waits", entries, err)
	}
	// A second one replaces it, atd or not.
	if err := a.Add(ctx, Entry{Job: ownJob, Binary: binary, Next: past.Add(time.Minute)}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Add again without atd: got %v, want ErrNotRunning", err)
	}
	stop := startAtd(t)
	eventually(t, "the overdue job to start", func() bool { return len(lines(log)) == 1 })
	if got, want := lines(log)[0], "3 run --job "+ownJob+" UTC0 / [] "; got != want {
		t.Errorf("it ran with %q, want %q", got, want)
	}

	// It hangs at the gate now.
	entries, err = a.List(ctx)
	if err != nil || len(entries) != 1 || !entries[0].Running || entries[0].Job != ownJob || entries[0].Binary != binary {
		t.Fatalf("List while it runs: got %+v, %v", entries, err)
	}
	if n, err := a.Remove(ctx, ownJob); n != 0 || err != nil {
		t.Errorf("Remove while it runs: got %d, %v, want 0", n, err)
	}
	next := inAnHour()
	for range 2 {
		if err := a.Add(ctx, Entry{Job: ownJob, Binary: binary, Next: next}); err != nil {
			t.Fatalf("Add while it runs: %v", err)
		}
	}
	entries, err = a.List(ctx)
	if err != nil || len(entries) != 2 || !entries[0].Running || entries[1].Running {
		t.Errorf("List with one that runs and one that waits: got %+v, %v", entries, err)
	}
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the job to end", func() bool {
		entries, err := a.List(ctx)
		return err == nil && len(entries) == 1 && !entries[0].Running
	})

	// A time that has come is run at once, and Add does not mind that the job has left the queue by the time it looks.
	free := script(t, "free", "echo free >> "+log+"\n")
	for range 20 {
		if err := a.Add(ctx, Entry{Job: "00000001", Binary: free, Next: past}); err != nil {
			t.Fatalf("Add of a past time: %v", err)
		}
	}
	eventually(t, "the jobs of the past to run", func() bool {
		entries, err := a.List(ctx)
		return err == nil && len(entries) == 1
	})
	stop()
	if err := a.Check(ctx); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Check with atd stopped: got %v, want ErrNotRunning", err)
	}
}

func TestRealAtDenied(t *testing.T) {
	if !inNamespace(t, "at", "atq", "atd") {
		return
	}
	a := &At{LockPath: filepath.Join(t.TempDir(), "lock"), Runner: Runner{Exec: asTestUser}}
	startAtd(t)
	if err := a.Check(t.Context()); err != nil {
		t.Errorf("a user who is not denied: %v", err)
	}
	e := Entry{Job: ownJob, Binary: "/b", Next: inAnHour()}
	if err := os.WriteFile("/etc/at.deny", []byte(testUser+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var backend *BackendError
	if err := a.Check(t.Context()); !errors.As(err, &backend) || !strings.Contains(err.Error(), "You do not have permission") || !strings.Contains(backend.Hint(), "/etc/at.allow") {
		t.Errorf("a denied user: got %v", err)
	}
	if err := a.Add(t.Context(), e); err == nil {
		t.Error("a denied user can add a job")
	}
	if _, err := a.List(t.Context()); err == nil {
		t.Error("a denied user has no jobs, not an error")
	}
}

// Twenty at once for one job leave one; and hundreds of jobs are no burden.
func TestRealAtMany(t *testing.T) {
	if !inNamespace(t, "at", "atq", "atrm", "atd") {
		return
	}
	ctx := t.Context()
	lock := filepath.Join(t.TempDir(), "lock")
	startAtd(t)
	next := inAnHour()
	results := make(chan error)
	for i := range 20 {
		go func() {
			results <- (&At{LockPath: lock}).Add(ctx, Entry{Job: ownJob, Binary: "/b", Next: next.Add(time.Duration(i) * time.Minute)})
		}()
	}
	for range 20 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	a := &At{LockPath: lock}
	if entries, err := a.List(ctx); err != nil || len(entries) != 1 {
		t.Fatalf("List: got %+v, %v, want one entry", entries, err)
	}

	const n = 120
	for i := range n {
		body := fmt.Sprintf("'/b' run --job %08x </dev/null\n", i)
		output(t, body, "at", "-q", "t", "-t", "203001010000")
	}
	start := time.Now()
	entries, err := a.List(ctx)
	if err != nil || len(entries) != n+1 {
		t.Fatalf("List: got %d entries, %v, want %d", len(entries), err, n+1)
	}
	t.Logf("List of %d jobs: %s", len(entries), time.Since(start).Round(time.Millisecond))
	start = time.Now()
	if err := a.Add(ctx, Entry{Job: "00000007", Binary: "/b", Next: next}); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Remove(ctx, "00000007"); n != 1 || err != nil {
		t.Errorf("Remove: got %d, %v, want 1", n, err)
	}
	t.Logf("Add and Remove beside them: %s", time.Since(start).Round(time.Millisecond))
	if entries, err := a.List(ctx); err != nil || len(entries) != n {
		t.Errorf("List: got %d entries, %v, want %d", len(entries), err, n)
	}
	// Under a running list jobs come and go.
	done := make(chan error)
	go func() {
		var err error
		for i := range 30 {
			_, stepErr := (&At{LockPath: lock + "2"}).drop(ctx, []string{fmt.Sprint(50 + i)})
			err = errors.Join(err, stepErr)
		}
		done <- err
	}()
	for range 3 {
		if _, err := a.List(ctx); err != nil {
			t.Errorf("List while jobs go: %v", err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// An Add that is killed at any moment leaves the chain unbroken.
func TestRealAtKilled(t *testing.T) {
	if minute := os.Getenv(childJob); minute != "" {
		next, err := time.ParseDuration(minute)
		if err != nil {
			t.Fatal(err)
		}
		_ = (&At{LockPath: filepath.Join(os.Getenv(childDir), "lock")}).Add(t.Context(), Entry{Job: ownJob, Binary: "/b", Next: inAnHour().Add(next)})
		return
	}
	if !inNamespace(t, "at", "atq", "atrm", "atd") {
		return
	}
	startAtd(t)
	dir := t.TempDir()
	a := &At{LockPath: filepath.Join(dir, "lock")}
	e := Entry{Job: ownJob, Binary: "/b", Next: inAnHour()}
	if err := a.Add(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	killed, most := 0, 0
	for i := range 60 {
		cmd := startChild(t, fmt.Sprintf("%dm", i), dir)
		time.Sleep(time.Duration(i) * time.Millisecond)
		_ = cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		entries, err := a.List(t.Context())
		if err != nil || len(entries) == 0 {
			t.Fatalf("after a kill: got %+v, %v, want at least one job", entries, err)
		}
		most = max(most, len(entries))
	}
	t.Logf("%d of 60 were killed before their end, and left at most %d jobs", killed, most)
	if killed == 0 {
		t.Error("none was killed")
	}
	if err := a.Add(t.Context(), e); err != nil {
		t.Errorf("Add after the kills: %v", err)
	}
	if entries, err := a.List(t.Context()); err != nil || len(entries) != 1 {
		t.Errorf("at last: got %+v, %v, want one job", entries, err)
	}
}
