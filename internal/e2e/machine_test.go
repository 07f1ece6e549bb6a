//go:build linux

package e2e

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A machine has the real systemd as its process 1, in namespaces of its own: it
// sees the programs of this machine and the tests' directory, and nothing else of
// it. Its /etc, /var and /home are on a disk that outlives the power.
type machine struct {
	disk   string // has etc, var and home
	root   string // where its root is mounted, for it alone
	cgroup string // that its processes are in
	init   *exec.Cmd
}

// diskScript makes a disk. What systemd would do to the hardware, the network and
// /tmp is masked.
const diskScript = `
mkdir -p "$1/etc/systemd/system" "$1/var/lib" "$1/var/log" "$1/home"
cd "$1/etc"
cp -a /etc/group /etc/nsswitch.conf /etc/alternatives .
sed 's,:/run/,:/home/,' /etc/passwd >passwd
echo 0123456789abcdef0123456789abcdef >machine-id
cd systemd/system
printf '[Unit]\nRequires=timers.target\nAfter=timers.target\n' >test.target
for unit in tmp.mount /lib/systemd/system/sysinit.target.wants/* /lib/systemd/system/timers.target.wants/* /lib/systemd/system/local-fs.target.wants/*; do
	case $unit in *systemd-journald*) ;; *) ln -sf /dev/null "${unit##*/}" ;; esac
done
`

// bootScript becomes process 1.
const bootScript = `
disk=$1 root=$2 work=$3
mount --make-rslave /
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir usr proc sys dev run tmp root etc var home put
chmod 1777 tmp
for dir in bin sbin lib lib32 lib64; do
	if [ -L /$dir ]; then
		cp -a /$dir .
	elif [ -d /$dir ]; then
		mkdir $dir
		mount --rbind /$dir $dir
	fi
done
mount --rbind /usr usr
for dir in etc var home; do mount --bind "$disk/$dir" $dir; done
mkdir -p ".$work"
mount --bind "$work" ".$work"
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom; do
	: >dev/$node
	mount --bind /dev/$node dev/$node
done
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
pivot_root . put
umount -l put
rmdir put
exec /usr/bin/env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=test.target --log-target=null
`

// newMachine makes a machine and boots it. It is off when the test ends.
func newMachine(t *testing.T) *machine {
	t.Helper()
	inside(t)
	need(t, "systemctl", "unshare", "nsenter", "pivot_root")
	dir := newDir(t)
	m := &machine{disk: mkdir(t, dir, "disk"), root: mkdir(t, dir, "root")}
	tool(t, "sh", "-ec", diskScript, "disk", m.disk)
	// A tree of its own, so that none of the machine's control groups outlives it.
	groups := mkdir(t, dir, "groups")
	check(t, unix.Mount("cgroup2", groups, "cgroup2", 0, ""))
	t.Cleanup(func() { check(t, unix.Unmount(groups, unix.MNT_DETACH)) })
	var err error
	m.cgroup, err = os.MkdirTemp(groups, "tinybackup-e2e-")
	check(t, err)
	check(t, os.Chmod(m.cgroup, 0o755)) // the manager of a user looks at its own group in it
	t.Cleanup(func() {
		m.off()
		waitFor(t, 10*time.Second, "the machine's control groups are empty", func() bool { return removeGroups(m.cgroup) == nil })
	})
	m.boot(t)
	return m
}

// boot turns the machine on and waits until it is up.
func (m *machine) boot(t *testing.T) {
	t.Helper()
	m.init = exec.Command("sh", "-ec", `echo 0 >"$1/cgroup.procs"; shift; exec unshare --cgroup sh -ec "$@"`, "boot", m.cgroup, bootScript, "boot", m.disk, m.root, work)
	m.init.Dir = "/"
	var out strings.Builder
	m.init.Stdout, m.init.Stderr = &out, &out
	m.init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET,
	}
	check(t, m.init.Start())
	waitFor(t, 60*time.Second, "systemd is up", func() bool {
		state, _ := m.command("systemctl", "is-system-running").Output()
		if s := strings.TrimSpace(string(state)); s == "running" || s == "degraded" {
			return true
		}
		if syscall.Kill(m.init.Process.Pid, 0) != nil {
			t.Fatalf("the machine does not boot: %s", out.String())
		}
		return false
	})
}

// off pulls the plug.
func (m *machine) off() {
	if m.init != nil {
		_ = m.init.Process.Kill()
		_ = m.init.Wait() // its status is that of the signal
		m.init = nil
	}
}

// enter is what starts a program in the machine.
func (m *machine) enter() []string {
	return []string{"nsenter", "--target", strconv.Itoa(m.init.Process.Pid), "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--"}
}

// command is a call of a program in the machine.
func (m *machine) command(args ...string) *exec.Cmd {
	argv := append(m.enter(), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "LC_ALL=C", "TZ=UTC"}
	return cmd
}

// run runs a program in the machine, which must succeed, and returns what it printed.
func (m *machine) run(t *testing.T, args ...string) string {
	t.Helper()
	o := finish(t, m.command(args...))
	if o.code != 0 {
		t.Fatalf("%q in the machine: got exit %d\n%s%s", args, o.code, o.stdout, o.stderr)
	}
	return o.stdout
}

// removeGroups removes a tree of control groups, which are empty.
func removeGroups(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeGroups(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(err, os.Remove(dir))
}
