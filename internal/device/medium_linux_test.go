package device

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// loop attaches a file of old data to a loop device until the test ends.
func loop(t *testing.T, size int64) (path, file string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("the kernel has no loop devices")
	}
	file = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, old(size), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "-f", "--show", file).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v %s", err, out)
	}
	path = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", path).CombinedOutput(); err != nil {
			t.Errorf("losetup -d: %v %s", err, out)
		}
	})
	return path, file
}

func open(t *testing.T, path string) *Device {
	t.Helper()
	d, err := Open(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// TestFlush changes what is behind a device: what is read after flush is not what the
// kernel remembers of it.
func TestFlush(t *testing.T) {
	path, file := loop(t, 8<<20)
	d := open(t, path)
	b := bytes.Repeat([]byte("new "), 1<<18)
	if _, err := d.WriteAt(b, 3<<20); err != nil {
		t.Fatal(err)
	}
	if err := d.flush(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("bad!"), 3<<20+4096); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, len(b))
	if _, err := d.ReadAt(back, 3<<20); err != nil {
		t.Fatal(err)
	}
	if string(back[4096:4100]) != "bad!" || !bytes.Equal(back[:4096], b[:4096]) {
		t.Errorf("read back %q, want what is on the medium", back[4096:4100])
	}
}

func TestZero(t *testing.T) {
	path, file := loop(t, 20<<20)
	d := open(t, path)
	if d.Size != 20<<20 || d.Sector != 512 || d.Model != file {
		t.Errorf("got %+v", d.Info)
	}
	image := testImage(17<<20 + 512)
	if err := d.Write(context.Background(), bytes.NewReader(image), int64(len(image)), ignore); err != nil {
		t.Fatal(err)
	}
	if err := d.Reread(); err != nil {
		t.Errorf("a loop device without partitions: %v", err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[:len(image)], image) || !bytes.Equal(got[len(image):19<<20], old(20 << 20)[len(image):19<<20]) || !allZero(got[19<<20:]) {
		t.Error("the device does not hold the image, and what was behind it but for the end")
	}
	if err := d.Write(context.Background(), bytes.NewReader(image), 20<<20+1, ignore); err == nil {
		t.Error("more than the device has was not refused")
	}
}

func TestOpenRefuses(t *testing.T) {
	path, _ := loop(t, 1<<20)
	refused := func(what string, err error, word string, busy bool) {
		t.Helper()
		var r *RefusedError
		if !errors.As(err, &r) || !strings.Contains(err.Error(), word) || r.Busy != busy {
			t.Errorf("%s: got %v, want a refusal with %q", what, err, word)
		}
	}
	_, err := Open(context.Background(), filepath.Dir(path), nil)
	refused("a directory", err, "no block device", false)
	_, err = Open(context.Background(), path, []Keep{{path, "what must stay"}})
	refused("something to keep", err, "holds what must stay", true)
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := Open(context.Background(), missing, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not there: got %v", err)
	}
	if _, err := os.Lstat(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not there: it was made: %v", err)
	}

	d, err := Open(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(context.Background(), path, nil)
	refused("open already", err, "is in use", true)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	// Who has the lock of a device is waited for.
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	if _, err := Open(ctx, path, nil); !errors.Is(err, stop) {
		t.Errorf("locked: got %v, want it to wait", err)
	}
	f.Close()
	if d, err = Open(ctx, path, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
