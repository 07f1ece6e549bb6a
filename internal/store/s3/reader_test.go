package s3_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"tinybackup/internal/store/s3/s3test"
	"tinybackup/internal/store/storetest"
)

// Reading costs few requests, and little more than what is read.
func TestReadRequests(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := open(t, server, proxy.Dest("x")+"?region=us-east-1")
	const size = 20 * mib
	data := storetest.Random(1, size)
	must(t, makeOf(t, d, "a", nil, piece{literal: data}))

	for _, c := range []struct {
		name     string
		read     func(r io.ReaderAt) error
		requests int   // at most, besides the opening
		received int64 // likewise
	}{
		{"one range", func(r io.ReaderAt) error {
			_, err := r.ReadAt(make([]byte, 1000), 5*mib)
			return err
		}, 1, 1000},
		{"a few ranges", func(r io.ReaderAt) error {
			for off := int64(0); off < size; off += 5 * mib {
				if _, err := r.ReadAt(make([]byte, 1000), off); err != nil {
					return err
				}
			}
			return nil
		}, 4, 4000},
		{"all, by little", func(r io.ReaderAt) error {
			_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{io.NewSectionReader(r, 0, size)}, make([]byte, 64<<10))
			return err
		}, 6, size + 64<<10},
		{"all, as several read it at once", func(r io.ReaderAt) error {
			for off := int64(0); off < size; off += 4 * mib {
				for _, i := range []int64{0, 1, 3, 2} {
					if _, err := r.ReadAt(make([]byte, mib), off+i*mib); err != nil {
						return err
					}
				}
			}
			return nil
		}, 7, size + 64<<10},
		{"all, by much", func(r io.ReaderAt) error {
			for off := int64(0); off < size; off += 5 * mib {
				if _, err := r.ReadAt(make([]byte, 5*mib), off); err != nil {
					return err
				}
			}
			return nil
		}, 4, size},
	} {
		proxy.Break(nil)
		r := openArchive(t, d, "a")
		must(t, c.read(r))
		must(t, r.Close())
		if count := proxy.Count(); count.Requests > c.requests+1 || count.Received > c.received {
			t.Errorf("%s: %d requests and %d bytes, want %d and %d", c.name, count.Requests, count.Received, c.requests+1, c.received)
		}
	}
}

// Whoever reads what, at whatever place, gets its bytes, also when answers break off.
func TestReadAnywhere(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	proxy := server.Proxy(t)
	d := open(t, server, proxy.Dest("x"))
	data := storetest.Random(1, 13*mib+7)
	must(t, makeOf(t, d, "a", nil, piece{literal: data}))
	proxy.Break(func(n int, r *http.Request) *s3test.Fault {
		if n%5 == 0 && r.Method == http.MethodGet {
			return &s3test.Fault{CutAnswer: 1 + rand.Int64N(mib)}
		}
		return nil
	})
	r := openArchive(t, d, "a")
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			off := int64(0)
			for range 12 {
				if rand.IntN(3) == 0 {
					off = rand.Int64N(int64(len(data)))
				}
				p := make([]byte, rand.IntN(400_000))
				n, err := r.ReadAt(p, off)
				end := min(off+int64(len(p)), int64(len(data)))
				if !bytes.Equal(p[:n], data[min(off, end):end]) || (n < len(p)) != (err == io.EOF) {
					t.Errorf("%d bytes at %d: got %d, %v", len(p), off, n, err)
				}
				off = end
			}
		})
	}
	readers.Wait()
}
