package snapshot

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseMounts(t *testing.T) {
	t.Parallel()
	got := parseMounts(`22 28 0:21 / /proc rw,nosuid - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg0-root rw
41 28 254:3 /a\040b /mnt/with\040blank rw shared:2 master:1 - xfs /dev/mapper/vg0-x rw
garbage
`)
	want := []mounted{
		{"22", "0:21", "/", "/proc", "proc", "proc"}, {"28", "254:0", "/", "/", "ext4", "/dev/mapper/vg0-root"},
		{"41", "254:3", "/a b", "/mnt/with blank", "xfs", "/dev/mapper/vg0-x"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
	for path, want := range map[string]string{"/mnt/with blank": "/a b", "/mnt/with blank/c": "/a b/c", "/mnt": "", "/mnt/with": ""} {
		if rel, err := got[2].inside(path); rel != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", path, rel, err, want)
		}
	}
	if rel, err := got[1].inside("/"); rel != "/" || err != nil {
		t.Errorf("the root: got %q, %v", rel, err)
	}
}

// /proc is a mount on every Linux, below the root.
func TestMountOf(t *testing.T) {
	t.Parallel()
	m, err := mountOf("/proc/self")
	if err != nil || m.point != "/proc" || m.fsType != "proc" {
		t.Errorf("got %+v, %v, want the mount of /proc", m, err)
	}
	under, err := below("/")
	if err != nil || under["proc"] != "/proc" || under[""] != "" {
		t.Errorf("got %v, %v, want /proc among them, and not the root", under, err)
	}
	if under, err := below("/proc/self"); err != nil || len(under) > 0 {
		t.Errorf("below /proc/self: got %v, %v", under, err)
	}
}

// A file system is mounted where nobody sees it, the new way and the old one, and is
// gone when it is closed.
func TestView(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for fsType, flags := range map[string][]string{"ext4": nil, "xfs": {"nouuid"}} {
		if _, err := exec.LookPath("mkfs." + fsType); err != nil {
			t.Skipf("mkfs.%s is not installed", fsType)
		}
		image := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, 320<<20); err != nil {
			t.Fatal(err)
		}
		run(t, "mkfs."+fsType, "-q", image)
		device := run(t, "losetup", "-f", "--show", image)
		t.Cleanup(func() { run(t, "losetup", "-d", device) })
		for way, mount := range map[string]func(string, string, []string) (int, error){"detached": mountDetached, "hidden": mountAndHide} {
			fd, err := mount(device, fsType, flags)
			if err != nil {
				t.Fatalf("%s, %s: %v", fsType, way, err)
			}
			v := view{fd}
			all, err := mounts()
			if err != nil || slices.ContainsFunc(all, func(m mounted) bool { return m.source == device }) {
				t.Errorf("%s, %s: it is to be seen in /proc/self/mountinfo, %v", fsType, way, err)
			}
			var fs unix.Statfs_t
			if err := unix.Statfs(v.path()+"/", &fs); err != nil || fs.Flags&unix.ST_RDONLY == 0 || fs.Blocks < 10000 {
				t.Errorf("%s, %s: got %+v, %v, want a file system, read-only", fsType, way, fs, err)
			}
			if _, err := os.ReadDir(v.path() + "/."); err != nil {
				t.Errorf("%s, %s: %v", fsType, way, err)
			}
			if err := v.close(); err != nil {
				t.Error(err)
			}
			// Whoever may have it alone knows that nobody has it mounted.
			f, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL, 0)
			if err != nil {
				t.Errorf("%s, %s: still mounted after it was closed: %v", fsType, way, err)
				continue
			}
			f.Close()
		}
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), mountPrefix+"*")); err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
	if _, err := openView("/dev/null", "ext4", false); err == nil || !strings.HasPrefix(err.Error(), "mount /dev/null as ext4: ") {
		t.Errorf("what is no device: got %v", err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}
