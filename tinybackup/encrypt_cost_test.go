package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tinybackup/internal/store"
)

// countingDriver counts what is read of archives.
type countingDriver struct {
	store.Driver
	calls, bytes atomic.Int64
}

type countingReader struct {
	store.Reader
	d *countingDriver
}

func (d *countingDriver) Open(ctx context.Context, key string) (store.Reader, error) {
	r, err := d.Driver.Open(ctx, key)
	return &countingReader{r, d}, err
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	r.d.calls.Add(1)
	r.d.bytes.Add(int64(len(p)))
	return r.Reader.ReadAt(p, off)
}

// A single file comes with few requests, and with few bytes more than the frame it is in.
func TestEncryptedSingleFile(t *testing.T) {
	t.Parallel()
	b, memory := newRemoteBench(t)
	d := &countingDriver{Driver: memory}
	b.env.openRemote = func(context.Context, string, Access) (store.Driver, error) { return d, nil }
	rnd := rand.NewChaCha8([32]byte{1})
	for i := range 24 {
		data := make([]byte, 1<<20)
		_, _ = rnd.Read(data) // never fails
		b.write(fmt.Sprintf("f%02d", i), string(data))
	}
	key, recipient := ageKey(t)
	b.good(encryptTo(recipient))
	d.calls.Store(0)
	d.bytes.Store(0)
	target := t.TempDir()
	_, err := Restore(t.Context(), b.env, RestoreOptions{From: b.dst, Target: target, Paths: []string{"f17"}, Identity: []string{key}})
	if err != nil {
		t.Fatal(err)
	}
	if got := contents(t, target); len(got) != 1 || got["f17"] != contents(t, b.src)["f17"] {
		t.Errorf("restored %d files", len(got))
	}
	// The frames of the file, and of the directories above it, each in pieces of 4 MiB.
	if n, calls := d.bytes.Load(), d.calls.Load(); n > 14<<20 || calls > 16 {
		t.Errorf("read %d bytes of 24 MiB in %d calls", n, calls)
	} else {
		t.Logf("read %d bytes of 24 MiB in %d calls", n, calls)
	}
	if v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst, Identity: []string{key}}); err != nil || v.Bad() != 0 || v.Archives[0].Entries != 28 {
		t.Errorf("verify: %+v, %v", v, err)
	}
}

// A job that encrypts finds out that nothing has changed, and that something has, without
// reading what it wrote.
func TestEncryptedUnchanged(t *testing.T) {
	t.Parallel()
	b := newLateBench(t)
	key, recipient := ageKey(t)
	other, more := ageKey(t)
	b.env.stateDir = filepath.Join(b.env.Dirs.State, "3f2a91c0")
	memory := filepath.Join(b.env.stateDir, memoryName)
	step := func(what string, linked bool, values ...string) Report {
		t.Helper()
		before := b.archives()
		r := b.good(encryptTo(values...))
		if r.WarningCount != 0 || r.Written == 0 || r.Entries < 4 {
			t.Errorf("%s: %+v", what, r)
		}
		if len(before) > 0 {
			was, err := os.Stat(filepath.Join(b.dst, before[len(before)-1]))
			now, err2 := os.Stat(filepath.Join(b.dst, r.Archive))
			if err != nil || err2 != nil || os.SameFile(was, now) != linked {
				t.Errorf("%s: the new archive is the old one: %v, want %v", what, !linked, linked)
			}
		}
		v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst, Identity: []string{key, other}})
		if err != nil || v.Bad()+v.Closed() != 0 {
			t.Errorf("%s: verify: %+v, %v", what, v, err)
		}
		if got, err := b.back(key); err != nil || sameTree(got, contents(t, b.src)) != "" {
			t.Errorf("%s: restore: %v", what, err)
		}
		return r
	}
	step("the first", false, recipient)
	info, err := os.Stat(memory)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("what it remembers: %v, %v", info, err)
	}
	if r := step("nothing changed", true, recipient); r.Read != 0 || r.Reused != r.Written {
		t.Errorf("nothing changed: read %d, reused %d of %d", r.Read, r.Reused, r.Written)
	}
	step("and again", true, recipient)
	b.write("zzz", "new at the end\n")
	step("a new file", false, recipient)
	step("then nothing", true, recipient)
	if err := os.Remove(filepath.Join(b.src, "zzz")); err != nil {
		t.Fatal(err)
	}
	step("a file less", false, recipient)
	step("one who reads more", false, recipient, more)
	step("in another order", true, more, recipient)
	step("one less", false, recipient)
	if err := os.WriteFile(memory, []byte("{}\nnonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	step("what it remembers is damaged", false, recipient)
	if err := os.Remove(memory); err != nil {
		t.Fatal(err)
	}
	step("and lost", false, recipient)
	b.good(nil)
	if _, err := os.Stat(memory); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without encryption it is kept: %v", err)
	}
	b.checkSums(len(b.archives()))
}

// On another machine, it is the service that copies an archive of which nothing has
// changed.
func TestEncryptedUnchangedRemote(t *testing.T) {
	t.Parallel()
	b, memory := newRemoteBench(t)
	b.clock = time.Now().AddDate(1, 0, 0)
	b.env.stateDir = filepath.Join(b.env.Dirs.State, "3f2a91c0")
	b.write("large", strings.Repeat("0123456789", 1<<20))
	key, recipient := ageKey(t)
	o := func(o *Options) { o.Encrypt, o.Compress.Codec = []string{recipient}, "none" }
	b.good(o)
	before := memory.Sent()
	r := b.good(o)
	if sent := memory.Sent() - before; sent > 64<<10 || r.Read != 0 {
		t.Errorf("%d bytes were sent, %d read of the source", sent, r.Read)
	}
	b.write("small", "new")
	b.good(o)
	v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst, Identity: []string{key}})
	if err != nil || v.Bad() != 0 || len(v.Archives) != 3 {
		t.Errorf("verify: %+v, %v", v, err)
	}
	if got, err := b.back(key); err != nil || sameTree(got, contents(t, b.src)) != "" {
		t.Errorf("restore: %v", err)
	}
}

// A copy is encrypted as the archive is, and what has not changed is a link there, too.
func TestEncryptedCopy(t *testing.T) {
	t.Parallel()
	b := newLateBench(t)
	b.env.stateDir = filepath.Join(b.env.Dirs.State, "3f2a91c0")
	second := filepath.Join(t.TempDir(), "second")
	b.mkdir(second)
	key, recipient := ageKey(t)
	o := func(o *Options) { o.Encrypt, o.CopyTo = []string{recipient}, []Copy{{Dest: second}} }
	first, same := b.good(o), b.good(o)
	b.write("new", "new\n")
	b.good(o)
	b.dst = second
	a, err := os.Stat(filepath.Join(second, first.Archive))
	c, err2 := os.Stat(filepath.Join(second, same.Archive))
	if err != nil || err2 != nil || !os.SameFile(a, c) {
		t.Errorf("the copies of two archives that are one are two: %v, %v", err, err2)
	}
	b.checkSums(3)
	v, err := Verify(t.Context(), b.env, VerifyOptions{From: second, Identity: []string{key}})
	if err != nil || v.Bad()+v.Closed() != 0 || len(v.Archives) != 3 {
		t.Errorf("verify: %+v, %v", v, err)
	}
	if got, err := b.back(key); err != nil || sameTree(got, contents(t, b.src)) != "" {
		t.Errorf("restore: %v", err)
	}
}
