// Package rclone keeps archives wherever rclone(1) reaches: it implements store.Driver by
// running the rclone that its user has set up, once for each request. Version 1.60 will do.
//
// An archive is written under another name and renamed when it is whole and was compared:
// rclone takes the end of its input for the end of the file, so that a run that was killed
// leaves a part that looks like a whole.
package rclone

import (
	"errors"
	"os/exec"
	"path"
	"strings"

	"tinybackup/internal/store"
)

// Options are what is not in a destination's spelling.
type Options struct {
	// Program is the rclone to run. Empty: that on PATH.
	Program string

	// Env is its environment, as of os.Environ. Nil: ours.
	Env []string
}

// address is a destination taken apart.
type address struct {
	remote string // as rclone's configuration names it
	path   string // within it; empty: its top
}

const (
	scheme  = "rclone:"
	example = "write rclone:REMOTE:PATH, with a remote that rclone listremotes shows"
)

// Check returns what is wrong with a destination's spelling, or that there is no rclone, as
// *store.Error with a hint. It opens nothing.
func Check(dest string) error {
	if _, err := parse(dest); err != nil {
		return err
	}
	_, err := program(dest, Options{})
	return err
}

// program returns the path of rclone.
func program(dest string, opt Options) (string, error) {
	name := opt.Program
	if name == "" {
		name = "rclone"
	}
	found, err := exec.LookPath(name)
	if err != nil {
		return "", &store.Error{Op: "use", Path: dest, Err: errors.New("there is no rclone on PATH"),
			Advice: "install it, such as by: apt install rclone; a scheduler's PATH is short, so it belongs into /usr/bin"}
	}
	return found, nil
}

func parse(dest string) (address, error) {
	wrong := func(what, hint string) (address, error) {
		return address{}, &store.Error{Op: "use", Path: dest, Err: errors.New(what), Advice: hint}
	}
	rest, ok := strings.CutPrefix(dest, scheme)
	if !ok {
		return wrong("it does not begin with "+scheme, example)
	}
	remote, dir, ok := strings.Cut(rest, ":")
	switch {
	case strings.HasPrefix(rest, ":"), strings.Contains(remote, ","):
		// What stands there may be a secret, and rclone's arguments are for all to see.
		return address{}, &store.Error{Op: "use", Path: scheme + "…", Err: errors.New("it is a remote made up on the spot"),
			Advice: "give it a name with rclone config; " + example}
	case !ok, remote == "":
		return wrong("it names no remote", example)
	case strings.HasPrefix(remote, "-"), strings.ContainsAny(remote, "/\\\x00\n"):
		return wrong("that is no name of a remote", example)
	case strings.ContainsRune(dir, 0):
		return wrong("a path cannot hold a NUL", example)
	}
	if dir = path.Clean(dir); dir == "." {
		dir = ""
	}
	if dir == ".." || strings.HasPrefix(dir, "../") {
		return wrong("it leads out of the remote", example)
	}
	return address{remote, dir}, nil
}

// String is the address as a person would type it.
func (a address) String() string { return scheme + a.remote + ":" + a.path }

// below is an address further down.
func (a address) below(name string) address { return address{a.remote, path.Join(a.path, name)} }

// arg is the address as rclone wants it.
func (a address) arg() string { return a.remote + ":" + a.path }
