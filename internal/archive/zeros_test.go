//go:build linux

package archive

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestHoles makes the frames of a file's holes without reading them: the archive is
// the one that reading them as zeros gives.
func TestHoles(t *testing.T) {
	const frame, frames = 64 << 10, 40
	dir := t.TempDir()
	sparse, dense := filepath.Join(dir, "sparse"), filepath.Join(dir, "dense")
	raw := make([]byte, frame*frames+1000)
	copy(raw[5*frame:], sample(frame+10, 1))
	copy(raw[30*frame:], sample(100, 2))
	must(t, os.WriteFile(dense, raw, 0o600))
	f, err := os.Create(sparse)
	must(t, err)
	must(t, f.Truncate(int64(len(raw))))
	for _, at := range []int{5, 6, 30} {
		_, err := f.WriteAt(raw[at*frame:(at+1)*frame], int64(at*frame))
		must(t, err)
	}
	must(t, f.Close())
	for _, codec := range Codecs() {
		for _, align := range []int64{0, 4096} {
			opt := Options{Codec: codec, FrameSize: frame, Align: align, Decode: true}
			a, b := writeArchive(t, sparse, opt), writeArchive(t, dense, opt)
			if !equalFiles(t, a.path, b.path) || a.manifest.SHA256 != b.manifest.SHA256 {
				t.Errorf("%s, aligned to %d: holes and zeros give different archives", codec, align)
			}
			if !bytes.Equal(decodeWith(t, codec, a.path), raw) {
				t.Errorf("%s, aligned to %d: it decodes to something else", codec, align)
			}
			// Three frames of data, and the last one, which is always looked at.
			if got, want := a.result.Read, int64(3*frame+1000); got != want {
				t.Errorf("%s: read %d bytes, want %d", codec, got, want)
			}
			for i, x := range a.manifest.Frames {
				y := b.manifest.Frames[i]
				x.Key, y.Key = [32]byte{}, [32]byte{}
				if x != y {
					t.Errorf("%s, frame %d: got %+v, want %+v", codec, i, x, y)
				}
			}
			f, err := os.Open(a.path)
			must(t, err)
			if _, err := Verify(ctx, fileSource{f, a.manifest.Size}, a.manifest, "", "", nil); err != nil {
				t.Errorf("%s: verify: %v", codec, err)
			}
			must(t, f.Close())
			if again, err := a.settle().again(t, dense, opt); err != nil || !again.result.Unchanged {
				t.Errorf("%s: the second run does not find the frames of holes: %v", codec, err)
			}
		}
	}
}
