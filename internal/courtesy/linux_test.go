//go:build linux

package courtesy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// roleVariable makes the test binary a process of its own, whose priorities may change.
const roleVariable = "TINYBACKUP_COURTESY_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "" {
		os.Exit(m.Run())
	}
	// Threads that were there before, and one that comes later.
	var ready, done sync.WaitGroup
	hold := make(chan struct{})
	thread := func() {
		runtime.LockOSThread()
		ready.Done()
		<-hold
		done.Done()
	}
	start := func(n int) {
		ready.Add(n)
		done.Add(n)
		for range n {
			go thread()
		}
		ready.Wait()
	}
	start(8)
	io, err := ParseIO("idle")
	if err == nil {
		err = SetNice(7)
	}
	if err == nil {
		err = SetNice(3) // it is nicer already
	}
	if err == nil {
		err = SetIO(io)
	}
	start(8)
	if err == nil {
		err = show()
	}
	close(hold)
	done.Wait()
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

// show prints the nice value and the class of every thread, as the tools tell them.
func show() error {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, e := range entries {
		stat, err := os.ReadFile("/proc/self/task/" + e.Name() + "/stat")
		if err != nil {
			return err
		}
		// proc_pid_stat(5): field 19, of which the first two end with the last parenthesis
		_, rest, _ := strings.Cut(string(stat), ") ")
		class, err := exec.Command("ionice", "-p", e.Name()).Output()
		if err != nil {
			return err
		}
		os.Stdout.WriteString(strings.Fields(rest)[16] + " " + string(class))
	}
	return nil
}

// Every thread gets the priorities, those that were there and those that come later.
func TestPriorities(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	here, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(max(7, niceOf(here)), " idle") // whoever runs the tests may be nice
	for _, line := range lines {
		if line != want {
			t.Errorf("a thread has %q, want %q", line, want)
		}
	}
	if len(lines) < 17 {
		t.Errorf("got %d threads, want at least 17: %q", len(lines), lines)
	}
}

func TestOnBattery(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		supplies map[string]string // what is in a supply's files, as "type=Mains online=1"
		want     bool
	}{
		"a desktop":                  {nil, false},
		"a laptop":                   {map[string]string{"AC": "type=Mains online=0", "BAT0": "type=Battery status=Discharging"}, true},
		"plugged in":                 {map[string]string{"AC": "type=Mains online=1", "BAT0": "type=Battery status=Charging"}, false},
		"one of two is used":         {map[string]string{"AC": "type=Mains online=1", "BAT0": "type=Battery status=Discharging"}, false},
		"charged by USB":             {map[string]string{"AC": "type=Mains online=0", "U": "type=USB online=1", "BAT0": "type=Battery status=Discharging"}, false},
		"a mouse":                    {map[string]string{"hid": "type=Battery scope=Device status=Discharging"}, false},
		"a mouse, and the machine":   {map[string]string{"hid": "type=Battery scope=Device status=Full", "BAT1": "type=Battery status=Discharging"}, true},
		"kept full on a dead socket": {map[string]string{"AC": "type=Mains online=0", "BAT0": "type=Battery status=Full"}, false},
	} {
		dir := t.TempDir()
		for supply, text := range c.supplies {
			for _, pair := range strings.Fields(text) {
				key, value, _ := strings.Cut(pair, "=")
				path := filepath.Join(dir, supply, key)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(value+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := onBattery(dir); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if onBattery(filepath.Join(t.TempDir(), "none")) {
		t.Error("a system that does not tell runs on battery")
	}
}
