package notify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// An observer makes the requests of one try, and remembers how the last of them
// went. Errors are told from what it has seen: those of the library have the URL
// in them, lose the status, or, for Telegram, are missing when there was no answer.
type observer struct {
	base  http.RoundTripper
	ctx   context.Context // of the try
	roots *x509.CertPool  // of what is no HTTP; nil: those of the machine
	now   func() time.Time

	mu     sync.Mutex
	err    error  // there was no answer
	status int    // of the answer
	said   string // in it, about an error
	wait   time.Duration
}

// RoundTrip is http.RoundTripper's.
func (o *observer) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := o.base.RoundTrip(req.WithContext(o.ctx))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err, o.status, o.said, o.wait = err, 0, "", 0
	if err != nil {
		return nil, err
	}
	o.status = resp.StatusCode
	if isElsewhere(resp.StatusCode) {
		if to, err := resp.Location(); err == nil {
			o.said = oneLine("it is at "+to.Scheme+"://"+to.Host+" now", 200)
		}
	}
	if resp.StatusCode >= http.StatusBadRequest {
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
			o.wait = time.Duration(seconds) * time.Second
		}
		resp.Body = o.listen(resp)
	}
	return resp, nil
}

// client makes requests that stay where they are sent. A message that is sent on is
// not: it becomes a question without it, to which there may well be an answer; or it
// gets to another server with all the keys that it has in its header.
func (o *observer) client() *http.Client {
	return &http.Client{Transport: o, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// isElsewhere says whether a status is that what was asked for is somewhere else.
func isElsewhere(status int) bool {
	return status >= http.StatusMultipleChoices && status < http.StatusBadRequest && status != http.StatusNotModified
}

// maxSaid bounds what is read of an answer to find out what it says.
const maxSaid = 4 << 10

// listen reads the beginning of an answer, and gives a body that has all of it.
func (o *observer) listen(resp *http.Response) io.ReadCloser {
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxSaid))
	if err == nil {
		o.said = saying(resp.Header.Get("Content-Type"), head)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader(string(head)), resp.Body), resp.Body}
}

// saying is the sentence that an answer explains an error with, or "".
func saying(contentType string, body []byte) string {
	kind, _, _ := mime.ParseMediaType(contentType)
	text := ""
	switch {
	case kind == "text/plain":
		text = string(body)
	case strings.HasSuffix(kind, "json"):
		var fields map[string]any
		if json.Unmarshal(body, &fields) != nil {
			return ""
		}
		for _, key := range []string{"description", "errorDescription", "message", "error"} {
			if s, is := fields[key].(string); is && s != "" {
				text = s
				break
			}
		}
	}
	return oneLine(text, maxSaid)
}

// failure is what went wrong with the last request; nil: nothing, or none was made.
func (o *observer) failure() *Error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.err != nil:
		return &Error{Why: netCause(o.err), Passing: true}
	case o.status >= http.StatusBadRequest, isElsewhere(o.status):
		why := strconv.Itoa(o.status)
		if name := http.StatusText(o.status); name != "" {
			why += " " + name
		}
		if o.said != "" {
			why += ": " + o.said
		}
		return &Error{Why: why, Passing: o.status >= 500 || o.status == http.StatusTooManyRequests || o.status == http.StatusRequestTimeout}
	}
	return nil
}

// answered says whether a server has taken a request.
func (o *observer) answered() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err == nil && o.status > 0 && o.status < http.StatusMultipleChoices
}

func (o *observer) retryAfter() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.wait
}

// netCause is an error of the network without the URL that was asked for.
func netCause(err error) string {
	var timeout net.Error
	var byURL *url.Error
	switch {
	case errors.As(err, &byURL):
		return netCause(byURL.Err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF):
		return "the connection was closed"
	}
	return err.Error()
}

// oneLine is text as a single line of at most max bytes.
func oneLine(text string, max int) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	return strings.ToValidUTF8(text[:min(len(text), max)], "")
}
