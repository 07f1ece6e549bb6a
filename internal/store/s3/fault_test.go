package s3_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"tinybackup/internal/store"
	"tinybackup/internal/store/s3"
	"tinybackup/internal/store/s3/s3test"
	"tinybackup/internal/store/storetest"
)

var torture = os.Getenv("TINYBACKUP_TORTURE") != ""

// faults are what can happen to a request.
var faults = map[string]s3test.Fault{
	"cut before":           {Cut: true},
	"answer lost":          {NoAnswer: true},
	"cut in the request":   {CutBody: 3_000},
	"cut in the answer":    {CutAnswer: 100},
	"slow down":            {Code: "SlowDown", Status: http.StatusServiceUnavailable},
	"internal error":       {Code: "InternalError", Status: http.StatusInternalServerError},
	"damaged on its way":   {BadBody: true},
	"an answer of a proxy": {Code: "</Code></Error><html>", Status: http.StatusBadGateway},
}

// headSize is what is sent of an archive before a range is copied: in the long form more
// than a part.
var headSize = func() int {
	if torture {
		return 8*mib + 100
	}
	return 100
}()

// work does one of all that a driver does, and compares. The archive "old" is there.
func work(t *testing.T, d store.Driver, old []byte) error {
	ctx := t.Context()
	from, err := d.Open(ctx, "old")
	if err != nil {
		return err
	}
	defer from.Close()
	head := storetest.Random(2, headSize)
	if err := makeOf(t, d, "new", from, piece{literal: head}, piece{n: int64(len(old))}, piece{literal: head[:10]}); err != nil {
		return err
	}
	r, err := d.Open(ctx, "new")
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		return err
	}
	if !slices.Equal(got, slices.Concat(head, old, head[:10])) {
		t.Error("new has other bytes than those that were stored")
	}
	ver, err := d.Put(ctx, ".tinybackup/a", []byte("one"), store.NotThere)
	if err != nil {
		return err
	}
	if _, err = d.Put(ctx, ".tinybackup/a", []byte("two"), ver); err != nil {
		return err
	}
	if data, _, err := d.Get(ctx, ".tinybackup/a", -1); err != nil || string(data) != "two" {
		return fmt.Errorf("got %q: %w", data, err)
	}
	if objects, err := d.List(ctx, ""); err != nil || len(objects) != 2 {
		return fmt.Errorf("listed %v: %w", objects, err)
	}
	if err := d.Remove(ctx, ".tinybackup/a"); err != nil {
		return err
	}
	return d.Remove(ctx, "new")
}

// faultBench is a server with an archive, and a proxy that breaks things.
func faultBench(t *testing.T) (d *s3.Driver, proxy *s3test.Proxy, old []byte, requests int) {
	t.Helper()
	server := s3test.Start(t)
	proxy = server.Proxy(t)
	d = open(t, server, proxy.Dest("x"))
	old = storetest.Random(1, 10*mib)
	must(t, makeOf(t, d, "old", nil, piece{literal: old}))
	proxy.Break(nil)
	must(t, work(t, d, old))
	return d, proxy, old, proxy.Count().Requests
}

// One thing that goes wrong, with whichever request, is repaired without a word. The short
// form tries each fault with one request.
func TestEveryRequestOnce(t *testing.T) {
	t.Parallel()
	d, proxy, old, requests := faultBench(t)
	tried := 0
	for name, fault := range faults {
		first, last := 1, requests
		if !torture {
			first = 1 + rand.IntN(requests)
			last = first
		}
		for k := first; k <= last; k++ {
			tried++
			proxy.Break(func(n int, _ *http.Request) *s3test.Fault {
				if n == k {
					return &fault
				}
				return nil
			})
			if err := work(t, d, old); err != nil {
				t.Fatalf("%s, request %d of %d: %v", name, k, requests, err)
			}
			wantNothingUnfinished(t, d)
		}
	}
	t.Logf("%d faults with %d requests", tried, requests)
}

