package sched

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// spool is where Debian's cron keeps root's table, after three lines of its own.
const spool = "/var/spool/cron/crontabs/root"

// spooled is root's table as it is stored, "" if there is none.
func spooled(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(spool)
	if os.IsNotExist(err) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest := cutHeader(string(text))
	return rest
}

func realCron(dir string) *Cron {
	return &Cron{LockPath: filepath.Join(dir, "lock"), BackupPath: filepath.Join(dir, "crontab")}
}

// Twenty processes at once, each with one job, while the table is full of other people's lines.
func TestRealCronAddsInParallel(t *testing.T) {
	if job := os.Getenv(childJob); job != "" {
		e := cronEntry(t)
		e.Job, e.CatchUp = job, true
		if err := realCron(os.Getenv(childDir)).Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !inNamespace(t, "crontab") {
		return
	}
	for _, before := range []string{strings.Join(foreign, ""), ""} {
		if before != "" {
			output(t, before, "crontab", "-")
		}
		if got := spooled(t); got != before {
			t.Fatalf("crontab did not store the table: got %.200q", got)
		}
		dir := t.TempDir()
		const n = 20
		var children [n]*exec.Cmd
		want := map[string]bool{}
		for i := range children {
			job := fmt.Sprintf("1000%04x", i)
			want[job] = true
			children[i] = startChild(t, job, dir)
		}
		for _, cmd := range children {
			if err := cmd.Wait(); err != nil {
				t.Errorf("a process: %v: %q", err, lines(cmd.Stdout.(*os.File).Name()))
			}
		}
		c := realCron(dir)
		entries, err := c.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.CatchUp {
				delete(want, e.Job)
			}
		}
		if len(want) != 0 {
			t.Errorf("not in the table: %v", want)
		}
		got := spooled(t)
		if !strings.HasPrefix(got, before) || strings.Count(got[len(before):], "\n") != 2*n {
			t.Errorf("the table has not the foreign lines and %d more", 2*n)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Job, "1000") {
				continue
			}
			if removed, err := c.Remove(t.Context(), e.Job); removed != 1 || err != nil {
				t.Fatalf("Remove: got %d, %v", removed, err)
			}
		}
		if got := spooled(t); got != before {
			t.Errorf("after all are removed the table differs: got %.300q, want %.300q", got, before)
		}
		if before != "" {
			output(t, "", "crontab", "-r")
		}
	}
}

