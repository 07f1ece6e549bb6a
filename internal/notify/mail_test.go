package notify_test

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/notify"
	"tinybackup/internal/notify/notifytest"
)

// letterURL is the address of people at a server.
func letterURL(addr, options string) string {
	return "smtp://" + addr + "/?from=pi@example.org&to=ops@example.org" + options
}

// one sends a message by mail and gives the letter that came of it, as another
// program reads it.
func one(t *testing.T, server *notifytest.Mail, to string, m notify.Message) (notifytest.Letter, *mail.Message) {
	t.Helper()
	c, _ := quick(nil)
	c.Roots = server.Roots
	if err := c.Send(t.Context(), to, m); err != nil {
		t.Fatal(err)
	}
	all := server.Letters()
	if len(all) == 0 {
		t.Fatal("no letter")
	}
	letter := all[len(all)-1]
	read, err := mail.ReadMessage(strings.NewReader(letter.Data))
	if err != nil {
		t.Fatalf("%v in\n%s", err, letter.Data)
	}
	return letter, read
}

// decoded is a body as it was before it was packed.
func decoded(t *testing.T, encoding string, body io.Reader) string {
	t.Helper()
	if encoding != "quoted-printable" {
		t.Fatalf("encoded as %q", encoding)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLetter(t *testing.T) {
	t.Parallel()
	server := notifytest.NewMail(t, "", "")
	m := notify.Message{
		Title: "Gesichert: " + strings.Repeat("Größe ", 20),
		Text:  ".\n..two\n=3D\n" + strings.Repeat("long ", 300) + "\ntrailing \nende: ü\n",
	}
	to := "smtp://" + server.Addr + "/?from=pi+cron@example.org&to=ops@example.org,%20root&fromname=" + url.QueryEscape("Jürg, the Pi")
	letter, read := one(t, server, to, m)
	if all := server.Letters(); len(all) != 2 || letter.From != "pi+cron@example.org" || !slices.Equal(letter.To, []string{"root"}) {
		t.Errorf("letters: %+v", all)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
	if err != nil || subject != strings.TrimSpace(m.Title) {
		t.Errorf("subject: got %q, %v", subject, err)
	}
	if from, err := read.Header.AddressList("From"); err != nil || from[0].Name != "Jürg, the Pi" || from[0].Address != "pi+cron@example.org" {
		t.Errorf("from: got %v, %v", from, err)
	}
	if got := read.Header.Get("To"); got != "root" {
		t.Errorf("to: got %q", got)
	}
	if _, err := read.Header.Date(); err != nil {
		t.Errorf("date: %v", err)
	}
	kind, params, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
	if err != nil || kind != "text/plain" || params["charset"] != "utf-8" || read.Header.Get("MIME-Version") != "1.0" || read.Header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("header: %v, %v", read.Header, err)
	}
	if got := decoded(t, read.Header.Get("Content-Transfer-Encoding"), read.Body); got != m.Text {
		t.Errorf("text: got %q, want %q", got, m.Text)
	}
	for _, line := range strings.SplitAfter(strings.TrimSuffix(letter.Wire, "\n"), "\n") {
		if bare := strings.TrimRight(line, "\r\n"); len(bare) > 90 || strings.Trim(bare, "\t !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") != "" {
			t.Errorf("line: %q", line)
		}
	}
	if strings.Count(letter.Wire, "\n") != strings.Count(letter.Wire, "\r\n") || strings.Contains(letter.Wire, "\r\r") {
		t.Errorf("newlines: %q", letter.Wire)
	}
	other, err := mail.ReadMessage(strings.NewReader(server.Letters()[0].Data))
	if id := read.Header.Get("Message-ID"); err != nil || !strings.HasSuffix(id, "@example.org>") || id == other.Header.Get("Message-ID") {
		t.Errorf("id: %q, the other %q, %v", id, other.Header.Get("Message-ID"), err)
	}
}

func TestLetterDate(t *testing.T) {
	t.Parallel()
	server := notifytest.NewMail(t, "", "")
	at := time.Date(2026, 11, 2, 3, 4, 5, 0, time.FixedZone("", -90*60))
	c := notify.Client{Now: func() time.Time { return at }}
	if err := c.Send(t.Context(), letterURL(server.Addr, ""), message); err != nil {
		t.Fatal(err)
	}
	has(t, "letter", server.Letters()[0].Data, "Date: Mon, 02 Nov 2026 03:04:05 -0130\n")
}

func TestLetterHTML(t *testing.T) {
	t.Parallel()
	server := notifytest.NewMail(t, "", "")
	_, read := one(t, server, letterURL(server.Addr, "&useHTML=yes&Subject=Backup"), message)
	if got := read.Header.Get("Subject"); got != "Backup" {
		t.Errorf("subject: got %q", got)
	}
	kind, params, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("type: %q, %v", kind, err)
	}
	parts := multipart.NewReader(read.Body, params["boundary"])
	text := message.Title + "\n\n" + message.Text
	for _, want := range []struct{ kind, text string }{
		{"text/plain; charset=utf-8", text},
		{"text/html; charset=utf-8", "<pre>" + strings.NewReplacer("<", "&lt;", ">", "&gt;", `"`, "&#34;").Replace(text) + "</pre>\n"},
	} {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		got := decoded(t, p.Header.Get("Content-Transfer-Encoding"), p)
		if p.Header.Get("Content-Type") != want.kind || got != want.text {
			t.Errorf("part: got %v, %q, want %q", p.Header, got, want)
		}
	}
	if _, err := parts.NextRawPart(); !errors.Is(err, io.EOF) {
		t.Errorf("a third part: %v", err)
	}
}

// Nothing that is told adds a line to a header, or a command to a session.
func TestLetterInjection(t *testing.T) {
	t.Parallel()
	evil := "x\r\nBcc: evil@example.org\r\n\r\n.\r\nRCPT TO:<evil@example.org>"
	server := notifytest.NewMail(t, "", "")
	for _, c := range []struct {
		options string
		m       notify.Message
	}{
		{"", notify.Message{Title: evil, Text: evil}},
		{"&fromname=" + url.QueryEscape(evil), message},
		{"&subject=" + url.QueryEscape(evil), message},
	} {
		letter, read := one(t, server, letterURL(server.Addr, c.options), c.m)
		if len(letter.To) != 1 || len(read.Header) != 9 || read.Header.Get("Bcc") != "" {
			t.Errorf("%q: %+v", c.options, letter)
		}
	}
	if n := server.Count("RCPT"); n != 3 {
		t.Errorf("got %d RCPT, want 3", n)
	}
	for _, options := range []string{"?to=a@example.org&from=", "?from=a@example.org&to=", "?from=a@example.org&to=b@example.org,", "?from=a@example.org&to=b@example.org&clienthost="} {
		c, _ := quick(nil)
		if err := c.Send(t.Context(), "smtp://"+server.Addr+"/"+options+url.QueryEscape(evil), message); err == nil {
			t.Errorf("%s: no error", options)
		}
	}
	if n := len(server.Letters()); n != 3 {
		t.Errorf("got %d letters, want 3", n)
	}
}

func TestMailLogIn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		offered []string
		option  string
		want    string // the method; else the error
		err     string
	}{
		{offered: []string{"LOGIN", "PLAIN"}, want: "PLAIN"},
		{offered: []string{"LOGIN"}, want: "LOGIN"},
		{offered: []string{"LOGIN"}, option: "&auth=Unknown", want: "LOGIN"},
		{offered: []string{"PLAIN", "LOGIN"}, option: "&auth=login", want: "LOGIN"},
		{offered: []string{"CRAM-MD5"}, option: "&Auth=CRAMMD5", want: "CRAM-MD5"},
		{offered: []string{"GSSAPI", "CRAM-MD5"}, want: "CRAM-MD5"},
		{offered: []string{"CRAM-MD5", "LOGIN"}, want: "LOGIN"},
		{offered: []string{"XOAUTH2"}, option: "&auth=OAuth2", want: "XOAUTH2"},
		{offered: []string{"LOGIN"}, option: "&auth=plain", err: "smtp: the server said 535 5.7.8 bad credentials"},
		{offered: []string{"PLAIN"}, option: "&auth=none", err: "smtp: ops@example.org: the server said 530 5.7.0 authentication required"},
	} {
		server := notifytest.NewMailOf(t, notifytest.MailRules{User: "anna", Password: password, Auth: c.offered})
		to := letterURL("anna:"+url.QueryEscape(password)+"@"+server.Addr, c.option)
		client, _ := quick(nil)
		if c.err != "" {
			check(t, client.Send(t.Context(), to, message), c.err, false)
			continue
		}
		if letter, _ := one(t, server, to, message); letter.Auth != c.want {
			t.Errorf("%v%s: got %q", c.offered, c.option, letter.Auth)
		}
		to = strings.Replace(to, "anna:", "anna:no", 1)
		check(t, client.Send(t.Context(), to, message), "smtp: the server said 535 5.7.8 bad credentials", false)
	}
}

