package sftp

import (
	"errors"
	"fmt"
	"net"
	"os/user"
	"path/filepath"
	"strings"
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
	who, err := user.Current() // not $USER: of su(1) and sudo(8), some leave it as it was
	if err != nil {
		return target{}, fmt.Errorf("who to log in as: %w", err)
	}
	me := who.Username
	said, err := readSettings(a, me, opt.Home)
	if err != nil {
		return target{}, err
	}
	first := said.first

	t := target{name: a.host, user: or(first("user"), me)}
	host, port := said.hostName(), or(first("port"), "22")
	t.addr = net.JoinHostPort(host, port)
	t.keyName = t.addr
	if alias := first("hostkeyalias"); alias != "" {
		t.keyName = net.JoinHostPort(alias, "22") // ssh looks it up without a port
	}

	expand := func(names ...string) (files []string) {
		for _, name := range names {
			if !strings.EqualFold(name, "none") {
				files = append(files, expandPath(opt, name, map[byte]string{
					'%': "%", 'd': opt.Home, 'h': host, 'n': a.host, 'p': port, 'r': t.user, 'u': me,
				}))
			}
		}
		return files
	}
	t.knownHosts = expand(append(said.values("userknownhostsfile", "~/.ssh/known_hosts", "~/.ssh/known_hosts2"),
		said.values("globalknownhostsfile", systemKnownHosts, systemKnownHosts+"2")...)...)
	if opt.KnownHosts != "" {
		t.knownHosts = []string{opt.KnownHosts}
	}
	t.identities = expand(said.values("identityfile",
		"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk")...)
	t.only = strings.EqualFold(first("identitiesonly"), "yes")
	if opt.Identity != "" {
		t.identities, t.only, t.explicit = []string{opt.Identity}, true, true
	}

	switch v := first("identityagent"); {
	case v == "", v == "SSH_AUTH_SOCK":
		t.agent = opt.Env("SSH_AUTH_SOCK")
	case strings.HasPrefix(v, "$") && !strings.HasPrefix(v, "${"):
		t.agent = opt.Env(v[1:])
	default:
		t.agent = strings.Join(expand(v), "") // empty for none
	}

	if v := first("proxyjump"); v != "" && !strings.EqualFold(v, "none") {
		t.jumps = strings.Split(v, ",")
	} else if v := first("proxycommand"); v != "" && !strings.EqualFold(v, "none") {
		return target{}, hinted(errors.New("~/.ssh/config reaches it by a ProxyCommand, which tinybackup does not run"),
			"a ProxyJump does the same with servers that let one go through by ssh")
	}
	return t, nil
}

// maxHops is how many servers one may go through: more are a circle.
const maxHops = 16

// path returns the targets on the way to a target, and it at last. As with ssh, the jumps that
// are named go from one to the next, and to the first of them as its own settings say.
func (t target) path(opt Options) ([]target, error) {
	way := []target{t}
	for len(way[0].jumps) > 0 {
		next := way[0]
		var hops []target
		for _, spelled := range next.jumps {
			hop, err := jump(opt, spelled)
			if err != nil {
				return nil, err
			}
			hops = append(hops, hop)
		}
		for i := range hops[1:] {
			hops[i+1].jumps = nil // the one before it is
		}
		way[0].jumps = nil
		if way = append(hops, way...); len(way) > maxHops {
			return nil, fmt.Errorf("the ProxyJumps of %s lead through more than %d servers", t.name, maxHops)
		}
	}
	return way, nil
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
	own := opt
	own.Identity = "" // it is that of the destination: here, it is one more
	t, err := resolve(own, a)
	if opt.Identity != "" {
		t.identities = append([]string{opt.Identity}, t.identities...)
	}
	return t, err
}

// expandPath does what ssh_config(5) does to a file's name, under TOKENS and ENVIRONMENT
// VARIABLES. What stands for nothing there stays as it is.
func expandPath(opt Options, name string, tokens map[byte]string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		name = filepath.Join("%d", rest)
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+1 < len(name) {
			if value, ok := tokens[name[i+1]]; ok {
				b.WriteString(value)
				i++
				continue
			}
		}
		if rest, ok := strings.CutPrefix(name[i:], "${"); ok {
			if variable, _, closed := strings.Cut(rest, "}"); closed {
				b.WriteString(opt.Env(variable))
				i += len("${}") + len(variable) - 1
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
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
