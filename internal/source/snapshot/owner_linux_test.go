package snapshot

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that lives is not gone, and one that has ended is: also while nobody has
// collected it, when its number is another's by now, and after a reboot.
func TestOwnerGone(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	self, err := me()
	if err != nil {
		t.Fatal(err)
	}
	o := self
	o.pid = cmd.Process.Pid
	if o.start, err = startOf(o.pid); err != nil {
		t.Fatal(err)
	}
	reused, rebooted, contained := o, o, o
	reused.start--
	rebooted.boot = "00000000"
	contained.space++
	for _, c := range []struct {
		what string
		o    owner
		gone bool
	}{
		{"this process", self, false}, {"a child", o, false}, {"an earlier process of its number", reused, true},
		{"a process before the boot", rebooted, true}, {"a process of another container", contained, false},
	} {
		if got := c.o.gone(); got != c.gone {
			t.Errorf("%s is gone: got %v, want %v", c.what, got, c.gone)
		}
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, o.pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if !o.gone() {
		t.Error("a dead process that nobody has collected is not gone")
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !o.gone() {
		t.Error("a dead process is not gone")
	}
	contained.pid = o.pid
	if contained.gone() {
		t.Error("a process of another container is gone: nobody here can know")
	}
}

func TestParseOwner(t *testing.T) {
	t.Parallel()
	want := owner{pid: 4711, start: 123456789, space: 4026531836, boot: "9f3c1a2b"}
	if got, ok := parseOwner(want.String()); !ok || got != want {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	for _, bad := range []string{"", "1", "1.2.3", "1.2.3.4", "01.2.3.9f3c1a2b", "1.2.3.9f3c1a2b.5", "x.2.3.9f3c1a2b", "1.-2.3.9f3c1a2b"} {
		if o, ok := parseOwner(bad); ok {
			t.Errorf("%q: got %+v, want a refusal", bad, o)
		}
	}
	for name, want := range map[string]bool{
		".tinybackup-" + want.String() + ".0000abcd": true, ".tinybackup-" + want.String(): false, ".tinybackup": false,
		".tinybackup-" + want.String() + ".xyz": false, "tinybackup-" + want.String() + ".0000abcd": false,
	} {
		if got := IsSnapshot(name, inoSubvolume); got != want {
			t.Errorf("%q is a snapshot: got %v, want %v", name, got, want)
		}
		if IsSnapshot(name, 1234) {
			t.Errorf("%q is a snapshot, but it is no subvolume", name)
		}
	}
}
