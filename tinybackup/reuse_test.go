package tinybackup

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/store"
	"tinybackup/internal/store/storetest"
)

// newLateBench is a bench whose clock is far ahead of the source's times, so that
// what has not changed is known not to have.
func newLateBench(t *testing.T) *bench {
	b := newBench(t)
	b.clock = time.Now().AddDate(1, 0, 0)
	return b
}

func TestRunReuses(t *testing.T) {
	b := newLateBench(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		b.write("big/"+name, strings.Repeat("some text of "+name, 100_000))
	}
	size := func(o *Options) { o.BlockSize = 64 << 10 }
	first := b.good(size)
	if first.Read != first.Raw || first.Reused != 0 {
		t.Errorf("first run: read %d of %d, reused %d", first.Read, first.Raw, first.Reused)
	}
	second := b.good(size)
	if second.Read != 0 || second.Reused != second.Written || second.SHA256 != first.SHA256 {
		t.Errorf("nothing changed: read %d, reused %d of %d", second.Read, second.Reused, second.Written)
	}
	fi1, err1 := os.Stat(filepath.Join(b.dst, first.Archive))
	fi2, err2 := os.Stat(filepath.Join(b.dst, second.Archive))
	if err1 != nil || err2 != nil || !os.SameFile(fi1, fi2) {
		t.Errorf("nothing changed, and the archives are two files: %v, %v", err1, err2)
	}
	b.write("big/b", strings.Repeat("other text", 130_000))
	third := b.good(size)
	if third.Read == 0 || third.Read > third.Raw/2 || third.Reused == 0 {
		t.Errorf("one file changed: read %d of %d, reused %d", third.Read, third.Raw, third.Reused)
	}
	again := b.good(func(o *Options) { size(o); o.Reread = true })
	if again.Read != again.Raw || again.Reused != 0 || again.SHA256 != third.SHA256 {
		t.Errorf("--reread: read %d of %d, reused %d, the same bytes: %v", again.Read, again.Raw, again.Reused, again.SHA256 == third.SHA256)
	}
	b.checkSums(4)
}

// Every thirtieth run reads everything.
func TestRunRereadsNowAndThen(t *testing.T) {
	b := newLateBench(t)
	for i := 1; i <= 31; i++ {
		r := b.good(nil)
		if all := r.Read == r.Raw; all != (i == 1 || i == 30) {
			t.Errorf("run %d read %d of %d bytes", i, r.Read, r.Raw)
		}
	}
}

// A previous archive that is damaged is told of, and nothing of it gets into the new one.
func TestRunPreviousDamaged(t *testing.T) {
	b := newLateBench(t)
	b.write("big", strings.Repeat("text", 100_000))
	size := func(o *Options) { o.BlockSize = 64 << 10 }
	first := b.good(size)
	path := filepath.Join(b.dst, first.Archive)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	b.write("new", "new")
	second := b.good(size)
	if second.WarningCount != 1 || !strings.Contains(second.Warnings[0], "damaged") || second.Read != second.Raw {
		t.Errorf("report %+v, want one warning, and everything read", second)
	}
	v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst})
	if err != nil || v.Bad() != 1 || v.Archives[0].Problem != "" {
		t.Errorf("verify: %v, %+v, want only the older one damaged", err, v)
	}
}

// A manifest of another archive is not believed.
func TestRunManifestOfAnother(t *testing.T) {
	b := newLateBench(t)
	first := b.good(nil)
	b.write("more", "more")
	second := b.good(nil)
	side := func(name string) string { return filepath.Join(b.dst, ".tinybackup", archive.SideName(name)) }
	data, err := os.ReadFile(side(first.Archive))
	if err != nil {
		t.Fatal(err)
	}
	m, err := archive.ReadManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	// As if somebody had renamed things: the right name and size, other frames.
	m.Archive = second.Archive
	if data, err = m.Encode(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(side(second.Archive), data, 0o600); err != nil {
		t.Fatal(err)
	}
	third := b.good(nil)
	out := filepath.Join(t.TempDir(), "out")
	if _, err := Restore(t.Context(), b.env, RestoreOptions{From: filepath.Join(b.dst, third.Archive), Target: out}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"todo.txt", "more", "sub/deep.txt"} {
		want, _ := os.ReadFile(filepath.Join(b.src, name))
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != string(want) {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
		}
	}
}

// Another compression, or level, is heeded although nothing has changed.
func TestRunOtherCompression(t *testing.T) {
	b := newLateBench(t)
	b.write("text", strings.Repeat("text ", 50_000))
	magic := map[string]string{"xz": "\xfd7zXZ", "gzip": "\x1f\x8b", "zstd": "\x28\xb5\x2f\xfd", "none": "notes/"}
	for _, codec := range []string{"xz", "gzip", "none", "zstd", "xz"} {
		r := b.good(func(o *Options) { o.Compress.Codec = codec })
		data, err := os.ReadFile(filepath.Join(b.dst, r.Archive))
		if err != nil || !strings.HasPrefix(string(data), magic[codec]) {
			t.Errorf("%s: %v, it begins with %q", r.Archive, err, data[:min(len(data), 8)])
		}
	}
	small := b.good(func(o *Options) { o.Compress = Compression{Codec: "gzip", Level: 9} })
	large := b.good(func(o *Options) { o.Compress = Compression{Codec: "gzip", Level: 1} })
	if small.Written >= large.Written {
		t.Errorf("gzip:9 gives %d bytes, gzip:1 %d", small.Written, large.Written)
	}
	v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst})
	if err != nil || v.Bad() != 0 {
		t.Errorf("verify: %v, %+v", err, v)
	}
}

