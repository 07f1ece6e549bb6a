package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"
)

// send is one session: a letter to each who has none yet. One who is refused does not
// keep the others from theirs.
func (m *mailer) send(o *observer, msg Message) error {
	ctx := o.ctx
	if m.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.timeout)
		defer cancel()
	}
	// A try that was given up may still be at its end.
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.connect(ctx, &tls.Config{ServerName: m.host, RootCAs: o.roots, InsecureSkipVerify: m.anyCertificate})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := m.logIn(c); err != nil {
		return err
	}
	failed := m.sendLetters(c, o.now(), msg)
	// What was taken is the server's, whatever becomes of the farewell.
	_ = c.Quit()
	return failed
}

// connect begins a session, encrypted if that was asked for.
func (m *mailer) connect(ctx context.Context, config *tls.Config) (*smtp.Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(m.host, m.port))
	if err != nil {
		return nil, err
	}
	// The package smtp knows no contexts. Whoever waits for a server is told that it
	// gives no answer.
	context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if m.implicit {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if err := m.greet(c, config); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// greet says who we are, and has the session encrypted.
func (m *mailer) greet(c *smtp.Client, config *tls.Config) error {
	if err := c.Hello(m.clientHost); err != nil {
		return err
	}
	if m.implicit || m.startTLS == never {
		return nil
	}
	if offered, _ := c.Extension("STARTTLS"); offered {
		return c.StartTLS(config)
	}
	if m.startTLS == always {
		return &Error{Why: "the server offers no encryption (STARTTLS)"}
	}
	return nil
}

// logIn proves who we are, if there is a user.
func (m *mailer) logIn(c *smtp.Client) error {
	method := m.auth
	if method == "" && m.user != "" {
		method = "plain"
		if _, offered := c.Extension("AUTH"); !strings.Contains(offered, "PLAIN") && strings.Contains(offered, "LOGIN") {
			method = "login"
		}
	}
	_, encrypted := c.TLSConnectionState()
	if !encrypted && !isLocal(m.host) && (method == "plain" || method == "login" || method == "oauth2") {
		return &Error{Why: "no password is sent to a server that offers no encryption"}
	}
	switch method {
	case "plain":
		return c.Auth(smtp.PlainAuth("", m.user, m.password, m.host))
	case "login":
		return c.Auth(&answers{method: "LOGIN", then: []string{m.user, m.password}})
	case "crammd5":
		return c.Auth(smtp.CRAMMD5Auth(m.user, m.password))
	case "oauth2": // developers.google.com/workspace/gmail/imap/xoauth2-protocol
		return c.Auth(&answers{method: "XOAUTH2", first: []byte("user=" + m.user + "\x01auth=Bearer " + m.password + "\x01\x01")})
	}
	return nil
}

// isLocal says whether a name is that of this machine: the same names as
// smtp.PlainAuth knows.
func isLocal(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// answers are a way to prove who we are that consists of fixed answers, whatever the
// questions are.
type answers struct {
	method string
	first  []byte   // with the command; nil: nothing
	then   []string // one to each question
}

func (a *answers) Start(*smtp.ServerInfo) (string, []byte, error) { return a.method, a.first, nil }

func (a *answers) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	if len(a.then) == 0 {
		return []byte{}, nil // to a refusal in the form of a question, as XOAUTH2 has it
	}
	next := a.then[0]
	a.then = a.then[1:]
	return []byte(next), nil
}

// sendLetters sends all letters that are not sent yet. The error may pass if that of
// one of them may.
func (m *mailer) sendLetters(c *smtp.Client, now time.Time, msg Message) error {
	var failed []string
	var passing bool
	for i, to := range m.to {
		if m.sent[to] {
			continue
		}
		err := m.deliver(c, to, m.letter(i, now, msg))
		if err == nil {
			m.sent[to] = true
			continue
		}
		why, may := explain(err)
		if len(m.to) > 1 {
			why = to + ": " + why
		}
		failed, passing = append(failed, why), passing || may
		if reply := new(textproto.Error); !errors.As(err, &reply) || c.Reset() != nil {
			break // the session is over
		}
	}
	if failed == nil {
		return nil
	}
	return &Error{Why: strings.Join(failed, "; "), Passing: passing}
}

// deliver hands one letter over.
func (m *mailer) deliver(c *smtp.Client, to, letter string) error {
	if err := c.Mail(m.from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, letter); err != nil {
		return err
	}
	return w.Close()
}
