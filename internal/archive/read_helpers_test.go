package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"slices"
	"testing"
)

// needTools skips the test if a program is not there.
func needTools(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
}

// noError fails the test for an error.
func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		_, _, line, _ := runtime.Caller(1)
		t.Fatalf("line %d: %v", line, err)
	}
}

// newReader is short for bytes.NewReader.
func newReader(b []byte) io.Reader { return bytes.NewReader(b) }

// pipe runs a program on input and returns its output.
func pipe(t testing.TB, input []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, &stderr)
	}
	return out
}

// compress compresses with the program of that codec.
func compress(t testing.TB, codec string, raw []byte, args ...string) []byte {
	t.Helper()
	if codec == CodecNone {
		return raw
	}
	needTools(t, codec)
	return pipe(t, raw, codec, append([]string{"-q", "-c"}, args...)...)
}

// makeArchive compresses raw in frames of size bytes each, and makes the manifest.
func makeArchive(t testing.TB, kind, codec string, raw []byte, size int) ([]byte, *Manifest) {
	t.Helper()
	m := &Manifest{Version: ManifestVersion, Kind: kind, Codec: codec}
	var all []byte
	for piece := range slices.Chunk(raw, size) {
		frame := compress(t, codec, piece)
		m.Frames = append(m.Frames, Frame{Off: int64(len(all)), Len: int64(len(frame)), Raw: int64(len(piece)),
			SHA256: sha256.Sum256(frame), Content: sha256.Sum256(piece)})
		all = append(all, frame...)
	}
	m.Raw, m.Size = int64(len(raw)), int64(len(all))
	sum := sha256.Sum256(all)
	m.SHA256 = hex.EncodeToString(sum[:])
	return all, m
}

// sample returns bytes that compress somewhat, the same for the same seed.
func sample(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = "etaoin shrdlu\n\x00\xff"[r.IntN(16)]
	}
	return b
}

func readAll(src Source, codec string) ([]byte, error) {
	r, err := NewReader(context.Background(), codec, src)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
