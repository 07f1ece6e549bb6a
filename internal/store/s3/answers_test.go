package s3_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"tinybackup/internal/store"
	"tinybackup/internal/store/s3"
	"tinybackup/internal/store/s3/s3test"
	"tinybackup/internal/store/storetest"
)

// What a service refuses is said in one line, with a hint that says what to type.
func TestRefusals(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	for _, c := range []struct {
		code       string
		status     int
		want, hint string
		is         error
	}{
		{"ExpiredToken", 400, "the credentials have expired", "aws sso login", nil},
		{"InvalidAccessKeyId", 403, "does not know the access key", "s3-keys", nil},
		{"SignatureDoesNotMatch", 403, "the secret key is not that of the access key", "s3-keys", nil},
		{"RequestTimeTooSkewed", 403, "the clock of this machine is", "timedatectl", nil},
		{"AccessDenied", 403, "the service does not allow it", "s3:PutObject", fs.ErrPermission},
		{"NoSuchBucket", 404, `there is no bucket "backups`, "aws s3 mb", nil},
		{"QuotaExceeded", 403, "quota or space", "--keep", syscall.EDQUOT},
		{"XMinioStorageFull", 507, "quota or space", "--keep", syscall.EDQUOT},
		{"PermanentRedirect", 301, "another region", "?region=", nil},
		{"AuthorizationHeaderMalformed", 400, "another region", "?region=", nil},
		{"EntityTooLarge", 400, "more than the service takes", "", nil},
		{"SomethingNew", 418, "the service answered: said the proxy (SomethingNew)", "", nil},
	} {
		t.Run(c.code, func(t *testing.T) {
			d := open(t, server, proxy.Dest("x"))
			proxy.Break(func(_ int, r *http.Request) *s3test.Fault {
				if r.URL.Query().Has("location") {
					return nil
				}
				return &s3test.Fault{Code: c.code, Status: c.status}
			})
			_, err := d.List(t.Context(), "")
			wantRefusal(t, "list", err, server, c.want, c.hint, c.is)
			err = makeOf(t, d, "new", nil, piece{literal: []byte("x")})
			wantRefusal(t, "create", err, server, c.want, c.hint, c.is)
			_, err = d.Put(t.Context(), "a", []byte("x"), "")
			wantRefusal(t, "put", err, server, c.want, c.hint, c.is)
		})
	}
}

// An answer that the bucket is elsewhere may come while the bytes are still on their way:
// the race detector looks on.
func TestMovedWhileSending(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := open(t, server, proxy.Dest("x")+"?region=us-east-1")
	data := storetest.Random(1, 2*mib)
	proxy.Break(func(int, *http.Request) *s3test.Fault {
		return &s3test.Fault{Code: "PermanentRedirect", Status: http.StatusMovedPermanently}
	})
	for range 20 {
		_, err := d.Put(t.Context(), "a", data, "")
		wantRefusal(t, "put", err, server, "another region", "?region=", nil)
	}
}

func wantRefusal(t *testing.T, op string, err error, server *s3test.Server, want, hint string, is error) {
	t.Helper()
	var e *store.Error
	if !errors.As(err, &e) {
		t.Errorf("%s: got %v, want a *store.Error", op, err)
		return
	}
	text := e.Error()
	if !strings.Contains(text, want) || !strings.Contains(text, "s3+http://127.0.0.1:") || strings.Contains(text, "\n") {
		t.Errorf("%s: got %q, want %q in it, and the address", op, text, want)
	}
	if !strings.Contains(e.Hint(), hint) {
		t.Errorf("%s: %s: the hint is %q, want %q", op, text, e.Hint(), hint)
	}
	if strings.Contains(text+e.Hint(), server.Secret) {
		t.Errorf("%s: tells the secret: %s: %s", op, text, e.Hint())
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("%s: %v is not %v", op, err, is)
	}
}

