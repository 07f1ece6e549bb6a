package tinybackup

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tinybackup/internal/sched"
)

// The test binary plays all programs of the scripts: tinybackup itself, and a
// crontab, an at and a systemctl that keep their spools in files below $HOME/spool.
func TestMain(m *testing.M) {
	// Most of them wait, most of the time; -parallel says otherwise.
	if err := flag.Set("test.parallel", strconv.Itoa(max(6, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"tinybackup": scriptTinybackup,
		"crontab":    fake(scriptCrontab),
		"at":         fake(scriptAt),
		"atq":        fake(scriptAtq),
		"atrm":       fake(scriptAtrm),
		"systemctl":  fake(scriptSystemctl),
	})
}

// fake ends a fake program. Not by os.Exit: the race detector sleeps for a second
// in it, and what sched starts has no environment to tell it not to.
func fake(program func()) func() {
	return func() {
		program()
		syscall.Exit(0)
	}
}

// scriptTinybackup is main, with a clock in the file $TB_CLOCK and with daemons
// that run if $TB_DAEMONS names them.
func scriptTinybackup() {
	env := NewEnv()
	env.Now = scriptNow
	env.host = os.Getenv("TB_HOST")
	env.Zone = zoneNamed(os.Getenv("TB_ZONE"))
	env.machineZone = zoneNamed(os.Getenv("TB_MACHINE_ZONE"))
	env.crontabLock = spool("crontab.lock")
	for _, s := range newSchedulers(env) {
		if systemd, is := s.(*sched.Systemd); is {
			playSystemd(systemd)
		}
		played := sched.Scheduler(scriptScheduler{s})
		if r, can := s.(sched.Retrier); can {
			played = scriptRetrier{scriptScheduler{s}, r}
		}
		env.schedulers = append(env.schedulers, played)
	}
	os.Exit(Main(WithSignals(context.Background()), env, os.Args[1:]))
}

// scriptNow reads the clock of the script.
func scriptNow() time.Time {
	text, err := os.ReadFile(os.Getenv("TB_CLOCK"))
	if err != nil {
		panic(err)
	}
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil {
		panic(err)
	}
	return t.In(zoneNamed(os.Getenv("TB_ZONE")))
}

// A scriptScheduler is a real one, but for its daemon.
type scriptScheduler struct{ sched.Scheduler }

// A scriptRetrier is one that is a sched.Retrier, too.
type scriptRetrier struct {
	scriptScheduler
	sched.Retrier
}

func (s scriptScheduler) Check(ctx context.Context) error {
	err := s.Scheduler.Check(ctx)
	if s.Name() == "service" || (err != nil && !errors.Is(err, sched.ErrNotRunning)) {
		return err
	}
	if strings.Contains(os.Getenv("TB_DAEMONS"), s.Name()) {
		return nil
	}
	return &HintError{Err: fmt.Errorf("%s: %w", s.Name(), sched.ErrNotRunning), Hint: "start it"}
}

// spool is a file of the fake programs.
func spool(name ...string) string {
	return filepath.Join(append([]string{os.Getenv("HOME"), "spool"}, name...)...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func die(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	syscall.Exit(1)
}

// scriptCrontab does what Debian's crontab does with -l, - and -r.
func scriptCrontab() {
	table := spool("crontab")
	if exists(spool("cron.deny")) {
		die("You (tester) are not allowed to use this program (crontab)")
	}
	if len(os.Args) != 2 {
		die("usage error: %q", os.Args)
	}
	switch os.Args[1] {
	case "-l":
		text, err := os.ReadFile(table)
		if err != nil {
			die("no crontab for tester")
		}
		os.Stdout.Write(text)
	case "-":
		text, err := io.ReadAll(os.Stdin)
		if err != nil || exists(spool("crontab.fails")) {
			die(`"-":0: bad minute`)
		}
		if n := strings.Count(string(text), "run --job"); exists(spool("crontab.limit")) && n > 1 {
			die("tables/tester: No space left on device")
		}
		if err := os.WriteFile(table, text, 0o600); err != nil {
			die("%v", err)
		}
	case "-r":
		if os.Remove(table) != nil {
			die("no crontab for tester")
		}
	default:
		die("usage error: %q", os.Args)
	}
}

// scriptAt does what Debian's at does with -q Q -t TIME and with -c N.
func scriptAt() {
	if exists(spool("at.deny")) {
		die("You do not have permission to use at.")
	}
	if len(os.Args) == 3 && os.Args[1] == "-c" {
		text, err := os.ReadFile(spool("at", os.Args[2]))
		if err != nil {
			die("Cannot find jobid %s", os.Args[2])
		}
		_, body, _ := strings.Cut(string(text), "\n")
		fmt.Print("#!/bin/sh\n# atrun uid=0 gid=0\numask 22\ncd / || {\n\t exit 1\n}\n" + body)
		return
	}
	if len(os.Args) != 5 || os.Args[1] != "-q" || os.Args[3] != "-t" {
		die("usage error: %q", os.Args)
	}
	when, err := time.ParseInLocation("200601021504", os.Args[4], zoneNamed(os.Getenv("TZ")))
	if err != nil {
		die("invalid date format: %s", os.Args[4])
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		die("%v", err)
	}
	if err := os.MkdirAll(spool("at"), 0o700); err != nil {
		die("%v", err)
	}
	n := 1
	for exists(spool("at", strconv.Itoa(n))) {
		n++
	}
	text := fmt.Sprintf("%d %s\n%s", when.Unix(), os.Args[2], body)
	if err := os.WriteFile(spool("at", strconv.Itoa(n)), []byte(text), 0o600); err != nil {
		die("%v", err)
	}
	fmt.Fprintf(os.Stderr, "warning: commands will be executed using /bin/sh\njob %d at %s\n", n, when.Format(time.ANSIC))
}

// scriptAtq lists the queue as atq -o %s does.
func scriptAtq() {
	if exists(spool("at.deny")) {
		die("You do not have permission to use at.")
	}
	files, err := os.ReadDir(spool("at"))
	if err != nil {
		return
	}
	for _, file := range files {
		text, err := os.ReadFile(spool("at", file.Name()))
		if err != nil {
			die("%v", err)
		}
		head, _, _ := strings.Cut(string(text), "\n")
		fmt.Printf("%s\t%s %s\n", file.Name(), head, os.Getenv("LOGNAME"))
	}
}

// scriptAtrm removes jobs.
func scriptAtrm() {
	for _, n := range os.Args[1:] {
		if os.Remove(spool("at", n)) != nil {
			die("Cannot find jobid %s", n)
		}
	}
}