func TestMailEncryption(t *testing.T) {
	t.Parallel()
	plain := notifytest.MailRules{User: "anna", Password: password}
	offers, from := plain, plain
	offers.StartTLS, from.TLS = true, true
	// A name of the server that is not known to be this machine.
	elsewhere := func(addr string) string {
		_, port, _ := net.SplitHostPort(addr)
		return "[::ffff:127.0.0.1]:" + port
	}
	const unknown = "skiptlsverify=yes in the URL trusts it all the same"
	for _, c := range []struct {
		name    string
		rules   notifytest.MailRules
		options string
		far     bool // the server's name is another
		trusts  bool // its certificate is known
		tls     bool // what is wanted: the letter comes so
		err     string
	}{
		{name: "none offered", rules: plain},
		{name: "none offered, wanted", rules: plain, options: "&requirestarttls=yes", err: "the server offers no encryption (STARTTLS)"},
		{name: "none offered, explicit", rules: plain, options: "&encryption=ExplicitTLS", err: "the server offers no encryption (STARTTLS)"},
		{name: "none offered, far away", rules: plain, far: true, err: "no password is sent to a server that offers no encryption"},
		{name: "none offered, far away, login", rules: plain, far: true, options: "&auth=login", err: "no password is sent to a server that offers no encryption"},
		{name: "none offered, far away, nor a password", rules: notifytest.MailRules{User: "anna", Password: password, Auth: []string{"CRAM-MD5"}}, far: true, err: "no password is sent to a server that offers no encryption"},
		{name: "none offered, far away, oauth2", rules: plain, far: true, options: "&auth=oauth2", err: "no password is sent to a server that offers no encryption"},
		{name: "offered", rules: offers, trusts: true, tls: true},
		{name: "offered, far away", rules: offers, far: true, trusts: true, tls: true},
		{name: "offered, explicit", rules: offers, trusts: true, options: "&encryption=explicittls", tls: true},
		{name: "offered, unknown", rules: offers, far: true, err: unknown},
		{name: "offered, unknown, here", rules: offers, tls: true},
		{name: "offered, unknown, here, wanted", rules: offers, options: "&requirestarttls=yes", err: unknown},
		{name: "offered, unknown, any", rules: offers, options: "&skiptlsverify=yes", tls: true},
		{name: "offered, refused", rules: offers, options: "&starttls=no"},
		{name: "offered, refused, wanted", rules: offers, options: "&usestarttls=no&requirestarttls=yes"},
		{name: "offered, none", rules: offers, options: "&encryption=None"},
		{name: "offered, none but STARTTLS", rules: offers, trusts: true, options: "&encryption=none&starttls=yes", tls: true},
		{name: "implicit", rules: from, trusts: true, options: "&encryption=ImplicitTLS", tls: true},
		{name: "implicit, unknown", rules: from, options: "&encryption=ImplicitTLS", err: unknown},
		{name: "implicit, any", rules: from, options: "&encryption=ImplicitTLS&skiptlsverify=1", tls: true},
	} {
		server := notifytest.NewMailOf(t, c.rules)
		addr := server.Addr
		if c.far {
			addr = elsewhere(addr)
		}
		client, _ := quick(nil)
		if c.trusts {
			client.Roots = server.Roots
		}
		err := client.Send(t.Context(), letterURL("anna:"+url.QueryEscape(password)+"@"+addr, c.options), message)
		letters := server.Letters()
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) || len(letters) != 0 || server.Count("AUTH") != 0 {
				t.Errorf("%s: got %v and %d letters, want %q", c.name, err, len(letters), c.err)
			}
		case err != nil || len(letters) != 1 || letters[0].TLS != c.tls:
			t.Errorf("%s: got %v, %+v", c.name, err, letters)
		}
	}
}

