package sftp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// target is a server, and how to log in to it: what ssh_config(5) makes of an address.
type target struct {
	name       string   // as it was asked for
	user       string   //
	addr       string   // HOST:PORT, to connect to
	keyName    string   // HOST:PORT, to look up in known_hosts
	knownHosts []string // files; some may not exist
	identities []string // files of private keys; some may not exist
	only       bool     // no other key of the agent
	explicit   bool     // the identity was asked for, and should be there
	agent      string   // its socket; empty: there is none
	jumps      []string // [USER@]HOST[:PORT] of the servers to go through, the nearest first
}

// systemKnownHosts are the keys that the machine's administrator vouches for.
const systemKnownHosts = "/etc/ssh/ssh_known_hosts"

// resolve applies ssh_config(5) to an address: of the keywords those that tell where the
// server is, who we are there, and how either proves it.
func resolve(opt Options, a address) (target, error) {
	var files []*ssh_config.Config
	for _, name := range []string{filepath.Join(opt.Home, ".ssh", "config"), "/etc/ssh/ssh_config"} {
		file, err := readConfig(name)
		if err != nil {
			return target{}, err
		}
		files = append(files, file)
	}
	all := func(key string) (values []string) {
		for _, file := range files {
			v, _ := file.GetAll(a.host, key) // errs only for nodes that Decode did not make
			values = append(values, v...)
		}
		return values
	}
	first := func(key string) string {
		if v := all(key); len(v) > 0 {
			return v[0]
		}
		return ""
	}

	t := target{name: a.host}
	host := or(strings.ReplaceAll(first("HostName"), "%h", a.host), a.host)
	port := or(a.port, first("Port"), "22")
	t.addr = net.JoinHostPort(host, port)
	t.keyName = t.addr
	if alias := first("HostKeyAlias"); alias != "" {
		t.keyName = net.JoinHostPort(alias, "22") // ssh looks it up without a port
	}
	t.user = or(a.user, first("User"), opt.Env("USER"))
	if t.user == "" {
		u, err := user.Current()
		if err != nil {
			return target{}, fmt.Errorf("who to log in as: %w", err)
		}
		t.user = u.Username
	}

	expand := func(name string) string { return expandPath(name, opt.Home, host, t.user) }
	t.knownHosts = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2", systemKnownHosts}
	if v := first("UserKnownHostsFile"); v != "" {
		t.knownHosts = append(strings.Fields(v), systemKnownHosts)
	}
	if opt.KnownHosts != "" {
		t.knownHosts = []string{opt.KnownHosts}
	}
	each(t.knownHosts, expand)

	t.identities = []string{"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk"}
	if v := all("IdentityFile"); len(v) > 0 {
		t.identities = v
	}
	t.only = strings.EqualFold(first("IdentitiesOnly"), "yes")
	if opt.Identity != "" {
		t.identities, t.only, t.explicit = []string{opt.Identity}, true, true
	}
	each(t.identities, expand)

	switch v := first("IdentityAgent"); v {
	case "", "SSH_AUTH_SOCK":
		t.agent = opt.Env("SSH_AUTH_SOCK")
	case "none":
	default:
		if name, ok := strings.CutPrefix(v, "$"); ok {
			v = opt.Env(name)
		}
		t.agent = expand(v)
	}

	// Of these two ssh takes the one that comes first; whoever has both has one of them "none".
	if v := first("ProxyJump"); v != "" && !strings.EqualFold(v, "none") {
		t.jumps = strings.Split(v, ",")
	} else if v := first("ProxyCommand"); v != "" && !strings.EqualFold(v, "none") {
		return target{}, hinted(errors.New("~/.ssh/config reaches it by a ProxyCommand, which tinybackup does not run"),
			"a ProxyJump does the same with servers that let one go through by ssh")
	}
	return t, nil
}

// jump returns the target of a server to go through.
func jump(opt Options, spelled string) (target, error) {
	spelled = strings.TrimPrefix(strings.TrimSpace(spelled), "ssh://")
	var a address
	if at := strings.LastIndexByte(spelled, '@'); at >= 0 {
		a.user, spelled = spelled[:at], spelled[at+1:]
	}
	if host, port, err := net.SplitHostPort(spelled); err == nil {
		a.host, a.port = host, port
	} else {
		a.host = strings.Trim(spelled, "[]")
	}
	t, err := resolve(opt, a)
	t.jumps = nil // the list names them all
	return t, err
}

// readConfig reads a file of ssh_config(5); one that does not exist is empty. Blocks of Match
// that depend on more than the host are passed over: they ask programs, or who is logged in.
func readConfig(name string) (*ssh_config.Config, error) {
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var kept bytes.Buffer
	passOver := false
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		line := lines.Text()
		words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == '=' })
		if len(words) > 0 {
			switch strings.ToLower(words[0]) {
			case "host":
				passOver = false
			case "match":
				known := len(words) > 1 && (strings.EqualFold(words[1], "all") || strings.EqualFold(words[1], "host"))
				passOver = !known
			}
		}
		if passOver {
			line = ""
		}
		kept.WriteString(line + "\n")
	}
	config, err := ssh_config.DecodeBytes(kept.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return config, nil
}

// expandPath does what ssh_config(5) does to a file's name, under TOKENS.
func expandPath(name, home, host, user string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		name = filepath.Join(home, rest)
	}
	return strings.NewReplacer("%%", "%", "%d", home, "%h", host, "%r", user).Replace(name)
}

// or returns the first of the values that is not empty.
func or(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func each(values []string, change func(string) string) {
	for i, v := range values {
		values[i] = change(v)
	}
}
