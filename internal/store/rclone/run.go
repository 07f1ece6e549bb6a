package rclone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"tinybackup/internal/store"
)

// flags are those of every call: rclone asks nobody, and tells errors only, whatever its
// environment says for people.
var flags = []string{
	"--ask-password=false", "--log-level=ERROR", "--stats=0",
	"--verbose=0", "--quiet=false", "--progress=false", "--use-json-log=false",
}

// process is one rclone at work.
type process struct {
	cmd    *exec.Cmd
	ctx    context.Context
	cancel context.CancelFunc
	errors bytes.Buffer
}

// command prepares a call. When ctx is done, or the driver closed, it is killed with all that
// it has started.
func (d *Driver) command(ctx context.Context, args ...string) *process {
	ctx, cancel := context.WithCancel(ctx)
	p := &process{ctx: ctx, cancel: cancel}
	stop := context.AfterFunc(d.ctx, cancel)
	p.cancel = func() { stop(); cancel() }
	p.cmd = exec.CommandContext(ctx, d.program, append(append([]string{args[0]}, flags...), args[1:]...)...)
	p.cmd.Env = d.env
	p.cmd.Stderr = &p.errors
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }
	p.cmd.WaitDelay = 5 * time.Second
	return p
}

// wait returns how it ended: *failed, if by itself.
func (p *process) wait() error {
	err := p.cmd.Wait()
	defer p.cancel()
	return p.explain(err)
}

func (p *process) explain(err error) error {
	var status *exec.ExitError
	switch {
	case err == nil:
		return nil
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	case errors.As(err, &status):
		return &failed{status: status.ExitCode(), text: lastError(p.errors.String()), how: status.Error()}
	}
	return err
}

// output runs rclone with input, and returns what it prints.
func (d *Driver) output(ctx context.Context, input []byte, args ...string) ([]byte, error) {
	p := d.command(ctx, args...)
	defer p.cancel()
	var out bytes.Buffer
	p.cmd.Stdin, p.cmd.Stdout = bytes.NewReader(input), &out
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	err := p.wait()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out.Bytes(), err
}

// failed is an rclone that ended with a status.
type failed struct {
	status int
	text   string // the last that it said
	how    string // how it ended, if it said nothing
}

func (f *failed) Error() string {
	if f.text == "" {
		return "rclone: " + f.how
	}
	return "rclone: " + f.text
}

// Is makes fs.ErrNotExist of the statuses for what is not there, and store.ErrRetained and
// fs.ErrPermission of the words for what is not allowed: rclone has no status for it.
func (f *failed) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return f.status == 3 || f.status == 4 // "directory not found", "file not found": rclone(1), Exit code
	case fs.ErrPermission:
		return denied.MatchString(f.text)
	case syscall.ENOSPC:
		return strings.Contains(f.text, syscall.ENOSPC.Error())
	}
	return false
}

var denied = regexp.MustCompile(`(?i)permission denied|access ?denied|forbidden|object ?lock|retention|operation not permitted|not authorized`)

// lastError is what of rclone's errors is for people: the last one, without its time. Some have
// several lines.
func lastError(text string) string {
	const enough = 500 // bytes
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := len(lines) - 1
	for i := last; i >= 0; i-- {
		if logTime.MatchString(lines[i]) {
			last = i
			break
		}
	}
	lines[last] = logTime.ReplaceAllString(lines[last], "")
	said := strings.Join(strings.Fields(strings.Join(lines[last:], " ")), " ")
	if len(said) > enough {
		said = strings.ToValidUTF8(said[:enough], "") + "…"
	}
	return said
}

var logTime = regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ((ERROR|CRITICAL|NOTICE) *: )?`)

// fail makes an *store.Error of err, nil of nil, about the object of a key.
func (d *Driver) fail(op, key string, err error) error {
	var already *store.Error
	if err == nil || errors.As(err, &already) || errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	e := &store.Error{Op: op, Path: d.a.below(key).String(), Err: err}
	var f *failed
	switch {
	case errors.Is(err, fs.ErrNotExist) && errors.As(err, &f):
		e.Err = fs.ErrNotExist
	case errors.Is(err, syscall.ENOSPC):
		e.Advice = "the destination is full: rclone about " + d.a.remote + ": shows its space"
	case errors.As(err, &f) && strings.Contains(f.text, "didn't find section in config file"):
		e.Advice = "rclone listremotes shows the remotes of this user, rclone config makes one; $RCLONE_CONFIG says whose file it is"
	case errors.As(err, &f) && (strings.Contains(f.text, "unknown flag") || strings.Contains(f.text, "unknown command")):
		e.Advice = "it is too old: rclone version says which it is, and 1.60 will do"
	case errors.As(err, &f):
		e.Advice = fmt.Sprintf("try it by itself: rclone lsd %s", quoted(d.a.arg()))
	}
	return e
}

// quoted is a word as a shell wants it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// stream starts rclone, whose output is read as it comes. The caller calls stop.
func (d *Driver) stream(ctx context.Context, args ...string) (*process, io.Reader, error) {
	p := d.command(ctx, args...)
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.cancel()
		return nil, nil, err
	}
	return p, out, nil
}

// stop kills it, if it still runs, and waits for its end.
func (p *process) stop() {
	p.cancel()
	_ = p.cmd.Wait() // it was killed, or its end does not matter
}
