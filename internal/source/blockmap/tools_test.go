//go:build linux

package blockmap

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// need skips a test whose tools are missing. A person's PATH often has no sbin.
func need(t testing.TB, names ...string) {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	// In memory, if there is room: the tools wait for the disk all the time.
	var st unix.Statfs_t
	if unix.Statfs("/dev/shm", &st) == nil && st.Bavail*uint64(st.Bsize) > 1<<30 {
		t.Setenv("TMPDIR", "/dev/shm")
	}
}

// run runs a tool, and returns what it prints.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "MTOOLS_SKIP_CHECK=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%.2000s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// noise is n bytes that are neither zeros nor a repeat.
func noise(n int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		le.PutUint64(b[i:], rng.Uint64())
	}
	return b
}

// garbage makes a file of size bytes, what is not to show through: its first
// noisy bytes are noise, the rest is a hole.
func garbage(t testing.TB, file string, size, noisy int64) {
	t.Helper()
	check(t, os.WriteFile(file, noise(int(min(noisy, size)), 99), 0o600))
	check(t, os.Truncate(file, size))
}

// tree makes a directory with small, large, empty and deep files, less than room
// bytes, and returns the names of those that are to be deleted again.
func tree(t testing.TB, dir string, room int) (gone []string) {
	t.Helper()
	for i := range 24 {
		sub := filepath.Join(dir, fmt.Sprintf("d%d", i%5), fmt.Sprintf("e%d", i%3))
		check(t, os.MkdirAll(sub, 0o755))
		size := []int{0, 1, 100, 1023, 4096, 5000, room / 40, room / 20}[i%8]
		name := filepath.Join(sub, fmt.Sprintf("file-%d with a longer name.dat", i))
		check(t, os.WriteFile(name, noise(size, uint64(i)), 0o644))
		if i%3 == 1 {
			rel, err := filepath.Rel(dir, name)
			check(t, err)
			gone = append(gone, rel)
		}
	}
	return gone
}

// sameTree compares the files below two directories.
func sameTree(t testing.TB, got, want string) {
	t.Helper()
	count := 0
	err := filepath.WalkDir(want, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(want, path)
		check(t, err)
		a, err := os.ReadFile(filepath.Join(got, rel))
		check(t, err)
		b, err := os.ReadFile(path)
		check(t, err)
		if !bytes.Equal(a, b) {
			t.Errorf("%s is not what it was", rel)
		}
		count++
		return nil
	})
	check(t, err)
	if count == 0 {
		t.Fatal("there is nothing to compare")
	}
}

// findIn finds what is free in an image.
func findIn(t testing.TB, image string) (m Map, size int64) {
	t.Helper()
	f, err := os.Open(image)
	check(t, err)
	defer f.Close()
	info, err := f.Stat()
	check(t, err)
	m = Find(f, info.Size(), 512)
	checkOrder(t, m, info.Size())
	return m, info.Size()
}

// checkOrder says whether the ranges are in bounds, in order and in a partition.
func checkOrder(t testing.TB, m Map, size int64) {
	t.Helper()
	if len(m.Free) > maxRanges {
		t.Fatalf("%d ranges", len(m.Free))
	}
	at := int64(0)
	i := 0
	for _, x := range m.Free {
		if x.Len <= 0 || x.Off < at || x.Off > size || x.Len > size-x.Off {
			t.Fatalf("range %+v after %d, of %d bytes", x, at, size)
		}
		at = x.Off + x.Len
		for i < len(m.Parts) && (m.Parts[i].Whole != "" || m.Parts[i].Off+m.Parts[i].Len < at) {
			i++
		}
		if i == len(m.Parts) || x.Off < m.Parts[i].Off {
			t.Fatalf("range %+v is in no partition", x)
		}
	}
}

// restored makes the copy of an image that is restored from a backup of it: with
// zeros where it is free.
func restored(t testing.TB, image string, m Map) (file string) {
	t.Helper()
	file = image + ".restored"
	run(t, "cp", "--sparse=always", image, file)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	check(t, err)
	defer f.Close()
	zeros := make([]byte, 1<<20)
	for _, x := range m.Free {
		for n := int64(0); n < x.Len; n += int64(len(zeros)) {
			_, err := f.WriteAt(zeros[:min(x.Len-n, int64(len(zeros)))], x.Off+n)
			check(t, err)
		}
	}
	return file
}

// total is how many bytes are free.
func total(m Map) (n int64) {
	for _, x := range m.Free {
		n += x.Len
	}
	return n
}
