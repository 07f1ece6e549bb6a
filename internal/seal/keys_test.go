package seal

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// lockKey is an identity file with a passphrase, armored or not.
func lockKey(t *testing.T, key aKey, phrase string, armored bool) string {
	t.Helper()
	text, err := os.ReadFile(key.file)
	if err != nil {
		t.Fatal(err)
	}
	to, err := age.NewScryptRecipient(phrase)
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(10)
	var out bytes.Buffer
	var in io.WriteCloser = struct {
		io.Writer
		io.Closer
	}{&out, io.NopCloser(nil)}
	if armored {
		in = armor.NewWriter(&out)
	}
	w, err := age.Encrypt(in, to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close(), in.Close()); err != nil {
		t.Fatal(err)
	}
	return put(t, filepath.Join(t.TempDir(), "locked"), out.String())
}

// What is encrypted may end in any byte, also in one that is a blank in a text.
func TestIdentityFileEndsInBlank(t *testing.T) {
	t.Parallel()
	data := []byte(magic + "v1\n-> scrypt …\n--- …\n\x00\xff \n")
	got, err := (&asker{}).parse("locked", data)
	if err != nil {
		t.Fatal(err)
	}
	if locked, ok := got[0].(*lockedFile); !ok || !bytes.Equal(locked.data, data) {
		t.Errorf("got %+v, want all %d bytes", got[0], len(data))
	}
}

func TestIdentityFileWithPassphrase(t *testing.T) {
	t.Parallel()
	for _, armored := range []bool{false, true} {
		key := x25519(t)
		file := lockKey(t, key, "right", armored)
		data := sealed(t, recipients(t, key.recipient), []byte("hello"))
		ask := func(phrase string) Ask { return func(string) ([]byte, error) { return []byte(phrase), nil } }
		if got, err := identities(t, ask("right"), file).Bytes(data); err != nil || string(got) != "hello" {
			t.Errorf("armored %v: %q, %v", armored, got, err)
		}
		if _, err := identities(t, ask("wrong"), file).Bytes(data); err == nil || !strings.Contains(err.Error(), "passphrase is wrong") {
			t.Errorf("armored %v, a wrong passphrase: %v", armored, err)
		}
		var e *Error
		if _, err := identities(t, nil, file).Bytes(data); !errors.As(err, &e) || !strings.Contains(e.Msg, "no terminal") || e.Hint() == "" {
			t.Errorf("armored %v, nobody to ask: %v", armored, err)
		}
	}
}

func TestSSHPassphrase(t *testing.T) {
	t.Parallel()
	key := sshKey(t, "ed25519", "right")
	data := sealed(t, recipients(t, key.recipient), []byte("hello"))
	_, err := identities(t, func(string) ([]byte, error) { return []byte("wrong"), nil }, key.file).Bytes(data)
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Msg, "passphrase is wrong") || !strings.Contains(e.Msg, key.file) {
		t.Errorf("a wrong one: %v", err)
	}
	if _, err := identities(t, nil, key.file).Bytes(data); !errors.As(err, &e) || !strings.Contains(e.Msg, "no terminal") {
		t.Errorf("nobody to ask: %v", err)
	}
}

func TestBadKeys(t *testing.T) {
	t.Parallel()
	key, pq := x25519(t), quantum(t)
	secret, err := os.ReadFile(key.file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, text string) string { return put(t, filepath.Join(dir, name), text) }
	for _, c := range []struct {
		values []string
		want   string
	}{
		{[]string{filepath.Join(dir, "missing")}, "no such file"},
		{[]string{file("empty", "# nobody\n\n")}, "no recipient is in it"},
		{[]string{key.file}, "it is an identity"},
		{[]string{file("both", key.recipient+"\n"+string(secret))}, "both:3: it is an identity"},
		{[]string{strings.TrimSpace(strings.Split(string(secret), "\n")[1])}, "it is an identity"},
		{[]string{sshKey(t, "ed25519", "").file}, "it is an identity"},
		{[]string{key.recipient[:30]}, "is no recipient"},
		{[]string{"ssh-ed25519 AAAA"}, "is no recipient"},
		{[]string{file("ecdsa", "ecdsa-sha2-nistp256 AAAA me\n")}, "ecdsa:1: "},
		{[]string{file("phrase", "AGE-SECRET-KEY-1? no, correct horse\n")}, "phrase:1: it is an identity"},
		{[]string{file("password", "correct horse\n")}, "password:1: it is no recipient"},
		{[]string{file("many", strings.Repeat(key.recipient+"\n", 1025))}, "1025 recipients are too many"},
		{[]string{key.recipient, pq.recipient}, "can't mix post-quantum"},
		{[]string{""}, "no such file"},
	} {
		_, err := ReadRecipients(c.values)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Msg, c.want) || e.Hint() == "" {
			t.Errorf("%.60q: %v, want %q and a hint", c.values, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "AGE-SECRET-KEY-1") || strings.Contains(err.Error(), "horse")) {
			t.Errorf("%.60q: the error tells the secret", c.values)
		}
	}
	old := filepath.Join(dir, "old")
	tool(t, nil, "ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "phrase", "-f", old)
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"):                 "no such file",
		file("none", "# nothing\n"):                   "no identities found",
		file("public", key.recipient+"\n"):            "public key",
		file("other", "hello\n"):                      "unknown identity type",
		file("broken", string(secret[:40])):           "identity file",
		file("large", strings.Repeat("#\n", maxKeys)): "larger than",
		old: "old format",
	} {
		_, err := ReadIdentities([]string{path}, nil)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Msg, want) || e.Hint() == "" {
			t.Errorf("identity %q: %v, want %q and a hint", path, err, want)
		}
	}
	if err := CheckRecipient(""); err == nil {
		t.Error("an empty value is taken")
	}
	if _, err := ReadRecipients([]string{file("most", strings.Repeat(key.recipient+"\n", 1024))}); err != nil {
		t.Errorf("1024 recipients: %v", err)
	}
	for _, good := range []string{key.recipient, pq.recipient, "/some/file", "keys.txt"} {
		if err := CheckRecipient(good); err != nil {
			t.Errorf("%.40q: %v", good, err)
		}
	}
}
