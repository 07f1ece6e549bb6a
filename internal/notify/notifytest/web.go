// Package notifytest has servers for tests, on loopback, that speak the protocols of
// services that messages go to, and remember what they were told.
package notifytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Call is one request that a Web has got.
type Call struct {
	Method string
	Host   string
	Path   string
	Query  url.Values
	Header http.Header
	Body   string
}

// JSON is a field of the body, or "".
func (c Call) JSON(key string) string {
	var fields map[string]any
	if json.Unmarshal([]byte(c.Body), &fields) != nil {
		return ""
	}
	text, _ := fields[key].(string)
	return text
}

// An Answer is how a Web answers a call.
type Answer struct {
	Status int           // 0: 200
	Type   string        // of the body; empty: JSON
	Header http.Header   // besides; may be nil
	Body   string        // empty: an empty object
	After  time.Duration // a server that is slow
	Hang   bool          // no answer before the test ends
}

// A Web is a server that remembers all calls, and answers as it is told.
type Web struct {
	*httptest.Server

	mu     sync.Mutex
	calls  []Call
	answer func(Call) Answer
	ended  chan struct{}
}

// NewWeb is a Web that speaks plain HTTP. answer may be nil: all is well.
func NewWeb(t testing.TB, answer func(Call) Answer) *Web {
	t.Helper()
	w := newWeb(t, answer)
	w.Server.Start()
	return w
}

func newWeb(t testing.TB, answer func(Call) Answer) *Web {
	w := &Web{answer: answer, ended: make(chan struct{})}
	w.Server = httptest.NewUnstartedServer(w)
	t.Cleanup(func() {
		close(w.ended)
		w.Server.CloseClientConnections()
		w.Server.Close()
	})
	return w
}

// ServeHTTP is http.Handler's.
func (w *Web) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the client has gone
	}
	call := Call{Method: req.Method, Host: req.Host, Path: req.URL.Path, Query: req.URL.Query(), Header: req.Header, Body: string(body)}
	w.mu.Lock()
	w.calls = append(w.calls, call)
	answer := w.answer
	w.mu.Unlock()
	a := Answer{}
	if answer != nil {
		a = answer(call)
	}
	if a.Hang {
		select {
		case <-w.ended:
		case <-req.Context().Done():
		}
		return
	}
	select {
	case <-time.After(a.After):
	case <-w.ended:
	}
	for key, values := range a.Header {
		rw.Header()[key] = values
	}
	kind, text := a.Type, a.Body
	if kind == "" {
		kind = "application/json"
	}
	if text == "" && kind == "application/json" {
		text = "{}"
	}
	rw.Header().Set("Content-Type", kind)
	if a.Status != 0 {
		rw.WriteHeader(a.Status)
	}
	_, _ = io.WriteString(rw, text)
}

// Respond changes how the server answers from now on.
func (w *Web) Respond(answer func(Call) Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

// Calls are all calls so far.
func (w *Web) Calls() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Call(nil), w.calls...)
}

// Addr is the host and port of the server.
func (w *Web) Addr() string { return w.Server.Listener.Addr().String() }

// A Far is a Web behind HTTPS that answers for a host far away: who goes by its
// proxy, and trusts its certificate, finds it instead.
type Far struct {
	*Web
	CA    string // the path of the certificate that vouches for it, PEM
	Proxy string // the URL of the proxy
}

// NewFar is a Web that stands in for a host.
func NewFar(t testing.TB, host string, answer func(Call) Answer) *Far {
	t.Helper()
	f := &Far{Web: newWeb(t, answer)}
	cert, ca := certificate(t, host)
	f.CA = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(f.CA, ca, 0o644); err != nil {
		t.Fatal(err)
	}
	f.Web.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	f.Web.StartTLS()
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodConnect || req.Host != host+":443" {
			http.Error(rw, "no way to "+req.Host, http.StatusForbidden)
			return
		}
		tunnel(rw, f.Addr())
	}))
	t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
	})
	f.Proxy = proxy.URL
	return f
}

// Env are the environment variables that lead a program to it.
func (f *Far) Env() []string { return []string{"HTTPS_PROXY=" + f.Proxy, "SSL_CERT_FILE=" + f.CA} }

// tunnel connects a client that asked for CONNECT with a server.
func tunnel(rw http.ResponseWriter, addr string) {
	there, err := net.Dial("tcp", addr)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadGateway)
		return
	}
	here, _, err := rw.(http.Hijacker).Hijack()
	if err != nil {
		there.Close()
		return
	}
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(there, here)
		there.Close()
	}()
	go func() {
		_, _ = io.Copy(here, there)
		here.Close()
	}()
}

// certificate makes a certificate for a host that vouches for itself.
func certificate(t testing.TB, host string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca
}

// Telegram answers as api.telegram.org does for a bot of this token.
func Telegram(token string) func(Call) Answer {
	return func(c Call) Answer {
		switch {
		case c.Path != "/bot"+token+"/sendMessage":
			return Answer{Status: http.StatusUnauthorized, Body: `{"ok":false,"error_code":401,"description":"Unauthorized"}`}
		case c.JSON("chat_id") == "" || c.JSON("text") == "":
			return Answer{Status: http.StatusBadRequest, Body: `{"ok":false,"error_code":400,"description":"Bad Request: message text is empty"}`}
		}
		return Answer{Body: `{"ok":true,"result":{"message_id":1,"date":1,"chat":{"id":1,"type":"private"},"text":"x"}}`}
	}
}

// Healthchecks answers as hc-ping.com does for a check of this id.
func Healthchecks(id string) func(Call) Answer {
	return func(c Call) Answer {
		rest, ours := strings.CutPrefix(c.Path, "/"+id)
		rest = strings.TrimPrefix(rest, "/")
		known := rest == "" || rest == "start" || rest == "fail" || rest == "log" || strings.Trim(rest, "0123456789") == ""
		rid := c.Query.Get("rid")
		switch {
		case !ours || !known:
			return Answer{Status: http.StatusNotFound, Type: "text/plain", Body: "not found"}
		case rid != "" && (len(rid) != 36 || strings.Count(rid, "-") != 4):
			return Answer{Status: http.StatusBadRequest, Type: "text/plain", Body: "invalid url format"}
		}
		return Answer{Type: "text/plain", Body: "OK"}
	}
}
