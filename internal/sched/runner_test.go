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

// Input of any length comes whole, a little of it without room in the temporary directory.
func TestRunnerInput(t *testing.T) {
	for _, n := range []int{0, 1, pipeHolds, pipeHolds + 1, 1 << 20} {
		want := strings.Repeat("x", n)
		if out, err := (Runner{}).run(t.Context(), Program{Name: "cat", Stdin: want}); err != nil || out.Stdout != want {
			t.Errorf("%d bytes: got %d, %v", n, len(out.Stdout), err)
		}
	}
	t.Setenv("TMPDIR", "/dev/null")
	if out, err := (Runner{}).run(t.Context(), Program{Name: "cat", Stdin: ownBody}); err != nil || out.Stdout != ownBody {
		t.Errorf("without a temporary directory: got %q, %v", out.Stdout, err)
	}
	if out, err := (Runner{}).run(t.Context(), Program{Name: "cat", Stdin: strings.Repeat("x", pipeHolds+1)}); err == nil {
		t.Errorf("a long input without a temporary directory: got %d bytes, want an error", len(out.Stdout))
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
			r := Runner{Timeout: 2 * time.Second}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			want := "no answer within 2s"
			if cancelled {
				r.Timeout = 0
				want = context.Canceled.Error()
				go func() {
					for len(lines(pidFile)) == 0 && ctx.Err() == nil {
						time.Sleep(time.Millisecond)
					}
					cancel()
				}()
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
