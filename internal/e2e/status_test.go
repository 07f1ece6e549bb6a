//go:build linux

package e2e

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A told is what statusof --json tells of one job.
type told struct {
	Jobs []struct {
		State, Why, Mend string
		OK               bool
	} `json:"jobs"`
}

// statusOf asks for the status of the only job there is, with this exit status.
func statusOf(t *testing.T, p *program, code int) (state, why, mend string) {
	t.Helper()
	o := p.exits(t, code, "statusof", "--json")
	var s told
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil || len(s.Jobs) != 1 {
		t.Fatalf("statusof --json: %v in\n%s", err, o.stdout)
	}
	j := s.Jobs[0]
	if j.OK != (code == 0) {
		t.Errorf("ok is %v, and the exit status %d", j.OK, code)
	}
	return j.State, j.Why, j.Mend
}

// wants compares what is told of a broken job.
func wants(t *testing.T, p *program, why, mend string) string {
	t.Helper()
	state, gotWhy, gotMend := statusOf(t, p, 5)
	if state != "broken" || !strings.Contains(gotWhy, why) || !strings.Contains(gotMend, mend) {
		t.Errorf("got %s, %q, %q, want broken, %q, %q", state, gotWhy, gotMend, why, mend)
	}
	return gotMend
}

// sh does what a person is told to type, as root.
func sh(t *testing.T, command string) {
	t.Helper()
	tool(t, "sh", "-c", strings.ReplaceAll(command, "sudo ", ""))
}

// random writes a file that no codec makes smaller.
func random(t *testing.T, path string, size int) {
	t.Helper()
	data := make([]byte, size)
	rand.Read(data)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestStatusOfMounts takes real disks away from a job: the one of its source, the
// one of its destination. What statusof says to type mends it.
func TestStatusOfMounts(t *testing.T) {
	inside(t)
	p := newProgram(t)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "my notes"), mkdir(t, dir, "stick")
	fstab, err := os.ReadFile("/etc/fstab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile("/etc/fstab", fstab, 0o644); err != nil {
			t.Error(err)
		}
	})
	// A loop of tmpfs would be empty after a mount: a directory elsewhere is the disk.
	table := string(fstab)
	for _, point := range []string{source, dest} {
		disk := mkdir(t, point+"-disk")
		table += fmt.Sprintf("%s %s none bind,noauto 0 0\n", strings.ReplaceAll(disk, " ", `\040`), strings.ReplaceAll(point, " ", `\040`))
	}
	write(t, "/etc/fstab", table)
	// On a bind of one file system nobody sees whether it is mounted: they are of another.
	for _, point := range []string{source, dest} {
		tool(t, "mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", point+"-disk")
		t.Cleanup(func() { _ = unix.Unmount(point+"-disk", unix.MNT_DETACH) })
		tool(t, "mount", point)
		t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) })
	}
	write(t, filepath.Join(source, "a"), "a")
	p.run(t, "install", "--scheduler", "service", "--time", "2:00", "--run", source, dest)
	p.exits(t, 0, "start")
	t.Cleanup(func() { p.try(t, "stop", "--now") })
	if state, why, _ := statusOf(t, p, 0); state != "ok" {
		t.Fatalf("with all in place: %s, %q", state, why)
	}

	tool(t, "umount", source)
	sh(t, wants(t, p, "is empty, and was not in the last backup", "mount '"+source+"'"))
	statusOf(t, p, 0)
	tool(t, "umount", dest)
	sh(t, wants(t, p, "is not what it was: its archives are not there, and no .tinybackup", "mount "+dest))
	statusOf(t, p, 0)
	tool(t, "umount", dest)
	if err := os.Remove(dest); err != nil {
		t.Fatal(err)
	}
	wants(t, p, "is not there", "mount "+dest)
	mkdir(t, dest)
	tool(t, "mount", dest)

	// Nearly full: the next archive would still fit, the one after it not.
	random(t, filepath.Join(source, "more"), 4<<20)
	p.exits(t, 0, "run", "--now", "--job", jobID(t, p))
	statusOf(t, p, 0)
	random(t, filepath.Join(dest, "film"), 5<<20)
	wants(t, p, "is almost full: ", "keep fewer")
	if err := os.Remove(filepath.Join(dest, "film")); err != nil {
		t.Fatal(err)
	}
	statusOf(t, p, 0)
}

