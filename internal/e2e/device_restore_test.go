//go:build linux

package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// oldDisk is a loop device with somebody's data on it, that of seed.
func oldDisk(t *testing.T, size int, seed uint64) (device string) {
	t.Helper()
	file := filepath.Join(newDir(t), "old.img")
	check(t, os.WriteFile(file, noise(size, seed), 0o600))
	return loop(t, file)
}

// smallCard backs up a device with a file system on it, to dest.
func smallCard(t *testing.T, p *program, dest string, options ...string) (device string) {
	t.Helper()
	device = ext4(t, 16<<20, func(mnt string) {
		check(t, os.WriteFile(filepath.Join(mnt, "noise"), noise(3<<20, 1), 0o644))
		check(t, os.WriteFile(filepath.Join(mnt, "zeros"), make([]byte, 4<<20), 0o644))
	})
	p.exits(t, 0, append(append([]string{"run", "--all-blocks", "--name", "card"}, options...), device, dest)...)
	return device
}

// content is what a file or a device holds.
func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return b
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// says wants words in what a program printed.
func (o outcome) says(t *testing.T, words ...string) {
	t.Helper()
	for _, word := range words {
		if text := strings.Join(strings.Fields(o.stdout+o.stderr), " "); !strings.Contains(text, word) {
			t.Errorf("tinybackup %q: got %q, want it to say %q", o.args, text, word)
		}
	}
}

// TestRestoreDevice writes the image of a card onto devices that hold something else.
func TestRestoreDevice(t *testing.T) {
	t.Parallel()
	c := newCard(t)
	need(t, "cmp")
	p := newProgram(t)
	dest, dir := newDir(t), newDir(t)
	p.exits(t, 0, "run", "--name", "card", c.device, dest)
	image := filepath.Join(dir, "card.img")
	p.exits(t, 0, "restore", dest, image)
	c.same(t, image)

	const room = 5 << 20
	larger := oldDisk(t, cardSize+room, 9)
	o := p.exits(t, 0, "restore", "--yes", dest, larger)
	o.says(t, "restored 108.0 MiB onto "+larger, "read back and compared")
	tool(t, "cmp", "-n", fmt.Sprint(cardSize), image, larger)
	tool(t, "e2fsck", "-fn", fmt.Sprintf("%s?offset=%d", larger, cardExt))
	got, was := content(t, larger), noise(cardSize+room, 9)
	if !bytes.Equal(got[cardSize:cardSize+room-1<<20], was[cardSize:cardSize+room-1<<20]) {
		t.Error("what is behind the image was touched")
	}
	if len(bytes.Trim(got[cardSize+room-1<<20:], "\x00")) > 0 {
		t.Error("the old end of the device is there: it may hold another partition table")
	}

	// A file that nothing is known of, by name and by link.
	stranger := filepath.Join(dir, "somebody's image")
	check(t, os.Rename(newest(t, dest), stranger))
	equal := oldDisk(t, cardSize, 8)
	link := filepath.Join(dir, "card")
	check(t, os.Symlink(equal, link))
	var r struct {
		Target   string
		Bytes    int64
		Compared bool
		Notes    []string
	}
	p.json(t, &r, "restore", "--yes", stranger, link)
	if r.Target != equal || r.Bytes != cardSize || !r.Compared || len(r.Notes) != 0 {
		t.Errorf("got %+v, want %s with %d bytes, compared", r, equal, cardSize)
	}
	tool(t, "cmp", image, equal)

	// Smaller, but by something that no partition has. It is not empty here.
	smaller := oldDisk(t, cardSize-2<<20, 7)
	p.exits(t, 3, "restore", "--yes", stranger, smaller).says(t, "the last 2.0 MiB of that, which no partition has, are left out, and are not empty")
	tool(t, "cmp", "-n", fmt.Sprint(cardSize-2<<20), image, smaller)
	tiny := oldDisk(t, 100<<20, 6)
	before := sum(content(t, tiny))
	p.exits(t, 1, "restore", "--yes", stranger, tiny).says(t, "the image has 108.0 MiB (113246208 bytes)", "100.0 MiB (104857600 bytes)", "its partitions take 105.0 MiB")
	if sum(content(t, tiny)) != before {
		t.Error("a device that is too small was written to")
	}
}

