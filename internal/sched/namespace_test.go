package sched

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The tests with real daemons run in a mount and process namespace of their own: with a /run, a /tmp, an /etc and a spool that vanish with it,
// and no other process in sight. So they neither see nor touch the machine's at and cron, may run side by side, and leave nothing behind.

// namespaceVariable names, in the child, the test it is to run.
const namespaceVariable = "TINYBACKUP_TEST_NAMESPACE"

// testUser may use no shadow of root's rights; it exists only in the namespace.
const testUser, testUID = "tbtest", 54321

// namespaceSetup gives the spools the owners and modes that Debian's packages do. An old empty /etc/crontab keeps the
// machine's own cron.hourly and the like from being run.
const namespaceSetup = `
mount -t tmpfs -o mode=755 tmpfs /run
cp -a /etc /run/.etc
mount --bind /run/.etc /etc
rm -rf /etc/cron.d /etc/cron.allow /etc/cron.deny /etc/at.allow
mkdir -p /run/lock /etc/cron.d
: > /etc/crontab
: > /etc/at.deny
echo "tbtest:x:54321:54321::/:/bin/sh" >> /etc/passwd
echo "tbtest:x:54321:" >> /etc/group
echo "tbtest:*:19000:0:99999:7:::" >> /etc/shadow
mount -t tmpfs -o mode=755 tmpfs /var/spool/cron
install -d -m 1770 -o daemon -g daemon /var/spool/cron/atjobs /var/spool/cron/atspool
install -m 600 -o daemon -g daemon /dev/null /var/spool/cron/atjobs/.SEQ
install -d -m 1730 -o root -g crontab /var/spool/cron/crontabs
touch -d 2020-01-01 /etc/crontab /etc/cron.d /var/spool/cron/crontabs
binary=$1
shift
: > /run/test
mount --bind "$binary" /run/test
mount -t tmpfs -o mode=1777 tmpfs /tmp
/run/test "$@"
exit $?
`

// inNamespace is true in a namespace. Outside it runs the calling test in one, as a child of this test binary, takes over its outcome
// and is false: a test begins with "if !inNamespace(t, …) { return }". It skips the test if a tool is missing or root's rights are.
func inNamespace(t *testing.T, tools ...string) bool {
	t.Helper()
	if os.Getenv(namespaceVariable) == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a mount namespace")
	}
	for _, tool := range append(tools, "unshare") {
		if _, err := lookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	unshare := []string{"-m", "-p", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"}
	if out, err := exec.Command("unshare", append(unshare, "true")...).CombinedOutput(); err != nil {
		t.Skipf("needs unshare(2): %v: %s", err, out)
	}
	t.Parallel()
	cmd := exec.Command("unshare", append(unshare, "sh", "-ec", namespaceSetup, "sh",
		os.Args[0], "-test.run", "^"+regexp.QuoteMeta(t.Name())+"$", "-test.v", "-test.count=1", "-test.timeout=3m")...)
	cmd.Env = append(os.Environ(), namespaceVariable+"="+t.Name())
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("in the namespace: %v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("in the namespace: %s", out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("in the namespace: the test was not run\n%s", out)
	case testing.Verbose():
		t.Logf("in the namespace:\n%s", out)
	}
	return false
}

// startDaemon starts a daemon that stays in the foreground, waits for its pid file, and returns what stops it. The namespace's end does too.
func startDaemon(t *testing.T, pidFile string, argv ...string) (stop func()) {
	t.Helper()
	path, err := lookPath(argv[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, argv[1:]...)
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	eventually(t, argv[0]+" to write "+pidFile, func() bool {
		text, _ := os.ReadFile(pidFile)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 1 && syscall.Kill(pid, 0) == nil
	})
	return func() {
		t.Helper()
		// faketime stays as the daemon's parent, so it is the pid file that says which process to end.
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Errorf("stop %s: %v", argv[0], err)
		}
		_ = cmd.Wait() // its status is that of the signal
	}
}

// A test that needs another process of its own starts this binary again with its own name, and these tell it what to do there.
const childJob, childDir = "TINYBACKUP_TEST_JOB", "TINYBACKUP_TEST_DIR"

// startChild starts the calling test in another process.
func startChild(t *testing.T, job, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^"+regexp.QuoteMeta(t.Name())+"$")
	cmd.Env = append(os.Environ(), childJob+"="+job, childDir+"="+dir)
	// No pipe for its output: what it has started may outlive it and would hold it open.
	out, err := os.Create(filepath.Join(dir, "output-"+job))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// anyProcess says whether a process of the namespace has a name.
func anyProcess(name string) bool {
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range names {
		if got, err := os.ReadFile(path); err == nil && string(got) == name+"\n" {
			return true
		}
	}
	return false
}

// script makes an executable in a new directory under the namespace's /run, which all users can enter.
func script(t *testing.T, name, text string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "script-")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// lines is the lines of a file, none if there is no such file.
func lines(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// output is what a command prints; it has to succeed.
func output(t *testing.T, stdin string, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}
