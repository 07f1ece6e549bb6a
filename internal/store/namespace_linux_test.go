package store

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

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

// damage flips the given bytes wherever they are in the file.
func damage(t *testing.T, path string, pattern []byte) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Error(err)
		return false
	}
	defer f.Close()
	all, err := io.ReadAll(f)
	if err != nil {
		t.Error(err)
		return false
	}
	// A block of the file is contiguous on the disk, and blocks are 1 KiB or more.
	at := bytes.Index(all, pattern[1024:2048])
	if at < 0 {
		return false
	}
	_, err = f.WriteAt(make([]byte, 1024), int64(at))
	return err == nil
}

// cached returns how many bytes of a file the kernel has in its cache: mincore(2).
func cached(t *testing.T, path string) int64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() == 0 {
		return 0
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	page := os.Getpagesize()
	resident := make([]byte, (len(mem)+page-1)/page)
	if err := mincore(mem, resident); err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for _, r := range resident {
		n += int64(r&1) * int64(page)
	}
	return n
}

func mincore(mem, resident []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), uintptr(unsafe.Pointer(&resident[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
