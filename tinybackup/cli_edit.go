package tinybackup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// editCommand are the options of edit.
type editCommand struct {
	Args selectArgs `positional-args:"yes"`
}

func (c *editCommand) execute(ctx context.Context, env Env) error {
	which, err := c.Args.selection("")
	if err != nil {
		return err
	}
	all, err := allJobs(env.Dirs)
	if err != nil {
		return err
	}
	if which.isZero() {
		return &UsageError{Msg: "edit wants a job", Hint: "tinybackup edit ID; tinybackup statusof shows the ids"}
	}
	picked, err := which.pick(all)
	if err != nil {
		return err
	}
	if len(picked) > 1 {
		return &UsageError{Msg: "edit wants one job, and these are several", Hint: "give its id; tinybackup statusof shows them"}
	}
	e, err := newEditing(env, picked[0])
	if err != nil {
		return err
	}
	return e.loop(ctx)
}

// loop has the draft edited until it is saved, or given up.
func (e *editing) loop(ctx context.Context) error {
	for {
		if err := e.editor(ctx); err != nil {
			return e.leave(err)
		}
		if interrupted(ctx) {
			ctx = context.WithoutCancel(ctx) // that was typed for the editor
		}
		text, err := os.ReadFile(e.draft)
		if err != nil {
			return e.leave(err)
		}
		if bytes.Equal(text, e.before) {
			e.env.say("nothing is changed")
			return os.Remove(e.draft)
		}
		done, err := e.save(ctx, text)
		if err == nil {
			printJobs(e.env, []InstalledJob{done}, false)
			return os.Remove(e.draft)
		}
		if !e.asks() {
			return e.leave(err)
		}
		finish(ctx, e.env.Stderr, err)
		if again, answerErr := e.again(ctx); answerErr != nil {
			return e.leave(answerErr)
		} else if !again {
			return &toldError{e.leave(err)}
		}
	}
}

// leave is for a job that stays as it is: a draft that somebody has put work into
// stays, too, and is named.
func (e *editing) leave(err error) error {
	text, readErr := os.ReadFile(e.draft)
	if readErr != nil || bytes.Equal(text, e.before) {
		return errors.Join(err, ignoreMissing(os.Remove(e.draft)))
	}
	fmt.Fprintf(e.env.Stderr, "tinybackup: the job is unchanged; what you have typed is in %s\n", shellQuote(e.draft))
	return err
}

// asks says whether somebody is there to be asked.
func (e *editing) asks() bool {
	in, is := e.env.Stdin.(*os.File)
	return is && e.env.terminal && term.IsTerminal(int(in.Fd()))
}

// again asks whether to edit once more. The end of the input is no.
func (e *editing) again(ctx context.Context) (bool, error) {
	fmt.Fprint(e.env.Stderr, "edit again? [Y/n] ")
	answer := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(e.env.Stdin).ReadString('\n')
		if err != nil {
			line = "n"
		}
		answer <- line
	}()
	select {
	case line := <-answer:
		return !strings.HasPrefix(strings.ToLower(strings.TrimSpace(line)), "n"), nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// editor opens the draft in the editor of this person, and returns when that has
// ended. An interrupt is typed for the editor, as it has the terminal, and not for
// us; any other signal ends it.
func (e *editing) editor(ctx context.Context) error {
	program := "vi"
	for _, name := range []string{"EDITOR", "VISUAL"} {
		if e.env.getenv != nil && e.env.getenv(name) != "" {
			program = e.env.getenv(name)
		}
	}
	// With the trap, an interrupt does not end the shell, and the editor has none of it.
	cmd := exec.Command("/bin/sh", "-c", "trap : INT QUIT\n"+program+` "$1"`, "sh", e.draft)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	typed := make(chan os.Signal, 1)
	signal.Notify(typed, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(typed)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("editor %q: %w", program, err)
	}
	defer context.AfterFunc(ctx, func() {
		if !interrupted(ctx) {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	})()
	err := cmd.Wait()
	switch {
	case ctx.Err() != nil && !interrupted(ctx):
		return context.Cause(ctx)
	case err != nil:
		return &HintError{Err: fmt.Errorf("editor %q: %w", program, err), Hint: "the variables VISUAL and EDITOR say which one to use"}
	}
	return nil
}

// interrupted says whether ctx ended by SIGINT.
func interrupted(ctx context.Context) bool {
	var s *SignalError
	return errors.As(context.Cause(ctx), &s) && s.Signal == syscall.SIGINT
}

// newDraft copies text into a file for the owner alone, beside the job's: what an
// editor puts beside it is in a private directory, too.
func newDraft(path string, text []byte) (_ string, err error) {
	id := strings.TrimSuffix(filepath.Base(path), ".ini")
	f, err := os.CreateTemp(filepath.Dir(path), ".edit-"+id+"-*.ini") // mode 0600
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(text); err != nil {
		return "", errors.Join(err, f.Close())
	}
	return f.Name(), f.Close()
}
