//go:build linux

package e2e

import (
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

// hookPlace is a source, a destination, and a directory that hooks write to.
func hookPlace(t *testing.T) (source, dest, out string) {
	t.Helper()
	dir := newDir(t)
	source, dest, out = mkdir(t, dir, "notes"), mkdir(t, dir, "archives"), mkdir(t, dir, "out")
	write(t, filepath.Join(source, "a.txt"), "a")
	return source, dest, out
}

// readFile is the text of a file.
func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	return string(text)
}

// pidIn waits for the number of a process that a hook has written.
func pidIn(t *testing.T, path string) int {
	t.Helper()
	pid := 0
	waitFor(t, time.Minute, "the hook begins", func() bool {
		text, _ := os.ReadFile(path)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0 && strings.HasSuffix(string(text), "\n")
	})
	return pid
}

// TestNobodyReads runs backups whose reader has gone away: that ends none, and the
// after hook is told of a success. What only prints ends.
func TestNobodyReads(t *testing.T) {
	t.Parallel()
	for _, options := range [][]string{{"--progress", "always"}, {"--json"}} {
		p := newProgram(t)
		source, dest, out := hookPlace(t)
		args := append([]string{"run", "--before", "true", "--after", fmt.Sprintf("cd %s; echo $TINYBACKUP_RESULT $TINYBACKUP_EXIT >told; yes | head -n 1 >>told", out)}, options...)
		unread := func(args ...string) error {
			r, w, err := os.Pipe()
			check(t, err)
			check(t, r.Close())
			cmd := p.command(args...)
			cmd.Stdout, cmd.Stderr = w, w
			err = cmd.Run()
			check(t, w.Close())
			return err
		}
		if err := unread(append(args, source, dest)...); err != nil || len(archives(t, dest)) != 1 {
			t.Errorf("%v: got %v and archives %v", options, err, archives(t, dest))
		}
		if got := readFile(t, filepath.Join(out, "told")); got != "ok 0\ny\n" {
			t.Errorf("%v: the after hook was told %q", options, got)
		}
		var ended *exec.ExitError
		if err := unread("list", dest); !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE {
			t.Errorf("list: got %v", err)
		}
	}
}

// TestHookSignals ends a run while its before hook hangs, with a child of its own: both
// are gone, and the after hook has been told, when the run has ended.
func TestHookSignals(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			p := newProgram(t)
			source, dest, out := hookPlace(t)
			r := begin(t, p.command("run",
				"--before", fmt.Sprintf("cd %s; sleep 1000 & echo $! >child; echo $$ >shell; wait", out),
				"--after", fmt.Sprintf("cd %s; echo $TINYBACKUP_RESULT $TINYBACKUP_EXIT >told", out), source, dest))
			child, shell := pidIn(t, filepath.Join(out, "child")), pidIn(t, filepath.Join(out, "shell"))
			r.signal(t, s)
			if o := r.wait(t); o.code != 128+int(s) {
				t.Errorf("exit status %d, want %d: %s", o.code, 128+int(s), o.stderr)
			}
			for _, pid := range []int{child, shell} {
				if err := syscall.Kill(pid, 0); err == nil {
					t.Errorf("process %d goes on", pid)
				}
			}
			if got, want := readFile(t, filepath.Join(out, "told")), fmt.Sprintf("failed %d\n", 128+int(s)); got != want {
				t.Errorf("the after hook was told %q, want %q", got, want)
			}
			if got := archives(t, dest); len(got) != 0 {
				t.Errorf("archives %q", got)
			}
		})
	}
}

// TestHookMounts has hooks mount the source and unmount it again: that works only if it is
// not open any more.
func TestHookMounts(t *testing.T) {
	t.Parallel()
	inside(t)
	p := newProgram(t)
	_, dest, out := hookPlace(t)
	point := mkdir(t, filepath.Dir(dest), "point")
	p.run(t, "run", "--name", "m", "--before", fmt.Sprintf("mount -t tmpfs tmpfs %s && echo x >%s/file", point, point),
		"--after", fmt.Sprintf("umount %s && echo done >%s/told", point, out), point, dest)
	if got := readFile(t, filepath.Join(out, "told")); got != "done\n" {
		t.Errorf("the after hook left %q", got)
	}
	if list := tool(t, "tar", "-tf", newest(t, dest)); list != "point/\npoint/file\n" {
		t.Errorf("the archive has %q", list)
	}
}

// TestHookDevice has hooks unmount a device and mount it again, which takes nobody else
// who has it: so it is closed when the after hook comes.
func TestHookDevice(t *testing.T) {
	t.Parallel()
	inside(t)
	need(t, "mkfs.ext4", "losetup")
	p := newProgram(t)
	_, dest, out := hookPlace(t)
	device := ext4(t, 8<<20, func(mnt string) { write(t, filepath.Join(mnt, "file"), "x") })
	point := mkdir(t, out, "point")
	tool(t, "mount", device, point)
	t.Cleanup(func() { unmount(t, point) })
	p.run(t, "run", "--name", "d", "--before", "umount "+point, "--after", fmt.Sprintf("mount %s %s", device, point), device, dest)
	if got := readFile(t, filepath.Join(point, "file")); got != "x" {
		t.Errorf("the device is not mounted again: %q", got)
	}
}

