package sched

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// daemon is a scheduler's daemon, by the traces it leaves.
type daemon struct {
	names    []string // its name in /proc/PID/stat: that of its file, cut to 15 bytes
	applet   string   // its name in a BusyBox, "" if that has none
	pidFiles []string
	scan     bool   // it may also run without a pid file
	unit     string // of systemd, which does the daemon's work if it has the unit
}

// cronDaemon has the names that cron has in Debian and BSD, in cronie, dcron and BusyBox, and those of the rarer ones.
var cronDaemon = daemon{
	names:    []string{"cron", "crond", "fcron", "bcron-sched", "mcron"},
	applet:   "crond",
	pidFiles: []string{"run/crond.pid", "var/run/crond.pid", "run/cron.pid", "var/run/cron.pid"},
	scan:     true,
	unit:     "cron.target", // systemd-cron makes timers of the tables
}

// atDaemon has to have its pid file: at(1) reads it to tell atd of a new job, and without that atd finds it up to an hour late.
var atDaemon = daemon{
	names:    []string{"atd"},
	pidFiles: []string{"run/atd.pid", "var/run/atd.pid"},
}

// daemonState is what can be said of a daemon.
type daemonState int

const (
	unknown daemonState = iota // no /proc (BSD, macOS), or one that hides the processes of others
	running
	stopped
)

// state looks below root, "" for the machine itself.
func (d daemon) state(root string) daemonState {
	proc := filepath.Join("/", root, "proc")
	for _, name := range d.pidFiles {
		text, err := os.ReadFile(filepath.Join("/", root, name))
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || pid <= 0 {
			continue
		}
		switch is, err := d.isProcess(proc, pid); {
		case is:
			return running
		case err != nil && errors.Is(syscall.Kill(pid, 0), syscall.EPERM):
			// It lives and is not ours to look at (proc(5), hidepid).
			return running
		}
	}
	entries, err := os.ReadDir(proc)
	if err != nil || len(entries) == 0 {
		return unknown
	}
	if d.scan {
		for _, entry := range entries {
			if pid, err := strconv.Atoi(entry.Name()); err == nil {
				if is, _ := d.isProcess(proc, pid); is {
					return running
				}
			}
		}
	}
	if d.unit != "" && d.hasUnit(root) {
		return running
	}
	// Process 1 is always there and root's: if it can't be seen, nor can a daemon.
	if _, err := os.ReadFile(filepath.Join(proc, "1", "stat")); err != nil {
		return unknown
	}
	return stopped
}

// isProcess tells whether process pid is the daemon, alive; the error is that it can't be looked at.
func (d daemon) isProcess(proc string, pid int) (bool, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return false, err
	}
	// proc(5): pid (comm) state …, and comm may hold anything.
	_, text, _ := strings.Cut(string(stat), " (")
	end := strings.LastIndex(text, ") ")
	if end < 0 {
		return false, nil
	}
	comm, state := text[:end], text[end+2:]
	if strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") {
		return false, nil // dead; in a container often nobody collects them
	}
	if comm != "busybox" || d.applet == "" {
		return slices.Contains(d.names, comm), nil
	}
	args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	words := strings.SplitN(string(args), "\x00", 3) // "busybox crond …" or "crond …"
	return slices.ContainsFunc(words[:min(2, len(words))], func(word string) bool { return filepath.Base(word) == d.applet }), err
}

// hasUnit tells whether a running systemd has the unit.
func (d daemon) hasUnit(root string) bool {
	if _, err := os.Stat(filepath.Join("/", root, "run/systemd/system")); err != nil {
		return false
	}
	for _, dir := range []string{"lib/systemd/system", "usr/lib/systemd/system"} {
		if _, err := os.Stat(filepath.Join("/", root, dir, d.unit)); err == nil {
			return true
		}
	}
	return false
}
