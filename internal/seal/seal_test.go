package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"filippo.io/age"
)

// tool runs a program of others, which a test compares us with.
func tool(t *testing.T, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(name + " is not installed")
	}
	var out, said bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, said.Bytes())
	}
	return out.Bytes()
}

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// aKey is a recipient, and the file with its identity.
type aKey struct{ recipient, file string }

func x25519(t *testing.T) aKey {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return aKey{id.Recipient().String(), put(t, filepath.Join(t.TempDir(), "key.txt"), "# a key\n"+id.String()+"\n")}
}

func quantum(t *testing.T) aKey {
	t.Helper()
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return aKey{id.Recipient().String(), put(t, filepath.Join(t.TempDir(), "pq.txt"), id.String()+"\n")}
}

func sshKey(t *testing.T, kind, phrase string) aKey {
	t.Helper()
	path := filepath.Join(t.TempDir(), "id_"+kind)
	args := []string{"-q", "-t", kind, "-N", phrase, "-C", "me@home", "-f", path}
	if kind == "rsa" {
		args = append(args, "-b", "2048")
	}
	tool(t, nil, "ssh-keygen", args...)
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return aKey{strings.TrimSpace(string(public)), path}
}

func recipients(t *testing.T, values ...string) *Recipients {
	t.Helper()
	r, err := ReadRecipients(values)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func identities(t *testing.T, ask Ask, files ...string) *Identities {
	t.Helper()
	ids, err := ReadIdentities(files, ask)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func sealed(t *testing.T, r *Recipients, plain []byte) []byte {
	t.Helper()
	data, err := r.Bytes(plain)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// noise is n bytes that are the same each time.
func noise(n int) []byte {
	data := make([]byte, n)
	rnd := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = rnd.Read(data) // never fails
	return data
}

func TestEveryKeyReadsWhatWasSealedToIt(t *testing.T) {
	t.Parallel()
	plain := noise(200_000)
	for name, key := range map[string]aKey{
		"X25519": x25519(t), "post-quantum": quantum(t),
		"ssh-ed25519": sshKey(t, "ed25519", ""), "ssh-rsa": sshKey(t, "rsa", ""),
		"ssh-ed25519 with a passphrase": sshKey(t, "ed25519", "open sesame"),
	} {
		asked := 0
		ask := func(what string) ([]byte, error) {
			asked++
			if what != key.file {
				t.Errorf("%s: asked for the passphrase of %q", name, what)
			}
			return []byte("open sesame"), nil
		}
		ids := identities(t, ask, x25519(t).file, key.file)
		for range 2 {
			got, err := ids.Bytes(sealed(t, recipients(t, key.recipient), plain))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		if want := strings.Count(name, "passphrase"); asked != want {
			t.Errorf("%s: asked %d times, want %d", name, asked, want)
		}
	}
}

func TestEachOfTwoRecipientsReads(t *testing.T) {
	t.Parallel()
	a, b := x25519(t), sshKey(t, "ed25519", "")
	list := put(t, filepath.Join(t.TempDir(), "keys"), "# who reads\n\n"+a.recipient+"\n"+b.recipient+"\n")
	r := recipients(t, list)
	if r.Count() != 2 || r.ID() != recipients(t, b.recipient, a.recipient).ID() || r.ID() == recipients(t, a.recipient).ID() {
		t.Errorf("%d recipients, ID %s", r.Count(), r.ID())
	}
	data := sealed(t, r, []byte("hello"))
	for _, key := range []aKey{a, b} {
		if got, err := identities(t, nil, key.file).Bytes(data); err != nil || string(got) != "hello" {
			t.Errorf("%s: %q, %v", key.file, got, err)
		}
	}
	_, err := identities(t, nil, x25519(t).file, quantum(t).file).Bytes(data)
	if err == nil || err.Error() != "none of the identities fits: it is encrypted to 2 recipients" {
		t.Errorf("the wrong ones: %v", err)
	}
}

// The program age reads what we write, and we what it writes, armored identities with a
// passphrase and all sizes about those of chunks among it.
func TestAge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := filepath.Join(dir, "key.txt")
	tool(t, nil, "age-keygen", "-o", key)
	public := strings.TrimSpace(string(tool(t, nil, "age-keygen", "-y", key)))
	ids := identities(t, nil, key)
	for _, n := range []int{0, 1, chunk - 1, chunk, chunk + 1, 3*chunk + 7} {
		plain := noise(n)
		file := put(t, filepath.Join(dir, fmt.Sprint(n)), string(sealed(t, recipients(t, public), plain)))
		if got := tool(t, nil, "age", "-d", "-i", key, file); !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: age reads %d others", n, len(got))
		}
		if got, err := ids.Bytes(tool(t, plain, "age", "-r", public)); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes of age: %d, %v", n, len(got), err)
		}
	}
}

// counted is a source that counts how often and how much it is asked for.
type counted struct {
	*bytes.Reader
	calls, bytes atomic.Int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.calls.Add(1)
	c.bytes.Add(int64(len(p)))
	return c.Reader.ReadAt(p, off)
}

// Parts of a file come with few calls, and with no more bytes than they need.
func TestReadAt(t *testing.T) {
	t.Parallel()
	key := x25519(t)
	ids, to := identities(t, nil, key.file), recipients(t, key.recipient)
	for _, size := range []int{0, 1, chunk, 2*chunk + 1, maxPiece + 100, 3*maxPiece - 5} {
		plain := noise(size)
		src := &counted{Reader: bytes.NewReader(sealed(t, to, plain))}
		f, err := ids.Open(src)
		if err != nil || f.Size() != int64(size) {
			t.Fatalf("%d bytes: %v", size, err)
		}
		whole := make([]byte, size+10)
		if n, err := f.ReadAt(whole, 0); n != size || err != io.EOF || !bytes.Equal(whole[:n], plain) {
			t.Fatalf("%d bytes: read %d, %v", size, n, err)
		}
		rnd := rand.New(rand.NewPCG(uint64(size), 1))
		for range 50 {
			off := rnd.IntN(size + 1)
			p := make([]byte, rnd.IntN(size+2-off))
			src.calls.Store(0)
			src.bytes.Store(0)
			n, err := f.ReadAt(p, int64(off))
			if want := min(len(p), size-off); n != want || err != nil && (err != io.EOF || n == len(p)) || !bytes.Equal(p[:n], plain[off:off+n]) {
				t.Fatalf("%d bytes: %d at %d: read %d, %v", size, len(p), off, n, err)
			}
			if calls, most := src.calls.Load(), int64(len(p)/maxPiece+2); calls > most {
				t.Errorf("%d bytes: %d at %d: %d calls, want %d at most", size, len(p), off, calls, most)
			}
			if got, most := src.bytes.Load(), int64(len(p)+len(p)/1000+2*(chunk+overhead)); got > most {
				t.Errorf("%d bytes: %d at %d: %d read, want %d at most", size, len(p), off, got, most)
			}
		}
	}
}

// Whatever is changed in an encrypted file, and wherever it is cut, no wrong byte comes out.
func TestSealedDamage(t *testing.T) {
	t.Parallel()
	key := x25519(t)
	ids := identities(t, nil, key.file)
	plain := noise(3*chunk + 1000)
	good := sealed(t, recipients(t, key.recipient, x25519(t).recipient), plain)
	read := func(data []byte) ([]byte, error) {
		f, err := ids.Open(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		p := make([]byte, f.Size())
		for off := 0; off < len(p); off += 50_000 { // also within chunks
			n, err := f.ReadAt(p[off:min(off+50_000, len(p))], int64(off))
			if err != nil && err != io.EOF {
				return p[:off+n], err
			}
		}
		return p, nil
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		bad := bytes.Clone(good)
		what := ""
		if i%4 == 0 {
			bad = bad[:rnd.IntN(len(bad))]
			what = fmt.Sprintf("cut at %d", len(bad))
		} else {
			at := rnd.IntN(len(bad))
			if i%4 == 1 {
				at = rnd.IntN(600) // the header
			}
			bad[at] ^= 1 << rnd.IntN(8)
			what = fmt.Sprintf("byte %d", at)
		}
		got, err := read(bad)
		if err == nil || !bytes.HasPrefix(plain, got) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
	for _, at := range []int{len(good) - 2*(chunk+overhead), len(good) - 1000 - overhead} {
		if _, err := read(good[:at]); err == nil || !strings.Contains(err.Error(), "cut off") {
			t.Errorf("cut between chunks: %v", err)
		}
	}
	if _, err := read(append(bytes.Clone(good), good[len(good)-1000:]...)); err == nil {
		t.Error("bytes at the end are not seen")
	}
	if _, err := read([]byte("plain text, and no age")); err == nil || !strings.Contains(err.Error(), "not encrypted") {
		t.Errorf("plain text: %v", err)
	}
}

// brokenAt cannot be read from a byte on.
type brokenAt struct {
	Source
	at int64
}

var errBroken = errors.New("connection reset")

func (b *brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.at {
		return 0, errBroken
	}
	return b.Source.ReadAt(p, off)
}

// What cannot be read is not said to be damaged.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	key := x25519(t)
	ids := identities(t, nil, key.file)
	src := &brokenAt{Source: bytes.NewReader(sealed(t, recipients(t, key.recipient), noise(3*chunk)))}
	_, header := ids.Open(src)
	src.at = 8 << 10 // what is read for the header, and not the last chunk
	_, last := ids.Open(src)
	src.at = src.Size()
	f, err := ids.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	src.at = chunk
	_, one := f.ReadAt(make([]byte, 10), chunk)
	_, several := f.ReadAt(make([]byte, 2*chunk), 0)
	for i, err := range []error{header, last, one, several} {
		if err != errBroken {
			t.Errorf("%d: %v, want %v", i, err, errBroken)
		}
	}
}

func TestWriterTellsSizeAndSum(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := recipients(t, x25519(t).recipient).Writer(&out)
	_, err := w.Write(noise(100_000))
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(out.Bytes())
	if w.Size() != int64(out.Len()) || w.SHA256() != hex.EncodeToString(sum[:]) {
		t.Errorf("%d bytes, %s; want %d, %x", w.Size(), w.SHA256(), out.Len(), sum)
	}
	full := errors.New("full")
	w = recipients(t, x25519(t).recipient).Writer(&failing{left: 1000, err: full})
	if _, err = w.Write(noise(2 * chunk)); !errors.Is(err, full) || !errors.Is(w.Close(), full) {
		t.Errorf("a full disk: %v", err)
	}
}

// failing takes so many bytes.
type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}
