package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// commands are those of lvm2.
type commands struct{}

// Run runs a command by way of lvm(8), which has all of them. It is not interrupted:
// neither by ctx, nor by a Ctrl-C, which a terminal sends to the whole group. One
// that is killed may leave the origin suspended, and all that write to it.
func (commands) Run(ctx context.Context, command string, args ...string) ([]byte, error) {
	path, err := lvmPath()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, append([]string{command}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second // lvm2 may have started its dmeventd, which must not keep us
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return nil, fmt.Errorf("%s: %s", command, said(stderr.String(), err))
	}
	return []byte(stdout.String()), nil
}

// said is what a command has printed on standard error, in one line.
func said(text string, err error) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "WARNING:") {
			lines = append(lines, strings.TrimSuffix(line, "."))
		}
	}
	if len(lines) == 0 {
		return err.Error()
	}
	return strings.Join(lines, "; ")
}

// lvmPath is where lvm is: the PATH of cron has no sbin.
func lvmPath() (string, error) {
	if path, err := exec.LookPath("lvm"); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(dir + "/lvm"); err == nil {
			return path, nil
		}
	}
	return "", &Error{Why: "there is no command lvm", Try: "install the package lvm2"}
}

// mayMake says why somebody who is not root can't make a snapshot.
func (o Options) mayMake() error {
	if o.user == 0 {
		return nil
	}
	return &Error{Why: "only root can make a snapshot", Try: "run it as root, such as with sudo"}
}

// isError says whether err says by itself what is wrong.
func isError(err error) bool { return errors.As(err, new(*Error)) }
