package notify

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// MaxBody is how many bytes of a ping's body are sent, its last ones. The servers
// of healthchecks.io keep the first 100 kB.
const MaxBody = 10 << 10

// What a ping says, in Ping.Signal; that of an exit status is the number itself.
const (
	PingStart   = "start" // a run begins
	PingSuccess = ""      // one has ended well
)

// A Ping is a sign of life to a server that raises the alarm when it misses one,
// in the protocol of healthchecks.io/docs/http_api.
type Ping struct {
	Signal string // PingStart, PingSuccess or an exit status
	RID    string // the same for the start and the end of a run; may be empty
	Body   string // the log
}

// NewRID is a random id for the pings of one run: a UUID of version 4 (RFC 9562).
func NewRID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// PingName is what a ping's server is called in errors.
const PingName = "ping"

// CheckPing refuses what cannot be pinged. The error is an *Error.
func CheckPing(rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return &Error{Service: PingName, Why: "this is no http:// or https:// URL"}
	}
	return nil
}

// Ping calls a dead-man's switch. What may pass is tried three times. The error is
// an *Error. It returns soon after ctx is done.
func (c Client) Ping(ctx context.Context, rawURL string, p Ping) error {
	if err := CheckPing(rawURL); err != nil {
		return err
	}
	target := pingURL(rawURL, p)
	hide := secrets(rawURL)
	return c.try(ctx, PingName, func(ctx context.Context, o *observer) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(lastLines(p.Body, MaxBody)))
		if err != nil {
			return &Error{Why: "this URL cannot be called"}
		}
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
		req.Header.Set("User-Agent", "tinybackup")
		resp, err := (&http.Client{Transport: o}).Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxSaid)) // an answer that breaks off is one
			resp.Body.Close()
		}
		if e := o.failure(); e != nil {
			e.Why = hide.over(e.Why)
			return e
		}
		if err != nil { // such as too many redirects
			return &Error{Why: hide.over(netCause(err))}
		}
		return nil
	})
}

// pingURL puts a ping's signal and id into the URL.
func pingURL(rawURL string, p Ping) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return rawURL // CheckPing has parsed it
	}
	if p.Signal != "" {
		u = u.JoinPath(p.Signal)
	}
	if p.RID != "" {
		q := u.Query()
		q.Set("rid", p.RID)
		u.RawQuery = q.Encode()
	}
	return u.String()
}

// lastLines is the end of text, whole lines of at most max bytes together; of a
// last line that is longer by itself, its end.
func lastLines(text string, max int) string {
	if len(text) <= max {
		return text
	}
	cut := text[len(text)-max:]
	if text[len(text)-max-1] != '\n' {
		if _, rest, found := strings.Cut(cut, "\n"); found && rest != "" {
			cut = rest
		}
	}
	return strings.ToValidUTF8(cut, "")
}
