//go:build linux

package archive

import (
	"bytes"
	"io"
	"testing"
)

// FuzzReader reads anything as an archive, whatever it is compressed with: no more comes
// out than went in, and what is cut is not taken for whole.
func FuzzReader(f *testing.F) {
	text := bytes.Repeat([]byte("some text "), 300)
	for _, codec := range []string{CodecZstd, CodecXZ, CodecGzip, CodecNone} {
		packed := compress(f, codec, text)
		f.Add(packed)
		f.Add(append(bytes.Clone(packed), packed...))
		f.Add(packed[:len(packed)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 8 << 20 // beyond it, the fuzzer would wait for zeros
		r, err := NewReader(t.Context(), "", memorySource(data))
		if err != nil {
			return
		}
		defer r.Close()
		n, err := io.Copy(io.Discard, io.LimitReader(r, most))
		if err != nil || n == most {
			return
		}
		if codec, _, err := Detect(t.Context(), memorySource(data)); err != nil {
			t.Errorf("it was read as a whole, and is not detected: %v", err)
		} else if codec == CodecNone && n != int64(len(data)) {
			t.Errorf("%d bytes came out of %d", n, len(data))
		}
	})
}
