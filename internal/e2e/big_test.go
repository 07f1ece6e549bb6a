//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// goTree is the source tree of Go, some 15,000 files.
func goTree(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skip("go is not installed")
	}
	root, err := filepath.EvalSymlinks(strings.TrimSpace(string(out)))
	check(t, err)
	return root
}

// TestGoTree backs up the Go tree and compares all of it: restored by tinybackup
// and by GNU tar.
func TestGoTree(t *testing.T) {
	inside(t)
	need(t, "tar", "zstd", "sha256sum")
	source := goTree(t)
	if !torture {
		source = filepath.Join(source, "src")
	}
	p := newProgram(t)
	dir := newDir(t)
	dest := mkdir(t, dir, "dst")
	p.exits(t, 0, "run", "--name", "go", source, dest)
	want := tree(t, source)
	t.Logf("%d files", len(want))

	to := filepath.Join(dir, "ours")
	p.exits(t, 0, "restore", dest, to)
	sameTree(t, tree(t, to), want, nil)
	check(t, os.RemoveAll(to))

	to = mkdir(t, dir, "theirs")
	tool(t, "tar", "--numeric-owner", "-xpf", newest(t, dest), "-C", to)
	sameTree(t, tree(t, filepath.Join(to, filepath.Base(source))), want, nil)
	toolIn(t, dest, "sha256sum", "--quiet", "-c", "SHA256SUMS")
	p.exits(t, 0, "verify", dest)
}

// TestGigabyte images an ext4 of 1 GiB with the Go sources on it.
func TestGigabyte(t *testing.T) {
	inside(t)
	need(t, "zstd", "cmp", "e2fsck", "cp")
	source := filepath.Join(goTree(t), "src")
	device := ext4(t, 1<<30, func(mnt string) {
		tool(t, "cp", "-a", source, filepath.Join(mnt, "src"))
		check(t, os.WriteFile(filepath.Join(mnt, "noise"), noise(100<<20, 3), 0o644))
		check(t, os.Remove(filepath.Join(mnt, "noise"))) // what is free is not empty
	})
	p := newProgram(t)
	dir := newDir(t)
	dest := mkdir(t, dir, "dst")
	p.exits(t, 0, "run", "--name", "disk", device, dest)
	same(t, []string{"zstd", "-qdc", newest(t, dest)}, device)
	image := filepath.Join(dir, "disk.img")
	p.exits(t, 0, "restore", dest, image)
	tool(t, "cmp", image, device)
	tool(t, "e2fsck", "-fn", image)
}