// What the real server says to keys that are wrong, and to a bucket that is not there.
func TestWrongKeys(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	for _, c := range []struct {
		name string
		dest string
		keys s3.Keys
		want string
	}{
		{"secret", server.Dest("x"), s3.Keys{ID: server.ID, Secret: "another"}, "the secret key is not that of the access key"},
		{"ID", server.Dest("x"), s3.Keys{ID: "another", Secret: server.Secret}, "does not know the access key"},
		{"bucket", strings.Replace(server.Dest("x"), server.Bucket, "no-such", 1), s3.Keys{ID: server.ID, Secret: server.Secret}, `there is no bucket "no-such"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openWith(t, c.dest, s3.Options{Keys: c.keys})
			_, err := d.Now(t.Context())
			wantRefusal(t, "now", err, server, c.want, "", nil)
			_, err = d.List(t.Context(), "")
			wantRefusal(t, "list", err, server, c.want, "", nil)
			wantRefusal(t, "create", makeOf(t, d, "new", nil, piece{literal: []byte("x")}), server, c.want, "", nil)
		})
	}
}

// A clock that is wrong is named by how much.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(3*time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "<Error><Code>RequestTimeTooSkewed</Code></Error>")
	}))
	defer server.Close()
	d := openWith(t, "s3+http://"+server.Listener.Addr().String()+"/bucket?region=here", s3.Options{Keys: s3.Keys{ID: "a", Secret: "b"}})
	_, err := d.List(t.Context(), "")
	if err == nil || !strings.Contains(err.Error(), "the clock of this machine is 3h0m0s behind the service's") &&
		!strings.Contains(err.Error(), "the clock of this machine is 2h59m5") {
		t.Errorf("got %v", err)
	}
}

// The time of the service is that of its answers.
func TestNow(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	d := open(t, server, server.Dest("x"))
	now, err := d.Now(t.Context())
	if off := time.Since(now); err != nil || off < -time.Minute || off > time.Minute {
		t.Errorf("got %v, %v", now, err)
	}
}

// A certificate that nobody vouches for, and a server without TLS, are named as that.
func TestTLS(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, c := range []struct{ addr, want, hint string }{
		{secure.Listener.Addr().String(), "certificate", "SSL_CERT_FILE"},
		{plain.Listener.Addr().String(), "HTTP response to HTTPS client", "s3+http://"},
	} {
		d := openWith(t, "s3://"+c.addr+"/bucket", s3.Options{Keys: s3.Keys{ID: "a", Secret: "b"}})
		_, err := d.List(t.Context(), "")
		var e *store.Error
		if !errors.As(err, &e) || !strings.Contains(e.Error(), c.want) || !strings.Contains(e.Hint(), c.hint) {
			t.Errorf("got %v with the hint %q, want %q and %q", err, e.Hint(), c.want, c.hint)
		}
	}
}

// A service that does not answer at all is not waited for as one that did.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	dest := "s3+http://" + server.Listener.Addr().String() + "/bucket"
	server.Close()
	d := openWith(t, dest, s3.Options{Keys: s3.Keys{ID: "a", Secret: "b"}, Patience: time.Hour})
	_, err := d.Now(t.Context())
	var e *store.Error
	if !errors.As(err, &e) || !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(e.Hint(), "is the service running") {
		t.Errorf("got %v", err)
	}
}

// One that goes away is waited for once, and not again by all that is asked after that;
// when it is back, it is as before.
func TestGoesAway(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := openWith(t, proxy.Dest("x"), s3.Options{Keys: s3.Keys{ID: server.ID, Secret: server.Secret}, Patience: time.Millisecond})
	for _, down := range []bool{false, true, false} {
		proxy.Break(nil)
		if down {
			proxy.Break(func(int, *http.Request) *s3test.Fault { return &s3test.Fault{Cut: true} })
		}
		if _, err := d.List(t.Context(), ""); (err != nil) != down {
			t.Errorf("down %v: got %v", down, err)
		}
		if d.Reached() == down {
			t.Errorf("down %v: reached is %v", down, d.Reached())
		}
	}
	proxy.Break(func(int, *http.Request) *s3test.Fault {
		return &s3test.Fault{Code: "SlowDown", Status: http.StatusServiceUnavailable}
	})
	if _, err := d.List(t.Context(), ""); err == nil || !d.Reached() {
		t.Errorf("got %v of a service that is busy, and it is not called reached", err)
	}
}

// Waiting ends at once when the context does, with its cause.
func TestCancelledWaiting(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := openWith(t, proxy.Dest("x"), s3.Options{Keys: s3.Keys{ID: server.ID, Secret: server.Secret}, Patience: time.Hour})
	why := errors.New("the run has ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	proxy.Break(func(n int, _ *http.Request) *s3test.Fault {
		if n == 3 {
			cancel(why)
		}
		return &s3test.Fault{Code: "SlowDown", Status: http.StatusServiceUnavailable}
	})
	if _, err := d.List(ctx, ""); !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
}

// A service that is too busy for a while is waited for.
func TestBusyForAWhile(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := openWith(t, proxy.Dest("x")+"?region=us-east-1", s3.Options{Keys: s3.Keys{ID: server.ID, Secret: server.Secret}, Patience: time.Minute})
	data := storetest.Random(1, 9*mib)
	proxy.Break(func(n int, _ *http.Request) *s3test.Fault {
		if n%3 != 0 {
			return &s3test.Fault{Code: "SlowDown", Status: http.StatusServiceUnavailable}
		}
		return nil
	})
	must(t, makeOf(t, d, "new", nil, piece{literal: data}))
	proxy.Break(nil)
	wantBytes(t, d, "new", data)
}

// A slow link is no error.
func TestSlowLink(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := open(t, server, proxy.Dest("x"))
	data := storetest.Random(1, 300_000)
	proxy.Slow(400_000)
	must(t, makeOf(t, d, "new", nil, piece{literal: data}))
	wantBytes(t, d, "new", data)
}

// With a service that knows no conditions on writing the driver looks first.
func TestNoConditions(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T) *s3.Driver {
		server := s3test.Start(t)
		proxy := server.Proxy(t)
		proxy.Break(func(_ int, r *http.Request) *s3test.Fault {
			if r.Method != http.MethodGet && (r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Match") != "") {
				return &s3test.Fault{Code: "NotImplemented", Status: http.StatusNotImplemented}
			}
			return nil
		})
		return open(t, server, proxy.Dest("x"))
	}
	if torture {
		t.Run("suite", func(t *testing.T) {
			storetest.Store(t, func(t *testing.T) store.Store { return store.NewRemote(open(t)) })
		})
	}
	d := open(t)
	old := storetest.Random(1, 9*mib)
	must(t, makeOf(t, d, "old", nil, piece{literal: old}))
	if err := makeOf(t, d, "old", nil, piece{literal: []byte("new")}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("replacing an archive: got %v", err)
	}
	wantBytes(t, d, "old", old)
}

// With a service that does not copy, what would be copied is read and sent: whatever it
// answers to that.
func TestNoCopies(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	old := storetest.Random(1, 11*mib)
	for name, fault := range map[string]s3test.Fault{
		"not implemented": {Code: "NotImplemented", Status: http.StatusNotImplemented},
		"refused":         {Code: "InvalidRequest", Status: http.StatusBadRequest},
		"not allowed":     {Code: "AccessDenied", Status: http.StatusForbidden},
		"taken for data":  {Empty: true},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := server.Proxy(t)
			proxy.Break(func(_ int, r *http.Request) *s3test.Fault {
				if r.Header.Get("X-Amz-Copy-Source") != "" {
					return &fault
				}
				return nil
			})
			d := open(t, server, proxy.Dest(name))
			must(t, makeOf(t, d, "old", nil, piece{literal: old}))
			if !d.Copies(t.Context()) {
				t.Error("it says that it does not copy, before it was asked to")
			}
			from := openArchive(t, d, "old")
			for _, name := range []string{"one", "two"} {
				must(t, makeOf(t, d, name, from, piece{literal: []byte("head")}, piece{n: 11 * mib}, piece{literal: []byte("tail")}))
				wantBytes(t, d, name, []byte("head"+string(old)+"tail"))
				if d.Copies(t.Context()) {
					t.Error("it still says that it copies")
				}
			}
			wantNothingUnfinished(t, d)
		})
	}
}

// What the service does not let go is retained.
func TestRetained(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := open(t, server, proxy.Dest("x"))
	must(t, makeOf(t, d, "old", nil, piece{literal: []byte("x")}))
	killed, err := d.Create(t.Context(), "killed")
	must(t, err)
	_, err = killed.Write(storetest.Random(1, 9*mib))
	must(t, err)
	proxy.Break(func(_ int, r *http.Request) *s3test.Fault {
		if r.Method == http.MethodDelete {
			return &s3test.Fault{Code: "AccessDenied", Status: http.StatusForbidden}
		}
		return nil
	})
	if err := d.Remove(t.Context(), "old"); !errors.Is(err, store.ErrRetained) {
		t.Errorf("got %v, want retained", err)
	}
	if err := d.Remove(t.Context(), "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that there is none", err)
	}
	wantBytes(t, d, "old", []byte("x"))
	if swept, err := store.NewRemote(d).Sweep(t.Context(), func(string) bool { return true }); err != nil || len(swept) > 0 {
		t.Errorf("Sweep: got %q, %v; want nothing, and no error", swept, err)
	}
	proxy.Break(nil)
	must(t, killed.Close())
	wantNothingUnfinished(t, d)
}

// An archive that is replaced while it is read, or copied from, is not mixed up.
func TestReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	d := open(t, server, server.Dest("x"))
	must(t, makeOf(t, d, "old", nil, piece{literal: storetest.Random(1, 12*mib)}))
	from := openArchive(t, d, "old")
	if _, err := d.Put(t.Context(), "old", storetest.Random(2, 12*mib), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := from.ReadAt(make([]byte, 10), 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("read: got %v", err)
	}
	if err := makeOf(t, d, "new", from, piece{n: 12 * mib}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("copied: got %v", err)
	}
	wantNothingUnfinished(t, d)
}

// A service that has something else than what was sent is found out.
func TestOtherBytes(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	keys := s3.Keys{ID: server.ID, Secret: server.Secret}
	long := storetest.Random(1, 9*mib)
	for _, c := range []struct {
		name  string
		data  []byte
		fault s3test.Fault
		of    func(r *http.Request) bool
		times int // 0: always
		want  string
	}{
		{"part, once", long, s3test.Fault{Header: map[string]string{"ETag": `"0123456789abcdef0123456789abcdef"`}},
			func(r *http.Request) bool { return r.URL.Query().Get("partNumber") == "2" }, 1, ""},
		{"part", long, s3test.Fault{Header: map[string]string{"ETag": `"0123456789abcdef0123456789abcdef"`}},
			func(r *http.Request) bool { return r.URL.Query().Has("partNumber") }, 0, "other bytes than those that were sent"},
		{"object, once", long[:1000], s3test.Fault{Header: map[string]string{"ETag": `"0123456789abcdef0123456789abcdef"`}},
			func(r *http.Request) bool { return r.Method == http.MethodPut }, 1, ""},
		{"object", long[:1000], s3test.Fault{Header: map[string]string{"ETag": `"0123456789abcdef0123456789abcdef"`}},
			func(r *http.Request) bool { return r.Method == http.MethodPut }, 0, "other bytes than those that were sent"},
		{"size", long, s3test.Fault{Header: map[string]string{"Content-Length": "9000000"}},
			func(r *http.Request) bool { return r.Method == http.MethodHead }, 0, "the service has 9000000 bytes, not the 9437184"},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxy := server.Proxy(t)
			d := openWith(t, proxy.Dest(c.name), s3.Options{Keys: keys, Patience: time.Millisecond})
			if c.times > 0 {
				d = open(t, server, proxy.Dest(c.name))
			}
			_, err := d.Put(t.Context(), "a", nil, "") // its ETags are to be trusted
			must(t, err)
			left := c.times
			proxy.Break(func(_ int, r *http.Request) *s3test.Fault {
				if !c.of(r) || c.times > 0 && left == 0 {
					return nil
				}
				left--
				return &c.fault
			})
			err = makeOf(t, d, "new", nil, piece{literal: c.data})
			proxy.Break(nil)
			switch {
			case c.want == "":
				must(t, err)
				wantBytes(t, d, "new", c.data)
			case err == nil || !strings.Contains(err.Error(), c.want):
				t.Errorf("got %v, want %q", err, c.want)
			default:
				if _, err := d.Open(t.Context(), "new"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("it is there all the same: %v", err)
				}
			}
			wantNothingUnfinished(t, d)
		})
	}
}

// A service that repeats what it was given makes no error tell a secret.
func TestNoSecretTold(t *testing.T) {
	t.Parallel()
	keys := s3.Keys{ID: "id", Secret: "a-very-secret-key", Token: "a-session-token"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "<Error><Code>Odd</Code><Message>not with "+keys.Secret+" and "+keys.Token+"</Message></Error>")
	}))
	defer server.Close()
	d := openWith(t, "s3+http://"+server.Listener.Addr().String()+"/bucket?region=here", s3.Options{Keys: keys})
	_, err := d.List(t.Context(), "")
	if err == nil || !strings.Contains(err.Error(), "not with … and …") {
		t.Errorf("got %v", err)
	}
}

// A service that shows an archive only a moment after it took it has it all the same.
func TestShownLate(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := open(t, server, proxy.Dest("x"))
	hidden, late := 2, false
	proxy.Break(func(_ int, r *http.Request) *s3test.Fault {
		late = late || r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
		if !late || r.Method != http.MethodHead || hidden == 0 {
			return nil
		}
		hidden--
		return &s3test.Fault{Code: "NoSuchKey", Status: http.StatusNotFound}
	})
	data := storetest.Random(1, 9*mib)
	must(t, makeOf(t, d, "new", nil, piece{literal: data}))
	if hidden > 0 {
		t.Error("nothing was tried")
	}
	wantBytes(t, d, "new", data)
}
