package sched

import (
	"os/user"
	"path/filepath"
)

// Surroundings are what a scheduler gives to what it starts.
type Surroundings struct {
	Env []string // the whole environment, "K=V"
	Dir string   // the working directory
}

// Surrounder is a Scheduler that knows what it gives to what it starts. Of another one, Bare is a good guess.
type Surrounder interface{ Surroundings() Surroundings }

var (
	_ Surrounder = (*Cron)(nil)
	_ Surrounder = (*At)(nil)
	_ Surrounder = (*Systemd)(nil)
)

// Bare is the least that any scheduler gives.
func Bare() Surroundings {
	s := Surroundings{Env: []string{"PATH=/usr/bin:/bin", "SHELL=/bin/sh"}, Dir: "/"}
	u, err := user.Current()
	if err != nil {
		return s
	}
	s.Env = append(s.Env, "LOGNAME="+u.Username)
	if filepath.IsAbs(u.HomeDir) {
		s.Env, s.Dir = append(s.Env, "HOME="+u.HomeDir), u.HomeDir
	}
	return s
}

// Surroundings are those of crontab(5), unless lines of the table say otherwise.
func (c *Cron) Surroundings() Surroundings { return Bare() }

// Surroundings are those in which at(1) is called: it keeps them for the job.
func (a *At) Surroundings() Surroundings {
	return Surroundings{Env: a.submission("", a.now()).Env, Dir: "/"}
}

// Surroundings are those of systemd.exec(5), ENVIRONMENT VARIABLES: a service of the system that names no user is not told its home.
func (s *Systemd) Surroundings() Surroundings {
	around := Surroundings{Dir: "/"}
	if s.User != "" {
		around = Bare()
	}
	around.Env = append(around.Env, "PATH="+systemPath, "LANG=C.UTF-8") // of two, the last counts
	return around
}