// A clock that is set back a little does not make the new archive an old one.
func TestRunClockSetBack(t *testing.T) {
	b := newLateBench(t)
	b.good(nil)
	b.clock = b.clock.AddDate(0, 0, -1).Add(-3 * time.Minute)
	b.write("new", "new")
	r := b.good(func(o *Options) { o.Keep = 1 })
	if got := b.archives(); len(got) != 1 || got[0] != r.Archive {
		t.Errorf("archives %q, want %q", got, r.Archive)
	}
}

// The newest archive is damaged, and nothing has changed: before the older, good
// ones go, that is found out.
func TestRunLinkToDamaged(t *testing.T) {
	b := newLateBench(t)
	b.good(nil)
	b.write("more", "more")
	second := b.good(nil)
	path := filepath.Join(b.dst, second.Archive)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 4
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	third := b.good(func(o *Options) { o.Keep = 1 })
	if third.WarningCount == 0 || third.Read != third.Raw {
		t.Errorf("report %+v, want a warning, and everything read", third)
	}
	v, err := Verify(t.Context(), b.env, VerifyOptions{From: filepath.Join(b.dst, third.Archive)})
	if err != nil || v.Bad() != 0 {
		t.Errorf("the new archive: %v, %+v", err, v)
	}
	// Names of one file, though, go without its being read.
	b.good(nil)
	r := b.good(func(o *Options) { o.Keep = 1 })
	if r.WarningCount != 0 || len(r.Removed) != 2 {
		t.Errorf("report %+v, want two removed", r)
	}
}

// A plainMemory is a service that copies nothing by itself, as rclone is.
type plainMemory struct{ *storetest.Memory }

func (plainMemory) Copies(context.Context) bool { return false }

func (m plainMemory) Create(ctx context.Context, key string) (store.Pending, error) {
	p, err := m.Memory.Create(ctx, key)
	return plainPending{p}, err
}

type plainPending struct{ store.Pending }

func (plainPending) CopyRange(io.ReaderAt, int64, int64) (bool, error) { return false, nil }

// The newest archive is damaged, or cannot be read, nothing has changed, and the
// destination has no links: its bytes are not copied.
func TestRunCopyOfDamaged(t *testing.T) {
	t.Parallel()
	b := newLateBench(t)
	m := storetest.NewMemory()
	b.env.openRemote = func(context.Context, string, Access) (store.Driver, error) { return plainMemory{m}, nil }
	b.dst = "rclone:x:y"
	first := b.good(nil)
	data := m.Object(first.Archive)
	damaged := []byte(data)
	damaged[len(damaged)/2] ^= 4
	m.Set(first.Archive, string(damaged))
	second := b.good(nil)
	if second.WarningCount != 1 || !strings.Contains(second.Warnings[0], "is not used: the previous archive is damaged") || m.Object(second.Archive) != data {
		t.Errorf("damaged: report %+v, want a warning, and another archive as the first was", second)
	}
	m.Fail = func(method, key string) error {
		if method == "read" && key == second.Archive {
			return &store.Error{Op: method, Path: key, Err: syscall.EIO}
		}
		return nil
	}
	third := b.good(nil)
	if third.WarningCount != 1 || !strings.Contains(third.Warnings[0], "cannot be read at byte 0") || m.Object(third.Archive) != data {
		t.Errorf("not to be read: report %+v, want a warning, and another archive as the first was", third)
	}
}
