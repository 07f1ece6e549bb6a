//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// types sends keys to whoever reads from the terminal.
func (term *terminal) types(t *testing.T, keys string) {
	t.Helper()
	_, err := term.master.WriteString(keys)
	check(t, err)
}

// shows waits until the terminal shows a text.
func (term *terminal) shows(t *testing.T, text string) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the terminal shows\n%s", term.text())
		}
	})
	waitFor(t, time.Minute, text, func() bool { return strings.Contains(term.text(), text) })
}

// on starts a command as the leader of a terminal, and gives what waits for its end
// and tells its exit status.
func (term *terminal) on(t *testing.T, cmd *exec.Cmd) func() int {
	t.Helper()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = term.slave, term.slave, term.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	check(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its state tells
		close(ended)
	}()
	stop := func() int {
		select {
		case <-ended:
		case <-time.After(hangs):
			_ = cmd.Process.Kill()
			t.Fatalf("it hangs; the terminal shows\n%s", term.text())
		}
		return status(cmd)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	return stop
}

// TestEditOnTerminal types into a terminal: a bad edit is asked about, and the second
// one is taken; an interrupt is the editor's; and no is no.
func TestEditOnTerminal(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	source, dest, out := hookPlace(t)
	p.run(t, "install", "--scheduler", "service", "--time", "2:30", "--keep-daily", "7", source, dest)
	id := jobIn(t, p)
	file := filepath.Join(p.dir(), "jobs", id+".ini")
	editor := filepath.Join(out, "editor")
	write(t, editor, `trap 'echo interrupted' INT
echo "the line, please"
read answer || read answer
sed -i "s/^[a-z-]*daily = .*/$answer/" "$1"
`)
	p.env = append(p.env, "VISUAL=sh "+editor)

	term := newTerminal(t)
	wait := term.on(t, p.command("edit", id))
	term.shows(t, "the line, please")
	term.types(t, "\x03") // Control-C
	term.shows(t, "interrupted")
	term.types(t, "kep-daily = 3\n")
	term.shows(t, `unknown key "kep-daily"`)
	term.shows(t, "did you mean keep-daily?")
	term.shows(t, "edit again? [Y/n]")
	if text := readFile(t, file); !strings.Contains(text, "\nkeep-daily = 7\n") {
		t.Errorf("the job, before all is well:\n%s", text)
	}
	term.types(t, "\n")
	waitFor(t, time.Minute, "the editor again", func() bool { return strings.Count(term.text(), "the line, please") == 2 })
	term.types(t, "keep-daily = 3\n")
	if code := wait(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	term.shows(t, "keep-daily: 7 -> 3")
	if text := readFile(t, file); !strings.Contains(text, "\nkeep-daily = 3\n") {
		t.Errorf("the job:\n%s", text)
	}
	drafts := func() []string {
		found, err := filepath.Glob(filepath.Join(p.dir(), "jobs", ".edit-*"))
		check(t, err)
		return found
	}
	if left := drafts(); len(left) != 0 {
		t.Errorf("left: %q", left)
	}

	term = newTerminal(t)
	wait = term.on(t, p.command("edit", id))
	term.shows(t, "the line, please")
	term.types(t, "kep-daily = 9\n")
	term.shows(t, "edit again? [Y/n]")
	term.types(t, "n\n")
	if code := wait(); code != 2 {
		t.Errorf("exit status %d", code)
	}
	term.shows(t, "what you have typed is in ")
	if text := term.text(); strings.Count(text, "unknown key") != 1 {
		t.Errorf("the terminal:\n%s", text)
	}
	left := drafts()
	if len(left) != 1 || !strings.Contains(readFile(t, left[0]), "\nkep-daily = 9\n") || !strings.Contains(readFile(t, file), "\nkeep-daily = 3\n") {
		t.Fatalf("drafts %q, the job:\n%s", left, readFile(t, file))
	}
	info, err := os.Stat(left[0])
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the draft has mode %v", info.Mode())
	}
}
