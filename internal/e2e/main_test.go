//go:build linux

package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The test binary starts itself twice: the outer process builds the program and
// makes the namespaces, the first process in them mounts what is private and
// collects orphans, and the second one runs the tests.
const (
	stageVariable = "TINYBACKUP_E2E_STAGE" // "", "init" or "tests"
	workVariable  = "TINYBACKUP_E2E_WORK"  // the directory that everything is in
)

var (
	work    string // temporary, removed by the outer process; a short path
	outside string // why the tests do not run in a private machine, "" if they do
)

func TestMain(m *testing.M) {
	work = os.Getenv(workVariable)
	var code int
	var err error
	switch os.Getenv(stageVariable) {
	case "init":
		code, err = initStage()
	case "tests":
		scrub()
		code, err = run(m)
	default:
		code, err = outerStage(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// run runs the tests, more of them at a time than there are cores: most of them
// wait for a daemon, most of the time.
func run(m *testing.M) (int, error) {
	if signal.Ignored(syscall.SIGHUP) { // by nohup(1), and what we start would inherit it
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(max(6, runtime.GOMAXPROCS(0)))); err != nil {
			return 1, err
		}
	}
	code := m.Run()
	printFigures(os.Stdout)
	return code, nil
}

// scrub takes out of the environment what would tell a test's programs of ours.
func scrub() {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "TINYBACKUP_") || strings.HasPrefix(name, "XDG_") || name == "TZ" {
			os.Unsetenv(name)
		}
	}
	os.Setenv("TMPDIR", work)
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
}

// outerStage builds, enters the private machine, and cleans up when it is gone.
func outerStage(m *testing.M) (code int, err error) {
	if work, err = os.MkdirTemp("", "e2e"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()
	if err := os.Chmod(work, 0o755); err != nil { // other users run the program, too
		return 1, err
	}
	if err := build(); err != nil {
		return 1, err
	}
	if os.Geteuid() != 0 {
		outside = "needs root"
		scrub()
		return run(m)
	}
	code, err = again("init", &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	})
	if errors.Is(err, syscall.EPERM) {
		outside = "may not make namespaces here (a container without CAP_SYS_ADMIN?)"
		scrub()
		return run(m)
	}
	return code, err
}

// again runs this test binary for a stage, and tells its exit status.
func again(stage string, attr *syscall.SysProcAttr) (int, error) {
	runtime.LockOSThread() // Pdeathsig is of the thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVariable+"="+stage, workVariable+"="+work)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = attr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), nil
	}
	return 1, err
}

// build makes the program as it is delivered, and one with the tests' clock.
func build() error {
	const tags = "nethttpomithttp2" // the Makefile's
	for _, b := range [][]string{
		{"BIN=" + filepath.Join(work, "bin", "tinybackup")},
		{"BIN=" + filepath.Join(work, "clock", "tinybackup"), "TAGS=" + tags + ",testclock"},
	} {
		cmd := exec.Command("make", append([]string{"-s", "-C", "../..", "build"}, b...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
	}
	return nil
}

// cleanUp gives back what outlives the namespaces: loop devices and files.
func cleanUp() error {
	out, err := exec.Command("losetup", "-n", "-l", "-O", "NAME,BACK-FILE").Output()
	if err == nil {
		for line := range strings.Lines(string(out)) {
			if name, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(strings.TrimSpace(file), work+"/") {
				_ = exec.Command("losetup", "-d", name).Run() // it goes with its last user at the latest
			}
		}
	}
	return os.RemoveAll(work)
}

// initStage is process 1 of the private machine.
func initStage() (int, error) {
	if err := privateMachine(); err != nil {
		return 1, fmt.Errorf("private machine: %w", err)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVariable+"=tests")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	// Stack dumps are for the tests to print.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 1, err
		case pid == cmd.Process.Pid && status.Exited():
			return status.ExitStatus(), nil
		case pid == cmd.Process.Pid:
			return 128 + int(status.Signal()), nil
		}
	}
}

// privateMachine mounts what the tests change over what the machine has.
func privateMachine() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// libfaketime's semaphores are called after process ids, which are not unique any more.
	for dir, mode := range map[string]string{"/run": "0755", "/dev/shm": "1777"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode="+mode); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	for _, s := range []struct{ dir, without string }{
		{"/var/lib", "tinybackup"}, {"/var/log", "tinybackup"}, {"/var/spool", "cron"},
	} {
		if err := shadow(s.dir, s.without); err != nil {
			return fmt.Errorf("shadow %s: %w", s.dir, err)
		}
	}
	if err := command("sh", "-ec", spools); err != nil {
		return err
	}
	// What a test unmounts must go from the namespaces of other tests, too: a copy
	// that stays there keeps its device in use.
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// spools makes empty spools for cron and at, as their packages do, an /etc to
// write to, a user without rights, and one whom at and cron are denied.
const spools = `
mkdir -p /run/lock /run/etc
cp -a /etc/. /run/etc/
mount --bind /run/etc /etc
rm -rf /etc/tinybackup /etc/cron.*/* /etc/cron.allow /etc/cron.deny /etc/at.allow
: >/etc/crontab
rm -f /etc/localtime; ln -s /usr/share/zoneinfo/Etc/UTC /etc/localtime; echo Etc/UTC >/etc/timezone
for user in tester:4242 denied:4243; do
	name=${user%:*} id=${user#*:}
	echo "$name:x:$id:$id::/run/$name:/bin/sh" >>/etc/passwd
	echo "$name:x:$id:" >>/etc/group
	[ ! -e /etc/shadow ] || echo "$name:*:19000:0:99999:7:::" >>/etc/shadow
	install -d -m 755 -o $id -g $id /run/$name
done
echo denied >>/etc/at.deny
echo denied >>/etc/cron.deny
if getent passwd daemon >/dev/null; then
	install -d -m 1770 -o daemon -g daemon /var/spool/cron/atjobs /var/spool/cron/atspool
	install -m 600 -o daemon -g daemon /dev/null /var/spool/cron/atjobs/.SEQ
fi
if getent group crontab >/dev/null; then
	install -d -m 1730 -o root -g crontab /var/spool/cron/crontabs
fi
# What the daemons would mail must not leave this machine.
[ ! -e /usr/sbin/sendmail ] || mount --bind /bin/true /usr/sbin/sendmail
`

// shadow makes a directory of which only this machine sees what is written to
// it: its entries are those of the old one, but for one that is left out.
func shadow(dir, without string) error {
	old := filepath.Join("/run/shadow", dir)
	if err := os.MkdirAll(old, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(dir, old, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	entries, err := os.ReadDir(old)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == without || !e.IsDir() {
			continue
		}
		to := filepath.Join(dir, e.Name())
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(filepath.Join(old, e.Name()), to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
	}
	return nil
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
