//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// In a container from scratch there is nothing but the binary: it knows the zone of
// TZ by itself.
func TestZoneWithoutAnything(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	binary, err := os.ReadFile(filepath.Join(work, "bin", "tinybackup"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "tinybackup"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/tinybackup", "explain", "2:30")
	cmd.Dir = "/"
	cmd.Env = []string{"TZ=Asia/Kathmandu", "TINYBACKUP_DIR=/tb", "HOME=/"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	out, err := cmd.CombinedOutput()
	if text := string(out); err != nil || !strings.Contains(text, "(Asia/Kathmandu)") || !strings.Contains(text, "2045 (UTC)") {
		t.Errorf("explain: %v\n%s", err, text)
	}
}
