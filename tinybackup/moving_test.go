package tinybackup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tinybackup/internal/archive"
	"tinybackup/internal/store"
)

// secret is in files that are outside of the source, and must not get into an archive.
const secret = "THE SECRET OF SOMEBODY ELSE"

// stir changes a directory at random until it is told to stop: files grow, shrink,
// vanish, and become other things; directories are renamed, and become links out.
func stir(dir, outside string, seed uint64, stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(seed, 5))
	name := func() string { return filepath.Join(dir, fmt.Sprintf("d%d/f%d", random.IntN(4), random.IntN(12))) }
	for {
		select {
		case <-stop:
			return
		default:
		}
		// Most of this fails at times: there is another thing of that name.
		path := name()
		switch random.IntN(12) {
		case 0, 1:
			change(path, os.O_CREATE|os.O_TRUNC, strings.Repeat("text ", random.IntN(20_000)))
		case 2:
			_ = os.Truncate(path, random.Int64N(5000))
		case 3:
			change(path, os.O_APPEND, strings.Repeat("more ", 1000))
		case 4:
			_ = os.Remove(path)
		case 5:
			_ = os.Remove(path)
			_ = os.Symlink(filepath.Join(outside, "secret"), path)
		case 6:
			_ = os.Remove(path)
			_ = syscall.Mkfifo(path, 0o600)
		case 7:
			_ = os.Remove(path)
			_ = os.Mkdir(path, 0o700)
		case 8:
			_ = os.Rename(filepath.Dir(path), filepath.Dir(name()))
		case 9: // a directory gives way to a link to another, and comes back
			away := filepath.Join(dir, "away")
			_ = os.Rename(filepath.Dir(path), away)
			_ = os.Symlink(outside, filepath.Dir(path))
			_ = os.Remove(filepath.Dir(path))
			_ = os.Rename(away, filepath.Dir(path))
		case 10:
			_ = os.Mkdir(filepath.Dir(path), 0o755)
			_ = os.Link(filepath.Join(dir, "..", "linked"), path)
		case 11:
			_ = unix.Fchmodat(unix.AT_FDCWD, path, uint32(random.IntN(0o1000)), unix.AT_SYMLINK_NOFOLLOW)
		}
	}
}

// change writes to a file, if it is one. It does not wait for the reader of a FIFO.
func change(path string, flag int, text string) {
	if f, err := os.OpenFile(path, flag|os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0o644); err == nil {
		_, _ = f.WriteString(text)
		_ = f.Close()
	}
}

