package s3_test

import (
	"testing"
	"time"

	"tinybackup/internal/store"
	"tinybackup/internal/store/s3"
	"tinybackup/internal/store/s3/s3test"
	"tinybackup/internal/store/storetest"
)

// open opens a destination with the keys of the server; it is closed in the end.
func open(t *testing.T, server *s3test.Server, dest string) *s3.Driver {
	t.Helper()
	return openWith(t, dest, s3.Options{Keys: s3.Keys{ID: server.ID, Secret: server.Secret}, Patience: 5 * time.Second})
}

func openWith(t *testing.T, dest string, opt s3.Options) *s3.Driver {
	t.Helper()
	d, err := s3.Open(t.Context(), dest, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestConformance(t *testing.T) {
	storetest.Store(t, func(t *testing.T) store.Store {
		server := s3test.Start(t)
		return store.NewRemote(open(t, server, server.Dest("here/and there")))
	})
}
