package sftp

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"tinybackup/internal/store"
	"tinybackup/internal/store/sftp/sftptest"
)

// options log in to a test's server, and try again at once.
func options(s *sftptest.Server) Options {
	env := map[string]string{"USER": "nobody"} // the URL's user counts
	return Options{
		Home: s.Home, Pause: time.Millisecond,
		Env: func(name string) string { return env[name] },
	}
}

// open opens a destination of a test's server. It is closed in the end.
func open(t *testing.T, dest string, opt Options) *Driver {
	t.Helper()
	d, err := Open(t.Context(), dest, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// openStore is the store of a new directory of a test's server.
func openStore(t *testing.T, s *sftptest.Server) (store.Store, string) {
	t.Helper()
	name := filepath.Join(s.Dir, random())
	for _, below := range []string{"", "one", "two", "two/deep", "three"} { // which the suite takes for destinations
		dir := s.See(filepath.Join(name, below))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, owner(t, s.See(s.Dir)), -1); err != nil {
			t.Fatal(err)
		}
	}
	return store.NewRemote(open(t, s.URL+"/"+filepath.Base(name), options(s))), s.See(name)
}

// leftovers are the files of SideDir that are neither sidecars nor locks.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	var left []string
	for _, pattern := range []string{"*" + store.PartialSuffix, "*" + store.TempSuffix} {
		found, err := filepath.Glob(filepath.Join(dir, store.SideDir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	return left
}
