package sftp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tinybackup/internal/store/sftp/sftptest"
)

// A visitor is a home directory from which one logs in to a server.
type visitor struct {
	t    *testing.T
	s    *sftptest.Server
	home string
	env  map[string]string
}

// newVisitor has a home like that of the server's user, which may be spoilt.
func newVisitor(t *testing.T, s *sftptest.Server) *visitor {
	t.Helper()
	v := &visitor{t: t, s: s, home: t.TempDir(), env: map[string]string{"USER": s.User}}
	if err := os.CopyFS(filepath.Join(v.home, ".ssh"), os.DirFS(filepath.Join(s.Home, ".ssh"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(v.ssh("id_ed25519"), 0o600); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *visitor) ssh(name string) string { return filepath.Join(v.home, ".ssh", name) }

func (v *visitor) write(name, format string, args ...any) {
	v.t.Helper()
	if err := os.WriteFile(v.ssh(name), fmt.Appendf(nil, format, args...), 0o600); err != nil {
		v.t.Fatal(err)
	}
}

func (v *visitor) run(args ...string) string {
	v.t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		v.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// open logs in, and returns the error with its hint.
func (v *visitor) open(dest string, change func(*Options)) string {
	v.t.Helper()
	opt := options(v.s)
	opt.Home, opt.Env = v.home, func(name string) string { return v.env[name] }
	if change != nil {
		change(&opt)
	}
	d, err := Open(v.t.Context(), dest, opt)
	if err != nil {
		text := err.Error()
		var h interface{ Hint() string }
		if errors.As(err, &h) {
			text += "\n" + h.Hint()
		}
		return text
	}
	if err := d.Close(); err != nil {
		v.t.Error(err)
	}
	return ""
}

// want wants an error that has all of these words, none without words.
func (v *visitor) want(what, got string, words ...string) {
	v.t.Helper()
	if len(words) == 0 && got != "" {
		v.t.Errorf("%s: got %s", what, got)
	}
	for _, word := range words {
		if !strings.Contains(got, word) {
			v.t.Errorf("%s: got %q, want words of %q", what, got, word)
		}
	}
}

func TestHostKeys(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	host, port, _ := net.SplitHostPort(s.Addr)
	known, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(strings.TrimSpace(string(known)), " ")

	v := newVisitor(t, s)
	v.want("known", v.open(s.URL, nil))
	fingerprint := strings.Fields(v.run("ssh-keygen", "-l", "-f", v.ssh("known_hosts")))[1]

	v.write("known_hosts", "")
	v.want("unknown", v.open(s.URL, nil), "not known", fingerprint, "ssh-keyscan -p "+port+" "+host+" >>"+v.ssh("known_hosts"))
	if err := os.Remove(v.ssh("known_hosts")); err != nil {
		t.Fatal(err)
	}
	v.want("no known_hosts", v.open(s.URL, nil), "not known", fingerprint)
	v.want("another known_hosts", v.open(s.URL, func(o *Options) { o.KnownHosts = s.KnownHosts }))

	v.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", v.ssh("other"))
	other, err := os.ReadFile(v.ssh("other.pub"))
	if err != nil {
		t.Fatal(err)
	}
	v.write("known_hosts", "# mine\n[%s]:%s %s", host, port, other)
	v.want("changed", v.open(s.URL, nil), "HAS CHANGED", fingerprint, "line 2", "ssh-keygen -R '["+host+"]:"+port+"'")
	v.write("known_hosts", "@revoked * %s\n[%s]:%s %s\n", key, host, port, key)
	v.want("revoked", v.open(s.URL, nil), "REVOKED", fingerprint)
	v.write("known_hosts", "[%s]:%s nonsense\n", host, port)
	v.want("nonsense", v.open(s.URL, nil), "known_hosts:1", "correct that line")

	v.write("known_hosts", "@cert-authority * %s", other)
	v.want("an authority that it has nothing of", v.open(s.URL, nil), "not known", fingerprint)
	v.run("ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", v.ssh("rsa"))
	rsa, err := os.ReadFile(v.ssh("rsa.pub"))
	if err != nil {
		t.Fatal(err)
	}
	v.write("known_hosts", "[%s]:%s %s", host, port, rsa)
	v.want("a key of a type that it has not", v.open(s.URL, nil), "HAS CHANGED", fingerprint)

	// What does not matter, and what means it in another way.
	v.write("known_hosts", "others nonsense\nothers ssh-new AAAAB3NzaC1uZXc=\n%s[%s]:%s ssh-new AAAAB3NzaC1uZXc=\n", known, host, port)
	v.want("lines that are not understood", v.open(s.URL, nil))
	v.write("known_hosts", "%s %s\n", host, key)
	v.want("known without the port", v.open(s.URL, nil))
	v.write("known_hosts", "other,[%s]* %s\n", host, key)
	v.want("a pattern", v.open(s.URL, nil))
	v.write("known_hosts", "* %s[%s]:%s %s\n", other, host, port, key)
	v.want("several keys of one type", v.open(s.URL, nil))
	v.write("known_hosts", "*,![%s]:%s,!%s %s\n", host, port, host, key)
	v.want("a pattern that it is kept from", v.open(s.URL, nil), "not known")
	v.write("config", "UserKnownHostsFile %s none\nGlobalKnownHostsFile %s\n", os.DevNull, s.KnownHosts)
	v.want("global keys", v.open(s.URL, nil))
	v.write("config", "UserKnownHostsFile %s\n", os.DevNull)
	v.want("nowhere to put it", v.open(s.URL, nil), "not known", ">>/etc/ssh/ssh_known_hosts")
	v.write("config", "")

	// Hashed names, and another name that the configuration gives.
	v.write("known_hosts", "%s", known)
	v.run("ssh-keygen", "-q", "-H", "-f", v.ssh("known_hosts"))
	v.want("hashed", v.open(s.URL, nil))
	v.write("known_hosts", "the-nas %s\n", key)
	v.write("config", "Host %s\n  HostKeyAlias the-nas\n", host)
	v.want("alias", v.open(s.URL, nil))
	v.write("config", "UserKnownHostsFile %%d/.ssh/elsewhere\n")
	v.write("elsewhere", "%s", known)
	v.want("elsewhere", v.open(s.URL, nil))
}

// TestHostKeyTypes has a server with keys of several types, of which one is known, and not the
// one that it would show unasked; and one that is known by its authority.
func TestHostKeyTypes(t *testing.T) {
	t.Parallel()
	s := sftptest.StartWith(t, sftptest.Options{HostKeys: []string{"rsa", "ecdsa"}, Authority: true})
	v := newVisitor(t, s)
	known, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(known)), "\n")
	if len(lines) != 4 {
		t.Fatalf("got %q, want 4 keys", lines)
	}
	v.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", v.ssh("other"))
	other, err := os.ReadFile(v.ssh("other.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		v.write("known_hosts", "@cert-authority * %s%s\n", other, line)
		v.want("another authority, and "+strings.Join(strings.Fields(line)[:2], " "), v.open(s.URL, nil))
		v.write("known_hosts", "%s\n", line)
		v.want(strings.Join(strings.Fields(line)[:2], " "), v.open(s.URL, nil))
	}
	_, authority, _ := strings.Cut(lines[3], " ")
	v.write("known_hosts", "@revoked %s\n%s\n", authority, lines[3])
	v.want("an authority that was revoked", v.open(s.URL, nil), "REVOKED")
	_, authority, _ = strings.Cut(authority, " ")
	v.write("known_hosts", "%s\n", "127.0.0.1 "+authority)
	v.want("an authority's key is no server's", v.open(s.URL, nil), "HAS CHANGED")
	v.write("config", "HostKeyAlias elsewhere\n")
	v.write("known_hosts", "@cert-authority elsewhere %s\n", authority)
	v.want("a certificate for another name", v.open(s.URL, nil), "certificate of its host key", "elsewhere")
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	v := newVisitor(t, s)
	key := v.ssh("id_ed25519")
	v.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", v.ssh("stranger"))

	v.want("identity", v.open(s.URL, func(o *Options) { o.Identity = key }))
	v.want("wrong identity", v.open(s.URL, func(o *Options) { o.Identity = v.ssh("stranger") }), "by none of the 1 keys", "ssh-copy-id")
	v.want("missing identity", v.open(s.URL, func(o *Options) { o.Identity = v.ssh("none") }), "no key to log in", "none does not exist")
	v.want("public identity", v.open(s.URL, func(o *Options) { o.Identity = key + ".pub" }), "no key to log in", ".pub: ssh: no key found")

	// With a passphrase: the agent's, if it has it.
	v.run("ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", key)
	v.want("locked", v.open(s.URL, nil), "no key to log in", key+" has a passphrase", "ssh-add")
	v.env["SSH_AUTH_SOCK"] = v.ssh("agent")
	v.want("no agent", v.open(s.URL, nil), "has a passphrase", "the agent does not answer")
	agent := exec.Command("ssh-agent", "-D", "-a", v.ssh("agent"))
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		agent.Process.Kill()
		agent.Wait()
	})
	for { // until it listens
		if c, err := net.Dial("unix", v.ssh("agent")); err == nil {
			c.Close()
			break
		}
	}
	v.want("empty agent", v.open(s.URL, nil), "has a passphrase")
	add := func(file string) {
		t.Helper()
		cmd := exec.Command("ssh-add", "-q", file)
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+v.ssh("agent"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add: %v\n%s", err, out)
		}
	}
	for i := range 8 { // more than a server listens to (MaxAuthTries)
		name := fmt.Sprintf("x%d", i)
		v.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", v.ssh(name))
		add(v.ssh(name))
	}
	add(s.Key)
	v.want("agent", v.open(s.URL, nil)) // the locked file says which of its keys to offer first
	for _, name := range []string{"id_ed25519", "id_ed25519.pub"} {
		if err := os.Remove(v.ssh(name)); err != nil {
			t.Fatal(err)
		}
	}
	v.want("too many", v.open(s.URL, nil), "after too many of the 9 keys", "IdentitiesOnly")
	v.write("config", "IdentityFile ~/.ssh/stranger\nIdentitiesOnly yes\n")
	v.want("only", v.open(s.URL, nil), "by none of the 1 keys")
	v.write("config", "IdentityAgent none\n")
	v.want("agent none", v.open(s.URL, nil), "no key to log in")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	v := newVisitor(t, s)
	host, port, _ := net.SplitHostPort(s.Addr)
	if err := os.Rename(v.ssh("id_ed25519"), v.ssh("mine")); err != nil {
		t.Fatal(err)
	}
	dest := "sftp://nas" + s.Dir
	settings := fmt.Sprintf("HostName %s\n  Port %s\n  User %s\n  IdentityFile \"~/.ssh/mine\"\n", host, port, s.User)
	v.env["USER"] = "nobody"
	v.write("config", "Match exec \"exit 1\" user nobody\n  Port 1\nHost nas\n  %s\nHost *\n  User nobody\n  Port 2\n", settings)
	v.want("alias", v.open(dest, nil))
	v.want("a port in the address", v.open("sftp://nas:1"+s.Dir, nil), "refused")
	v.write("config", "Host nas\n  %s  ProxyCommand nc %%h %%p\n", settings)
	v.want("ProxyCommand", v.open(dest, nil), "ProxyCommand", "ProxyJump")
	v.write("config", "Port = %s\nMatch host nas\n%s", "3", settings)
	v.want("first wins", v.open(dest, nil), "refused")
	v.write("config", "Host \"nas\n")
	v.open(dest, nil) // whatever comes of it

	// By way of another server, and of two.
	hop := sftptest.Start(t)
	hopHost, hopPort, _ := net.SplitHostPort(hop.Addr)
	theirs, err := os.ReadFile(hop.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	v.write("known_hosts", "%s%s", theirs, ours)
	data, err := os.ReadFile(hop.Key)
	if err != nil {
		t.Fatal(err)
	}
	v.write("theirs", "%s", data)
	jump := fmt.Sprintf("Host hop\n  HostName %s\n  Port %s\n  User %s\n  IdentityFile ~/.ssh/theirs\n", hopHost, hopPort, hop.User)
	v.write("config", "%sHost nas\n  %s  ProxyJump hop,%s@hop:%s\n", jump, settings, hop.User, hopPort)
	v.want("jumps", v.open(dest, nil))
	v.write("known_hosts", "%s", ours)
	v.want("an unknown jump", v.open(dest, nil), "on the way, at hop", "not known")
}

// TestPasswords has servers that are not content with keys.
func TestPasswords(t *testing.T) {
	t.Parallel()
	for config, words := range map[string][]string{
		"PubkeyAuthentication no\nPasswordAuthentication yes":                  {"takes no keys", "PubkeyAuthentication"},
		"PasswordAuthentication yes\nAuthenticationMethods publickey,password": {"a password or the like besides", "AuthenticationMethods"},
	} {
		s := sftptest.StartWith(t, sftptest.Options{Config: config})
		v := newVisitor(t, s)
		v.want(config, v.open(s.URL, nil), words...)
	}
}
