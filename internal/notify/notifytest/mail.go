package notifytest

import (
	"bufio"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A Letter is a mail that was taken.
type Letter struct {
	From string
	To   []string
	Data string // header and body, with \n as newlines
	Wire string // the same as it was sent
	TLS  bool   // it came encrypted
	Auth string // how its sender has proved who he is: "PLAIN", or "" for nobody
	Asks string // what its sender asked for besides: "SMTPUTF8", or ""
}

// Read is the letter as its reader sees it, if it is one of plain text.
func (l Letter) Read() (subject, text string, err error) {
	m, err := mail.ReadMessage(strings.NewReader(l.Data))
	if err != nil {
		return "", "", err
	}
	if subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		return "", "", err
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	return subject, string(body), err
}

// A Mail is a server that speaks SMTP (RFC 5321), and remembers the mail.
type Mail struct {
	Addr  string
	Roots *x509.CertPool // what vouches for it, if it has TLS

	rules    MailRules
	config   *tls.Config
	listener net.Listener
	mu       sync.Mutex
	letters  []Letter
	said     []string // commands that were got, without data
	refuse   func(command string) string
}

// MailRules are what a Mail asks for.
type MailRules struct {
	User, Password string   // who may send; empty: anybody
	Auth           []string // how that is proven: PLAIN, LOGIN, CRAM-MD5, XOAUTH2; nil: PLAIN
	StartTLS       bool     // encryption is offered in the session
	TLS            bool     // it is from the beginning
	Nobody         string   // an address that gets no mail
}

// NewMail is a server on loopback. With a user, mail is taken after AUTH PLAIN only.
func NewMail(t testing.TB, user, password string) *Mail {
	t.Helper()
	return NewMailOf(t, MailRules{User: user, Password: password})
}

// NewMailOf is a server on loopback with rules.
func NewMailOf(t testing.TB, rules MailRules) *Mail {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if rules.Auth == nil {
		rules.Auth = []string{"PLAIN"}
	}
	cert, ca := certificate(t, "127.0.0.1")
	m := &Mail{Addr: l.Addr().String(), Roots: x509.NewCertPool(), rules: rules, listener: l}
	m.Roots.AppendCertsFromPEM(ca)
	m.config = &tls.Config{Certificates: []tls.Certificate{cert}}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				if rules.TLS {
					m.talk(tls.Server(c, m.config), true)
				} else {
					m.talk(c, false)
				}
			})
		}
	})
	return m
}

// Refuse gives the reply to a command, such as "MAIL": "" lets it pass, "hang" says
// nothing until the test ends.
func (m *Mail) Refuse(reply func(command string) string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = reply
}

// Letters are the mails so far.
func (m *Mail) Letters() []Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Letter(nil), m.letters...)
}

// Count is how often a command was got; "connect" counts connections.
func (m *Mail) Count(command string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.said {
		if s == command {
			n++
		}
	}
	return n
}

// reply is what a command is answered with, if it is refused.
func (m *Mail) reply(command string) string {
	m.mu.Lock()
	m.said = append(m.said, command)
	refuse := m.refuse
	m.mu.Unlock()
	if refuse == nil {
		return ""
	}
	return refuse(command)
}

// talk is one session.
func (m *Mail) talk(c net.Conn, secure bool) {
	in := bufio.NewReader(c)
	say := func(text string) { _, _ = fmt.Fprint(c, text+"\r\n") }
	switch r := m.reply("connect"); r {
	case "":
		say("220 localhost ESMTP")
	case "hang":
		_, _ = in.ReadByte()
		return
	default:
		say(r)
		return
	}
	method := ""
	var letter Letter
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		command, rest, _ := strings.Cut(line, " ")
		command = strings.ToUpper(command)
		if r := m.reply(command); r == "hang" {
			_, _ = in.ReadByte()
			return
		} else if r != "" {
			say(r)
			continue
		}
		switch command {
		case "EHLO":
			say("250-localhost\r\n250-8BITMIME\r\n250-SMTPUTF8")
			if m.rules.StartTLS && !secure {
				say("250-STARTTLS")
			}
			say("250 AUTH " + strings.Join(m.rules.Auth, " "))
		case "STARTTLS":
			say("220 go on")
			c = tls.Server(c, m.config)
			in, secure, method = bufio.NewReader(c), true, ""
		case "HELO", "NOOP":
			say("250 ok")
		case "RSET":
			letter = Letter{}
			say("250 ok")
		case "AUTH":
			name, first, _ := strings.Cut(rest, " ")
			method = ""
			if m.admits(name, first, in, say) {
				method = name
				say("235 2.7.0 welcome")
			} else {
				say("535 5.7.8 bad credentials")
			}
		case "MAIL":
			if m.rules.User != "" && method == "" {
				say("530 5.7.0 authentication required")
				continue
			}
			if letter.From != "" {
				say("503 5.5.1 nested MAIL")
				continue
			}
			letter = Letter{From: address(rest), TLS: secure, Auth: method}
			_, letter.Asks, _ = strings.Cut(rest, "> ")
			say("250 ok")
		case "RCPT":
			if address(rest) == m.rules.Nobody {
				say("550 5.1.1 nobody")
				continue
			}
			letter.To = append(letter.To, address(rest))
			say("250 ok")
		case "DATA":
			say("354 go on")
			letter.Data, letter.Wire, err = readData(in)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.letters = append(m.letters, letter)
			m.mu.Unlock()
			letter = Letter{}
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

// admits says whether somebody may send, who begins to prove who he is with first.
func (m *Mail) admits(method, first string, in *bufio.Reader, say func(string)) bool {
	ask := func(question string) string {
		say("334 " + base64.StdEncoding.EncodeToString([]byte(question)))
		line, _ := in.ReadString('\n')
		text, _ := base64.StdEncoding.DecodeString(strings.TrimRight(line, "\r\n"))
		return string(text)
	}
	text, _ := base64.StdEncoding.DecodeString(first)
	user, password := m.rules.User, m.rules.Password
	if !slices.Contains(m.rules.Auth, method) {
		return false
	}
	switch method {
	case "PLAIN":
		return string(text) == "\x00"+user+"\x00"+password
	case "LOGIN":
		return ask("Username:") == user && ask("Password:") == password
	case "CRAM-MD5":
		question := "<1.2@localhost>"
		sum := hmac.New(md5.New, []byte(password))
		sum.Write([]byte(question))
		return ask(question) == fmt.Sprintf("%s %x", user, sum.Sum(nil))
	case "XOAUTH2":
		if string(text) == "user="+user+"\x01auth=Bearer "+password+"\x01\x01" {
			return true
		}
		ask(`{"status":"401"}`) // as Gmail does; the answer is empty
	}
	return false
}

// address is what stands between < and >.
func address(text string) string {
	_, text, _ = strings.Cut(text, "<")
	text, _, _ = strings.Cut(text, ">")
	return text
}

// readData reads up to the line that is a single dot.
func readData(in *bufio.Reader) (data, wire string, err error) {
	var b, w strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		if strings.TrimRight(line, "\r\n") == "." {
			return b.String(), w.String(), nil
		}
		w.WriteString(line)
		b.WriteString(strings.TrimPrefix(strings.TrimRight(line, "\r\n"), ".") + "\n")
	}
}
