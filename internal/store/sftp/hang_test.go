package sftp

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"tinybackup/internal/store/sftp/sftptest"
)

// TestHangs has an agent, and then a server on the way, that answer no more: whoever waits for
// them gives up when he has to.
func TestHangs(t *testing.T) {
	t.Parallel()
	s := sftptest.Start(t)
	proxy := sftptest.NewProxy(t, s)
	errGivenUp := errors.New("given up")

	// ends wants Open to end, once the listener was connected to.
	ends := func(what string, l net.Listener, v *visitor, dest string) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		go func() {
			if c, err := l.Accept(); err == nil {
				defer c.Close()
				c.Read(make([]byte, 1)) // it is spoken to
				proxy.Silence(true)
				cancel(errGivenUp)
				<-t.Context().Done()
			}
		}()
		opened := make(chan error, 1)
		go func() {
			opt := options(s)
			opt.Home, opt.Env = v.home, func(name string) string { return v.env[name] }
			_, err := Open(ctx, dest, opt)
			opened <- err
		}()
		select {
		case err := <-opened:
			wantIs(t, what, err, errGivenUp)
		case <-time.After(20 * time.Second):
			t.Errorf("%s: it is waited for without an end", what)
		}
	}
	listen := func(network, addr string) net.Listener {
		t.Helper()
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}

	v := newVisitor(t, s)
	v.env["SSH_AUTH_SOCK"] = filepath.Join(v.home, "agent")
	ends("an agent", listen("unix", v.env["SSH_AUTH_SOCK"]), v, s.URL)

	proxy.Silence(false)
	v = newVisitor(t, s)
	end := listen("tcp", "127.0.0.1:0")
	host, port, _ := net.SplitHostPort(proxy.Addr)
	v.write("config", "Host nas\n  HostName 127.0.0.1\n  ProxyJump hop\nHost hop\n  HostName %s\n  Port %s\n  User %s\n", host, port, s.User)
	_, port, _ = net.SplitHostPort(end.Addr().String())
	ends("a server on the way", end, v, "sftp://nas:"+port+s.Dir)
}