// Who cannot have a letter does not keep others from theirs, and who has one does not
// get it again.
func TestMailToSeveral(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		replies map[int]string // to the n-th RCPT
		got     string         // who has letters
		err     string
		passing bool
		tries   int
	}{
		{got: "abc", tries: 1},
		{replies: map[int]string{2: "550 5.1.1 nobody"}, got: "ac", err: "smtp: b@example.org: the server said 550 5.1.1 nobody", tries: 1},
		{replies: map[int]string{1: "451 4.7.1 later"}, got: "bca", tries: 2},
		{replies: map[int]string{1: "451 4.7.1 later", 2: "550 no", 5: "550 no"}, got: "ca",
			err: "smtp: b@example.org: the server said 550 no", tries: 2},
		{replies: map[int]string{1: "550 no", 2: "550 no", 3: "452 full", 4: "550 no", 5: "550 no", 6: "452 full", 7: "550 no", 8: "550 no", 9: "452 full"},
			err: "smtp: a@example.org: the server said 550 no; b@example.org: the server said 550 no; c@example.org: the server said 452 full", passing: true, tries: 3},
	} {
		server := notifytest.NewMail(t, "", "")
		server.Refuse(func(command string) string {
			if command != "RCPT" {
				return ""
			}
			return c.replies[server.Count("RCPT")]
		})
		client, pauses := quick(nil)
		err := client.Send(t.Context(), "smtp://"+server.Addr+"/?from=pi@example.org&to=a@example.org,b@example.org,c@example.org", message)
		got := ""
		for _, letter := range server.Letters() {
			got += letter.To[0][:1]
		}
		if got != c.got || len(*pauses) != c.tries-1 {
			t.Errorf("%v: %q have letters after %d tries, want %q after %d", c.replies, got, len(*pauses)+1, c.got, c.tries)
		}
		if c.err != "" {
			check(t, err, c.err, c.passing)
		} else if err != nil {
			t.Errorf("%v: %v", c.replies, err)
		}
	}
}

