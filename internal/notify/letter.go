package notify

import (
	"crypto/rand"
	"fmt"
	"html"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
)

// letter is a message to the n-th of those who get it, in the form of RFC 5322.
func (m *mailer) letter(n int, now time.Time, msg Message) string {
	msg = msg.titled(m.subject)
	domain := m.clientHost
	if _, after, found := strings.Cut(m.from, "@"); found {
		domain = after
	}
	var b strings.Builder
	for _, field := range []struct{ name, value string }{
		{"Date", now.Format(time.RFC1123Z)},
		{"From", mailbox(m.fromName, m.from)},
		{"To", mailbox("", m.to[n])},
		{"Subject", strings.ReplaceAll(mime.QEncoding.Encode("UTF-8", msg.Title), "?= =?", "?=\r\n =?")},
		// The same with each try, so that one who gets it twice can see that.
		{"Message-ID", fmt.Sprintf("<%s.%d@%s>", m.id, n, domain)},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: we need not be told who is on holiday
		{"MIME-Version", "1.0"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", field.name, field.value)
	}
	if !m.html {
		return b.String() + part("plain", msg.Text)
	}
	edge := rand.Text()
	fmt.Fprintf(&b, "Content-Type: multipart/alternative; boundary=%s\r\n", edge)
	for _, each := range []string{part("plain", msg.Text), part("html", "<pre>"+html.EscapeString(msg.Text)+"</pre>\n")} {
		fmt.Fprintf(&b, "\r\n--%s\r\n%s", edge, each)
	}
	fmt.Fprintf(&b, "\r\n--%s--\r\n", edge)
	return b.String()
}

// part is a text of a kind in the form of RFC 2045, with its header.
func part(kind, text string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", kind)
	w := quotedprintable.NewWriter(&b)
	_, _ = io.WriteString(w, text) // a Builder takes everything
	_ = w.Close()
	return b.String()
}

// mailbox is an address as headers have it, with a name or without.
func mailbox(name, address string) string {
	if !strings.Contains(address, "@") {
		return address // somebody on the server's own machine, which adds the rest
	}
	return (&mail.Address{Name: name, Address: address}).String()
}
