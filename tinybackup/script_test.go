package tinybackup

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// held are the locks that scripts hold.
var held sync.Map // "DEST NAME" -> *os.File

var update = flag.Bool("update", false, "write what the scripts print into their golden files")

// TestScript runs the commands as a person and a scheduler do. In a script:
//
//	exits N CMD…      CMD must exit with status N
//	asuser N CMD…     the same, with CMD run as a user who is not root
//	clock TIME        set the clock
//	jobid VAR NAME    the id of the job called NAME
//	nothing           no jobs, no entries, no temporary files
//	hold DEST NAME    take the lock of these archives, until the end or release
//	release [NAME]    give it back, or all
//	waitfor PATTERN   until a file is there; with !: until none is
//	waitfile [-count=N] PATTERN TEXT  until a file has that text, N times
//	rep FILE OLD NEW  replace text in a file
//	heard DEST NAME   the record of these archives was written now, by the clock
//	drafts N          N drafts of job files are there
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, scriptParams("testdata/script"))
}

// scriptParams is how the scripts of a directory are run.
func scriptParams(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "asuser": scriptAsUser, "clock": scriptClock, "jobid": scriptJobID, "nothing": scriptNothing,
			"hold": scriptHold, "release": scriptRelease, "rep": scriptReplace, "drafts": scriptDrafts,
			"heard":   scriptHeard,
			"waitfor": scriptWait, "waitfile": scriptWaitFile,
		},
	}
}

