package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"
)

// maxAhead is how many bytes a Summed keeps that were read out of turn.
const maxAhead = 64 << 20

// Summed is a Source that sums up what is read of it: reading a file once, in pieces and by
// several goroutines, which go from its beginning to its end on the whole, also gives its
// checksum.
type Summed struct {
	Source

	mu    sync.Mutex
	sum   hash.Hash
	next  int64            // what is before it is summed up
	ahead map[int64][]byte // by offset: what was read beyond next
	held  int              // bytes in ahead
}

// NewSummed returns src as a Summed.
func NewSummed(src Source) *Summed {
	return &Summed{Source: src, sum: sha256.New(), ahead: map[int64][]byte{}}
}

// ReadAt implements io.ReaderAt.
func (s *Summed) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.Source.ReadAt(p, off)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(p[:n], off)
	return n, err
}

// take sums up data, or keeps them until it is their turn.
func (s *Summed) take(data []byte, off int64) {
	switch {
	case off+int64(len(data)) <= s.next:
		return
	case off > s.next && s.held+len(data) > maxAhead:
		return // SHA256 reads it again
	case off > s.next:
		if have := s.ahead[off]; len(have) < len(data) {
			s.ahead[off] = bytes.Clone(data)
			s.held += len(data) - len(have)
		}
		return
	}
	s.add(data, off)
	for more := true; more; {
		more = false
		for off, data := range s.ahead {
			if off <= s.next {
				delete(s.ahead, off)
				s.held -= len(data)
				s.add(data, off)
				more = true
			}
		}
	}
}

// add sums up those of data that are not yet.
func (s *Summed) add(data []byte, off int64) {
	if in := s.next - off; in < int64(len(data)) {
		s.sum.Write(data[in:])
		s.next = off + int64(len(data))
	}
}

// SHA256 is the checksum of the whole, in lower-case hex. What of it was not read, it
// reads. Nothing else may read meanwhile.
func (s *Summed) SHA256() (string, error) {
	buf := make([]byte, 1<<20)
	for s.next < s.Size() {
		at := s.next
		n, err := s.ReadAt(buf[:min(int64(len(buf)), s.Size()-at)], at)
		if s.next == at {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return "", fmt.Errorf("read at byte %d: %w", at+int64(n), err)
		}
	}
	return hex.EncodeToString(s.sum.Sum(nil)), nil
}
