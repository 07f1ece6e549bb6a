package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// tarOfTree returns a tar, by GNU tar, of notes/ with a few entries, and how many.
func tarOfTree(t testing.TB) ([]byte, int64) {
	t.Helper()
	needTools(t, "tar")
	top := filepath.Join(t.TempDir(), "notes")
	for _, dir := range []string{"a", "b/c"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"a/1", "a/2", "b/c/3"} {
		if err := os.WriteFile(filepath.Join(top, name), sample(700*i, uint64(i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a/1", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	return pipe(t, nil, "tar", "-C", filepath.Dir(top), "--sort=name", "--format=pax", "-cf", "-", "notes"), 8
}

func TestVerifyGood(t *testing.T) {
	t.Parallel()
	raw, entries := tarOfTree(t)
	for _, kind := range []string{KindDir, KindFile} {
		for _, codec := range testCodecs {
			data, m := makeArchive(t, kind, codec, raw, 3000)
			want := VerifyResult{Size: m.Size, Raw: m.Raw, Frames: len(m.Frames), SHA256: m.SHA256}
			if m.Entries = 1; kind == KindDir {
				m.Entries, want.Entries = entries, entries
			}
			for _, with := range []*Manifest{m, nil} {
				read := int64(0)
				got, err := Verify(context.Background(), bytes.NewReader(data), with, kind, codec, func(n int64) { read += n })
				if err != nil {
					t.Errorf("%s, %s, manifest %v: %v", kind, codec, with != nil, err)
				}
				if read != m.Size {
					t.Errorf("%s, %s, manifest %v: progress of %d bytes, want %d", kind, codec, with != nil, read, m.Size)
				}
				if len(got.Checked) < 1 || strings.Contains(strings.Join(got.Checked, "\n"), "tar") != (kind == KindDir) {
					t.Errorf("%s, %s, manifest %v: checked %q", kind, codec, with != nil, got.Checked)
				}
				if got.Checked = nil; with == nil {
					got.Frames = want.Frames
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s, %s, manifest %v:\n got %+v\nwant %+v", kind, codec, with != nil, got, want)
				}
			}
			// What it is need not be said.
			if kind == KindDir {
				if got, err := Verify(context.Background(), bytes.NewReader(data), nil, "", "", nil); err != nil || got.Entries != entries {
					t.Errorf("%s found out: %d entries, %v; want %d", codec, got.Entries, err, entries)
				}
			}
		}
	}
}

// TestVerifyFindsEveryFlip flips each byte of an archive: the manifest tells in which frame.
func TestVerifyFindsEveryFlip(t *testing.T) {
	t.Parallel()
	raw, entries := tarOfTree(t)
	for _, codec := range []string{CodecZstd, CodecGzip, CodecNone} {
		data, m := makeArchive(t, KindDir, codec, raw, 3000)
		m.Entries = entries
		for i := 0; i < len(data); i += 1 + len(data)/700 {
			data[i] ^= 0x04
			_, err := Verify(context.Background(), bytes.NewReader(data), m, "", "", nil)
			data[i] ^= 0x04
			frame := slices.IndexFunc(m.Frames, func(f Frame) bool { return int64(i) < f.Off+f.Len })
			var damage *DamageError
			if !errors.As(err, &damage) || damage.Frame != frame || damage.Off != m.Frames[frame].Off || !strings.Contains(err.Error(), "sha256") {
				t.Errorf("%s, byte %d: got %v, want damage of frame %d", codec, i, err, frame)
			}
		}
	}
}

func TestVerifyNamesTheEntry(t *testing.T) {
	t.Parallel()
	raw, entries := tarOfTree(t)
	at := func(name string) int {
		i := bytes.Index(raw, append([]byte(name), 0))
		if i < 0 {
			t.Fatalf("%s is not in the tar", name)
		}
		return i / tarBlock * tarBlock
	}
	for _, test := range []struct {
		byte        int
		entry, want string
	}{
		{at("notes/b/c/3") + 3*tarBlock - 1, "", "notes/b/c/3"}, // data
		{at("notes/a/2") + 1, "notes/a/2", "notes/a/2"},         // header at the start of a frame
		{at("notes/link") + 1, "", "notes/b/c/3"},               // header, which the manifest does not name
	} {
		data, m := makeArchive(t, KindDir, CodecNone, raw, tarBlock)
		m.Entries = entries
		data[test.byte] ^= 1
		m.Frames[test.byte/tarBlock].First = test.entry
		_, err := Verify(context.Background(), bytes.NewReader(data), m, "", "", nil)
		var damage *DamageError
		if !errors.As(err, &damage) || damage.Entry != test.want || !strings.Contains(err.Error(), test.want) {
			t.Errorf("byte %d: got %v, want entry %s", test.byte, err, test.want)
		}
	}
}

func TestVerifyFindsOtherDamage(t *testing.T) {
	t.Parallel()
	raw, entries := tarOfTree(t)
	end := len(bytes.TrimRight(raw, "\x00"))
	end = (end + tarBlock - 1) / tarBlock * tarBlock // where the end marker starts
	flipped := bytes.Clone(raw)
	flipped[3] ^= 0x40
	for _, test := range []struct {
		raw    []byte
		change func(*Manifest)
		want   string
	}{
		{raw, func(m *Manifest) { m.Size++ }, "size is"},
		{raw, func(m *Manifest) { m.SHA256 = strings.Repeat("0", 64) }, "sha256 is"},
		{raw, func(m *Manifest) { m.Entries++ }, fmt.Sprintf("tar has %d entries, the manifest says %d", entries, entries+1)},
		{raw, func(m *Manifest) { m.Frames[1].Content[0]++ }, "frame 1, bytes"},
		{raw, func(m *Manifest) { m.Frames[1].SHA256[0]++ }, "frame 1, bytes"},
		{raw, func(m *Manifest) { m.Frames[0].Raw-- }, "frame 0, bytes"},
		{raw[:end], nil, "tar ends too early, at byte " + fmt.Sprint(end)},
		{raw[:end+512], nil, "tar ends too early"},
		{raw[:end-1], nil, "tar ends too early"},
		{raw[:600], nil, "tar ends too early"},
		{append(bytes.Clone(raw[:end+1024]), "x"...), nil, "data after its end marker"},
		{append(bytes.Clone(raw[:end+1024]), raw...), nil, "data after its end marker"},
		{flipped, nil, "tar is damaged at byte 512"},
		{[]byte("no tar at all"), nil, "tar ends too early, at byte 13"},
	} {
		data, m := makeArchive(t, KindDir, CodecZstd, test.raw, 3000)
		m.Entries = entries
		if test.change == nil {
			_, err := Verify(context.Background(), bytes.NewReader(data), nil, KindDir, CodecZstd, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("without a manifest: got %v, want %s", err, test.want)
			}
		} else {
			test.change(m)
		}
		got, err := Verify(context.Background(), bytes.NewReader(data), m, KindDir, CodecZstd, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
		if err != nil && strings.Contains(strings.Join(got.Checked, " "), "end marker") {
			t.Errorf("%v, but checked %q", err, got.Checked)
		}
	}
	data, m := makeArchive(t, KindDir, CodecZstd, raw, 3000)
	if _, err := Verify(context.Background(), bytes.NewReader(data), m, KindFile, CodecZstd, nil); err == nil {
		t.Error("a dir's manifest for a file: no error")
	}
	if _, err := Verify(context.Background(), bytes.NewReader(data), m, KindDir, CodecXZ, nil); err == nil {
		t.Error("a zstd manifest for an xz: no error")
	}
	boom := errors.New("boom")
	var damage *DamageError
	if _, err := Verify(context.Background(), failingSource{bytes.NewReader(data), m.Frames[2].Off + 1, boom}, m, "", "", nil); !errors.Is(err, boom) ||
		!errors.As(err, &damage) || damage.Frame != 2 {
		t.Errorf("I/O error: got %v", err)
	}
}

// TestVerifyFindsFlipsWithoutManifest: then the checksums of the compression are all there is.
func TestVerifyFindsFlipsWithoutManifest(t *testing.T) {
	t.Parallel()
	raw, _ := tarOfTree(t)
	sum := sha256.Sum256(raw)
	for _, codec := range []string{CodecZstd, CodecGzip} {
		data, _ := makeArchive(t, KindDir, codec, raw, 3000)
		found, tried := 0, 0
		for i := 0; i < len(data); i += 1 + len(data)/500 {
			tried++
			data[i] ^= 0x80
			if _, err := Verify(context.Background(), bytes.NewReader(data), nil, KindDir, codec, nil); err != nil {
				found++
			} else if got, _ := readAll(bytes.NewReader(data), codec); sha256.Sum256(got) != sum {
				t.Errorf("%s, byte %d: other data than %s, and no error", codec, i, hex.EncodeToString(sum[:]))
			}
			data[i] ^= 0x80
		}
		if found < tried*9/10 {
			t.Errorf("%s: %d of %d flips found", codec, found, tried)
		}
	}
}
