package tinybackup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tinybackup/internal/archive"
	"tinybackup/internal/store"
)

// Half of a file is not restored as the whole of it because nothing is left that tells but
// SHA256SUMS; and without that, it is said.
func TestRestoreWithoutManifest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	file := filepath.Join(b.src, "todo.txt")
	b.write("todo.txt", strings.Repeat("buy milk\n", 1000))
	r := b.good(func(o *Options) { o.Source, o.Compress.Codec = file, "none" })
	if err := os.Remove(filepath.Join(b.dst, store.SideDir, archive.SideName(r.Archive))); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "back")
	restore := func() (RestoreReport, error) {
		return Restore(t.Context(), b.env, RestoreOptions{From: b.dst, Target: target, Overwrite: true})
	}
	warned := func(r RestoreReport, want ...string) {
		t.Helper()
		if len(r.Warnings) != len(want) || r.WarningCount != int64(len(want)) {
			t.Fatalf("warned of %q, want %q", r.Warnings, want)
		}
		for i := range want {
			if !strings.Contains(r.Warnings[i], want[i]) {
				t.Errorf("warned of %q, want %q", r.Warnings[i], want[i])
			}
		}
	}
	got, err := restore()
	if err != nil || got.Bytes != 9000 {
		t.Fatalf("restored %d bytes, %v", got.Bytes, err)
	}
	warned(got, "the mode, the owner and the times")

	if err := errors.Join(os.Truncate(filepath.Join(b.dst, r.Archive), 4500), os.Remove(target)); err != nil {
		t.Fatal(err)
	}
	_, err = restore()
	wantHint(t, err, "SHA256SUMS says "+r.SHA256)
	if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half of it is there: %v", err)
	}

	if err := os.Remove(filepath.Join(b.dst, "SHA256SUMS")); err != nil {
		t.Fatal(err)
	}
	if got, err = restore(); err != nil {
		t.Fatal(err)
	}
	warned(got, "the mode, the owner and the times", "nothing tells whether it is whole")
	v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst})
	if err != nil || v.Bad() != 0 || !strings.Contains(v.Archives[0].summary(), "neither a manifest nor a line in SHA256SUMS") {
		t.Errorf("verify: %+v, %v", v, err)
	}
}

// A destination that goes away while it is read says nothing of its archives; one that
// answers that an archive cannot be read does.
func TestVerifyGone(t *testing.T) {
	t.Parallel()
	b, m := newRemoteBench(t)
	bad := b.good(nil).Archive
	b.write("more", "more")
	b.good(nil)
	verify := func() (VerifyReport, error) {
		return Verify(t.Context(), b.env, VerifyOptions{From: b.dst})
	}
	broken := &store.Error{Op: "read", Path: "nas", Err: errors.New("connection reset")}
	down := false
	m.Fail = func(method, key string) error {
		down = down || method == "read" && key == bad
		if down {
			return broken
		}
		return nil
	}
	if v, err := verify(); !errors.Is(err, broken) || v.Bad() != 0 {
		t.Errorf("the destination went away: %+v, %v", v, err)
	}
	m.Fail = func(method, key string) error {
		if method == "read" && key == bad {
			return broken
		}
		return nil
	}
	if v, err := verify(); err != nil || v.Bad() != 1 || !strings.Contains(v.Archives[1].Problem, "connection reset") {
		t.Errorf("one archive cannot be read: %+v, %v", v, err)
	}
}

// What rotation removes while verify is at another archive is no loss.
func TestVerifyRotated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old := b.good(nil).Archive
	b.write("more", "more")
	newer := b.good(nil).Archive
	st, err := store.OpenLocal(b.dst)
	if err != nil {
		t.Fatal(err)
	}
	drop := []string{old}
	removed := false
	b.env.Progress = func(p Progress) {
		if !removed {
			removed = true
			if err := errors.Join(st.Remove(t.Context(), old), st.SetSums(t.Context(), nil, drop)); err != nil {
				t.Error(err)
			}
		}
	}
	v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst})
	if err != nil || !removed || v.Bad() != 0 || len(v.Archives) != 1 || v.Archives[0].Archive != newer {
		t.Errorf("%+v, %v", v, err)
	}

	// With its line still there, it is missing.
	b.write("more", "and more")
	b.good(nil)
	old, drop, removed = newer, nil, false
	if v, err = Verify(t.Context(), b.env, VerifyOptions{From: b.dst}); err != nil || v.Bad() != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

// A tar without compression has no checksums of what is in its files.
func TestRestoreTreeWithoutManifest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	path := filepath.Join(b.dst, b.good(func(o *Options) { o.Compress.Codec = "none" }).Archive)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(data), "buy milk", "buy silk", 1)
	side := filepath.Join(b.dst, store.SideDir, archive.SideName(filepath.Base(path)))
	if err := errors.Join(os.Remove(side), os.WriteFile(path, []byte(changed), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err = b.back()
	wantHint(t, err, "SHA256SUMS says")
	err = ListFiles(t.Context(), b.env, Choice{From: b.dst}, func(FileEntry) error { return nil })
	wantHint(t, err, "SHA256SUMS says")
}

// Who restores from a destination is told which archive is damaged, and what to do: once.
func TestRestoreNamesArchive(t *testing.T) {
	t.Parallel()
	for _, manifest := range []bool{true, false} {
		b := newBench(t)
		b.write("todo.txt", "buy milk")
		name := b.good(func(o *Options) { o.Compress.Codec = "gzip" }).Archive
		data, err := os.ReadFile(filepath.Join(b.dst, name))
		if err != nil {
			t.Fatal(err)
		}
		if manifest {
			data[len(data)/2] ^= 0xff
		} else {
			err = os.Remove(filepath.Join(b.dst, store.SideDir, archive.SideName(name)))
			data = data[:len(data)/2]
		}
		if err := errors.Join(err, os.WriteFile(filepath.Join(b.dst, name), data, 0o600)); err != nil {
			t.Fatal(err)
		}
		_, restored := b.back()
		_, path := Restore(t.Context(), b.env, RestoreOptions{From: b.dst, Target: t.TempDir(), Paths: []string{"todo.txt"}})
		listed := ListFiles(t.Context(), b.env, Choice{From: b.dst}, func(FileEntry) error { return nil })
		for what, err := range map[string]error{"restore": restored, "restore of a path": path, "list --files": listed} {
			wantHint(t, err, name)
			if strings.Count(err.Error(), name) != 1 || strings.Contains(err.Error(), "\n") || !strings.Contains(hintOf(err), "--at") {
				t.Errorf("manifest %v, %s: %q, hint %q", manifest, what, err, hintOf(err))
			}
		}
	}
}
