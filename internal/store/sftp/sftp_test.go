package sftp

import (
	"testing"

	"tinybackup/internal/store"
	"tinybackup/internal/store/sftp/sftptest"
	"tinybackup/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	s := sftptest.Start(t)
	storetest.Store(t, func(t *testing.T) store.Store {
		st, _ := openStore(t, s)
		return st
	})
}

func TestConformanceChroot(t *testing.T) {
	s := sftptest.StartWith(t, sftptest.Options{Chroot: true})
	storetest.Store(t, func(t *testing.T) store.Store {
		st, _ := openStore(t, s)
		return st
	}, "archives at once", "find", "lock", "names", "sidecars", "sums", "sums at once", "sweep")
}
