// Package sftp keeps archives on a server that speaks SFTP, which is any machine that
// one can log in to by ssh(1): it implements store.Driver.
//
// Nothing of ours is needed on the server. What its SFTP can do beyond the protocol's
// third version (draft-ietf-secsh-filexfer-02) is used where it is there, and is there
// with OpenSSH: posix-rename, hardlink, fsync and statvfs (PROTOCOL of openssh-portable,
// section 4), and copy-data (draft-ietf-secsh-filexfer-extensions-00, section 7).
//
// Whom we speak with is decided as ssh(1) decides it: by ~/.ssh/config, known_hosts, the
// agent and the keys. Nobody is asked anything: an unknown server is an error.
package sftp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tinybackup/internal/store"
)

// Options are what is not in a destination's spelling. The zero value is right for a person's
// own machine.
type Options struct {
	// Identity is the file of a private key that is used alone. Empty: the keys that ssh(1)
	// would use.
	Identity string

	// KnownHosts is a known_hosts file that is used alone. Empty: those that ssh(1) would
	// use.
	KnownHosts string

	// Home is the directory that has .ssh. Empty: $HOME, else that of the user who runs
	// this.
	Home string

	// Env looks up an environment variable. Nil: os.Getenv.
	Env func(name string) string

	// Pause is how long to wait before a connection is made anew; each time that this
	// fails, twice as long. Zero: half a second.
	Pause time.Duration

	// KeepAlive is after how long a silence the server is asked whether it is there; after
	// four times as long, the connection is given up. Zero: 15 seconds.
	KeepAlive time.Duration
}

// filled returns the options with what stands for their zero values.
func (o Options) filled() Options {
	if o.Env == nil {
		o.Env = os.Getenv
	}
	if o.Home == "" {
		o.Home = o.Env("HOME")
	}
	if o.Home == "" {
		if u, err := user.Current(); err == nil {
			o.Home = u.HomeDir
		}
	}
	if o.Pause <= 0 {
		o.Pause = 500 * time.Millisecond
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = 15 * time.Second
	}
	return o
}

// address is a destination taken apart.
type address struct {
	user string // empty: by ~/.ssh/config, else who runs this
	host string // perhaps an alias of ~/.ssh/config
	port string // empty: by ~/.ssh/config, else 22
	dir  string // on the server: absolute, or relative to the home
}

const (
	scheme   = "sftp://"
	homeMark = "/~"
	example  = "write sftp://USER@HOST/PATH, or sftp://USER@HOST/~/PATH for a path below the home there"
)

// Check returns what is wrong with a destination's spelling, as *store.Error with a hint. It
// opens nothing.
func Check(dest string) error {
	_, err := parse(dest)
	return err
}

// parse takes a destination apart. Its path is one of the server's, byte for byte.
func parse(dest string) (address, error) {
	rest, ok := strings.CutPrefix(dest, scheme)
	if !ok {
		return wrong(dest, "it does not begin with "+scheme, example)
	}
	login, dir, hasPath := strings.Cut(rest, "/")
	var a address
	if at := strings.LastIndexByte(login, '@'); at >= 0 {
		a.user, login = login[:at], login[at+1:]
		if strings.Contains(a.user, ":") {
			return wrong(scheme+"…@"+login+"/"+dir, "a password does not belong in a destination, where everybody can read it",
				"tinybackup logs in with keys: make one with ssh-keygen, and take it there with ssh-copy-id")
		}
		if a.user == "" {
			return wrong(dest, "no user stands before the @", example)
		}
	}
	if a.host, a.port, ok = splitHost(login); !ok {
		return wrong(dest, fmt.Sprintf("%q is no host or host:port", login), example)
	}
	switch {
	case strings.HasPrefix(a.host, "-"), strings.HasPrefix(a.user, "-"), strings.ContainsFunc(login+a.user, notInName):
		return wrong(dest, "that is no name of a user or a host", example)
	case !hasPath:
		return wrong(dest, "it names no path", example)
	case strings.ContainsRune(dir, 0):
		return wrong(dest, "a path cannot hold a NUL", example)
	}
	a.dir = path.Clean("/" + dir)
	if below, home := strings.CutPrefix(a.dir, homeMark); home && (below == "" || below[0] == '/') {
		a.dir = path.Clean("." + below)
	}
	return a, nil
}

func wrong(dest, what, hint string) (address, error) {
	return address{}, &store.Error{Op: "use", Path: dest, Err: errors.New(what), Advice: hint}
}

// splitHost takes HOST[:PORT] apart, in which an IPv6 address stands in brackets.
func splitHost(login string) (host, port string, ok bool) {
	if inner, bracketed := strings.CutPrefix(login, "["); bracketed && strings.HasSuffix(inner, "]") {
		host = strings.TrimSuffix(inner, "]")
		return host, "", net.ParseIP(host) != nil
	}
	if !strings.Contains(login, ":") {
		return login, "", login != ""
	}
	host, port, err := net.SplitHostPort(login)
	n, perr := strconv.Atoi(port)
	return host, port, err == nil && perr == nil && host != "" && 0 < n && n < 1<<16
}

// notInName says that a character cannot be part of the name of a user or a host.
func notInName(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("'\"`\\$;&|<>()", r)
}

// String is the address as a person would type it.
func (a address) String() string {
	host := a.host
	if a.port != "" {
		host = net.JoinHostPort(a.host, a.port)
	} else if strings.Contains(a.host, ":") {
		host = "[" + a.host + "]"
	}
	if a.user != "" {
		host = a.user + "@" + host
	}
	switch {
	case a.dir == ".":
		return scheme + host + homeMark
	case path.IsAbs(a.dir):
		return scheme + host + a.dir
	}
	return scheme + host + homeMark + "/" + a.dir
}

// at is the address of something below the directory.
func (a address) at(key string) string {
	a.dir = path.Join(a.dir, key)
	return a.String()
}

// login is the address as ssh(1) and scp(1) want it on their command lines: for hints.
func (a address) login() string {
	login := a.host
	if a.user != "" {
		login = a.user + "@" + login
	}
	if a.port != "" {
		login = "-p " + a.port + " " + login
	}
	return login
}
