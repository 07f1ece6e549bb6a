package archive

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

// encodeBoth returns the sidecar of an encrypted archive, and what stands for the
// encrypted manifest in it: here it is only turned around.
func encodeBoth(t testing.TB, m *Manifest) (public *Manifest, data []byte) {
	t.Helper()
	plain, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	public = m.Public(m.Size+1000, strings.Repeat("ab", 32))
	if data, err = public.EncodeSealed(turned(plain)); err != nil {
		t.Fatal(err)
	}
	return public, data
}

func turned(data []byte) []byte {
	out := bytes.Clone(data)
	for i := range out {
		out[i] ^= 0xff
	}
	return out
}

func TestSealedManifestRoundTrip(t *testing.T) {
	for _, frames := range []int{0, 3, 1000} {
		want := testManifest(frames)
		public, data := encodeBoth(t, want)
		got, err := ReadManifest(data)
		if err != nil || !reflect.DeepEqual(got, public) {
			t.Fatalf("%d frames: %+v, %v; want %+v", frames, got, err, public)
		}
		part, err := got.SealedPart(data)
		if err != nil {
			t.Fatal(err)
		}
		if whole, err := got.ReadSealed(turned(part)); err != nil || !reflect.DeepEqual(whole, want) {
			t.Errorf("%d frames: %+v, %v", frames, whole, err)
		}
		if !got.OwnedBy(want.Host, want.Source) || got.OwnedBy(want.Host, want.Source+"x") || got.OwnedBy("x"+want.Host, want.Source) {
			t.Errorf("owner %s", got.Sealed.Owner)
		}
		if got.Empty() != want.Empty() {
			t.Errorf("%d frames: empty %v", frames, got.Empty())
		}
		if _, err := got.Encode(); err == nil {
			t.Error("a public part is encoded as if it were all")
		}
	}
}

// What is for nobody's eyes is in no byte of the public part.
func TestPublicPartTellsLittle(t *testing.T) {
	m := testManifest(5)
	m.Source, m.Snapshot = "/home/me/secret-source", "secret-view"
	m.File.User, m.Warnings, m.Frames[1].First = "secret-user", []string{"secret-warning"}, "secret-entry"
	_, data := encodeBoth(t, m)
	if _, err := exec.LookPath("zstd"); err != nil {
		t.Skip("zstd is not installed")
	}
	cmd := exec.Command("zstd", "-dc")
	cmd.Stdin = bytes.NewReader(data)
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("secret")) || bytes.Contains(data, []byte("secret")) {
		t.Errorf("it tells: %s", text)
	}
	var keys map[string]any
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"raw", "entries", "source", "file", "warnings", "tool", "level", "frameSize"} {
		if keys[key] != nil {
			t.Errorf("it tells %s: %v", key, keys[key])
		}
	}
}

func TestReadSealedRefusesAnother(t *testing.T) {
	m := testManifest(3)
	public, _ := encodeBoth(t, m)
	for name, change := range map[string]func(*Manifest){
		"another archive":    func(m *Manifest) { m.Archive = "b" },
		"another source":     func(m *Manifest) { m.Source = "/b" },
		"another host":       func(m *Manifest) { m.Host = "b" },
		"another kind":       func(m *Manifest) { m.Kind = KindFile },
		"another codec":      func(m *Manifest) { m.Codec = CodecXZ },
		"another serial":     func(m *Manifest) { m.Serial++ },
		"complete":           func(m *Manifest) { m.Incomplete = false },
		"another start":      func(m *Manifest) { m.Start = m.Start.Add(1) },
		"another empty":      func(m *Manifest) { m.Entries = 0 },
		"only a public part": func(m *Manifest) { m.Sealed = public.Sealed },
	} {
		other := testManifest(3)
		change(other)
		plain, err := other.Encode()
		if other.Sealed != nil {
			plain, err = other.Public(1, m.SHA256).EncodeSealed([]byte("x"))
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := public.ReadSealed(plain); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Whatever is changed, and wherever it is cut, no other public part comes out.
func TestSealedManifestDamage(t *testing.T) {
	public, data := encodeBoth(t, testManifest(20))
	head := len(data) - int(public.Sealed.Len) - 8
	for i := range data {
		if _, err := ReadManifest(data[:i]); err == nil {
			t.Errorf("cut at byte %d of %d: no error", i, len(data))
		}
		bad := bytes.Clone(data)
		bad[i] ^= 1 << rand.N(8)
		if got, err := ReadManifest(bad); err == nil && !reflect.DeepEqual(got, public) {
			t.Errorf("flipped byte %d of %d: another one and no error", i, len(data))
		}
		got, err := ReadHead(data[:i])
		if (err == nil) != (i >= head) && i < head-4 || err == nil && !reflect.DeepEqual(got, public) {
			t.Errorf("head of %d, cut at byte %d: %v", head, i, err)
		}
	}
	if _, err := ReadManifest(append(bytes.Clone(data), 'x')); err == nil {
		t.Error("a byte more: no error")
	}
}

func TestReadHead(t *testing.T) {
	for _, frames := range []int{0, 1, 5000} {
		want := testManifest(frames)
		data, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		want.Frames = nil
		for _, n := range []int{len(data), min(len(data), 64<<10), min(len(data), 700)} {
			if got, err := ReadHead(data[:n]); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%d frames, %d of %d bytes: %+v, %v", frames, n, len(data), got, err)
			}
		}
	}
	if _, err := ReadHead(nil); err == nil {
		t.Error("nothing at all is taken")
	}
}

// FuzzPublicPart takes the header's text and what follows it.
func FuzzPublicPart(f *testing.F) {
	public, data := encodeBoth(f, testManifest(2))
	header, err := public.encodeHead()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(header, data[len(data)-int(public.Sealed.Len)-8:])
	f.Add([]byte(`{"version":1,"kind":"dir","codec":"none","sealed":{"len":1}}`+"\n"), append(skipped(1), 'x'))
	f.Fuzz(func(t *testing.T, header, rest []byte) {
		data, err := zstdFrame(header)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, rest...)
		m, err := ReadManifest(data)
		if err != nil || m.Sealed == nil {
			return
		}
		head, err := ReadHead(data)
		if err != nil || !reflect.DeepEqual(head, m) {
			t.Fatalf("its head is %+v, %v; want %+v", head, err, m)
		}
		part, err := m.SealedPart(data)
		if err != nil || !bytes.HasSuffix(rest, part) {
			t.Fatalf("encrypted part: %d bytes, %v", len(part), err)
		}
		again, err := m.EncodeSealed(part)
		if err != nil {
			t.Fatalf("read, but not encoded again: %v", err)
		}
		if got, err := ReadManifest(again); err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("\n got %+v, %v\nwant %+v", got, err, m)
		}
	})
}
