package s3

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

const (
	dialWait = 10 * time.Second
	// quietWait is how long a connection may be without a byte either way: long enough
	// for a service that copies a part or puts an archive together before it answers.
	quietWait = 5 * time.Minute
)

// newTransport returns what requests are sent by unless a test has something else.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialWait, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &quietConn{conn}, nil
		},
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   dialWait,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   2 * (sending + copying),
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true, // objects are given out as they are
	}
}

// quietConn breaks a connection on which nothing moves any more.
type quietConn struct{ net.Conn }

func (c *quietConn) Read(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(quietWait)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *quietConn) Write(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(quietWait)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// dateKey is the key of a *time.Time in a context, which is to have the time that the
// service gives in its answer.
type dateKey struct{}

// dated is a RoundTripper that looks at the clock of the service, and lets nobody follow to
// another place what has a body: the service names the region in such an answer, and
// http.Client would close the body, beside the Transport that may still be sending it,
// which minio's is not made for.
type dated struct {
	http.RoundTripper
	ahead func(time.Duration) // is told how far that is before ours
}

func (t dated) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	if req.Body != nil && resp.StatusCode >= http.StatusMultipleChoices && resp.StatusCode < http.StatusBadRequest {
		resp.StatusCode = http.StatusBadRequest
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		t.ahead(time.Until(date))
		if to, ok := req.Context().Value(dateKey{}).(*time.Time); ok {
			*to = date
		}
	}
	return resp, nil
}
