package notifytest

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// A Letter is a mail that was taken.
type Letter struct {
	From string
	To   []string
	Data string // header and body, with \n as newlines
}

// A Mail is a server that speaks SMTP (RFC 5321), and remembers the mail.
type Mail struct {
	Addr string

	user, password string // who may send; empty: anybody
	listener       net.Listener
	mu             sync.Mutex
	letters        []Letter
	said           []string // commands that were got, without data
	refuse         func(command string) string
}

// NewMail is a server on loopback. With a user, mail is taken after AUTH PLAIN only.
func NewMail(t testing.TB, user, password string) *Mail {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &Mail{Addr: l.Addr().String(), user: user, password: password, listener: l}
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
				m.talk(c)
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
func (m *Mail) talk(c net.Conn) {
	in := bufio.NewReader(c)
	say := func(text string) bool {
		_, err := fmt.Fprint(c, text+"\r\n")
		return err == nil
	}
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
	let := m.user == ""
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
			say("250-localhost\r\n250-8BITMIME\r\n250 AUTH PLAIN")
		case "HELO", "RSET", "NOOP":
			say("250 ok")
		case "AUTH":
			_, secret, _ := strings.Cut(rest, " ")
			text, _ := base64.StdEncoding.DecodeString(secret)
			if let = string(text) == "\x00"+m.user+"\x00"+m.password; let {
				say("235 2.7.0 welcome")
			} else {
				say("535 5.7.8 bad credentials")
			}
		case "MAIL":
			if !let {
				say("530 5.7.0 authentication required")
				continue
			}
			letter = Letter{From: address(rest)}
			say("250 ok")
		case "RCPT":
			letter.To = append(letter.To, address(rest))
			say("250 ok")
		case "DATA":
			say("354 go on")
			data, err := readData(in)
			if err != nil {
				return
			}
			letter.Data = data
			m.mu.Lock()
			m.letters = append(m.letters, letter)
			m.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

// address is what stands between < and >.
func address(text string) string {
	_, text, _ = strings.Cut(text, "<")
	text, _, _ = strings.Cut(text, ">")
	return text
}

// readData reads up to the line that is a single dot.
func readData(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "." {
			return b.String(), nil
		}
		b.WriteString(strings.TrimPrefix(line, ".") + "\n")
	}
}
