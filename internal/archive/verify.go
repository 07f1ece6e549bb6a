package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// VerifyResult says what Verify read, and what that was compared with.
type VerifyResult struct {
	Size    int64    // bytes of the archive
	Raw     int64    // bytes it decodes to
	Frames  int      // frames compared; 0 without a manifest
	Entries int64    // tar entries; 0 if it is no tar
	SHA256  string   // of the archive as it was read, in hex; empty after an error
	Checked []string // what was checked and found right, in words
}

// Verify reads all of an archive and compares it with its manifest: size, the SHA-256 of every frame and of the whole,
// decompression, decoded lengths and hashes; of a tar all headers up to the end marker and the number of entries. With
// no manifest (nil) it is decompression and the tar alone, and the caller may compare the SHA-256 of the result with
// what else is known. An empty kind or codec is taken from the manifest, or else found out.
//
// It stops at the first thing that is wrong. A *DamageError tells in which frame, and for a tar in which entry; the
// result is then what was found right before. If progress is not nil, it is told after each step how many more bytes
// of src were read, by one goroutine at a time.
func Verify(ctx context.Context, src Source, m *Manifest, kind, codec string, progress func(int64)) (VerifyResult, error) {
	v := &verifier{src: src, m: m, kind: kind, codec: codec, raw: struct{ io.Writer }{io.Discard}, progress: progress}
	return v.all(ctx)
}

// VerifyTo is Verify of an archive that is no tar, and gives what it holds to w, as far as that was found right: whoever
// reads w's bytes must not act on them before VerifyTo has returned no error.
func VerifyTo(ctx context.Context, src Source, m *Manifest, codec string, w io.Writer, progress func(int64)) (VerifyResult, error) {
	v := &verifier{src: src, m: m, kind: KindDevice, codec: codec, raw: w, progress: progress}
	if m != nil {
		v.kind = m.Kind
	}
	return v.all(ctx)
}

type verifier struct {
	VerifyResult
	src         Source
	m           *Manifest
	kind, codec string
	raw         io.Writer // gets what the archive holds, unless it is a tar
	progress    func(int64)
}

func (v *verifier) all(ctx context.Context) (VerifyResult, error) {
	v.Size = v.src.Size()
	err := v.settle(ctx)
	if err == nil && v.m != nil {
		err = v.frames(ctx)
	} else if err == nil {
		err = v.stream(ctx)
	}
	return v.VerifyResult, err
}

func (v *verifier) found(format string, args ...any) {
	v.Checked = append(v.Checked, fmt.Sprintf(format, args...))
}

// settle decides what kind of archive it ought to be, and looks at the size.
func (v *verifier) settle(ctx context.Context) error {
	if m := v.m; m != nil {
		if v.kind != "" && v.kind != m.Kind || v.codec != "" && v.codec != m.Codec {
			return fmt.Errorf("the archive is a %s with %s, its manifest speaks of a %s with %s", v.kind, v.codec, m.Kind, m.Codec)
		}
		v.kind, v.codec = m.Kind, m.Codec
		if v.Size != m.Size {
			return fmt.Errorf("size is %d bytes, the manifest says %d", v.Size, m.Size)
		}
		v.found("size, %d bytes", v.Size)
		return nil
	}
	if v.kind != "" && v.codec != "" {
		return nil
	}
	codec, isTar, err := Detect(ctx, v.src)
	if err != nil {
		return err
	}
	if v.codec == "" {
		v.codec = codec
	}
	if v.kind == "" && isTar {
		v.kind = KindDir
	}
	return nil
}

// frames verifies with a manifest.
func (v *verifier) frames(ctx context.Context) error {
	r := newFrameReader(ctx, v.src, v.m, 0, len(v.m.Frames))
	defer r.Close()
	r.content, r.whole, r.progress = true, sha256.New(), v.progress
	if err := v.read(r); err != nil {
		return err
	}
	v.Frames = len(v.m.Frames)
	v.found("sha256 of each frame (%d), decoded to %d bytes", v.Frames, v.Raw)
	v.SHA256 = hex.EncodeToString(r.whole.Sum(nil))
	if v.m.SHA256 != "" {
		if v.SHA256 != v.m.SHA256 {
			return fmt.Errorf("sha256 is %s, the manifest says %s", v.SHA256, v.m.SHA256)
		}
		v.found("sha256 of the whole, %s", v.SHA256)
	}
	if v.kind == KindDir {
		if v.Entries != v.m.Entries {
			return fmt.Errorf("tar has %d entries, the manifest says %d", v.Entries, v.m.Entries)
		}
		v.found("tar, %d entries up to the end marker", v.Entries)
	}
	return nil
}

// stream verifies without a manifest.
func (v *verifier) stream(ctx context.Context) error {
	in := &sourceReader{ctx: ctx, src: v.src, sum: sha256.New(), progress: v.progress}
	r, err := newStream(v.codec, in)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := v.read(r); err != nil {
		return err
	}
	if in.off != v.Size {
		return fmt.Errorf("%s data end at byte %d of %d", v.codec, in.off, v.Size)
	}
	v.SHA256 = hex.EncodeToString(in.sum.Sum(nil))
	v.found("decoded to %d bytes", v.Raw)
	if v.kind == KindDir {
		v.found("tar, %d entries up to the end marker", v.Entries)
	}
	return nil
}

// read reads r to its end, as a tar if it is one.
func (v *verifier) read(r io.Reader) error {
	counted := &byteCounter{r: r}
	if v.kind != KindDir {
		_, err := io.CopyBuffer(v.raw, counted, make([]byte, 256<<10))
		v.Raw = counted.n
		return err
	}
	last := ""
	err := walkTar(counted, func(h *tar.Header, data io.Reader) error {
		v.Entries++
		last = h.Name
		if isSparse(h) {
			return nil // to be skipped, which costs nothing for its holes
		}
		_, err := io.Copy(io.Discard, data)
		var damage *DamageError
		if errors.As(err, &damage) {
			damage.Entry = h.Name
		}
		return err
	})
	v.Raw = counted.n
	var damage *DamageError
	if errors.As(err, &damage) && damage.Entry == "" {
		damage.Entry = last
	}
	return err
}

// isSparse tells whether an entry has holes that archive/tar gives out as zeros: in any of GNU tar's formats but
// PAX 1.0.
func isSparse(h *tar.Header) bool {
	_, pax := h.PAXRecords["GNU.sparse.realsize"]
	_, old := h.PAXRecords["GNU.sparse.size"]
	return pax || old || h.Typeflag == tar.TypeGNUSparse
}

// byteCounter counts what passes.
type byteCounter struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *byteCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