// A server that falls silent, wherever, is given up; one that does so when all is
// done has taken the letter.
func TestMailHangs(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"connect", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"} {
		server := notifytest.NewMail(t, "anna", password)
		server.Refuse(func(command string) string {
			if command == at {
				return "hang"
			}
			return ""
		})
		c, pauses := quick(nil)
		c.Timeout = 50 * time.Millisecond
		to := letterURL("anna:"+url.QueryEscape(password)+"@"+server.Addr, "")
		err := c.Send(t.Context(), to, message)
		var e *notify.Error
		if !errors.As(err, &e) || !e.Passing || !strings.Contains(e.Why, "no answer") || len(*pauses) != 2 {
			t.Errorf("%s: got %v after %d tries", at, err, len(*pauses)+1)
		}
		c.Timeout = 0
		if err := c.Send(t.Context(), to+"&timeout=50ms", message); err == nil || !strings.HasSuffix(err.Error(), ": no answer in time") {
			t.Errorf("%s, with a time of its own: got %v", at, err)
		}
	}
	for _, farewell := range []string{"421 4.3.2 away", "hang"} {
		server := notifytest.NewMail(t, "", "")
		server.Refuse(func(command string) string {
			if command == "QUIT" {
				return farewell
			}
			return ""
		})
		for _, timeout := range []time.Duration{0, 200 * time.Millisecond} {
			c, _ := quick(nil)
			c.Timeout = timeout
			to := "smtp://" + server.Addr + "/?from=pi@example.org&to=ops@example.org,anna@example.org"
			n := len(server.Letters())
			if err := c.Send(t.Context(), to, message); err != nil || len(server.Letters())-n != 2 {
				t.Errorf("QUIT, %s, a try of %v: got %v and %d letters", farewell, timeout, err, len(server.Letters())-n)
			}
		}
	}
}