// An Add that is killed at any moment leaves the old table or the new one.
func TestRealCronKilled(t *testing.T) {
	if job := os.Getenv(childJob); job != "" {
		e := cronEntry(t)
		minute, _ := strconv.Atoi(job)
		e.Spec, e.CatchUp = parse(t, fmt.Sprint(minute%60, " * * * *")), true
		dir := os.Getenv(childDir)
		touch(t, filepath.Join(dir, "begun-"+job))
		_ = realCron(dir).Add(t.Context(), e)
		touch(t, filepath.Join(dir, "ended-"+job))
		return
	}
	if !inNamespace(t, "crontab") {
		return
	}
	before := strings.Join(foreign, "")
	output(t, before+ownLine+"\n"+ownAsk+"\n", "crontab", "-")
	dir := t.TempDir()
	killed, n := 0, 0
	for i := 0; i < 60 || killed == i && i < 250; i++ { // until one comes too late
		n++
		cmd := startChild(t, fmt.Sprint(i), dir)
		begun, ended := filepath.Join(dir, fmt.Sprint("begun-", i)), filepath.Join(dir, fmt.Sprint("ended-", i))
		eventually(t, begun, func() bool { return there(begun) })
		time.Sleep(time.Duration(i) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // its status is that of the signal
		if !there(ended) {
			killed++
		}
		// A crontab that it has started lives on, and may be about to write.
		eventually(t, "crontab to end", func() bool { return !anyProcess("crontab") })
		text := spooled(t)
		own := ownLines(text)
		if !strings.HasPrefix(text, before) || strings.Count(text[len(before):], "\n") != 2 || len(own) != 3 {
			t.Fatalf("after a kill the table ends with %.200q", text[min(len(before), len(text)):])
		}
	}
	t.Logf("%d of %d were killed before their end", killed, n)
	if killed == 0 || killed == n {
		t.Errorf("%d of %d were killed: no kill was during the work, or none after it", killed, n)
	}
	if err := realCron(dir).Add(t.Context(), cronEntry(t)); err != nil {
		t.Errorf("Add after the kills: %v", err)
	}
	if got := spooled(t); got != before+ownLine+"\n" {
		t.Errorf("the table at last: got %.300q", got)
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// The real cron runs the line, with the very words, under a clock that runs 240 times as fast.
func TestRealCronRuns(t *testing.T) {
	if !inNamespace(t, "crontab", "cron", "faketime") {
		return
	}
	c := realCron(t.TempDir())
	log := "/run/log"
	binary := script(t, "my tools/tiny $(backup)", `echo "$# $1 $2 $3 $PATH" >> `+log+"\n")
	jobFile := "/run/a b/job.ini"
	for job, text := range map[string]string{ownJob: "* * * * *", jobFile: "*/2 * * * *"} {
		if err := c.Add(t.Context(), Entry{Job: job, Binary: binary, Spec: parse(t, text)}); err != nil {
			t.Fatal(err)
		}
	}
	stop := startDaemon(t, "/run/crond.pid", "faketime", "-f", "+0 x240", "cron", "-f", "-L", "0")
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("Check with cron running: %v", err)
	}
	count := func(line string) (n int) {
		for _, got := range lines(log) {
			if got == line {
				n++
			}
		}
		return n
	}
	wantID, wantFile := "3 run --job "+ownJob+" /usr/bin:/bin", "3 run --job "+jobFile+" /usr/bin:/bin"
	eventually(t, "cron to run the jobs", func() bool { return count(wantID) >= 4 && count(wantFile) >= 2 })
	// cron compares the directory's time in whole seconds, and does not see an edit in the second in which it has read the tables.
	time.Sleep(1100 * time.Millisecond)
	if n, err := c.Remove(t.Context(), ownJob); n != 1 || err != nil {
		t.Fatalf("Remove: got %d, %v", n, err)
	}
	time.Sleep(time.Second) // what has been started may still write
	id, file := count(wantID), count(wantFile)
	eventually(t, "cron to run the other job", func() bool { return count(wantFile) >= file+2 })
	if got := count(wantID); got != id {
		t.Errorf("the removed line ran %d times more", got-id)
	}
	for _, line := range lines(log) {
		if line != wantID && line != wantFile {
			t.Errorf("it ran with %q", line)
		}
	}
	stop()
	if err := c.Check(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Check with cron stopped: got %v, want ErrNotRunning", err)
	}
}

func TestRealCronCheck(t *testing.T) {
	if !inNamespace(t, "crontab", "cron") {
		return
	}
	root := realCron(t.TempDir())
	user := realCron(t.TempDir())
	user.Runner.Exec = asTestUser
	if err := root.Check(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no cron: got %v, want ErrNotRunning", err)
	}
	stop := startDaemon(t, "/run/crond.pid", "cron", "-f")
	for _, c := range []*Cron{root, user} {
		if err := c.Check(t.Context()); err != nil {
			t.Errorf("cron and no cron.deny: %v", err)
		}
	}
	if err := user.Add(t.Context(), cronEntry(t)); err != nil {
		t.Errorf("a user adds a line: %v", err)
	}
	if entries, err := root.List(t.Context()); err != nil || len(entries) != 0 {
		t.Errorf("root sees the user's: got %v, %v", entries, err)
	}
	if err := os.WriteFile("/etc/cron.deny", []byte(testUser+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var backend *BackendError
	if err := user.Check(t.Context()); !errors.As(err, &backend) || !strings.Contains(err.Error(), "not allowed") || !strings.Contains(backend.Hint(), "/etc/cron.allow") {
		t.Errorf("a denied user: got %v", err)
	}
	if err := user.Add(t.Context(), cronEntry(t)); err == nil {
		t.Error("a denied user can add a line")
	}
	if _, err := user.List(t.Context()); err == nil {
		t.Error("a denied user has an empty table, not an error")
	}
	stop()

	// A pid file that a crash has left behind, of a process that is something else now.
	if err := os.WriteFile("/run/crond.pid", []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := root.Check(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a stale pid file: got %v, want ErrNotRunning", err)
	}
}

// asTestUser runs a program as a user without rights.
func asTestUser(ctx context.Context, p Program) (Output, error) {
	path, err := lookPath(p.Name)
	if err != nil {
		return Output{}, err
	}
	cmd := exec.CommandContext(ctx, path, p.Args...)
	cmd.Env, cmd.Dir, cmd.Stdin = append(p.Env, "HOME=/", "LOGNAME="+testUser, "USER="+testUser), "/", strings.NewReader(p.Stdin)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: testUID, Gid: testUID}}
	err = cmd.Run()
	out := Output{Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		out.Code, err = exit.ExitCode(), nil
	}
	return out, err
}

// What crontab itself refuses changes nothing and is told in its words; 998 bytes are its limit and ours.
func TestRealCronRefusals(t *testing.T) {
	if !inNamespace(t, "crontab") {
		return
	}
	c := realCron(t.TempDir())
	e := cronEntry(t)
	e.Binary = "/" + strings.Repeat("b", maxCommand-len(`'/' run --job 3f2a91c0`))
	if err := c.Add(t.Context(), e); err != nil {
		t.Errorf("998 bytes: %v", err)
	}
	entries, err := c.List(t.Context())
	if err != nil || len(entries) != 1 || entries[0].Binary != e.Binary {
		t.Errorf("998 bytes: got %v, %v", entries, err)
	}
	e.Binary += "b"
	if err := c.Add(t.Context(), e); err == nil {
		t.Error("999 bytes: no error")
	}
	if err := c.write(t.Context(), "30 2 * * * "+Command(e.Binary, e.Job)+"\n"); err == nil || !strings.Contains(err.Error(), "command too long") {
		t.Errorf("crontab takes 999 bytes after all: %v", err)
	}
	if err := c.write(t.Context(), "no newline"); err == nil || !strings.Contains(err.Error(), "newline") {
		t.Errorf("a refused table: got %v", err)
	}
	if err := c.write(t.Context(), "* * * * 9 x\n"); err == nil || !strings.Contains(err.Error(), "bad day-of-week") {
		t.Errorf("a refused line: got %v", err)
	}
	if again, err := c.List(t.Context()); err != nil || len(again) != 1 || again[0].Binary != entries[0].Binary {
		t.Errorf("after the refusals: got %v, %v", again, err)
	}
	if n, err := c.Remove(t.Context(), ownJob); n != 1 || err != nil {
		t.Errorf("Remove: got %d, %v", n, err)
	}
	if _, err := os.Stat(spool); !os.IsNotExist(err) {
		t.Errorf("the empty table is still there: %v", err)
	}
}

// A crontab that hangs is ended, and the edit with it.
func TestCronHangs(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := os.WriteFile(filepath.Join(os.Getenv("PATH"), "crontab"), []byte("#!/bin/sh\n/bin/sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := realCron(t.TempDir())
	c.Runner.Timeout = 200 * time.Millisecond
	if err := c.Add(t.Context(), cronEntry(t)); err == nil || err.Error() != "crontab -l: no answer within 200ms" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	c.Runner.Timeout = 0
	if err := c.Add(ctx, cronEntry(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
