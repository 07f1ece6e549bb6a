package tinybackup

import (
	"fmt"
	"net/http"
	"testing"

	"tinybackup/internal/store/s3/s3test"
	"tinybackup/internal/store/storetest"
)

// Copies go to two buckets of a real server: to one that lets nothing be removed, and to
// one that cannot be reached for two nights. What did not change is not sent again.
func TestCopiesToS3(t *testing.T) {
	t.Parallel()
	b := newCopyBench(t)
	b.env.openRemote = nil
	locked, flaky := s3test.Start(t), s3test.Start(t)
	lock, net := locked.Proxy(t), flaky.Proxy(t)
	lock.Break(func(_ int, r *http.Request) *s3test.Fault {
		if r.Method == http.MethodDelete {
			return &s3test.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
		}
		return nil
	})
	const size = 8 << 20
	b.write("large", string(storetest.Random(2, size)))
	night := func(i int) Report {
		t.Helper()
		b.write("todo.txt", fmt.Sprint("version ", i))
		return b.good(func(o *Options) {
			o.Keep, o.S3Keys = 7, S3Keys(locked.ID+":"+locked.Secret)
			to(lock.Dest("a")+" keep=2", net.Dest("b")+" keep=all")(o)
		})
	}
	for i := range 5 {
		switch i {
		case 1:
			net.Break(func(int, *http.Request) *s3test.Fault {
				return &s3test.Fault{Status: http.StatusForbidden, Code: "InvalidAccessKeyId"}
			})
		case 3:
			net.Break(nil)
		}
		before := lock.Count().Sent
		r := night(i)
		to, from := r.Copies[0], r.Copies[1]
		if to.Error != "" || to.Kept != i+1 || len(to.Retained) != max(0, i-1) || len(to.Removed) != 0 {
			t.Errorf("night %d, locked: %+v", i, to)
		}
		if sent := lock.Count().Sent - before; i > 0 && sent > size/2 {
			t.Errorf("night %d: %d bytes were sent for a small change", i, sent)
		}
		down := i == 1 || i == 2
		if down != (from.Error != "") || down && from.Behind != i+1 || !down && from.Behind != 0 || i == 3 && len(from.Archives) != 3 {
			t.Errorf("night %d, flaky: %+v", i, from)
		}
		if want := map[bool]int{true: 1}[down]; r.WarningCount != want || r.Kept != i+1 {
			t.Errorf("night %d: %q, %d kept", i, r.Warnings, r.Kept)
		}
	}
	if sent := net.Count().Sent; sent > 2*size {
		t.Errorf("%d bytes were sent for five nights of %d that hardly changed", sent, size)
	}
	for _, from := range []string{locked.Dest("a"), flaky.Dest("b")} {
		v, err := Verify(t.Context(), b.env, VerifyOptions{From: from, Access: Access{S3Keys: S3Keys(locked.ID + ":" + locked.Secret)}})
		if err != nil || v.Bad() != 0 || len(v.Archives) != 5 {
			t.Errorf("verify %s: %+v, %v", from, v, err)
		}
	}
}
