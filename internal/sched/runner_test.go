package sched

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunnerAnswers(t *testing.T) {
	out, err := Runner{}.run(t.Context(), Program{Name: "sh", Args: []string{"-c", `cat; pwd; echo "$A"; echo err >&2; exit 3`}, Env: []string{"A=b"}, Stdin: "in\n"})
	if want := (Output{Stdout: "in\n/\nb\n", Stderr: "err\n", Code: 3}); err != nil || out != want {
		t.Errorf("got %+v, %v, want %+v", out, err, want)
	}
	if _, err := (Runner{}).run(t.Context(), Program{Name: "sh", Args: []string{"-c", "kill -9 $$"}}); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("a killed program: got %v", err)
	}
	if _, err := (Runner{}).run(t.Context(), Program{Name: "no-such-program"}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a missing program: got %v, want exec.ErrNotFound", err)
	}
}

// cron's jobs have a PATH without /usr/sbin, where some keep crontab.
func TestLookPathSearchesTheSystem(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if path, err := lookPath("sh"); err != nil || !strings.HasSuffix(path, "/bin/sh") {
		t.Errorf("got %q, %v", path, err)
	}
}

// A hanging program and all it has started end with the time or the context.
func TestRunnerEndsWhatHangs(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		t.Run(fmt.Sprintf("cancelled %v", cancelled), func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			r := Runner{Timeout: 300 * time.Millisecond}
			ctx := t.Context()
			want := "no answer within 300ms"
			if cancelled {
				r.Timeout = 0
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
				want = context.DeadlineExceeded.Error()
			}
			_, err := r.run(ctx, Program{Name: "sh", Args: []string{"-c", "sleep 1000 & echo $! > " + pidFile + "; wait"}, Env: environment()})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v, want %q", err, want)
			}
			text, err := os.ReadFile(pidFile)
			if err != nil {
				t.Fatal(err)
			}
			var pid int
			if _, err := fmt.Sscan(string(text), &pid); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the grandchild to end", func() bool {
				stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
				return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || err == nil && strings.Contains(string(stat), ") Z ")
			})
		})
	}
}

// at(1) writes its environment into the spool, so nothing of ours may be in it that need not be.
func TestEnvironmentIsSmall(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hush")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("HOME", "/somewhere")
	env := environment("TZ=" + AtZone)
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		if !slices.Contains([]string{"PATH", "HOME", "SHELL", "LANG", "LC_ALL", "LOGNAME", "USER", "TZ"}, name) {
			t.Errorf("it has %s", v)
		}
	}
	for _, want := range []string{"HOME=/somewhere", "LC_ALL=C", "SHELL=/bin/sh", "TZ=UTC0"} {
		if !slices.Contains(env, want) {
			t.Errorf("%v lacks %s", env, want)
		}
	}
}

func TestFailure(t *testing.T) {
	for stderr, want := range map[string]string{
		"":                     "at -c 1: exit status 1",
		"\n  first \nsecond\n": "at -c 1: first",
		"warning: commands will be executed using /bin/sh\nat: cannot open\n": "at -c 1: at: cannot open",
	} {
		if got := failure(Program{Name: "at", Args: []string{"-c", "1"}}, Output{Stderr: stderr, Code: 1}).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// eventually waits for something that another process does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}
