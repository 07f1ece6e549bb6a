package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"sync"
	"testing"
)

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// In whatever order, how often and by how many it is read, the sum is that of the whole.
func TestSummed(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		data := noise(rnd.IntN(5000))
		s := NewSummed(bytes.NewReader(data))
		var all sync.WaitGroup
		for range rnd.IntN(60) {
			off := rnd.IntN(len(data) + 1)
			p := make([]byte, rnd.IntN(1000))
			all.Go(func() { s.ReadAt(p, int64(off)) })
		}
		all.Wait()
		if got, err := s.SHA256(); err != nil || got != sumOf(data) || s.held != 0 || len(s.ahead) != 0 {
			t.Fatalf("%d bytes: %s, %v, %d kept", len(data), got, err, s.held)
		}
	}
}

// Reading all of an encrypted file sums it up with no further reading.
func TestSummedOpen(t *testing.T) {
	t.Parallel()
	key := x25519(t)
	data := sealed(t, recipients(t, key.recipient), noise(2*maxPiece+12345))
	src := &counted{Reader: bytes.NewReader(data)}
	s := NewSummed(src)
	f, err := identities(t, nil, key.file).Open(s)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for off := int64(0); off < f.Size(); off += 3_000_000 {
		all.Go(func() { f.ReadAt(make([]byte, min(3_000_000, f.Size()-off)), off) })
	}
	all.Wait()
	calls := src.calls.Load()
	if got, err := s.SHA256(); err != nil || got != sumOf(data) || src.calls.Load() != calls {
		t.Errorf("%s, %v, %d more calls", got, err, src.calls.Load()-calls)
	}
	cut := NewSummed(&lying{bytes.NewReader(data[:100])})
	if _, err := cut.SHA256(); err == nil {
		t.Error("a file that is shorter than it says has a sum")
	}
}

// lying is a source that has fewer bytes than it says.
type lying struct{ *bytes.Reader }

func (l *lying) Size() int64 { return l.Reader.Size() + 10 }
