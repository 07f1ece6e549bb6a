package s3test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Fault is what happens to one request. The zero value does nothing.
type Fault struct {
	Code   string // the error that is answered, without asking the server: SlowDown
	Status int    // of the answer with that error
	Cut    bool   // the connection is cut before the server gets to know of the request

	CutBody   int64  // it is cut after so many bytes of the request's body; 0: not
	CutAnswer int64  // and after so many of the answer's body, which the server has given in full; 0: not
	Empty     bool   // it is answered that all is well, without a body and without asking the server
	Body      string // likewise, with this body
	NoAnswer  bool   // the server does what was asked, and then it is cut
	BadBody   bool   // one bit of the request's body is turned over

	Header map[string]string // of the answer, instead of the server's
}

// Proxy is the server seen through a proxy.
type Proxy struct {
	Addr   string // host:port
	bucket string

	mu       sync.Mutex
	requests int
	methods  map[string]int
	fault    func(n int, r *http.Request) *Fault
	rate     int
	sent     atomic.Int64
	received atomic.Int64
}

// Counts is what went through a proxy.
type Counts struct {
	Requests int            // all
	Methods  map[string]int // by method
	Sent     int64          // bytes of the bodies of requests
	Received int64          // bytes of the bodies of answers
}

// Proxy starts a proxy, which ends with the test.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	p := &Proxy{bucket: s.Bucket, methods: map[string]int{}}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: s.Addr})
			r.Out.Host = r.In.Host // it is signed
		},
		Transport:    transport,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(p.handler(forward))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	p.Addr = server.Listener.Addr().String()
	return p
}

// Dest is the destination with the prefix.
func (p *Proxy) Dest(prefix string) string { return destination(p.Addr, p.bucket, prefix) }

// Break has fault asked for every request, of which n is the number from 1; nil is no
// fault. A nil function ends that. The counting begins anew.
func (p *Proxy) Break(fault func(n int, r *http.Request) *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
	p.requests, p.methods = 0, map[string]int{}
	p.sent.Store(0)
	p.received.Store(0)
}

// Slow lets through so many bytes a second, of each body.
func (p *Proxy) Slow(bytesPerSecond int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = bytesPerSecond
}

// Count is what went through since the beginning or Break.
func (p *Proxy) Count() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := Counts{Requests: p.requests, Methods: map[string]int{}, Sent: p.sent.Load(), Received: p.received.Load()}
	for method, n := range p.methods {
		c.Methods[method] = n
	}
	return c
}

// next counts a request, and says what is to become of it.
func (p *Proxy) next(r *http.Request) (Fault, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	p.methods[r.Method]++
	if p.fault != nil {
		if f := p.fault(p.requests, r); f != nil {
			return *f, p.rate
		}
	}
	return Fault{}, p.rate
}

func (p *Proxy) handler(forward http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, rate := p.next(r)
		switch {
		case f.Cut:
			panic(http.ErrAbortHandler)
		case f.Code != "":
			p.received.Add(int64(answer(w, r, f)))
			return
		case f.Empty:
			w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
			return
		case f.Body != "":
			_, _ = io.WriteString(w, f.Body) // the client may have gone away
			return
		}
		if r.Body != nil && r.ContentLength != 0 {
			r.Body = &body{ReadCloser: r.Body, count: &p.sent, cut: f.CutBody, flip: f.BadBody, rate: rate}
		}
		var to http.ResponseWriter = &out{ResponseWriter: w, count: &p.received, cut: f.CutAnswer, rate: rate, header: f.Header}
		if f.NoAnswer {
			to = httptest.NewRecorder()
		}
		forward.ServeHTTP(to, r)
		if f.NoAnswer {
			panic(http.ErrAbortHandler)
		}
	})
}

// answer gives the error in the form that S3 has for it.
func answer(w http.ResponseWriter, r *http.Request, f Fault) int {
	_, _ = io.Copy(io.Discard, r.Body) // as a service would, so that the answer is read
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(f.Status)
	if r.Method == http.MethodHead {
		return 0
	}
	n, _ := fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>said the proxy</Message></Error>`, f.Code)
	return n // less if the client went away
}

// body is the body of a request on its way.
type body struct {
	io.ReadCloser
	count *atomic.Int64
	cut   int64
	flip  bool
	rate  int
	n     int64
}

func (b *body) Read(p []byte) (int, error) {
	if b.rate > 0 {
		p = p[:min(len(p), max(1, b.rate/10))]
	}
	if b.cut > 0 {
		if b.n >= b.cut {
			return 0, io.ErrUnexpectedEOF
		}
		p = p[:min(int64(len(p)), b.cut-b.n)]
	}
	n, err := b.ReadCloser.Read(p)
	if b.flip && b.n == 0 && n > 0 {
		p[n/2] ^= 1
	}
	b.n += int64(n)
	b.count.Add(int64(n))
	pace(n, b.rate)
	return n, err
}

// out is the body of an answer on its way.
type out struct {
	http.ResponseWriter
	header map[string]string
	count  *atomic.Int64
	cut    int64
	rate   int
	n      int64
}

func (o *out) WriteHeader(status int) {
	for name, value := range o.header {
		o.Header().Set(name, value)
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *out) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		piece := p
		if o.rate > 0 {
			piece = p[:min(len(p), max(1, o.rate/10))]
		}
		if o.cut > 0 {
			if o.n >= o.cut {
				_ = http.NewResponseController(o.ResponseWriter).Flush() // what was let through arrives
				panic(http.ErrAbortHandler)
			}
			piece = piece[:min(int64(len(piece)), o.cut-o.n)]
		}
		m, err := o.ResponseWriter.Write(piece)
		n += m
		o.n += int64(m)
		o.count.Add(int64(m))
		if err != nil {
			return n, err
		}
		pace(m, o.rate)
		p = p[m:]
	}
	return n, nil
}

// Unwrap lets http.ResponseController through.
func (o *out) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// pace waits as long as n bytes take.
func pace(n, rate int) {
	if rate > 0 {
		time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
	}
}