// A source that changes all the time is backed up all the same: what stands still is
// right, the archive is whole, and nothing from outside is in it.
func TestMovingSource(t *testing.T) {
	inMemory(t)
	b := newBench(t)
	outside := filepath.Join(filepath.Dir(b.src), "outside")
	for i := range 4 { // the names that are looked for in a directory that became a link
		b.mkdir(filepath.Join(outside, fmt.Sprintf("d%d", i)))
	}
	for i := range 12 {
		text := strings.Repeat(secret, 500)
		if err := os.WriteFile(filepath.Join(outside, fmt.Sprintf("f%d", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte(secret), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		b.write(fmt.Sprintf("still/f%d", i), strings.Repeat(fmt.Sprint("still ", i), 1000*i))
		b.write(fmt.Sprintf("busy/d%d/f%d", i%4, i%12), "text")
	}
	b.write("linked", "a file with names in the directory that changes")
	stop := make(chan struct{})
	var stirring sync.WaitGroup
	for seed := range uint64(2) {
		stirring.Go(func() { stir(filepath.Join(b.src, "busy"), outside, seed, stop) })
	}
	runs, warnings := times(12, 1000), 0
	want := contents(t, filepath.Join(b.src, "still"))
	for i := range runs {
		r, err := b.run(func(o *Options) { o.Keep, o.BlockSize, o.Reread = 2, 64<<10, i%5 == 4 })
		if err != nil {
			t.Errorf("run %d: %v", i, err)
			break
		}
		warnings += r.WarningCount
		path := filepath.Join(b.dst, r.Archive)
		if v, err := Verify(t.Context(), b.env, VerifyOptions{From: path}); err != nil || v.Bad() > 0 {
			t.Errorf("run %d: verify: %v, %+v", i, err, v)
		}
		if bytes.Contains(decoded(t, path), []byte(secret)) {
			t.Errorf("run %d: the archive has the content of a file outside of the source", i)
		}
		target := filepath.Join(t.TempDir(), "restored")
		if _, err := Restore(t.Context(), b.env, RestoreOptions{From: path, Target: target}); err != nil {
			t.Errorf("run %d: restore: %v", i, err)
		}
		if got := contents(t, filepath.Join(target, "still")); len(got) != len(want) {
			t.Errorf("run %d: restored %d of the files that stand still, want %d", i, len(got), len(want))
		} else {
			for name, text := range want {
				if got[name] != text {
					t.Errorf("run %d: %s, which stands still, is another file", i, name)
				}
			}
		}
	}
	close(stop)
	stirring.Wait()
	t.Logf("%d backups of a source that changes all the time; %d warnings", runs, warnings)
}

// decoded is what an archive holds.
func decoded(t *testing.T, path string) []byte {
	t.Helper()
	st, err := store.OpenLocal(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	src, err := st.Open(t.Context(), filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	r, err := archive.NewReader(context.Background(), "", src)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A tree so deep that no path leads to its end, there and back.
func TestDeepTree(t *testing.T) {
	levels := times(1500, 4000) // of which the file system has its part: it takes long
	inMemory(t)
	b := newBench(t)
	target := filepath.Join(t.TempDir(), "target")
	t.Cleanup(func() { // os.RemoveAll takes a descriptor for each level
		if out, err := exec.Command("rm", "-rf", b.src, target).CombinedOutput(); err != nil {
			t.Errorf("rm: %v: %s", err, out)
		}
	})
	descend(t, b.src, levels, func(fd int) {
		if err := unix.Mkdirat(fd, "deeper", 0o755); err != nil {
			t.Fatal(err)
		}
	}, func(fd int) {
		f, err := unix.Openat(fd, "bottom", unix.O_CREAT|unix.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(f)
		if _, err := unix.Write(f, []byte("here it ends")); err != nil {
			t.Fatal(err)
		}
	})
	r := b.good(nil)
	if r.Entries != int64(levels+5) || r.WarningCount != 0 {
		t.Errorf("%d entries, want %d; warnings %.300q", r.Entries, levels+5, r.Warnings)
	}
	if v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst}); err != nil || v.Bad() != 0 {
		t.Errorf("verify: %v, %+v", err, v)
	}
	back, err := Restore(t.Context(), b.env, RestoreOptions{From: b.dst, Target: target})
	if err != nil || back.WarningCount != 0 {
		t.Fatalf("restore: %v, %.300q", err, back.Warnings)
	}
	descend(t, target, levels, nil, func(fd int) {
		f, err := unix.Openat(fd, "bottom", unix.O_RDONLY, 0)
		if err != nil {
			t.Fatalf("at the bottom: %v", err)
		}
		defer unix.Close(f)
		text := make([]byte, 100)
		if n, err := unix.Read(f, text); err != nil || string(text[:n]) != "here it ends" {
			t.Errorf("at the bottom: %q, %v", text[:n], err)
		}
	})
}

// descend goes so many directories down, and calls before at each level and last at
// the bottom.
func descend(t *testing.T, dir string, levels int, before, last func(fd int)) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range levels {
		if before != nil {
			before(fd)
		}
		next, err := unix.Openat(fd, "deeper", unix.O_DIRECTORY|unix.O_RDONLY|unix.O_NOFOLLOW, 0)
		unix.Close(fd)
		if err != nil {
			t.Fatalf("level %d: %v", i, err)
		}
		fd = next
	}
	last(fd)
	unix.Close(fd)
}

// Many small files: none is missed, and a second run reads none of them.
func TestManyEntries(t *testing.T) {
	b := newLateBench(t)
	n := times(5_000, 1_000_000)
	for i := range n {
		if i%1000 == 0 {
			b.mkdir(filepath.Join(b.src, fmt.Sprintf("d%03d", i/1000)))
		}
		f, err := os.Create(filepath.Join(b.src, fmt.Sprintf("d%03d/%d", i/1000, i)))
		if err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			_, err = fmt.Fprint(f, i)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := int64(n + n/1000 + 4)
	for i := range 2 {
		r := b.good(nil)
		if r.Entries != want || r.WarningCount != 0 || (r.Read == 0) != (i == 1) {
			t.Errorf("run %d: %d entries, want %d; read %d bytes; warnings %q", i, r.Entries, want, r.Read, r.Warnings)
		}
	}
	if v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst}); err != nil || v.Bad() != 0 || v.Archives[0].Entries != want {
		t.Errorf("verify: %v, %+v", err, v)
	}
}
