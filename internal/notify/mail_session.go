package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"time"
	"unicode"
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
	// A try that was given up may still be at its end, and have got everything there.
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.sent) == len(m.to) {
		return nil
	}
	c, err := m.connect(ctx, &tls.Config{ServerName: m.host, RootCAs: o.roots, InsecureSkipVerify: m.trustsAny()})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := m.logIn(c); err != nil {
		return err
	}
	failed := m.sendLetters(c, o.now(), msg)
	// What was taken is the server's, whatever becomes of the farewell.
	defer time.AfterFunc(farewell, func() { _ = c.Close() }).Stop()
	_ = c.Quit()
	return failed
}

const (
	// farewell is how long the answer to QUIT is waited for.
	farewell = time.Second
	// maxAnswers is how much of a session is read: answers are lines.
	maxAnswers = 1 << 20
)

// trustsAny says whether the server need not prove who it is: this machine's own, to
// which everything may be sent in clear as well, need not. Its certificate is often one
// that the system has made for itself.
func (m *mailer) trustsAny() bool {
	return m.anyCertificate || isLocal(m.host) && !m.implicit && m.startTLS == ifOffered
}

// A bounded connection ends after so many bytes: the package smtp keeps an answer as
// long as it likes to be.
type bounded struct {
	net.Conn
	in io.Reader
}

func (b bounded) Read(p []byte) (int, error) { return b.in.Read(p) }

// connect begins a session, encrypted if that was asked for.
func (m *mailer) connect(ctx context.Context, config *tls.Config) (*smtp.Client, error) {
	dialed, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(m.host, m.port))
	if err != nil {
		return nil, err
	}
	// The package smtp knows no contexts. Whoever waits for a server is told that it
	// gives no answer.
	context.AfterFunc(ctx, func() { _ = dialed.SetDeadline(time.Unix(1, 0)) })
	var conn net.Conn = bounded{dialed, io.LimitReader(dialed, maxAnswers)}
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
		_, offered := c.Extension("AUTH")
		method = choose(strings.Fields(strings.ToUpper(offered)))
	}
	_, encrypted := c.TLSConnectionState()
	// What CRAM-MD5 sends can be tried out on passwords: in clear only who asks for it.
	if !encrypted && !isLocal(m.host) && method != "" && method != "none" && (method != "crammd5" || m.auth == "") {
		return &Error{Why: "no password is sent to a server that offers no encryption"}
	}
	switch method {
	case "plain":
		return c.Auth(smtp.PlainAuth("", m.user, m.password, m.host))
	case "login":
		return c.Auth(&answers{method: "LOGIN", then: []string{m.user, m.password}})
	case "crammd5":
		return c.Auth(smtp.CRAMMD5Auth(m.user, m.password))
	case "oauth2":
		return c.Auth(&answers{method: "XOAUTH2", first: []byte(xoauth2(m.user, m.password))})
	}
	return nil
}

// choose is the way to prove who we are that suits best of those a server offers.
func choose(offered []string) string {
	for _, known := range []struct{ name, method string }{{"PLAIN", "plain"}, {"LOGIN", "login"}, {"CRAM-MD5", "crammd5"}} {
		if slices.Contains(offered, known.name) {
			return known.method
		}
	}
	return "plain"
}

// xoauth2 is who we are in the words of
// developers.google.com/workspace/gmail/imap/xoauth2-protocol.
func xoauth2(user, token string) string {
	return "user=" + user + "\x01auth=Bearer " + token + "\x01\x01"
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
		failed, passing = append(failed, to+": "+why), passing || may
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
	if err := m.begin(c, to); err != nil {
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

// begin says who sends a letter. That it needs a server that knows SMTPUTF8 (RFC 6531),
// and behind it no others, is said of addresses only that are not ASCII: the package
// smtp says it of every letter, which is then lost where the next server knows nothing
// of it.
func (m *mailer) begin(c *smtp.Client, to string) error {
	more := ""
	if known, _ := c.Extension("SMTPUTF8"); known && strings.ContainsFunc(m.from+to, func(r rune) bool { return r > unicode.MaxASCII }) {
		more = " SMTPUTF8"
	}
	id, err := c.Text.Cmd("MAIL FROM:<%s>%s", m.from, more)
	if err != nil {
		return err
	}
	c.Text.StartResponse(id)
	defer c.Text.EndResponse(id)
	_, _, err = c.Text.ReadResponse(250)
	return err
}
