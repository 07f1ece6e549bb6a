package tinybackup

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// Dirs are where tinybackup keeps what it remembers. None of them need exist:
// each is made, for the owner alone, when something is put there.
type Dirs struct {
	Jobs  string // ID.ini, one file per job
	State string // ID/, one directory per job: its history and locks; and the service's lock
	Log   string // NAME.log, one file per job
	// Plain says that a program started by a scheduler, with nothing of our
	// environment, finds the same directories by itself.
	Plain bool
}

// rootDirs are those of root.
var rootDirs = Dirs{
	Jobs:  "/etc/tinybackup/jobs",
	State: "/var/lib/tinybackup",
	Log:   "/var/log/tinybackup",
	Plain: true,
}

// jobsName is what every directory of jobs is called.
const jobsName = "jobs"

// DirsOf tells the directories of a user, given the environment, the effective
// user id and the home directory that the user database knows.
//
// TINYBACKUP_DIR puts all three under one directory; else root has them in
// /etc and /var, and a user below the XDG base directories.
func DirsOf(getenv func(string) string, euid int, home string) Dirs {
	if dir := getenv("TINYBACKUP_DIR"); dir != "" {
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
		return Dirs{
			Jobs:  filepath.Join(dir, jobsName),
			State: filepath.Join(dir, "state"),
			Log:   filepath.Join(dir, "log"),
		}
	}
	if euid == 0 {
		return rootDirs
	}
	plain := userDirs("", "", home)
	if h := getenv("HOME"); h != "" {
		home = h
	}
	dirs := userDirs(getenv("XDG_CONFIG_HOME"), getenv("XDG_STATE_HOME"), home)
	dirs.Plain = dirs == plain
	return dirs
}

// userDirs are the directories of an ordinary user. A base directory that is not
// absolute counts as unset, as the XDG specification demands.
// A user without a home, as there are in containers, gets an error that names a
// place below "/", and not files wherever the program was started.
func userDirs(config, state, home string) Dirs {
	if !filepath.IsAbs(home) {
		home = "/"
	}
	if !filepath.IsAbs(config) {
		config = filepath.Join(home, ".config")
	}
	if !filepath.IsAbs(state) {
		state = filepath.Join(home, ".local", "state")
	}
	return Dirs{
		Jobs:  filepath.Join(config, "tinybackup", jobsName),
		State: filepath.Join(state, "tinybackup"),
		Log:   filepath.Join(state, "tinybackup", "log"),
	}
}

// homeOf is the home directory that the user database has for a user id, which
// is the one cron and atd set; $HOME only if the database does not know.
func homeOf(euid int) string {
	if u, err := user.LookupId(strconv.Itoa(euid)); err == nil && filepath.IsAbs(u.HomeDir) {
		return u.HomeDir
	}
	return os.Getenv("HOME")
}

// nameOf is the name of a user, or the id if the database does not know one.
func nameOf(euid int) string {
	if u, err := user.LookupId(strconv.Itoa(euid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(euid)
}