// A server may talk as long as it likes; it is not listened to.
func TestMailTalks(t *testing.T) {
	t.Parallel()
	server := notifytest.NewMail(t, "", "")
	server.Refuse(func(command string) string {
		if command == "MAIL" {
			return strings.Repeat("250-"+strings.Repeat("x", 500)+"\r\n", 4096) + "250 ok"
		}
		return ""
	})
	c, _ := quick(nil)
	if err := c.Send(t.Context(), letterURL(server.Addr, ""), message); err == nil || len(server.Letters()) != 0 {
		t.Errorf("got %v and %d letters", err, len(server.Letters()))
	}
}

// Only what needs a server that knows SMTPUTF8 asks for one: the next on the way may not.
func TestMailUTF8(t *testing.T) {
	t.Parallel()
	server := notifytest.NewMail(t, "", "")
	for _, c := range []struct{ to, asks string }{
		{letterURL(server.Addr, "&fromname=J%C3%BCrg"), ""},
		{"smtp://" + server.Addr + "/?from=j%C3%BCrg@example.org&to=ops@example.org", "SMTPUTF8"},
		{"smtp://" + server.Addr + "/?from=pi@example.org&to=j%C3%BCrg@example.org", "SMTPUTF8"},
	} {
		if letter, _ := one(t, server, c.to, notify.Message{Title: "Größe", Text: "Größe"}); letter.Asks != c.asks {
			t.Errorf("%s: got %q, want %q", c.to, letter.Asks, c.asks)
		}
	}
}

func TestMailOptions(t *testing.T) {
	t.Parallel()
	check(t, notify.Check("smtp://mail.example.org/?from=a@b.c&to=,"), "smtp: toAddress missing from config URL", false)
	for options, want := range map[string]string{
		"&nosuch=1":         `it has no option "nosuch"`,
		"&auth=digest":      "auth=digest is none of none, plain, login, crammd5, oauth2, unknown",
		"&encryption=ssl":   "encryption=ssl is none of auto, none, explicittls, implicittls",
		"&StartTLS=perhaps": "usestarttls=perhaps is neither yes nor no",
		"&timeout=10":       "timeout=10 is no time such as 5s",
		"&timeout=-1s":      "timeout=-1s is no time such as 5s",
	} {
		if err := notify.Check(letterURL("mail.example.org", options)); err == nil || err.Error() != "smtp: "+want {
			t.Errorf("%s: got %v, want %q", options, err, want)
		}
	}
	all := "&FromName=x&subject=x&auth=none&encryption=auto&useStartTLS=yes&useHTML=no&clientHost=auto&requireStartTLS=no&skipTLSVerify=no&timeout=5s"
	if err := notify.Check("smtp://mail.example.org:587/?fromAddress=a@b.c&toAddresses=d@e.f" + all); err != nil {
		t.Error(err)
	}
	for _, addr := range []string{"a%20b%0A@example.org", "%3Ca@example.org%3E", "a%22@example.org"} {
		if err := notify.Check("smtp://mail.example.org/?from=a@b.c&to=" + addr); err == nil || !strings.Contains(err.Error(), "is no mail address") {
			t.Errorf("%s: got %v", addr, err)
		}
	}
}
