package tinybackup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tinybackup/internal/archive"
	"tinybackup/internal/store"
)

// ageKey makes a key of age, and returns the path of its identity and its recipient.
func ageKey(t *testing.T, more ...string) (file, recipient string) {
	t.Helper()
	if _, err := exec.LookPath("age-keygen"); err != nil {
		t.Skip("age is not installed")
	}
	file = filepath.Join(t.TempDir(), "key.txt")
	if out, err := exec.Command("age-keygen", append(more, "-o", file)...).CombinedOutput(); err != nil {
		t.Fatalf("age-keygen: %v\n%s", err, out)
	}
	out, err := exec.Command("age-keygen", "-y", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(out))
}

// encryptTo has a backup encrypted.
func encryptTo(values ...string) func(*Options) {
	return func(o *Options) { o.Encrypt = values }
}

// sameTree says how a directory differs from what it should hold; or "".
func sameTree(got, want map[string]string) string {
	for name, data := range want {
		if got[name] != data {
			return fmt.Sprintf("%s has %d bytes, want %d, or others", name, len(got[name]), len(data))
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d files, want %d", len(got), len(want))
	}
	return ""
}

// back restores the newest archive into a new directory.
func (b *bench) back(identity ...string) (map[string]string, error) {
	b.t.Helper()
	target := filepath.Join(b.t.TempDir(), "back")
	b.mkdir(target)
	_, err := Restore(b.t.Context(), b.env, RestoreOptions{From: b.dst, Target: target, Identity: identity})
	return contents(b.t, target), err
}

func TestEncrypted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	key, recipient := ageKey(t)
	other, _ := ageKey(t)
	r := b.good(encryptTo(recipient))
	if want := "notes-20261121T023000Z.tar.zst.age"; r.Archive != want || !r.Encrypted {
		t.Fatalf("report %+v", r)
	}
	b.checkSums(1)
	path := filepath.Join(b.dst, r.Archive)
	out, err := exec.Command("sh", "-c", `age -d -i "$1" "$2" | zstd -dcq | tar -tf -`, "sh", key, path).Output()
	if got, want := string(out), "notes/\nnotes/sub/\nnotes/sub/deep.txt\nnotes/todo.txt\n"; err != nil || got != want {
		t.Errorf("age -d | tar -t: %v\n%s", err, got)
	}
	side, err := os.ReadFile(filepath.Join(b.dst, store.SideDir, archive.SideName(r.Archive)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command("sh", "-c", `zstd -dcq <"$1"`, "sh", filepath.Join(b.dst, store.SideDir, archive.SideName(r.Archive))).Output()
	if err != nil || len(text) == 0 {
		t.Errorf("zstd -d of the manifest: %v", err)
	}
	for _, secret := range []string{"todo.txt", "deep.txt", b.src} {
		if bytes.Contains(side, []byte(secret)) || bytes.Contains(text, []byte(secret)) {
			t.Errorf("the manifest tells %q: %s", secret, text)
		}
	}

	l, err := List(t.Context(), b.env, ListOptions{Dest: b.dst})
	if err != nil || len(l.Archives) != 1 || !l.Archives[0].Encrypted || l.Archives[0].Doubt != "" || l.Foreign != 0 {
		t.Errorf("list: %+v, %v", l, err)
	}
	verify := func(identity ...string) VerifyReport {
		v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst, Identity: identity})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := verify(); v.Bad()+v.Closed() != 0 || v.Archives[0].Unopened == "" || len(v.Archives[0].Checked) != 3 {
		t.Errorf("verify without an identity: %+v", v)
	}
	if v := verify(key); v.Bad()+v.Closed() != 0 || v.Archives[0].Unopened != "" || v.Archives[0].Entries != 4 {
		t.Errorf("verify: %+v", v)
	}
	if v := verify(other); v.Bad() != 0 || v.Closed() != 1 || !strings.Contains(v.Archives[0].Unopened, "none of the identities fits: it is encrypted to 1 recipient") {
		t.Errorf("verify with another identity: %+v", v)
	}

	_, err = b.back()
	if usage := new(UsageError); !errors.As(err, &usage) || !strings.Contains(usage.Hint, "--identity") {
		t.Errorf("restore without an identity: %v", err)
	}
	_, err = b.back(other)
	wantHint(t, err, "none of the identities fits: it is encrypted to 1 recipient")
	got, err := b.back(other, key)
	if wrong := sameTree(got, contents(t, b.src)); err != nil || wrong != "" {
		t.Errorf("restore: %v, %s", err, wrong)
	}
	n := 0
	err = ListFiles(t.Context(), b.env, Choice{From: path, Identity: []string{key}}, func(FileEntry) error { n++; return nil })
	if err != nil || n != 4 {
		t.Errorf("list --files: %d, %v", n, err)
	}
}

// A file keeps its properties, and an archive can be read whatever it is called, and
// without its manifest.
func TestEncryptedFileAndForeign(t *testing.T) {
	t.Parallel()
	key, recipient := ageKey(t)
	for _, codec := range []string{"zstd", "xz", "none"} {
		b := newBench(t)
		file := filepath.Join(b.src, "todo.txt")
		if err := os.Chmod(file, 0o711|fs.ModeSetuid); err != nil {
			t.Fatal(err)
		}
		r := b.good(func(o *Options) { o.Source, o.Compress.Codec, o.Encrypt = file, codec, []string{recipient} })
		target := filepath.Join(t.TempDir(), "back")
		restore := func(from string, perm fs.FileMode) {
			t.Helper()
			_, err := Restore(t.Context(), b.env, RestoreOptions{From: from, Target: target, Identity: []string{key}, Overwrite: true})
			info, statErr := os.Stat(target)
			data, _ := os.ReadFile(target)
			if err != nil || statErr != nil || string(data) != "buy milk\n" || info.Mode() != perm {
				t.Errorf("%s: %s: %v, %v, %q", codec, from, err, info, data)
			}
		}
		restore(b.dst, 0o711|fs.ModeSetuid)
		if err := os.Remove(filepath.Join(b.dst, store.SideDir, archive.SideName(r.Archive))); err != nil {
			t.Fatal(err)
		}
		restore(b.dst, 0o600)
		foreign := filepath.Join(t.TempDir(), "mine")
		if err := os.Rename(filepath.Join(b.dst, r.Archive), foreign); err != nil {
			t.Fatal(err)
		}
		restore(foreign, 0o600)
	}
}

// The file of recipients is read by each run; all that it has can read what it makes.
func TestEncryptedRecipientsFile(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	oldKey, old := ageKey(t)
	newKey, fresh := ageKey(t)
	list := filepath.Join(t.TempDir(), "recipients")
	write := func(text string) {
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# the office\n" + old + "\n")
	b.good(encryptTo(list))
	write(fresh + "\n")
	b.good(encryptTo(list))
	if _, err := b.back(oldKey); err == nil || !strings.Contains(err.Error(), "none of the identities fits") {
		t.Errorf("with the key that was taken off: %v", err)
	}
	want := contents(t, b.src)
	if got, err := b.back(newKey); err != nil || sameTree(got, want) != "" {
		t.Errorf("with the new key: %v", err)
	}
	b.good(encryptTo(list, old))
	for _, key := range []string{oldKey, newKey} {
		if got, err := b.back(key); err != nil || sameTree(got, want) != "" {
			t.Errorf("with each of two keys: %v", err)
		}
	}
	for _, text := range []string{"", "# nobody\n", "AGE-SECRET-KEY-1QQQQ\n"} {
		write(text)
		_, err := b.run(encryptTo(list))
		wantHint(t, err, "recipient")
		if strings.Contains(err.Error(), "QQQ") {
			t.Errorf("it tells the secret: %v", err)
		}
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run(encryptTo(list)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is gone: %v", err)
	}
	if n := len(b.archives()); n != 3 {
		t.Errorf("%d archives, want 3: %q", n, b.archives())
	}
}

func TestEncryptedUsage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, recipient := ageKey(t)
	for _, edit := range []func(*Options){
		encryptTo("age1nobody"),
		encryptTo(recipient, ""),
		func(o *Options) { o.Encrypt, o.Bmap = []string{recipient}, true },
	} {
		_, err := b.run(edit)
		if usage := new(UsageError); !errors.As(err, &usage) || usage.Hint == "" {
			t.Errorf("%v, want a usage error with a hint", err)
		}
	}
	if len(b.files()) != 0 {
		t.Errorf("something is left: %q", b.files())
	}
}

// Whose archives they are is known although nobody can read whose.
func TestEncryptedOwner(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, recipient := ageKey(t)
	b.good(encryptTo(recipient))
	b.good(encryptTo(recipient))
	other := filepath.Join(filepath.Dir(b.src), "other")
	b.mkdir(other)
	_, err := b.run(func(o *Options) { o.Source, o.Name, o.Encrypt = other, "notes", []string{recipient} })
	if usage := new(UsageError); !errors.As(err, &usage) || !strings.Contains(usage.Msg, "another source") || strings.Contains(usage.Msg, b.src) {
		t.Errorf("another source: %v", err)
	}
	b.good(nil) // not encrypted any more
	b.good(encryptTo(recipient))
	if err := os.RemoveAll(b.src); err != nil {
		t.Fatal(err)
	}
	b.mkdir(b.src)
	_, err = b.run(encryptTo(recipient))
	wantHint(t, err, "is empty, and was not in the last backup")
	if n := len(b.archives()); n != 4 {
		t.Errorf("%d archives, want 4", n)
	}
}

// Whatever is changed in an encrypted archive or in what is remembered of it, and
// wherever they are cut: no wrong byte is restored, and verify finds it.
func TestEncryptedDamage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rnd := rand.New(rand.NewPCG(7, 7))
	for i := range 12 {
		data := make([]byte, 40_000)
		for j := range data {
			data[j] = byte(rnd.Uint32())
		}
		b.write(fmt.Sprintf("f%02d", i), string(data))
	}
	key, recipient := ageKey(t)
	r := b.good(func(o *Options) { o.Encrypt, o.BlockSize = []string{recipient}, minBlockSize })
	want := contents(t, b.src)
	files := []string{filepath.Join(b.dst, r.Archive), filepath.Join(b.dst, store.SideDir, archive.SideName(r.Archive))}
	side, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	public, err := archive.ReadManifest(side)
	if err != nil {
		t.Fatal(err)
	}
	for i := range times(60, 2000) {
		path := files[i%2]
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(good)
		if i%5 == 0 {
			bad = bad[:rnd.IntN(len(bad))]
		} else {
			bad[rnd.IntN(len(bad))] ^= 1 << rnd.IntN(8)
		}
		if m, err := archive.ReadManifest(bad); err == nil && reflect.DeepEqual(m, public) {
			continue // zstd has a bit that says nothing
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(t.TempDir(), "back")
		report, err := Restore(t.Context(), b.env, RestoreOptions{From: b.dst, Target: target, Identity: []string{key}})
		if i%2 == 0 && err == nil {
			t.Errorf("damage %d of the archive: restored", i)
		}
		if i%2 == 1 && (err != nil || report.WarningCount == 0) {
			t.Errorf("damage %d of the manifest: %v, %d warnings", i, err, report.WarningCount)
		}
		if _, statErr := os.Stat(target); statErr == nil {
			for name, data := range contents(t, target) {
				if want[name] != data {
					t.Errorf("damage %d: %s was restored with other bytes", i, name)
				}
			}
		}
		for _, identity := range [][]string{nil, {key}} {
			v, err := Verify(t.Context(), b.env, VerifyOptions{From: b.dst, Identity: identity})
			if err != nil || v.Bad()+v.Closed() != 1 {
				t.Errorf("damage %d: verify with %q: %+v, %v", i, identity, v.Archives, err)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A run that is ended leaves nothing, and the next one is as good as ever.
func TestEncryptedEnded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("large", strings.Repeat("x", 3<<20))
	key, recipient := ageKey(t)
	for _, phase := range []string{"reading", "checking"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		env := b.env
		env.Progress = func(p Progress) {
			if p.Phase == phase {
				cancel(errors.New("ended"))
			}
		}
		o := Options{Source: b.src, Dest: b.dst, Encrypt: []string{recipient}}
		o.BlockSize, o.Compress.Codec = minBlockSize, "none"
		if _, err := Run(ctx, env, o, ""); err == nil {
			t.Errorf("%s: it was not ended", phase)
		}
		if files := b.files(); len(files) != 1 || files[0] != ".tinybackup/notes.status" { // that it failed
			t.Errorf("%s: it left %q", phase, files)
		}
	}
	b.good(encryptTo(recipient))
	if got, err := b.back(key); err != nil || sameTree(got, contents(t, b.src)) != "" {
		t.Errorf("after it: %v", err)
	}
}
