// Package sftptest is a real sshd on loopback, for tests of what speaks SFTP, and a proxy
// before it that breaks connections.
//
//	s := sftptest.Start(t)
//	// HOME=s.Home tinybackup run SOURCE s.URL
package sftptest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Options make a server unlike the usual one.
type Options struct {
	// SFTP is the command of the server's subsystem. Empty: "internal-sftp".
	SFTP string

	// Config are more lines of sshd_config(5), which count before the usual ones.
	Config string

	// Tmpfs are mount(8)'s options of a file system in memory on which Dir is, in the
	// server's eyes only: "size=8m". Empty: Dir is a directory of this machine. Needs root.
	Tmpfs string

	// HostKeys are more types of keys that the server has, besides ed25519.
	HostKeys []string

	// Authority makes certificates for the server's keys: KnownHosts has a line of who did.
	Authority bool

	// Chroot lets one in as a user who has no shell and sees nothing but an empty directory
	// "backup". Needs root.
	Chroot bool
}

// Server is an sshd that lets one user in, with one key. It ends with the test.
type Server struct {
	URL        string // the destination: sftp://USER@127.0.0.1:PORT/DIR
	Dir        string // the directory of it, new and empty, as the server sees it
	Home       string // a home directory whose .ssh has all that ssh needs to log in
	Key        string // the file of the private key, in Home
	KnownHosts string // the file of known host keys, in Home
	User       string
	Addr       string // HOST:PORT

	dir       string   // of the server's own files
	hostKeys  []string // files
	authority string   // file of the key that signed them; empty: none
	root      string   // what the server takes for "/"
	pid       int
	cmd       *exec.Cmd
	ended     chan struct{} // closed when it has
	log       *os.File
}

// Start starts a server for the user who runs the test.
func Start(t testing.TB) *Server { return StartWith(t, Options{}) }

// StartWith starts a server. The test is skipped where there is no sshd.
func StartWith(t testing.TB, opt Options) *Server {
	t.Helper()
	sshd := program(t, "sshd")
	program(t, "ssh-keygen")
	s := &Server{dir: t.TempDir(), Home: t.TempDir(), Dir: t.TempDir()}
	if os.Getuid() == 0 { // where the part without privileges is locked into; made by the boot, if there is one
		s.must(t, os.MkdirAll("/run/sshd", 0o755))
	}
	s.keys(t, opt)
	var err error
	if s.log, err = os.Create(s.in("log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		s.log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(s.log.Name())
			t.Logf("sshd said:\n%s", text)
		}
	})
	if u, err := user.Current(); err != nil {
		t.Fatal(err)
	} else {
		s.User = u.Username
	}
	if opt.Chroot {
		s.User, s.Dir, s.root = "sftptest", "/backup", chroot
	}
	for range 5 { // another process may take the port
		s.Addr = freeAddr(t)
		s.configure(t, opt)
		if s.start(t, sshd, opt) {
			s.Trust(t, s.Addr)
			s.URL = s.At(s.Addr)
			return s
		}
	}
	t.Fatal("sshd does not start")
	return nil
}

// At is the destination as reached by another address, that of a proxy.
func (s *Server) At(addr string) string { return "sftp://" + s.User + "@" + addr + s.Dir }

