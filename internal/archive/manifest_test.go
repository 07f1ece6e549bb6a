package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// testManifest returns a manifest with something in every field.
func testManifest(frames int) *Manifest {
	m := &Manifest{
		Version: ManifestVersion, Tool: "tinybackup 1.0", Archive: "no\xfftes-20261121T023000Z.tar.zst", Job: "3f2a91c0", Host: "box",
		Source: "/home/me/n\xc3\x28tes\n<&>", Kind: KindDir, Codec: CodecZstd, Policy: "last=14", Level: 3, FrameSize: 4 << 20,
		Start: time.Date(2026, 11, 21, 2, 30, 0, 123456789, time.UTC), End: time.Date(2026, 11, 21, 2, 31, 0, 0, time.UTC),
		SHA256: strings.Repeat("0123456789abcdef", 4), Entries: 77, Incomplete: true, Warnings: []string{"a: \xff", "b"}, WarningCount: 22,
		File: &FileMeta{Mode: 04755, UID: 1000, GID: 1<<32 - 2, User: "me", Group: "us\xfe", ModTime: time.Unix(1<<40, 999999999).UTC(),
			Xattrs: map[string][]byte{"user.x": {0, 1, 255}, "user.\xff": []byte("v")}, Size: 12345},
	}
	for i := range frames {
		f := Frame{Off: m.Size, Len: int64(10 + i), Raw: int64(i * 7), SHA256: sha256.Sum256([]byte{byte(i)}), First: fmt.Sprintf("notes/\xff\"%d\n", i)}
		if i%2 == 0 {
			f.Key, f.Content, f.First = sha256.Sum256([]byte{byte(i), 1}), sha256.Sum256([]byte{byte(i), 2}), ""
		}
		m.Frames = append(m.Frames, f)
		m.Size += f.Len
		m.Raw += f.Raw
	}
	return m
}

func TestManifestRoundTrip(t *testing.T) {
	for _, frames := range []int{0, 1, 2, 1000} {
		want := testManifest(frames)
		data, err := want.Encode()
		if err != nil {
			t.Fatalf("%d frames: Encode: %v", frames, err)
		}
		got, err := ReadManifest(data)
		if err != nil {
			t.Fatalf("%d frames: ReadManifest: %v", frames, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d frames:\n got %+v\nwant %+v", frames, got, want)
		}
		again, err := got.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%d frames: encoded again: %d bytes, %v; want the same %d", frames, len(again), err, len(data))
		}
	}
}

// TestManifestRefusesBadValues changes one value each, which both Encode and ReadManifest must refuse.
func TestManifestRefusesBadValues(t *testing.T) {
	for name, change := range map[string]func(*Manifest){
		"version 0":          func(m *Manifest) { m.Version = 0 },
		"version 2":          func(m *Manifest) { m.Version = 2 },
		"unknown kind":       func(m *Manifest) { m.Kind = "pipe" },
		"unknown codec":      func(m *Manifest) { m.Codec = "bzip2" },
		"frame 1 starts":     func(m *Manifest) { m.Frames[1].Off++ },
		"frame 2 starts":     func(m *Manifest) { m.Frames[1].Len++ },
		"frame 0 of 0 bytes": func(m *Manifest) { m.Frames[0].Len = 0 },
		"frame 0 of -10":     func(m *Manifest) { m.Frames[0].Len = -10 },
		"of -1 raw":          func(m *Manifest) { m.Frames[1].Raw = -1 },
		"frames make 21":     func(m *Manifest) { m.Frames = m.Frames[:2] },
		"make 21 raw":        func(m *Manifest) { m.Raw++ },
		"archive has 34":     func(m *Manifest) { m.Size++ },
		"bytes at byte":      func(m *Manifest) { m.Size-- },
		"raw size":           func(m *Manifest) { m.Raw = 1 << 62 },
		"archive size":       func(m *Manifest) { m.Size = -1 },
		"larger than":        func(m *Manifest) { m.Frames[0].Raw, m.Raw = 1<<40, 1<<40+21 },
		"frame size":         func(m *Manifest) { m.FrameSize = -1 },
		"entries":            func(m *Manifest) { m.Entries = -1 },
		"not lower-case hex": func(m *Manifest) { m.SHA256 = strings.ToUpper(m.SHA256) },
		"63 characters":      func(m *Manifest) { m.SHA256 = m.SHA256[1:] },
		"file mode":          func(m *Manifest) { m.File.Mode = 0100644 },
		"file size":          func(m *Manifest) { m.File.Size = -1 },
		"no compression":     func(m *Manifest) { m.Codec = CodecNone },
	} {
		m := testManifest(3)
		change(m)
		if _, err := m.Encode(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Encode gave %v", name, err)
		}
		if _, err := ReadManifest(pack(t, lines(t, m))); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: ReadManifest gave %v", name, err)
		}
	}
}