// An answer that was lost, and trouble when it is asked what became of the request, do not
// make what was done look like another one's: also where the service has no conditions.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	for _, conditions := range []bool{true, false} {
		for _, size := range []int{1000, 9 * mib} {
			t.Run(fmt.Sprintf("conditions %v, %d bytes", conditions, size), func(t *testing.T) {
				proxy := server.Proxy(t)
				d := open(t, server, proxy.Dest(t.Name())+"?region=us-east-1")
				var lost, troubled bool // each once
				proxy.Break(func(_ int, r *http.Request) *s3test.Fault {
					writes := r.Method == http.MethodPut && !r.URL.Query().Has("partNumber") || r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
					switch {
					case !conditions && r.Method != http.MethodGet && (r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Match") != ""):
						return &s3test.Fault{Code: "NotImplemented", Status: http.StatusNotImplemented}
					case writes && !lost:
						lost = true
						return &s3test.Fault{NoAnswer: true}
					case lost && r.Method == http.MethodHead && !troubled:
						troubled = true
						return &s3test.Fault{Code: "SlowDown", Status: http.StatusServiceUnavailable}
					}
					return nil
				})
				data := storetest.Random(1, size)
				must(t, makeOf(t, d, "new", nil, piece{literal: data}))
				if !lost || !troubled {
					t.Errorf("lost %v, trouble %v: nothing was tried", lost, troubled)
				}
				wantBytes(t, d, "new", data)
				wantNothingUnfinished(t, d)
				lost, troubled = false, false
				_, err := d.Put(t.Context(), "a", []byte("x"), store.NotThere)
				must(t, err)
				lost, troubled = false, false
				if _, err = d.Put(t.Context(), "a", []byte("y"), store.NotThere); !errors.Is(err, store.ErrConflict) {
					t.Errorf("another one's: got %v", err)
				}
			})
		}
	}
}

// When the service goes away for good, with whichever request, there is an error; the
// archives are whole, and what was begun is found and removed.
func TestGoneForGood(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	keys := s3.Keys{ID: server.ID, Secret: server.Secret}
	d := openWith(t, proxy.Dest("x"), s3.Options{Keys: keys, Patience: time.Millisecond})
	old := storetest.Random(1, 10*mib)
	must(t, makeOf(t, d, "old", nil, piece{literal: old}))
	proxy.Break(nil)
	must(t, work(t, d, old))
	requests := proxy.Count().Requests
	direct := open(t, server, server.Dest("x"))
	ways := []s3test.Fault{{Cut: true}, {NoAnswer: true}, {CutBody: 3_000}}
	stride := 1
	if !torture {
		stride = requests * len(ways) / 5
	}
	for i := rand.IntN(stride); i < requests*len(ways); i += stride {
		k, fault := 1+i/len(ways), ways[i%len(ways)]
		first := true
		proxy.Break(func(n int, _ *http.Request) *s3test.Fault {
			switch {
			case n < k:
				return nil
			case first:
				first = false
				return &fault
			}
			return &s3test.Fault{Cut: true}
		})
		if err := work(t, d, old); err == nil && k < requests {
			t.Errorf("request %d of %d: no error", k, requests)
		}
		afterwards(t, direct, old)
	}
}

// afterwards is what the next run finds and does.
func afterwards(t *testing.T, d *s3.Driver, old []byte) {
	t.Helper()
	ctx := t.Context()
	objects, err := d.List(ctx, "")
	must(t, err)
	for _, o := range objects {
		want := int64(len(old))
		if o.Name != "old" {
			want += int64(headSize) + 10 // no half ones
		}
		if o.Size != want {
			t.Errorf("%s has %d bytes", o.Name, o.Size)
		}
	}
	keys, err := d.Unfinished(ctx)
	must(t, err)
	for _, key := range keys {
		if key != "new" {
			t.Errorf("unfinished: %q", key)
		}
		must(t, d.Discard(ctx, key))
	}
	wantNothingUnfinished(t, d)
	_ = d.Remove(ctx, "new")           // if it is there
	_ = d.Remove(ctx, ".tinybackup/a") // likewise
}

// The suite passes, too, when now and then something goes wrong.
func TestConformanceWithFaults(t *testing.T) {
	if !torture {
		t.Parallel()
	}
	var all []s3test.Fault
	for _, f := range faults {
		if !f.BadBody { // two of which in a row look like a wrong key
			all = append(all, f)
		}
	}
	storetest.Store(t, func(t *testing.T) store.Store {
		server := s3test.Start(t)
		proxy := server.Proxy(t)
		proxy.Break(func(int, *http.Request) *s3test.Fault {
			if rand.IntN(12) > 0 {
				return nil
			}
			return &all[rand.IntN(len(all))]
		})
		return store.NewRemote(open(t, server, proxy.Dest("x")))
	})
}
