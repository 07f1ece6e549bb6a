//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ageKey makes a key of age, and returns the path of its identity and its recipient.
func ageKey(t *testing.T) (file, recipient string) {
	t.Helper()
	need(t, "age", "age-keygen")
	file = filepath.Join(newDir(t), "key.txt")
	tool(t, "age-keygen", "-o", file)
	return file, strings.TrimSpace(tool(t, "age-keygen", "-y", file))
}

// TestEncryptedDevice writes an encrypted image onto a device, and nothing of one that is
// damaged, or that the key does not fit.
func TestEncryptedDevice(t *testing.T) {
	t.Parallel()
	inside(t)
	need(t, "cmp", "zstd")
	p := newProgram(t)
	key, recipient := ageKey(t)
	other, _ := ageKey(t)
	dest := newDir(t)
	device := smallCard(t, p, dest, "--encrypt", recipient)
	archive := newest(t, dest)
	if !strings.HasSuffix(archive, ".img.zst.age") {
		t.Errorf("the archive is called %s", archive)
	}
	tool(t, "sh", "-ec", `age -d -i "$1" "$2" | zstd -dcq | cmp - "$3"`, "sh", key, archive, device)

	target := oldDisk(t, 16<<20, 3)
	before := sum(content(t, target))
	p.exits(t, 2, "restore", "--yes", dest, target).says(t, "is encrypted", "hint: --identity FILE")
	p.exits(t, 1, "restore", "--yes", "--identity", other, dest, target).says(t, "none of the identities fits")
	good := content(t, archive)
	bad := append([]byte(nil), good...)
	bad[len(bad)/2] ^= 1
	check(t, os.WriteFile(archive, bad, 0o600))
	p.exits(t, 1, "restore", "--yes", "--identity", key, dest, target).says(t, "encrypted data are damaged", "nothing was written")
	if sum(content(t, target)) != before {
		t.Fatal("the device was written to")
	}
	check(t, os.WriteFile(archive, good, 0o600))
	p.exits(t, 0, "restore", "--yes", "--identity", key, dest, target).says(t, "read back and compared")
	tool(t, "cmp", device, target)
	image := filepath.Join(newDir(t), "card.img")
	p.exits(t, 0, "restore", "--identity", key, dest, image)
	tool(t, "cmp", device, image)
}

// TestPassphrase asks for that of an ssh key on a terminal, which does not show it, and
// which is as it was if nobody answers.
func TestPassphrase(t *testing.T) {
	t.Parallel()
	inside(t)
	need(t, "ssh-keygen")
	p := newProgram(t)
	source, dest, key := newDir(t), newDir(t), filepath.Join(newDir(t), "id_ed25519")
	write(t, filepath.Join(source, "a.txt"), "a\n")
	tool(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", key)
	p.run(t, "run", "--encrypt", key+".pub", source, dest)
	p.exits(t, 1, "restore", "--identity", key, dest, newDir(t)).says(t, "it has a passphrase, and there is no terminal to ask for it", "hint: ")

	back := newDir(t)
	term := newTerminal(t)
	wait := term.on(t, p.command("restore", "--identity", key, dest, back))
	term.shows(t, "Passphrase of "+key+": ")
	term.types(t, "open sesame\n")
	if code := wait(); code != 0 || readFile(t, filepath.Join(back, "a.txt")) != "a\n" {
		t.Errorf("exit status %d", code)
	}
	if strings.Contains(term.text(), "sesame") {
		t.Errorf("the terminal shows it: %s", term.text())
	}

	term = newTerminal(t)
	wait = term.on(t, p.command("verify", "--identity", key, dest))
	term.shows(t, "Passphrase of ")
	term.types(t, "\x03") // Control-C
	if code := wait(); code != 130 {
		t.Errorf("interrupted: exit status %d", code)
	}
	term.types(t, "it shows\n")
	term.shows(t, "it shows")
}