// setUpScript makes what every script finds: a source, a destination, a home, a clock.
func setUpScript(e *testscript.Env) error {
	bin, err := exec.LookPath("tinybackup")
	if err != nil {
		return err
	}
	for _, dir := range []string{"home/spool", "src", "dst"} {
		if err := os.MkdirAll(filepath.Join(e.WorkDir, dir), 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(e.WorkDir, "src", "a.txt"), []byte("a\n"), 0o600); err != nil {
		return err
	}
	clock := filepath.Join(e.WorkDir, "clock")
	e.Setenv("BIN", bin)
	e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
	e.Setenv("TINYBACKUP_DIR", filepath.Join(e.WorkDir, "tb"))
	e.Setenv("TB_CLOCK", clock)
	e.Setenv("GORACE", "atexit_sleep_ms=0")
	e.Setenv("TB_DAEMONS", "cron at")
	e.Setenv("TB_ZONE", "UTC")
	e.Setenv("TB_MACHINE_ZONE", "UTC")
	e.Defer(func() { // a script that fails leaves its service behind
		if pid, locked := isLocked(serviceLock(DirsOf(e.Getenv, 0, ""))); locked && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return os.WriteFile(clock, []byte("2026-11-21T09:07:00Z"), 0o600)
}

func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// nobody is the user id of the one who owns nothing.
const nobody = 65534

// scriptAsUser runs a command as a user from whom root's power to read and write
// everything is gone. The script's directory becomes that user's.
func scriptAsUser(ts *testscript.TestScript, neg bool, args []string) {
	if os.Geteuid() != 0 {
		scriptExits(ts, neg, args)
		return
	}
	setpriv, err := exec.LookPath("setpriv")
	ts.Check(err)
	work := ts.Getenv("WORK")
	// Both are in directories of their own that nobody else may enter.
	for _, dir := range []string{filepath.Dir(work), filepath.Dir(filepath.Dir(ts.Getenv("BIN")))} {
		ts.Check(os.Chmod(dir, 0o711))
	}
	ts.Check(filepath.WalkDir(work, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	}))
	id := strconv.Itoa(nobody)
	scriptExits(ts, neg, append([]string{args[0], setpriv, "--reuid=" + id, "--regid=" + id, "--clear-groups"}, args[1:]...))
}

func scriptClock(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(writeWhole(ts.Getenv("TB_CLOCK"), []byte(args[0])))
}

func scriptDirs(ts *testscript.TestScript) Dirs {
	return DirsOf(ts.Getenv, 0, "")
}

func scriptJobID(ts *testscript.TestScript, _ bool, args []string) {
	jobs, _, err := Jobs(scriptDirs(ts))
	ts.Check(err)
	for _, j := range jobs {
		if j.Options.Name == args[1] {
			ts.Setenv(args[0], j.ID)
			return
		}
	}
	ts.Fatalf("no job is called %s", args[1])
}

func scriptNothing(ts *testscript.TestScript, _ bool, _ []string) {
	files, err := filepath.Glob(filepath.Join(scriptDirs(ts).Jobs, "*.ini"))
	ts.Check(err)
	hidden, err := filepath.Glob(filepath.Join(scriptDirs(ts).Jobs, ".new*"))
	ts.Check(err)
	for _, file := range append(files, hidden...) {
		ts.Fatalf("%s is left", file)
	}
	if table, err := os.ReadFile(ts.MkAbs("home/spool/crontab")); err == nil && strings.Contains(string(table), "run --job") {
		ts.Fatalf("the crontab has\n%s", table)
	}
	queue, err := filepath.Glob(ts.MkAbs("home/spool/at/*"))
	ts.Check(err)
	if len(queue) > 0 {
		ts.Fatalf("at has %v", queue)
	}
	units, err := filepath.Glob(ts.MkAbs("home/spool/units/*"))
	ts.Check(err)
	if len(units) > 0 {
		ts.Fatalf("systemd has %v", units)
	}
}

func scriptHold(ts *testscript.TestScript, _ bool, args []string) {
	dir := filepath.Join(ts.MkAbs(args[0]), ".tinybackup")
	ts.Check(os.MkdirAll(dir, 0o700))
	f, err := os.OpenFile(filepath.Join(dir, args[1]+".series.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	ts.Check(err)
	ts.Check(syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	name := ts.MkAbs(args[0]) + " " + args[1]
	held.Store(name, f)
	ts.Defer(func() { release(ts, name) })
}

// scriptRelease gives back the lock of the archives of a name, or all of the script.
func scriptRelease(ts *testscript.TestScript, _ bool, args []string) {
	held.Range(func(key, _ any) bool {
		name := key.(string)
		if strings.HasPrefix(name, ts.Getenv("WORK")) && (len(args) == 0 || strings.HasSuffix(name, " "+args[0])) {
			release(ts, name)
		}
		return true
	})
}

func release(ts *testscript.TestScript, name string) {
	if f, ok := held.LoadAndDelete(name); ok {
		ts.Check(f.(*os.File).Close())
	}
}

func scriptReplace(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	text := ts.ReadFile(path)
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q:\n%s", path, args[1], text)
	}
	ts.Check(writeWhole(path, []byte(strings.ReplaceAll(text, args[1], args[2]))))
}

// scriptHeard gives a record the time that it would have, were the clock of the script
// that of the file system.
func scriptHeard(ts *testscript.TestScript, _ bool, args []string) {
	now, err := time.Parse(time.RFC3339, strings.TrimSpace(ts.ReadFile(ts.Getenv("TB_CLOCK"))))
	ts.Check(err)
	ts.Check(os.Chtimes(filepath.Join(ts.MkAbs(args[0]), ".tinybackup", args[1]+".status"), now, now))
}

func scriptDrafts(ts *testscript.TestScript, _ bool, args []string) {
	found, err := filepath.Glob(filepath.Join(scriptDirs(ts).Jobs, ".edit-*"))
	ts.Check(err)
	if strconv.Itoa(len(found)) != args[0] {
		ts.Fatalf("drafts: %q, want %s", found, args[0])
	}
}

// scriptPatience is more than anything takes on the slowest machine.
const scriptPatience = 60 * time.Second

func scriptUntil(ts *testscript.TestScript, what string, done func() bool) {
	for end := time.Now().Add(scriptPatience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%s did not come", what)
		}
	}
}

// scriptWait waits until each pattern matches a file, or none.
func scriptWait(ts *testscript.TestScript, gone bool, args []string) {
	for _, pattern := range args {
		scriptUntil(ts, pattern, func() bool {
			found, err := filepath.Glob(ts.MkAbs(pattern))
			ts.Check(err)
			return (len(found) > 0) != gone
		})
	}
}

func scriptWaitFile(ts *testscript.TestScript, _ bool, args []string) {
	count := 1
	if n, found := strings.CutPrefix(args[0], "-count="); found {
		var err error
		count, err = strconv.Atoi(n)
		ts.Check(err)
		args = args[1:]
	}
	scriptUntil(ts, args[1]+" in "+args[0], func() bool {
		files, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		for _, file := range files {
			if text, err := os.ReadFile(file); err == nil && strings.Count(string(text), args[1]) >= count {
				return true
			}
		}
		return false
	})
}
