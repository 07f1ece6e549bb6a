package sftp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tinybackup/internal/store"
	"tinybackup/internal/store/sftp/sftptest"
)

// What may not be read is told of, and hides nothing below it; lost+found is nobody's.
func TestFindPartly(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make what its user may not read")
	}
	s := sftptest.StartWith(t, sftptest.Options{Chroot: true})
	top := s.See(s.Dir)
	for _, dir := range []string{store.SideDir, "host/" + store.SideDir, "lost+found"} {
		side := filepath.Join(top, dir)
		if err := os.MkdirAll(side, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(side, "notes.status"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{store.SideDir, "lost+found"} {
		if err := os.Chmod(filepath.Join(top, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	found, err := open(t, s.URL, options(s)).Find(t.Context(), ".status")
	if err == nil || !strings.Contains(err.Error(), store.SideDir) || strings.Contains(err.Error(), "lost") || len(found) != 1 || found[0].Below != "host" {
		t.Errorf("found %+v, %v", found, err)
	}
}
