package rclone

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tinybackup/internal/store"
	"tinybackup/internal/store/storetest"
)

// local are options that know a remote "local", whose paths are those of this machine.
func local(t *testing.T) Options {
	t.Helper()
	if _, err := exec.LookPath("rclone"); err != nil {
		t.Skip("rclone is not installed")
	}
	config := filepath.Join(t.TempDir(), "rclone.conf")
	if err := os.WriteFile(config, []byte("[local]\ntype = local\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Options{Env: append(os.Environ(), "RCLONE_CONFIG="+config)}
}

func open(t *testing.T, dir string, opt Options) *Driver {
	t.Helper()
	d, err := Open(t.Context(), "rclone:local:"+dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestConformance(t *testing.T) {
	opt := local(t)
	storetest.Store(t, func(t *testing.T) store.Store { return store.NewRemote(open(t, t.TempDir(), opt)) },
		"archive", "archives at once", "find", "lock", "names", "sidecars", "sums", "sums at once") // a process for each request
}

func wantIs(t *testing.T, op string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: got error %v, want %v", op, err, target)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	local(t)
	for dest, want := range map[string]string{
		"rclone:drive:":               "",
		"rclone:drive:a/b":            "",
		"rclone:my drive:/a//b/":      "",
		"rclone:drive":                "names no remote",
		"rclone:":                     "names no remote",
		"drive:x":                     "does not begin",
		"rclone:-v:x":                 "no name of a remote",
		"rclone:../x:y":               "no name of a remote",
		"rclone:drive:../x":           "leads out",
		"rclone::s3,secret=geheim:x":  "made up",
		"rclone:s3,secret=geheim:b/x": "made up",
	} {
		err := Check(dest)
		if want == "" && err == nil {
			continue
		}
		var e *store.Error
		if want == "" || !errors.As(err, &e) || !strings.Contains(err.Error(), want) || e.Hint() == "" {
			t.Errorf("Check %q: got %v, want an error of %q with a hint", dest, err, want)
		}
		if err != nil && strings.Contains(err.Error()+e.Hint(), "geheim") {
			t.Errorf("Check %q tells a secret: %v", dest, err)
		}
	}
	if a, err := parse("rclone:my drive:/a//b/"); err != nil || a.String() != "rclone:my drive:/a/b" || a.below("c").arg() != "my drive:/a/b/c" {
		t.Errorf("got %q, %v", a, err)
	}
	t.Run("no rclone", func(t *testing.T) {
		_, err := Open(t.Context(), "rclone:local:/tmp", Options{Program: "/nowhere/rclone"})
		if err == nil || !strings.Contains(err.Error(), "no rclone") {
			t.Errorf("got %v", err)
		}
	})
}

func TestMissing(t *testing.T) {
	t.Parallel()
	opt := local(t)
	_, err := Open(t.Context(), "rclone:nosuch:x", opt)
	var e *store.Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "listremotes") || strings.Contains(err.Error(), "20") {
		t.Errorf("a remote that is not there: got %v", err)
	}
	_, err = Open(t.Context(), "rclone:local:"+filepath.Join(t.TempDir(), "none"), opt)
	wantIs(t, "a directory that is not there", err, fs.ErrNotExist)
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "rclone mkdir") {
		t.Errorf("a directory that is not there: got the hint %q", e.Hint())
	}
}

// TestKilled kills the rclone that writes: the run fails and nothing of it stays. A run that is
// killed itself leaves a part, which is no archive.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, local(t))
	st := store.NewRemote(d)
	p, err := d.Create(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	data := storetest.Random(1, 4<<20)
	if _, err := p.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := p.(*pending).work.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err = p.Write(data); err == nil {
		err = p.Commit()
	}
	if err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("rclone was killed: got %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantFiles(t, dir)

	// A context that is done kills it, and all that it has started.
	ctx, cancel := context.WithCancelCause(t.Context())
	if p, err = d.Create(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(data); err != nil {
		t.Fatal(err)
	}
	cancel(io.ErrClosedPipe)
	_, err = p.Write(data)
	wantIs(t, "Write when cancelled", err, io.ErrClosedPipe)
	wantIs(t, "Commit when cancelled", p.Commit(), io.ErrClosedPipe)
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantFiles(t, dir)

	// What a killed run left is swept; its input's end made it look whole.
	if p, err = d.Create(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	left := p.(*pending)
	if _, err := p.Write(data); err != nil {
		t.Fatal(err)
	}
	left.input.Close()
	if err := left.end(); err != nil {
		t.Fatal(err)
	}
	if objects, err := st.List(t.Context()); err != nil || len(objects) != 0 {
		t.Errorf("List: got %v, %v; want nothing", objects, err)
	}
	if got, err := st.Sweep(t.Context(), func(string) bool { return true }); err != nil || len(got) != 1 {
		t.Errorf("Sweep: got %q, %v; want the part", got, err)
	}
	wantFiles(t, dir)
}

// wantFiles wants no plain file in and below a directory but these.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			got = append(got, filepath.Base(name))
		}
		return err
	})
	if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s has %q, %v; want %q", dir, got, err, want)
	}
}

