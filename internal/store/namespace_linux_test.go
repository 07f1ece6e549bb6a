package store

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A private mount namespace: what is mounted in it goes with its last process, and
// nobody else sees it. Tests that mount run there, in a process of their own.
const namespaceVar = "TINYBACKUP_STORE_TEST_NAMESPACE"

// inNamespace returns true in the namespace. Outside, it runs the calling test there,
// reports how that went, and returns false.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceVar) != "" {
		return true
	}
	t.Parallel()
	need(t, "unshare", "mount", "umount")
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("mount namespaces need root: %s", out)
	}
	cmd := exec.Command("unshare", "-m", "--propagation", "private",
		os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), namespaceVar+"=1")
	out, err := cmd.CombinedOutput()
	switch {
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("in the namespace:\n%s", out)
	case err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())):
		t.Errorf("in the namespace: %v\n%s", err, out)
	}
	return false
}

// need skips the test if a program is not there.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// mountTmpfs returns a new tmpfs. It is unmounted in the end.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir)
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// mountImage returns a new file system of the kind in a file of the size, and where it
// is mounted. It is unmounted in the end.
func mountImage(t *testing.T, kind string, size int64, options string) (image, dir string) {
	t.Helper()
	need(t, "mkfs."+kind)
	image, dir = filepath.Join(t.TempDir(), "image"), t.TempDir()
	write(t, image, "")
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs."+kind, "-q", image)
	if out, err := exec.Command("mount", "-o", "loop,"+options, image, dir).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "unknown filesystem type") {
			t.Skipf("the kernel has no %s", kind)
		}
		t.Fatalf("mount: %v\n%s", err, out)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return image, dir
}