// TestRestoreDeviceRefused tries devices that must not be written to.
func TestRestoreDeviceRefused(t *testing.T) {
	t.Parallel()
	inside(t)
	need(t, "mkfs.ext4", "mkswap", "swapon", "swapoff", "unshare", "losetup")
	p := newProgram(t)
	dest := newDir(t)
	smallCard(t, p, dest)
	look := func(what, device string) string {
		data := content(t, device)
		if what == "swap" {
			data = data[:4096] // the kernel writes behind the header, whenever it likes
		}
		return sum(data)
	}
	refused := func(what, device string, code int, args []string, words ...string) {
		t.Helper()
		before := look(what, device)
		o := p.exits(t, code, append(append([]string{"restore"}, args...), device)...)
		o.says(t, append(words, "hint: ")...)
		if look(what, device) != before {
			t.Errorf("%s: it was written to", what)
		}
	}
	yes := []string{"--yes", dest}
	card := oldDisk(t, 16<<20, 3)
	refused("no terminal", card, 2, []string{dest}, card, "--yes")
	refused("too small", oldDisk(t, 12<<20, 3), 1, yes, "16.0 MiB (16777216 bytes)", "12.0 MiB (12582912 bytes)", "no partition table")

	mounted := ext4(t, 30<<20, func(string) {})
	mnt := newDir(t)
	tool(t, "mount", "-o", "ro", mounted, mnt) // or the kernel may write
	refused("mounted", mounted, 1, yes, "is mounted at "+mnt)
	unmount(t, mnt)

	elsewhere := newDir(t)
	// What other tests unmount goes from there, too.
	box := begin(t, exec.Command("unshare", "-m", "--propagation", "slave", "sh", "-ec",
		`mount -o ro "$1" "$2"; touch "$3"; exec sleep 1000`, "sh", mounted, elsewhere, filepath.Join(mnt, "ready")))
	waitFor(t, time.Minute, "it is mounted elsewhere", func() bool {
		_, err := os.Stat(filepath.Join(mnt, "ready"))
		return err == nil
	})
	refused("mounted in another namespace", mounted, 1, yes, fmt.Sprintf("is mounted at %s for process %d (sleep)", elsewhere, box.cmd.Process.Pid))
	box.signal(t, syscall.SIGKILL)
	box.wait(t)

	swap := oldDisk(t, 30<<20, 4)
	tool(t, "mkswap", swap)
	tool(t, "swapon", swap)
	refused("swap", swap, 1, yes, "has swap in "+swap)
	tool(t, "swapoff", swap)

	// The archive is on it: by itself, and by way of another device.
	held := ext4(t, 40<<20, func(mnt string) { tool(t, "cp", "-a", dest+"/.", mnt) })
	tool(t, "mount", "-o", "ro", held, mnt)
	refused("it holds the archive", held, 1, []string{"--yes", mnt}, "holds the archive", "is mounted at "+mnt)
	unmount(t, mnt)
	over := loop(t, held)
	tool(t, "mount", "-o", "ro", over, mnt)
	refused("it holds the archive's disk", held, 1, []string{"--yes", mnt}, "holds the archive", "is what "+filepath.Base(over)+" shows")
	unmount(t, mnt)

	protected := filepath.Join(newDir(t), "protected.img")
	check(t, os.WriteFile(protected, noise(30<<20, 5), 0o600))
	ro := strings.TrimSpace(tool(t, "losetup", "-r", "-f", "--show", protected))
	t.Cleanup(func() { tool(t, "losetup", "-d", ro) })
	refused("read-only", ro, 1, yes, "is read-only")

	const missing = "/dev/tinybackup-is-not-there"
	p.exits(t, 1, append([]string{"restore"}, append(yes, missing)...)...).says(t, missing, "hint: lsblk")
	if _, err := os.Lstat(missing); err == nil {
		check(t, os.Remove(missing))
		t.Errorf("%s was made", missing)
	}
	tree := newDir(t)
	write(t, filepath.Join(mkdir(t, tree, "notes"), "a"), "a")
	p.run(t, "run", filepath.Join(tree, "notes"), mkdir(t, tree, "dst"))
	refused("a directory's archive", card, 2, []string{"--yes", filepath.Join(tree, "dst")}, "holds a directory")
}

// TestRestoreDeviceDamaged restores archives that are not as they were written: it is
// seen before anything is written.
func TestRestoreDeviceDamaged(t *testing.T) {
	t.Parallel()
	inside(t)
	p := newProgram(t)
	target := oldDisk(t, 16<<20, 3)
	before := sum(content(t, target))
	dest := newDir(t)
	device := smallCard(t, p, dest)
	for _, codec := range []string{"zstd", "none"} {
		p.exits(t, 0, "run", "--all-blocks", "--name", codec, "--compress", codec, device, dest)
		archive := filepath.Join(dest, slices.DeleteFunc(archives(t, dest), func(name string) bool { return !strings.HasPrefix(name, codec+"-") })[0])
		f, err := os.OpenFile(archive, os.O_RDWR, 0)
		check(t, err)
		b := make([]byte, 1)
		_, err = f.ReadAt(b, 1<<20)
		check(t, err)
		b[0] ^= 4
		_, err = f.WriteAt(b, 1<<20)
		check(t, err)
		check(t, f.Close())
		for _, known := range []bool{true, false} { // without a manifest, SHA256SUMS tells
			if !known {
				check(t, os.Remove(filepath.Join(dest, ".tinybackup", filepath.Base(archive)+".manifest")))
			}
			p.exits(t, 1, "restore", "--yes", "--name", codec, dest, target).says(t, "nothing was written to "+target, "hint: ")
			if sum(content(t, target)) != before {
				t.Fatalf("%s, manifest %v: the device was written to", codec, known)
			}
		}
	}
}

// TestRestoreDeviceAsked types the name of the device on a terminal, or something else.
func TestRestoreDeviceAsked(t *testing.T) {
	t.Parallel()
	inside(t)
	need(t, "script", "cmp")
	p := newProgram(t)
	dest := newDir(t)
	device := smallCard(t, p, dest)
	target := oldDisk(t, 16<<20, 3)
	before := sum(content(t, target))
	typed := func(text string) outcome {
		cmd := p.command("restore", dest, target)
		line := fmt.Sprintf("exec '%s' restore '%s' '%s'", cmd.Path, dest, target)
		asked := exec.Command("script", "-qec", line, "/dev/null")
		asked.Env, asked.Dir, asked.Stdin = cmd.Env, cmd.Dir, strings.NewReader(text)
		return finish(t, asked)
	}
	for _, text := range []string{"\n", "yes\n", "y\n", filepath.Base(device) + "\n", ""} {
		o := typed(text)
		o.says(t, target+": ", "16.0 MiB", "of "+device, "All that is on "+target+" will be lost. Type "+filepath.Base(target), "nothing was written")
		if o.code != 1 || sum(content(t, target)) != before {
			t.Fatalf("%q typed: exit status %d, or the device was written to", text, o.code)
		}
	}
	if o := typed(filepath.Base(target) + "\n"); o.code != 0 {
		t.Fatalf("its name typed: exit status %d: %s", o.code, o.stdout)
	}
	tool(t, "cmp", device, target)
}