// TestHookJob runs a job's hooks as cron does, with next to no environment: output and
// failures go to the log and to the history, and "not now" is tried again in silence.
func TestHookJob(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	source, dest, out := hookPlace(t)
	gate := filepath.Join(out, "gate")
	p.run(t, "install", "--scheduler", "service", "--time", "+1 minute", "--before", "echo asking; exit $(cat "+gate+")",
		"--after", "cd "+out+"; env >env; which mkfs.ext4 >/dev/null || true; echo $TINYBACKUP_RESULT >>told", source, dest)
	id := jobIn(t, p)
	bare := func(args ...string) outcome {
		cmd := p.command(append([]string{"run", "--job", filepath.Join(p.dir(), "jobs", id+".ini")}, args...)...)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/", "LOGNAME=root", "SHELL=/bin/sh", "TINYBACKUP_PING=https://secret.invalid"}
		return finish(t, cmd)
	}
	for _, c := range []struct {
		gate string
		code int
		told string
	}{{"75", 4, "skipped"}, {"1", 1, "failed"}, {"0", 0, "ok"}} {
		write(t, gate, c.gate+"\n")
		if o := bare("--now"); o.code != c.code {
			t.Errorf("a hook that exits with %s: exit status %d: %s", c.gate, o.code, o.stderr)
		}
	}
	if got, want := readFile(t, filepath.Join(out, "told")), "skipped\nfailed\nok\n"; got != want {
		t.Errorf("the after hook was told %q, want %q", got, want)
	}
	env := readFile(t, filepath.Join(out, "env"))
	for _, want := range []string{"PATH=/usr/bin:/bin:/usr/local/sbin:", "TINYBACKUP_JOB=" + id, "HOME=/"} {
		if !strings.Contains("\n"+env, "\n"+want) {
			t.Errorf("no %s in the environment of the hook:\n%s", want, env)
		}
	}
	if strings.Contains(env, "secret") {
		t.Errorf("the hook saw a secret:\n%s", env)
	}
	history := readFile(t, filepath.Join(p.dir(), "state", id, "history.jsonl"))
	for _, want := range []string{`"result":"skipped","exit":4`, `"result":"failed","exit":1`, `"error":"before hook: exit status 1; it printed: asking"`, `"result":"ok","exit":0`} {
		if !strings.Contains(history, want) {
			t.Errorf("no %s in the history:\n%s", want, history)
		}
	}
	if log := readFile(t, filepath.Join(p.dir(), "log", "notes.log")); strings.Count(log, "msg=asking") != 3 {
		t.Errorf("the log:\n%s", log)
	}
}

// TestConfigSecrets has secrets in the environment, in a job's hooks and in a shared file:
// none of them is in what schedulers keep, in a command line, or in what is remembered.
func TestConfigSecrets(t *testing.T) {
	inside(t)
	need(t, "crontab", "at", "atd", "faketime")
	standIn(t, "cron") // not parallel: others look at root's crontab
	newClock(time.Now(), 1).daemon(t, "/run/atd.pid", "atd", "-f", "-b", "1")
	const secret = "s3cr3t-0f-mine-aaaaaaaaaaaaaaaaaaaa"
	for _, scheduler := range []string{"cron", "at"} {
		p := newProgram(t)
		source, dest, out := hookPlace(t)
		shared := filepath.Join(out, "config.ini")
		check(t, os.WriteFile(shared, []byte("[Telegram]\nbot_token = 12345:"+secret+"\nchat_id = @"+secret+"\n[options]\nafter = : "+secret+"\n"), 0o600))
		p.env = append(p.env, "TINYBACKUP_BEFORE=: "+secret+"; tr '\\0' ' ' </proc/$PPID/cmdline >"+out+"/line; ps -ww -o args= -p $PPID >>"+out+"/line", "OTHER="+secret)
		p.exits(t, 0, "install", "--config", shared, "--scheduler", scheduler, "--time", "2:30", source, dest)
		kept := crontab(t)
		if scheduler == "at" {
			kept = tool(t, "at", "-c", strings.Fields(waiting(t)[0])[0])
		}
		if strings.Contains(kept, secret) || !strings.Contains(kept, "run --job") {
			t.Errorf("%s keeps\n%s", scheduler, kept)
		}
		id := jobIn(t, p)
		ran := p.try(t, "run", "--now", "--job", id)
		if line := readFile(t, filepath.Join(out, "line")); strings.Contains(line, secret) || !strings.Contains(line, id) {
			t.Errorf("the command line is %q", line)
		}
		if job := readFile(t, filepath.Join(p.dir(), "jobs", id+".ini")); strings.Count(job, secret) != 1 {
			t.Errorf("the job has the hook of the environment, and nothing of the shared file:\n%s", job)
		}
		said := ran.stdout + ran.stderr
		for _, args := range [][]string{{"statusof", "--json"}, {"statusof", id}, {"list", dest}} {
			o := p.try(t, args...)
			said += o.stdout + o.stderr
		}
		if strings.Contains(said, secret) {
			t.Errorf("printed:\n%s", said)
		}
		for _, dir := range []string{filepath.Join(p.dir(), "state"), filepath.Join(p.dir(), "log"), dest} {
			if found := tool(t, "sh", "-c", fmt.Sprintf("grep -raF %s %s || true", secret, dir)); found != "" {
				t.Errorf("in %s:\n%s", dir, found)
			}
		}
		p.run(t, "uninstall", "--all")
	}
}