// jobID is the id of the only job.
func jobID(t *testing.T, p *program) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir(), "jobs", "*.ini"))
	if err != nil || len(files) != 1 {
		t.Fatalf("jobs: %q, %v", files, err)
	}
	return strings.TrimSuffix(filepath.Base(files[0]), ".ini")
}

// TestStatusOfDenied is a user whom crontab and at are forbidden after a job was
// installed. What statusof says to type allows it.
func TestStatusOfDenied(t *testing.T) {
	inside(t)
	need(t, "crontab", "at", "setpriv")
	for _, scheduler := range []string{"cron", "at"} {
		deny := "/etc/" + scheduler + ".deny"
		before, err := os.ReadFile(deny)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.WriteFile(deny, before, 0o644); err != nil {
				t.Error(err)
			}
		})
		p := newProgram(t)
		dir := newDir(t)
		source, dest := mkdir(t, dir, "src"), mkdir(t, dir, "dst")
		write(t, filepath.Join(source, "a"), "a")
		p.run(t, "install", "--scheduler", "service", "--time", "2:00", source, dest)
		edit(t, filepath.Join(p.dir(), "jobs", jobID(t, p)+".ini"), "scheduler = service", "scheduler = "+scheduler)
		tool(t, "chown", "-R", "denied", filepath.Dir(p.dir()), dir)
		ask := func() outcome {
			cmd := p.command("statusof", "--json")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4243, Gid: 4243}}
			cmd.Env = append(cmd.Env, "HOME=/run/denied")
			return finish(t, cmd)
		}
		var s told
		o := ask()
		if err := json.Unmarshal([]byte(o.stdout), &s); err != nil || o.code != 5 || len(s.Jobs) != 1 {
			t.Fatalf("exit %d, %v: %s%s", o.code, err, o.stdout, o.stderr)
		}
		if j := s.Jobs[0]; j.State != "broken" || !strings.Contains(j.Why, "denied may not use "+scheduler) {
			t.Errorf("got %s, %q, want broken, that denied may not use %s", j.State, j.Why, scheduler)
		}
		sh(t, s.Jobs[0].Mend)
		o = ask()
		if strings.Contains(o.stdout, "may not use") || !strings.Contains(o.stdout, "tinybackup repair ") {
			t.Errorf("after %s: %s%s", s.Jobs[0].Mend, o.stdout, o.stderr)
		}
	}
}

// A terminal is what a program sees of one, and what it has drawn on it.
type terminal struct {
	master, slave *os.File

	mu    sync.Mutex
	drawn strings.Builder
}

// newTerminal opens a pseudo-terminal (pts(4)) of 80 columns and 24 lines.
func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	term := &terminal{master: master, slave: slave}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			term.mu.Lock()
			term.drawn.Write(buffer[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { slave.Close(); master.Close() })
	return term
}

// text is all that was drawn.
func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.drawn.String()
}

// TestStatusWatch watches on a terminal, until Ctrl-C: that is a good end, and the
// screen is as it was.
func TestStatusWatch(t *testing.T) {
	inside(t)
	t.Parallel()
	p := newProgram(t)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "src"), mkdir(t, dir, "dst")
	write(t, filepath.Join(source, "a"), "a")
	p.run(t, "install", "--scheduler", "service", "--time", "2:00", source, dest)
	term := newTerminal(t)
	cmd := p.command("statusof", "--watch")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = term.slave, term.slave, term.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	frames := func() int { return strings.Count(term.text(), "\x1b[H") }
	waitFor(t, time.Minute, "a second frame", func() bool { return frames() >= 2 })
	if _, err := io.WriteString(term.master, "\x03"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v\n%q", err, term.text())
	}
	const begin, end = "\x1b[?1049h\x1b[?25l\x1b[H", "\x1b[?25h\x1b[?1049l"
	waitFor(t, time.Minute, "the end of what is drawn", func() bool { return strings.HasSuffix(term.text(), end) })
	text := term.text()
	if !strings.HasPrefix(text, begin) || strings.Count(text, "\x1b[?1049") != 2 {
		t.Errorf("the screen is not kept: %q", text)
	}
	if !strings.Contains(text, "Ctrl-C ends this\r\n\x1b[K\r\n") || !strings.Contains(text, "the service is not running") {
		t.Errorf("drawn: %q", text)
	}
	if strings.Contains(text, "\x1b[2J") || strings.Contains(text, "\n\x1b[H") {
		t.Errorf("it flickers or scrolls: %q", text)
	}
}