// TestManifestRefusesBadText changes the lines of a good manifest. The checksum is made right again, unless the
// change is to the last line.
func TestManifestRefusesBadText(t *testing.T) {
	good := lines(t, testManifest(3))
	end := len(good) - 1
	for name, change := range map[string]func([]string) []string{
		"truncated":                  func(l []string) []string { return l[:end] },
		"neither a frame nor":        func(l []string) []string { l[end] = `{"end":false}`; return l },
		"its last line says 4":       func(l []string) []string { l[end] = strings.Replace(l[end], `"frames":3`, `"frames":4`, 1); return l },
		"sha256 is":                  func(l []string) []string { l[end] = strings.Replace(l[end], `"sha256":"`, `"sha256":"0`, 1); return l },
		"data after":                 func(l []string) []string { return append(l, "x") },
		"line 2 is neither":          func(l []string) []string { l[1] = "{}"; return l },
		"header: ":                   func(l []string) []string { l[0] = "["; return l },
		"header: json":               func(l []string) []string { l[0] = strings.Replace(l[0], `"level":3`, `"level":"3"`, 1); return l },
		"version 7":                  func(l []string) []string { l[0] = `{"version":7,"level":"x"}`; return l },
		"not a list of 7":            func(l []string) []string { l[2] = l[2][:strings.LastIndex(l[2], `,`)] + "]"; return l },
		"list of 7":                  func(l []string) []string { l[2] = strings.TrimSuffix(l[2], "]") + ",1]"; return l },
		"frame 1: not a list":        func(l []string) []string { l[2] = `[null` + l[2][strings.Index(l[2], ","):]; return l },
		"frame 0: json: cannot":      func(l []string) []string { l[1] = strings.Replace(l[1], `[0,`, `[0.5,`, 1); return l },
		"frame 1: key: 1 characters": func(l []string) []string { l[2] = strings.Replace(l[2], `"",`, `"f",`, 1); return l },
		"frame 1: sha256":            func(l []string) []string { l[2] = strings.Replace(l[2], `,"`, `,"0`, 1); return l },
		"file mode \"9\"":            func(l []string) []string { l[0] = strings.Replace(l[0], `"mode":"4755"`, `"mode":"9"`, 1); return l },
		"nanoseconds":                func(l []string) []string { l[0] = strings.Replace(l[0], `,999999999]`, `,1000000000]`, 1); return l },
	} {
		changed := change(slices.Clone(good))
		if slices.Equal(changed, good) {
			t.Fatalf("%s: nothing changed in %q", name, good)
		}
		if len(changed) == len(good) && changed[end] == good[end] {
			changed = seal(changed)
		}
		if _, err := ReadManifest(pack(t, changed)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestManifestDamage cuts and flips the compressed bytes: every one is an error, none a panic.
func TestManifestDamage(t *testing.T) {
	data, err := testManifest(40).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		if _, err := ReadManifest(data[:i]); err == nil {
			t.Errorf("cut at byte %d of %d: no error", i, len(data))
		}
		bad := bytes.Clone(data)
		bad[i] ^= 1 << rand.N(8)
		if m, err := ReadManifest(bad); err == nil && !reflect.DeepEqual(m, testManifest(40)) {
			t.Errorf("flipped byte %d of %d: another manifest and no error", i, len(data))
		}
	}
	if _, err := ReadManifest(append(bytes.Clone(data), 'x')); err == nil {
		t.Error("a byte more: no error")
	}
	if _, err := ReadManifest(append(bytes.Clone(data), data...)); err == nil {
		t.Error("twice: no error")
	}
}

// TestManifestBomb gives a few kilobytes that decode to more than anybody has memory for.
func TestManifestBomb(t *testing.T) {
	var out bytes.Buffer
	z, err := zstdWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat([]byte(" "), 1<<20)
	for range maxLine>>20 + 1 {
		z.Write(block)
	}
	z.Close()
	if _, err := ReadManifest(out.Bytes()); err == nil || !strings.Contains(err.Error(), "a line of more than") {
		t.Errorf("%d bytes that decode to one long line: got %v", out.Len(), err)
	}
}

// lines returns what Encode compresses, without its checks.
func lines(t *testing.T, m *Manifest) []string {
	t.Helper()
	header, err := json.Marshal(m.headerLine())
	if err != nil {
		t.Fatal(err)
	}
	all := []string{string(header)}
	for i := range m.Frames {
		line, err := m.Frames[i].appendLine(nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(line))
	}
	return seal(append(all, fmt.Sprintf(`{"end":true,"frames":%d,"sha256":""}`, len(m.Frames))))
}

// seal makes the checksum in the last line right.
func seal(lines []string) []string {
	end := len(lines) - 1
	sum := sha256.Sum256([]byte(strings.Join(lines[:end], "\n") + "\n"))
	at := strings.Index(lines[end], `"sha256":"`) + len(`"sha256":"`)
	lines[end] = lines[end][:at] + hex.EncodeToString(sum[:]) + `"}`
	return lines
}

// pack compresses lines as Encode does.
func pack(t *testing.T, lines []string) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstdWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	z.Write([]byte(strings.Join(lines, "\n") + "\n"))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// FuzzManifest takes the text before compression, so that the fuzzer gets past zstd; the checksum is made right.
func FuzzManifest(f *testing.F) {
	m := testManifest(3)
	header, err := json.Marshal(m.headerLine())
	if err != nil {
		f.Fatal(err)
	}
	text := string(header) + "\n"
	for i := range m.Frames {
		line, err := m.Frames[i].appendLine(nil)
		if err != nil {
			f.Fatal(err)
		}
		text += string(line) + "\n"
	}
	f.Add(text)
	f.Add(`{"version":1}` + "\n")
	f.Add(`{"version":1,"kind":"dir","codec":"none","sha256":"` + m.SHA256 + `"}` + "\n[0,0,0,null]\n")
	f.Fuzz(func(t *testing.T, text string) {
		body := strings.TrimSuffix(text, "\n")
		all := seal(append(strings.Split(body, "\n"), fmt.Sprintf(`{"end":true,"frames":%d,"sha256":""}`, strings.Count(body, "\n"))))
		m, err := ReadManifest(pack(t, all))
		if err != nil {
			return
		}
		data, err := m.Encode()
		if err != nil {
			t.Fatalf("read, but not encoded again: %v", err)
		}
		again, err := ReadManifest(data)
		if err != nil {
			t.Fatalf("read, encoded, but not read again: %v", err)
		}
		if !reflect.DeepEqual(again, m) {
			t.Fatalf("\n got %+v\nwant %+v", again, m)
		}
	})
}

// TestManifestHead: the first bytes of a manifest tell all but its frames; without a sha256 of the whole as well.
func TestManifestHead(t *testing.T) {
	m := testManifest(3000)
	m.SHA256 = ""
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := ReadManifest(data)
	if err != nil || len(whole.Frames) != 3000 || !whole.Whole() {
		t.Fatalf("the whole: %v", err)
	}
	const least = 2 << 10
	if len(data) < 10*least {
		t.Fatalf("%d bytes are too few for this test", len(data))
	}
	for _, n := range []int{least, least + 1, len(data) / 2, len(data) - 1, len(data)} {
		head, err := ReadHead(data[:n])
		if err != nil {
			t.Fatalf("of %d bytes: %v", n, err)
		}
		if head.Whole() || len(head.Frames) != 0 {
			t.Errorf("of %d bytes: %d frames", n, len(head.Frames))
		}
		head.Frames = whole.Frames
		if !reflect.DeepEqual(head, whole) {
			t.Errorf("of %d bytes: got %+v\nwant %+v", n, head, whole)
		}
	}
	for _, n := range []int{0, 1, 20, 100} {
		if head, err := ReadHead(data[:n]); err == nil {
			t.Errorf("of %d bytes: got %+v", n, head)
		}
	}
	empty := testManifest(0)
	if empty.SHA256 = ""; !empty.Whole() {
		t.Error("a manifest of nothing lacks nothing")
	}
}
