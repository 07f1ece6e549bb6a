package storetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"tinybackup/internal/store"
)

func anyName(string) bool { return true }

func second[T any](_ T, err error) error { return err }

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Random returns n bytes that are the same for the same seed, and like no others.
func Random(seed uint64, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data) // never fails
	return data
}

func wantIs(t *testing.T, op string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: got error %v, want %v", op, err, target)
	}
}

func wantNames(t *testing.T, s store.Store, want ...string) {
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

func wantArchive(t *testing.T, s store.Store, name string, want []byte) {
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
func create(t *testing.T, s store.Store, name string) store.Pending {
	t.Helper()
	p, err := s.Create(t.Context(), name)
	if err != nil {
		t.Fatalf("Create %q: %v", name, err)
	}
	return p
}

// settle returns what was written as it is read back, nil where that is not to be had
// before Commit.
func settle(t *testing.T, p store.Pending) []byte {
	t.Helper()
	r, err := p.Settle()
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		t.Fatalf("Settle: %v", err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("Settle: reading back: %v", err)
	}
	return data
}

// wantSettled settles, and compares where that is to be had.
func wantSettled(t *testing.T, p store.Pending, want []byte) {
	t.Helper()
	if got := settle(t, p); got != nil && !bytes.Equal(got, want) {
		t.Errorf("settled: got %d bytes that differ from the %d written", len(got), len(want))
	}
}

// Put stores an archive.
func Put(t *testing.T, s store.Store, name string, data []byte) {
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
