// Package notify tells people and watchers what became of a backup: messages to
// chat and mail services, and pings of a dead-man's switch.
//
// A service is named by the URL that the library shoutrrr knows it by (mail and
// webhooks, which are our own, too), such as
// telegram://TOKEN@telegram?chats=@channel. Such a URL is a secret as a whole.
// No error of this package shows it, nor anything that was made of it: only the
// name of the service, and the host where that is a server and not a key.
package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"time"
)

// A Message is what is sent to a service. Both parts are plain text.
type Message struct {
	Title string // one line
	Text  string
}

// fit is the message as it may be sent: its title one line, its text not too long.
func (m Message) fit() Message {
	m = m.cut(MaxText)
	m.Title = oneLine(m.Title, 200)
	return m
}

// cut is the message with at most so many bytes of its text.
func (m Message) cut(most int) Message {
	if len(m.Text) > most {
		const end = "…"
		m.Text = strings.ToValidUTF8(m.Text[:most-len(end)], "") + end
	}
	return m
}

// whole is the title and the text in one.
func (m Message) whole() string { return m.Title + "\n\n" + m.Text }

// titled is the message under another title; the same if that is empty.
func (m Message) titled(title string) Message {
	if title == "" {
		return m
	}
	return Message{Title: title, Text: m.whole()}
}

// MaxText is how many bytes of Text are sent: the rest is cut off. Telegram takes
// 4096 bytes and ntfy as many, title and all.
const MaxText = 3500

// An Error says why a message or a ping could not be delivered. It has no secret.
type Error struct {
	Service string // its name, such as "telegram"
	Why     string
	Passing bool // it may go away by itself: the network, a server that is overloaded
}

func (e *Error) Error() string { return e.Service + ": " + e.Why }

const (
	tryTimeout = 10 * time.Second // of one try
	// mailTimeout is the same of mail: a server may greet late to keep spam away, and look
	// for it in a letter before it takes that.
	mailTimeout = 30 * time.Second
	tries       = 3                // of what may pass by itself
	firstPause  = time.Second      // before the second try; then twice as long each time
	longPause   = 15 * time.Second // what a server may ask for; more is left to the caller
)

// A Client sends. The zero value is ready, and may be used by many goroutines.
type Client struct {
	// Transport makes the HTTP requests; nil: one that goes by the environment's
	// proxies. What does not speak HTTP, such as mail, dials by itself.
	Transport http.RoundTripper
	// Roots vouch for servers of mail; nil: those of the machine.
	Roots *x509.CertPool
	// Timeout bounds each try; zero: 10 seconds, of mail 30.
	Timeout time.Duration
	// Now is the date of mail; nil: time.Now.
	Now func() time.Time
	// Sleep waits between two tries; nil: a timer. Its error ends the trying.
	Sleep func(context.Context, time.Duration) error
}

// Send delivers a message to the service of a URL. What may pass is tried three
// times. The error is an *Error. It returns soon after ctx is done, whatever the
// service does.
func (c Client) Send(ctx context.Context, rawURL string, m Message) error {
	s, err := open(rawURL)
	if err != nil {
		return err
	}
	c.Timeout = c.timeout(s)
	return c.try(ctx, Name(rawURL), func(_ context.Context, o *observer) error {
		return attempt(o, s, rawURL, m.fit())
	})
}

// timeout is that of a try.
func (c Client) timeout(s sender) time.Duration {
	if _, isMail := s.(*mailer); isMail && c.Timeout == 0 {
		return mailTimeout
	}
	return c.Timeout
}

// try calls once until it succeeds, or fails in a way that will not pass, or
// often enough.
func (c Client) try(ctx context.Context, service string, once func(context.Context, *observer) error) error {
	pause := firstPause
	for n := 1; ; n++ {
		wait, err := c.once(ctx, service, once)
		var e *Error
		if !errors.As(err, &e) || !e.Passing || n == tries || wait > longPause || ctx.Err() != nil {
			return err
		}
		if c.sleep(ctx, max(pause, wait)) != nil {
			return err
		}
		pause *= 2
	}
}

// once is one try, within its time. wait is how long the server asks to be left
// alone.
func (c Client) once(ctx context.Context, service string, once func(context.Context, *observer) error) (wait time.Duration, err error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = tryTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	o := &observer{base: c.Transport, ctx: ctx, roots: c.Roots, now: c.Now}
	if o.now == nil {
		o.now = time.Now
	}
	if o.base == nil {
		o.base = newTransport()
		defer o.base.(*http.Transport).CloseIdleConnections()
	}
	done := make(chan error, 1)
	// The library knows no contexts: what hangs in it is left behind.
	go func() { done <- once(ctx, o) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = &Error{Why: "no answer within " + timeout.String(), Passing: true}
	}
	var e *Error
	if errors.As(err, &e) {
		e.Service = service
	}
	return o.retryAfter(), err
}

func (c Client) sleep(ctx context.Context, d time.Duration) error {
	if c.Sleep != nil {
		return c.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newTransport is a transport of our own: connections of the process's default
// one would outlive us.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		MaxIdleConns:          2,
		TLSHandshakeTimeout:   tryTimeout,
		ResponseHeaderTimeout: tryTimeout,
	}
}
