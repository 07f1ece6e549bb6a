package sftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	wire "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// loginTime is how long a server may take until it has let us in.
const loginTime = 30 * time.Second

// conn is one connection to the server.
type conn struct {
	line net.Conn      // that of this machine, through which all goes
	ssh  *ssh.Client   //
	hops []*ssh.Client // the connections that it goes through
	main *wire.Client  // for all that is short
	life *life

	mu      sync.Mutex
	bulk    *wire.Client // for the bytes of archives; nil until it is needed
	tried   bool         // copying
	copying bool         // it can
}

// connect logs in and begins an SFTP session. An error that is refused is final.
func connect(ctx context.Context, opt Options, a address) (*conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, loginTime, errors.New("no answer in time"))
	defer cancel()
	t, err := resolve(opt, a)
	if err != nil {
		return nil, &refused{err}
	}
	c := &conn{}
	if err := c.connect(ctx, opt, t); err != nil {
		c.close()
		return nil, err
	}
	go c.life.keep(c.ssh, opt.KeepAlive, c.close)
	return c, nil
}

func (c *conn) connect(ctx context.Context, opt Options, t target) (err error) {
	way, err := t.path(opt)
	if err != nil {
		return &refused{err}
	}
	var through *ssh.Client
	for _, hop := range way[:len(way)-1] {
		if through, _, err = c.login(ctx, through, hop); err != nil {
			return fmt.Errorf("on the way, at %s: %w", hop.name, err)
		}
		c.hops = append(c.hops, through)
	}
	if c.ssh, c.life, err = c.login(ctx, through, t); err != nil {
		return err
	}
	// The session's beginning is an exchange like any other, and may hang.
	c.main, err = await(ctx, func() (*wire.Client, error) { return session(c.ssh) })
	if err != nil && ctx.Err() == nil {
		err = hinted(fmt.Errorf("no SFTP: %w", err),
			"see whether sftp(1) gets in: it wants a Subsystem sftp in sshd_config(5) there, and a shell whose start-up files print nothing")
	}
	return err
}

// session begins an SFTP session of its own process on the server.
func session(client *ssh.Client) (*wire.Client, error) {
	// What is written at once after an error of one piece is of no use, but does no harm: after
	// an error nothing of a file is kept.
	return wire.NewClient(client, wire.UseConcurrentWrites(true))
}

// login connects to a target, through another server if through is not nil.
func (c *conn) login(ctx context.Context, through *ssh.Client, t target) (*ssh.Client, *life, error) {
	check, algorithms, err := t.hostKeys()
	if err != nil {
		return nil, nil, &refused{err}
	}
	var raw net.Conn
	if through != nil {
		raw, err = through.DialContext(ctx, "tcp", t.addr)
	} else {
		raw, err = new(net.Dialer).DialContext(ctx, "tcp", t.addr)
		c.line = raw
	}
	if err != nil {
		return nil, nil, unreached(ctx, err)
	}
	alive := &life{Conn: raw}
	alive.heard.Store(time.Now().UnixNano())
	line := c.line // a server on the way that says nothing any more would not end its part, either
	cut := context.AfterFunc(ctx, func() { line.Close() })
	keys := &keyring{ctx: ctx, t: t}
	defer keys.close()
	shake, channels, requests, err := ssh.NewClientConn(alive, t.addr, &ssh.ClientConfig{
		User:              t.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeysCallback(keys.signers)},
		HostKeyCallback:   check,
		HostKeyAlgorithms: algorithms,
	})
	if !cut() && err == nil {
		shake.Close()
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, nil, explainLogin(ctx, keys, err)
	}
	return ssh.NewClient(shake, channels, requests), alive, nil
}

func explainLogin(ctx context.Context, keys *keyring, err error) error {
	var final *refused
	switch {
	case ctx.Err() != nil:
		return unreached(ctx, err)
	case errors.As(err, &final):
		return final
	case strings.Contains(err.Error(), "unable to authenticate"), strings.Contains(err.Error(), "oo many authentication failures"):
		return keys.explain(err)
	case strings.Contains(err.Error(), "no common algorithm"):
		return &refused{hinted(err, "the server knows none of the algorithms that are held to be safe today: update it")}
	}
	return err
}

func unreached(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var missing *net.DNSError
	if errors.As(err, &missing) && missing.IsNotFound {
		return hinted(fmt.Errorf("no such host: %s", missing.Name), "see whether ssh finds it, and whether the name is that of ~/.ssh/config")
	}
	return err
}

// forBulk returns the session for the bytes of archives. A long fsync in it does not hold up
// the others. A server that grants one session only has one for all.
func (c *conn) forBulk() *wire.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bulk == nil {
		var err error
		if c.bulk, err = session(c.ssh); err != nil {
			c.bulk = c.main
		}
	}
	return c.bulk
}

// copies says whether the server copies by itself, and grants a session for that beside those
// for all else.
func (c *conn) copies() (bool, error) {
	if !c.has(extCopyData) {
		return false, nil
	}
	c.forBulk()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tried {
		return c.copying, nil
	}
	s, err := newCopier(c.ssh)
	var denied *ssh.OpenChannelError
	if err != nil && !errors.As(err, &denied) {
		return false, err
	}
	if err == nil {
		s.close()
	}
	c.tried, c.copying = true, err == nil
	return c.copying, nil
}

// ask says whether the server still answers, in both sessions.
func (c *conn) ask(ctx context.Context) bool {
	c.mu.Lock()
	sessions := []*wire.Client{c.main, c.bulk}
	c.mu.Unlock()
	for _, s := range sessions {
		if s == nil {
			continue
		}
		if _, err := await(ctx, func() (string, error) { return s.RealPath(".") }); err != nil && !isAnswer(err) {
			return false
		}
	}
	return true
}

// close ends the connection, and with it whatever still waits for an answer.
func (c *conn) close() {
	if c.line != nil {
		_ = c.line.Close() // first: what goes through other servers waits for them to end it
	}
	if c.ssh != nil {
		_ = c.ssh.Close() // nothing is lost: what matters was answered
	}
	for i := len(c.hops) - 1; i >= 0; i-- {
		_ = c.hops[i].Close()
	}
}

// life is a connection that knows when something was heard last.
type life struct {
	net.Conn
	heard atomic.Int64 // time.Time.UnixNano
}

// Read implements net.Conn.
func (l *life) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// keep asks the server for a sign of life whenever it was silent for the pause, and ends the
// connection when none comes: a peer that was switched off says nothing at all. Any byte is
// a sign, as the answer may queue behind others on a slow line.
func (l *life) keep(client *ssh.Client, pause time.Duration, end func()) {
	ended := make(chan struct{})
	go func() {
		_ = client.Wait()
		close(ended)
	}()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	asked := make(chan struct{}, 1) // holds a token while an answer is waited for
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		silence := time.Since(time.Unix(0, l.heard.Load()))
		if silence > 4*pause {
			end()
			return
		}
		if silence < pause {
			continue
		}
		select {
		case asked <- struct{}{}:
			go func() {
				_, _, _ = client.SendRequest("keepalive@openssh.com", true, nil) // any answer will do
				<-asked
			}()
		default:
		}
	}
}
