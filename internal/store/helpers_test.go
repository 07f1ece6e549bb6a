package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func anyName(string) bool { return true }

func second[T any](_ T, err error) error { return err }

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func randomBytes(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	return data
}

func wantIs(t *testing.T, op string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: got error %v, want %v", op, err, target)
	}
}

func wantNames(t *testing.T, s Store, want ...string) {
	t.Helper()
	objects, err := s.List(t.Context())
	if err != nil {
		t.Errorf("List: %v", err)
		return
	}
	got := []string{}
	for _, o := range objects {
		got = append(got, o.Name)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("List: got %q, want %q", got, want)
	}
}

func wantArchive(t *testing.T, s Store, name string, want []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), name)
	if err != nil {
		t.Errorf("Open %q: %v", name, err)
		return
	}
	defer r.Close()
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q: got %d bytes, %v; want the %d that were stored", name, len(got), err, len(want))
	}
}

// create begins an archive; a test that does not close it plays a killed run.
func create(t *testing.T, s Store, name string) Pending {
	t.Helper()
	p, err := s.Create(t.Context(), name)
	if err != nil {
		t.Fatalf("Create %q: %v", name, err)
	}
	return p
}

func settle(t *testing.T, p Pending) []byte {
	t.Helper()
	r, err := p.Settle()
	if err != nil {
		t.Fatalf("Settle: %v", err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("Settle: reading back: %v", err)
	}
	return data
}

func put(t *testing.T, s Store, name string, data []byte) {
	t.Helper()
	p := create(t, s, name)
	defer p.Close()
	if _, err := p.Write(data); err != nil {
		t.Fatalf("Write %q: %v", name, err)
	}
	if err := p.Commit(); err != nil {
		t.Fatalf("Commit %q: %v", name, err)
	}
}

func background() context.Context { return context.Background() }

// tree lists all below dir, with modes, sorted.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		names = append(names, rel+" "+info.Mode().String())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func symlink(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

func openDir(t *testing.T, dir string) *Local {
	t.Helper()
	l, err := OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantHint(t *testing.T, err error, want string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), want) {
		t.Errorf("hint of %v: want %q", err, want)
	}
}