// TestDamaged has what is stored differ from what was sent: whoever tells the hash, that is
// found.
func TestDamaged(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sha256", "md5", ""} {
		dir := t.TempDir()
		d := open(t, dir, local(t))
		created, err := d.Create(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		p := created.(*pending)
		if p.kind != "sha256" {
			t.Errorf("the hash: got %q, want sha256", p.kind)
		}
		if p.kind = kind; kind == "md5" {
			p.hash = hashes[len(hashes)-1].make()
		}
		if _, err := p.Write([]byte("right")); err != nil {
			t.Fatal(err)
		}
		p.input.Close()
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
		sent := p.hash
		if err := p.compare(); err != nil {
			t.Errorf("by %q: got %v of what is right", kind, err)
		}
		if p.hash = sent; kind == "" {
			p.hash = sha256.New()
			p.hash.Write([]byte("right"))
		}
		if err := os.WriteFile(filepath.Join(dir, store.SideDir, "a.partial"), []byte("wrong"), 0o600); err != nil {
			t.Fatal(err)
		}
		wantIs(t, "compare by "+kind, p.compare(), errDamaged)
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		wantFiles(t, dir)
	}
}

// TestFind is the suite's in short: what is deeper or hidden is not found, and a suffix is no
// pattern.
func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, local(t))
	for _, name := range []string{
		".tinybackup/a.st", "one/.tinybackup/b.st", "1/2/3/.tinybackup/c.st", "1/2/3/4/.tinybackup/deep.st",
		".hidden/.tinybackup/h.st", "one/.tinybackup/xxst", "one/b.st", "one/.tinybackup/sub/b.st",
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	found, err := store.NewRemote(d).Find(t.Context(), ".st")
	var got []string
	for _, f := range found {
		for _, side := range f.Sides {
			got = append(got, f.Below+":"+side.Name)
		}
	}
	if want := "1/2/3:c.st :a.st one:b.st"; err != nil || strings.Join(slices.Sorted(slices.Values(got)), " ") != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if found, err := d.Find(t.Context(), "*[st]"); err != nil || len(found) != 0 {
		t.Errorf("a suffix with stars: got %v, %v", found, err)
	}
}

// TestReader reads on, elsewhere, and across the end, of an object that changes at last.
func TestReader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, local(t))
	data := storetest.Random(4, 3<<20)
	name := filepath.Join(dir, "a")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := d.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Size() != int64(len(data)) {
		t.Errorf("Size: got %d, want %d", r.Size(), len(data))
	}
	for _, at := range []struct{ off, n int }{
		{0, 8}, {8, 100_000}, {100_008, 100_000}, {200_010, 1}, {1 << 20, 70_000}, {9, 9}, {1<<20 + 70_000, 5}, {3<<20 - 7, 100}, {3 << 20, 1},
	} {
		got := make([]byte, at.n)
		n, err := r.ReadAt(got, int64(at.off))
		want := data[at.off:min(at.off+at.n, len(data))]
		if !bytes.Equal(got[:n], want) || (n < at.n) != (err == io.EOF) {
			t.Errorf("ReadAt %d bytes at %d: got %d, %v; want %d", at.n, at.off, n, err, len(want))
		}
	}
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("all: got %d bytes, %v", len(got), err)
	}
	if err := os.Truncate(name, 1<<20); err != nil {
		t.Fatal(err)
	}
	_, err = r.ReadAt(make([]byte, 9), 2<<20)
	wantIs(t, "reading what was cut off", err, errDamaged)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	_, err = r.ReadAt(make([]byte, 9), 0)
	wantIs(t, "reading what was removed", err, fs.ErrNotExist)
}
