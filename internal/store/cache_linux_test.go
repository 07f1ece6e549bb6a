package store

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bytes that were written well and are bad on the disk: what Settle returns is what the
// disk has. The cache of the kernel still has the good ones when it is called.
func TestReadBackIsFromDisk(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	image, dir := mountImage(t, "ext4", 64<<20, "rw")
	l := openDir(t, dir)
	data := randomBytes(3, 1<<20)
	damaged := false
	l.calls = hooked(l.calls, nothing, func(op, path string) error {
		if op == "sync" && strings.HasSuffix(path, PartialSuffix) {
			damaged = damage(t, image, data[500_000:504_096])
		}
		return nil
	})
	p := create(t, l, "a")
	defer p.Close()
	p.Write(data)
	got := settle(t, p)
	if !damaged {
		t.Fatal("the bytes were not found in the image")
	}
	if bytes.Equal(got, data) {
		t.Error("Settle returned the bytes that were written, not those on the disk")
	}
	if len(got) != len(data) || !bytes.Equal(got[:400_000], data[:400_000]) {
		t.Errorf("Settle: got %d bytes, not those around the damage", len(got))
	}
}

// Writing does not fill the cache, settling empties it, reading back leaves nothing.
func TestCache(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	_, dir := mountImage(t, "ext4", 256<<20, "rw")
	l := openDir(t, dir)
	p := create(t, l, "a")
	defer p.Close()
	data := randomBytes(5, 1<<20)
	const size = 128 << 20
	most := int64(0)
	for range size >> 20 {
		if _, err := p.Write(data); err != nil {
			t.Fatal(err)
		}
		most = max(most, cached(t, l.side("a.partial")))
	}
	if want := int64(3 * paceBytes); most > want || most == 0 {
		t.Errorf("cached while writing: got %d MiB, want at most %d", most>>20, want>>20)
	}
	r, err := p.Settle()
	if err != nil {
		t.Fatal(err)
	}
	if got := cached(t, l.side("a.partial")); got != 0 {
		t.Errorf("cached after Settle: got %d bytes, want none", got)
	}
	n, err := io.Copy(io.Discard, r)
	if err != nil || n != size {
		t.Errorf("read back: got %d, %v; want %d", n, err, size)
	}
	if got := cached(t, l.side("a.partial")); got > 2*paceBytes {
		t.Errorf("cached while reading: got %d MiB, want at most %d", got>>20, 2*paceBytes>>20)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if got := cached(t, l.side("a.partial")); got != 0 {
		t.Errorf("cached after reading back: got %d bytes, want none", got)
	}
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
