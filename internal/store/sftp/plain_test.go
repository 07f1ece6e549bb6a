package sftp

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	wire "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"tinybackup/internal/store"
	"tinybackup/internal/store/storetest"
)

// plainServer is a server that has no extension of the protocol, grants one session for each
// connection, and whose renaming replaces. It returns its address and how to log in.
func plainServer(t *testing.T) (addr string, opt Options) {
	t.Helper()
	if err := wire.SetSFTPExtensions(); err != nil { // of servers in this process: there is no other
		t.Fatal(err)
	}
	signer := func() (ssh.Signer, []byte) {
		_, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(private, "")
		if err != nil {
			t.Fatal(err)
		}
		s, err := ssh.NewSignerFromKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return s, pem.EncodeToMemory(block)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	host, _ := signer()
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	_, key := signer()
	known := knownhosts.Line([]string{l.Addr().String()}, host.PublicKey()) + "\n"
	if err := errors.Join(os.Mkdir(filepath.Join(home, ".ssh"), 0o700),
		os.WriteFile(filepath.Join(home, ".ssh/id_ed25519"), key, 0o600),
		os.WriteFile(filepath.Join(home, ".ssh/known_hosts"), []byte(known), 0o600)); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { servePlain(c, config) })
		}
	})
	none := func(string) string { return "" }
	return l.Addr().String(), Options{Home: home, Env: none, Pause: time.Millisecond}
}

func servePlain(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	var all sync.WaitGroup
	defer all.Wait()
	for first := true; ; first = false {
		offered, ok := <-channels
		if !ok {
			return
		}
		if !first {
			offered.Reject(ssh.Prohibited, "one session is enough")
			continue
		}
		channel, asked, err := offered.Accept()
		if err != nil {
			return
		}
		all.Go(func() {
			for request := range asked {
				request.Reply(request.Type == "subsystem", nil)
			}
		})
		all.Go(func() {
			defer channel.Close()
			if server, err := wire.NewServer(channel); err == nil {
				server.Serve()
			}
		})
	}
}

func TestPlainServer(t *testing.T) {
	t.Parallel()
	addr, opt := plainServer(t)
	newDir := func(t *testing.T) string {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "two/deep"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"one", "three"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	storetest.Store(t, func(t *testing.T) store.Store {
		return store.NewRemote(open(t, "sftp://me@"+addr+newDir(t), opt))
	}, "sums at once", "archives at once", "sweep")

	d := open(t, "sftp://me@"+addr+newDir(t), opt)
	if d.Copies(t.Context()) {
		t.Error("Copies: got true")
	}
	_, err := d.Free(t.Context())
	wantIs(t, "Free", err, errors.ErrUnsupported)
	wantIs(t, "Link", d.Link(t.Context(), "a", "b"), errors.ErrUnsupported)

	// Its renaming would replace what somebody put there meanwhile.
	p, err := d.Create(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Write([]byte("ours")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), "a", []byte("theirs"), store.NotThere); err != nil {
		t.Fatal(err)
	}
	wantIs(t, "Commit", p.Commit(), fs.ErrExist)
	if got, _, err := d.Get(t.Context(), "a", -1); err != nil || string(got) != "theirs" {
		t.Errorf("got %q, %v", got, err)
	}
}
