package s3_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"tinybackup/internal/store"
	"tinybackup/internal/store/s3"
	"tinybackup/internal/store/s3/s3test"
	"tinybackup/internal/store/storetest"
)

const mib = 1 << 20

// piece is a part of an archive: bytes that are written, or a range of another archive.
type piece struct {
	literal []byte
	off, n  int64
}

// bytes are what the piece is of an archive, given the other one.
func (p piece) bytes(old []byte) []byte {
	if p.n > 0 {
		return old[p.off : p.off+p.n]
	}
	return p.literal
}

// makeOf makes an archive of pieces; old may be nil if all of them are literal.
func makeOf(t *testing.T, d store.Driver, key string, old store.Reader, pieces ...piece) error {
	t.Helper()
	p, err := d.Create(t.Context(), key)
	if err != nil {
		return err
	}
	err = func() error {
		for _, piece := range pieces {
			if piece.n > 0 {
				ok, err := p.CopyRange(old, piece.off, piece.n)
				if err != nil {
					return err
				}
				if ok {
					continue
				}
				piece.literal = make([]byte, piece.n)
				if _, err := old.ReadAt(piece.literal, piece.off); err != nil {
					return err
				}
			}
			if _, err := p.Write(piece.literal); err != nil {
				return err
			}
		}
		return p.Commit()
	}()
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	return err
}

// must fails the test for an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openArchive(t *testing.T, d store.Driver, key string) store.Reader {
	t.Helper()
	r, err := d.Open(t.Context(), key)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// wantBytes compares an archive with what it should be.
func wantBytes(t *testing.T, d store.Driver, key string, want []byte) {
	t.Helper()
	r := openArchive(t, d, key)
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes, %v; want the %d that were stored", key, len(got), err, len(want))
	}
}

// wantNothingUnfinished looks for uploads that were not ended.
func wantNothingUnfinished(t *testing.T, d store.Driver) {
	t.Helper()
	if keys, err := d.Unfinished(t.Context()); err != nil || len(keys) > 0 {
		t.Errorf("unfinished: %q, %v", keys, err)
	}
}

// Whatever pieces an archive is made of, it is those pieces one after the other.
func TestPieces(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	d := open(t, server, server.Dest("x"))
	old := storetest.Random(1, 13*mib+5)
	must(t, makeOf(t, d, "old", nil, piece{literal: old}))
	from := openArchive(t, d, "old")
	text := func(n int) piece { return piece{literal: storetest.Random(2, n)} }
	span := func(off, n int64) piece { return piece{off: off, n: n} }
	for name, pieces := range map[string][]piece{
		"a span alone":                          {span(0, int64(len(old)))},
		"a span too short":                      {span(3, 1000)},
		"a little, and all":                     {text(10), span(0, int64(len(old)))},
		"the shortest span there is":            {text(5 * mib), span(7, 5*mib), text(1)},
		"a span that is short by one":           {text(5 * mib), span(7, 5*mib-1), text(1)},
		"a span that lacks what it has to give": {text(4 * mib), span(7, 6*mib-1), text(1)},
		"a span that just has it":               {text(4 * mib), span(7, 6*mib), text(1)},
		"spans side by side":                    {span(0, mib), span(mib, mib), span(2*mib, 4*mib), text(9), span(6*mib, 7*mib+5)},
		"spans that are not":                    {span(0, 6*mib), span(7*mib, 6*mib), span(0, 6*mib)},
		"parts that are just full":              {text(8 * mib), text(8 * mib)},
		"a full part before a span":             {text(8 * mib), span(0, 8*mib)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want []byte
			for _, p := range pieces {
				want = append(want, p.bytes(old)...)
			}
			must(t, makeOf(t, d, name, from, pieces...))
			wantBytes(t, d, name, want)
		})
	}
}

// Of an archive in which little changed, little is sent.
func TestBytesSent(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := open(t, server, proxy.Dest("x"))
	old := storetest.Random(1, 40*mib)
	must(t, makeOf(t, d, "old", nil, piece{literal: old}))
	if sent := proxy.Count().Sent; sent < 40*mib {
		t.Fatalf("the proxy counts %d bytes sent", sent)
	}
	pieces := []piece{}
	for off := int64(0); off < 40*mib; off += mib {
		pieces = append(pieces, piece{off: off, n: mib})
	}
	pieces[13] = piece{literal: storetest.Random(2, mib)}
	want := slices.Clone(old)
	copy(want[13*mib:], pieces[13].literal)
	proxy.Break(nil)
	must(t, makeOf(t, d, "new", openArchive(t, d, "old"), pieces...))
	count := proxy.Count()
	t.Logf("%d bytes sent, %d received, %d requests", count.Sent, count.Received, count.Requests)
	if count.Sent > 10*mib || count.Received > 5*mib || count.Requests > 20 {
		t.Errorf("sent %d bytes, received %d, with %d requests", count.Sent, count.Received, count.Requests)
	}
	wantBytes(t, d, "new", want)

	proxy.Break(nil)
	must(t, makeOf(t, d, "same", openArchive(t, d, "old"), piece{n: 40 * mib}))
	if count := proxy.Count(); count.Sent > 4096 {
		t.Errorf("of an archive in which nothing changed %d bytes were sent", count.Sent)
	}
	if r := openArchive(t, d, "same"); r.Size() != 40*mib {
		t.Errorf("it has %d bytes", r.Size())
	}
}

// For a service that wants that all parts but the last are alike, whatever an archive is
// made of.
func TestEvenParts(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := open(t, server, proxy.Dest("x"))
	d.BeEven()
	var mu sync.Mutex
	sizes := map[int]int64{} // of parts, by number
	proxy.Break(func(_ int, r *http.Request) *s3test.Fault {
		mu.Lock()
		defer mu.Unlock()
		if number, err := strconv.Atoi(r.URL.Query().Get("partNumber")); err == nil {
			sizes[number] = r.ContentLength
			if r.Header.Get("X-Amz-Copy-Source") != "" {
				t.Error("it was asked to copy")
			}
		}
		return nil
	})
	old := storetest.Random(1, 40*mib)
	must(t, makeOf(t, d, "old", nil, piece{literal: old}))
	must(t, makeOf(t, d, "new", openArchive(t, d, "old"), piece{literal: old[:6*mib]}, piece{n: 40 * mib}, piece{literal: old[:30*mib]}))
	wantBytes(t, d, "new", slices.Concat(old[:6*mib], old, old[:30*mib]))
	if len(sizes) != 3 || sizes[1] != sizes[2] || sizes[3] > sizes[1] {
		t.Errorf("parts of %v bytes", sizes)
	}
	if d.Copies(t.Context()) {
		t.Error("it says that it copies")
	}
	elsewhere := openWith(t, "s3://0123456789abcdef.eu.r2.cloudflarestorage.com/backups", s3.Options{})
	if elsewhere.Copies(t.Context()) {
		t.Error("the service that is so is not known by its name")
	}
}