// Trust adds the server's keys under another address to KnownHosts.
func (s *Server) Trust(t testing.TB, addr string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	s.must(t, err)
	f, err := os.OpenFile(s.KnownHosts, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	s.must(t, err)
	trust := func(marker, file string) {
		t.Helper()
		key, err := os.ReadFile(file + ".pub")
		s.must(t, err)
		_, err = fmt.Fprintf(f, "%s[%s]:%s %s", marker, host, port, key)
		s.must(t, err)
	}
	for _, key := range s.hostKeys {
		trust("", key)
	}
	if s.authority != "" {
		trust("@cert-authority ", s.authority)
	}
	s.must(t, f.Close())
}

// See returns the path by which the test sees a file of the server.
func (s *Server) See(name string) string {
	return filepath.Join("/proc", strconv.Itoa(s.pid), "root", s.root, name)
}

// Kill ends the server with SIGKILL, and every process that it started. It may be called twice.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGSTOP) // so that none is added
	s.KillSessions()
	s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

// KillSessions ends every connection that the server has, and lets it serve new ones.
func (s *Server) KillSessions() {
	for _, p := range descendants(s.pid) {
		p.Kill()
	}
}

func (s *Server) in(name string) string { return filepath.Join(s.dir, name) }

// keys makes the keys of both sides.
func (s *Server) keys(t testing.TB, opt Options) {
	t.Helper()
	ssh := filepath.Join(s.Home, ".ssh")
	s.must(t, os.MkdirAll(ssh, 0o700))
	s.Key, s.KnownHosts = filepath.Join(ssh, "id_ed25519"), filepath.Join(ssh, "known_hosts")
	keygen := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	keygen("-t", "ed25519", "-N", "", "-C", "", "-f", s.Key)
	if opt.Authority {
		s.authority = s.in("authority")
		keygen("-t", "ed25519", "-N", "", "-C", "", "-f", s.authority)
	}
	for _, kind := range append([]string{"ed25519"}, opt.HostKeys...) {
		name := s.in("hostkey-" + kind)
		keygen("-t", kind, "-N", "", "-C", "", "-f", name)
		if opt.Authority {
			keygen("-s", s.authority, "-h", "-I", "sshd", "-n", "127.0.0.1", name+".pub")
		}
		s.hostKeys = append(s.hostKeys, name)
	}
	public, err := os.ReadFile(s.Key + ".pub")
	s.must(t, err)
	s.must(t, os.WriteFile(s.in("authorized"), public, 0o644))
	s.must(t, os.Chmod(s.dir, 0o755)) // another user must see its keys, below it
	s.must(t, os.Chmod(filepath.Dir(s.dir), 0o755))
}

// configure writes sshd_config(5).
func (s *Server) configure(t testing.TB, opt Options) {
	t.Helper()
	if opt.SFTP == "" {
		opt.SFTP = "internal-sftp"
	}
	host, port, _ := net.SplitHostPort(s.Addr)
	var c strings.Builder
	fmt.Fprintf(&c, "%s\nListenAddress %s\nPort %s\nPidFile none\n", opt.Config, host, port)
	for _, key := range s.hostKeys {
		fmt.Fprintf(&c, "HostKey %s\n", key)
		if opt.Authority {
			fmt.Fprintf(&c, "HostCertificate %s-cert.pub\n", key)
		}
	}
	fmt.Fprintf(&c, "AuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nUseDNS no\nPermitRootLogin yes\n", s.in("authorized"))
	fmt.Fprintf(&c, "PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 500\n")
	fmt.Fprintf(&c, "Subsystem sftp %s\n", opt.SFTP)
	if opt.Chroot {
		fmt.Fprintf(&c, "ForceCommand internal-sftp\nChrootDirectory %s\n", chroot)
	}
	s.must(t, os.WriteFile(s.in("config"), []byte(c.String()), 0o600))
}

// chroot is where the server mounts something of its own: a path that root alone can write to,
// all the way up.
const chroot = "/mnt"

// start starts sshd, in a mount namespace of its own if it has a file system of its own. It
// returns false if the port was taken.
func (s *Server) start(t testing.TB, sshd string, opt Options) bool {
	t.Helper()
	var script []string
	if opt.Tmpfs != "" {
		script = append(script, "mount -t tmpfs -o "+opt.Tmpfs+" tmpfs "+s.Dir)
	}
	if opt.Chroot {
		s.addUser(t)
		script = append(script,
			"mount --bind "+s.in("passwd")+" /etc/passwd", "mount --bind "+s.in("shadow")+" /etc/shadow",
			"mount -t tmpfs -o mode=755,"+or(opt.Tmpfs, "size=64m")+" tmpfs "+chroot,
			"mkdir -m 700 "+chroot+"/backup", "chown 4242:4242 "+chroot+"/backup")
	}
	args := []string{sshd, "-D", "-e", "-f", s.in("config")}
	if script != nil {
		program(t, "unshare")
		script = append(script, `exec "$@"`)
		args = append([]string{"unshare", "-m", "--propagation", "private", "sh", "-c", strings.Join(script, " && "), "sh"}, args...)
	}
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stderr = s.log
	s.must(t, s.cmd.Start())
	s.pid = s.cmd.Process.Pid
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	go func() {
		cmd.Wait()
		close(ended)
	}()
	for {
		if c, err := net.Dial("tcp", s.Addr); err == nil {
			c.Close()
			return true
		}
		select {
		case <-ended:
			text, _ := os.ReadFile(s.log.Name())
			if !bytes.Contains(text, []byte("already in use")) {
				t.Fatalf("sshd ended:\n%s", text)
			}
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// addUser makes copies of the user database that have one more. The password "*" is none,
// and no lock either.
func (s *Server) addUser(t testing.TB) {
	t.Helper()
	for name, line := range map[string]string{
		"passwd": s.User + ":x:4242:4242::/:/usr/sbin/nologin\n",
		"shadow": s.User + ":*:19000:0:99999:7:::\n",
	} {
		data, err := os.ReadFile("/etc/" + name)
		s.must(t, err)
		s.must(t, os.WriteFile(s.in(name), append(data, line...), 0o644))
	}
}

func (s *Server) must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// program returns the path of a program, also of one in a directory that a person's PATH lacks.
func program(t testing.TB, name string) string {
	t.Helper()
	for _, try := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if found, err := exec.LookPath(try); err == nil {
			return found
		}
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// freeAddr is an address that nobody listens at.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// descendants are the processes that a process started, and those that these started.
func descendants(pid int) []*os.Process {
	parents := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		// proc(5): after the name, which is in parentheses, the state and the parent.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 1 {
			parents[child], _ = strconv.Atoi(fields[1])
		}
	}
	var all []*os.Process
	for child := range parents {
		for p := parents[child]; p > 1; p = parents[p] {
			if p == pid {
				if process, err := os.FindProcess(child); err == nil {
					all = append(all, process)
				}
				break
			}
		}
	}
	return all
}
