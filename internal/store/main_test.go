package store

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the other process of some tests: the role in the environment
// says which, its arguments are in the environment too.
const roleVar = "TINYBACKUP_STORE_TEST_ROLE"

func TestMain(m *testing.M) {
	roles := map[string]func() error{"hold": roleHold, "write": roleWrite, "backup": roleBackup}
	if role, ok := roles[os.Getenv(roleVar)]; ok {
		if err := role(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// start runs the test binary in a role. Its output is read line by line with the
// function returned. It is killed at the end of the test if it lives on.
func start(t *testing.T, role string, env ...string) (cmd *exec.Cmd, line func() string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), roleVar+"="+role), env...)
	cmd.Stderr = os.Stderr
	// It ends when its standard input does: no test leaves one behind.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd, func() string {
		var b strings.Builder
		for c := make([]byte, 1); ; {
			if _, err := stdout.Read(c); err != nil || c[0] == '\n' {
				return b.String()
			}
			b.Write(c)
		}
	}
}

// kill ends the process as a power cut would: nothing of it runs any more.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("process: got %v, want it killed", err)
	}
}

// roleHold takes the lock of series "a" in $DIR and holds it until its input ends.
func roleHold() error {
	l, err := OpenLocal(os.Getenv("DIR"))
	if err != nil {
		return err
	}
	unlock, err := l.Lock(background(), "a", Holder{PID: os.Getpid(), Host: "here", Since: time.Now()}, time.Hour)
	if err != nil {
		return err
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin)
	return unlock()
}

// roleWrite takes the lock of series "a" and writes an archive that never ends.
func roleWrite() error {
	l, err := OpenLocal(os.Getenv("DIR"))
	if err != nil {
		return err
	}
	if _, err := l.Lock(background(), "a", Holder{PID: os.Getpid(), Host: "here", Since: time.Now()}, 0); err != nil {
		return err
	}
	p, err := l.Create(background(), "a-2")
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		if _, err := p.Write(make([]byte, 100_000)); err != nil {
			return err
		}
		if i == 3 {
			fmt.Println("writing")
			io.Copy(io.Discard, os.Stdin)
			return nil
		}
	}
}
