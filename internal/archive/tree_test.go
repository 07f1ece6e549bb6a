//go:build linux

package archive

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// describe returns, for everything in dir and itself (""), its properties in words. It gets at any name, however
// long or odd. Access and change times are left out.
func describe(t testing.TB, dir string) map[string]string {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	all := make(map[string]string)
	first := make(map[uint64]string) // path by inode, for hard links
	describeDir(t, root, "", all, first)
	fi, err := root.Lstat(".")
	if err != nil {
		t.Fatal(err)
	}
	f, err := root.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all[""] = describeOne(t, root, f, ".", fi)
	return all
}

func describeDir(t testing.TB, root *os.Root, path string, all map[string]string, first map[uint64]string) {
	f, err := root.Open(".")
	if err != nil {
		t.Fatalf("%q: %v", path, err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		t.Fatalf("%q: %v", path, err)
	}
	slices.Sort(names)
	for _, name := range names {
		fi, err := root.Lstat(name)
		if err != nil {
			t.Fatalf("%q: %v", path+name, err)
		}
		text := describeOne(t, root, f, name, fi)
		st := fi.Sys().(*syscall.Stat_t)
		if st.Nlink > 1 && !fi.IsDir() {
			if first[st.Ino] == "" {
				first[st.Ino] = path + name
			}
			text += " same as " + first[st.Ino]
		}
		all[path+name] = text
		if fi.IsDir() {
			sub, err := root.OpenRoot(name)
			if err != nil {
				t.Fatalf("%q: %v", path+name, err)
			}
			describeDir(t, sub, path+name+"/", all, first)
			sub.Close()
		}
	}
}

func describeOne(t testing.TB, root *os.Root, dir *os.File, name string, fi fs.FileInfo) string {
	st := fi.Sys().(*syscall.Stat_t)
	text := fmt.Sprintf("%v %d:%d %v", fi.Mode(), st.Uid, st.Gid, fi.ModTime().UTC())
	switch {
	case fi.Mode().IsRegular():
		f, err := root.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf(" %d bytes %x", fi.Size(), sum.Sum(nil)[:8])
	case fi.Mode()&fs.ModeSymlink != 0:
		target, err := root.Readlink(name)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf(" to %q", target)
	case fi.Mode()&fs.ModeDevice != 0:
		text += fmt.Sprintf(" %d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
	}
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
	if name == "." {
		path = fmt.Sprintf("/proc/self/fd/%d/.", dir.Fd())
	}
	list := make([]byte, 4096)
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	attrs := strings.FieldsFunc(string(list[:n]), func(r rune) bool { return r == 0 })
	slices.Sort(attrs)
	for _, attr := range attrs {
		value := make([]byte, 4096)
		n, err := unix.Lgetxattr(path, attr, value)
		if err != nil {
			t.Fatalf("%s: %s: %v", name, attr, err)
		}
		text += fmt.Sprintf(" %s=%x", attr, value[:n])
	}
	return text
}

// compare reports what differs between two descriptions.
func compare(t testing.TB, got, want map[string]string) {
	t.Helper()
	paths := make(map[string]bool)
	for path := range got {
		paths[path] = true
	}
	for path := range want {
		paths[path] = true
	}
	for path := range paths {
		if got[path] != want[path] {
			t.Errorf("%.200q:\n got %s\nwant %s", path, got[path], want[path])
		}
	}
}

// weirdNames are names that file systems take.
var weirdNames = []string{"new\nline", "\xff\xfe not UTF-8", "-rf", "back\\slash", " blank ", "tab\t", "ünïcödé", "*", "\"quoted\"", "...", strings.Repeat("n", 255)}

// run runs a program that must succeed.
func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// makeTree makes dir/notes with one of everything, as root.
func makeTree(t testing.TB, dir string) {
	t.Helper()
	needTools(t, "setfacl", "setcap", "setfattr")
	if os.Geteuid() != 0 {
		t.Skip("root is not here: owners and device nodes can't be made")
	}
	top := filepath.Join(dir, "notes")
	p := func(name string) string { return filepath.Join(top, name) }
	for _, sub := range []string{"plain", "read-only/deep", "weird", "nodes", "links/sub", "acl", "sticky", "setgid", "none/sub"} {
		noError(t, os.MkdirAll(p(sub), 0o755))
	}
	write := func(name string, data []byte, mode os.FileMode) {
		t.Helper()
		noError(t, os.WriteFile(p(name), data, 0o600))
		noError(t, os.Chmod(p(name), mode))
	}
	write("plain/empty", nil, 0o644)
	write("plain/small", []byte("hello\n"), 0o640)
	write("plain/large", sample(1_300_001, 11), 0o600)
	write("plain/zeros", make([]byte, 300_000), 0o644)
	write("plain/no-mode", []byte("x"), 0)
	write("plain/program", []byte("#!/bin/sh\n"), 0o755)
	write("plain/capable", []byte("ping"), 0o755)
	write("read-only/deep/file", []byte("r"), 0o444)
	write("none/file", []byte("n"), 0o400)
	write("none/sub/file", []byte("n"), 0o400)
	for _, name := range weirdNames {
		write("weird/"+name, []byte(name), 0o644)
	}

	f, err := os.Create(p("plain/sparse"))
	noError(t, err)
	for _, at := range []int64{1 << 20, 5<<20 + 100, 40 << 20} {
		_, err = f.WriteAt(sample(10_000, uint64(at)), at)
		noError(t, err)
	}
	noError(t, f.Truncate(64<<20+1))
	noError(t, f.Close())

	noError(t, os.Symlink("small", p("links/relative")))
	noError(t, os.Symlink("/etc/passwd", p("links/absolute")))
	noError(t, os.Symlink("../../../..", p("links/up")))
	noError(t, os.Symlink("no\nwhere\xff", p("links/dangling")))
	noError(t, os.Symlink("sub", p("links/dir")))
	noError(t, os.Link(p("plain/small"), p("links/hard1")))
	noError(t, os.Link(p("plain/small"), p("links/sub/hard2")))
	noError(t, os.Link(p("links/dangling"), p("links/hard-symlink")))

	noError(t, unix.Mkfifo(p("nodes/fifo"), 0o620))
	noError(t, unix.Mknod(p("nodes/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	noError(t, unix.Mknod(p("nodes/block"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))

	noError(t, os.Lchown(p("plain/program"), 12345, 54321))
	noError(t, os.Lchown(p("links/absolute"), 12345, 0))
	noError(t, os.Lchown(p("nodes/fifo"), 1, 2)) // daemon, bin
	noError(t, unix.Chmod(p("plain/program"), 0o6755))

	run(t, "setfacl", "-m", "u:1:rwx,u:12345:r,g:2:x,m:rw", p("plain/large"))
	run(t, "setfacl", "-m", "u:daemon:rwx", "-d", "-m", "u:2:rw,g:2:r", p("acl"))
	run(t, "setcap", "cap_net_raw+ep", p("plain/capable"))
	run(t, "setfattr", "-n", "user.comment", "-v", "0x00ff0a3d", p("plain/small"))
	run(t, "setfattr", "-n", "user.=a=%3D", "-v", "b", p("plain"))
	run(t, "setfattr", "-h", "-n", "trusted.x", "-v", "y", p("links/relative"))

	// A path of some 4000 bytes.
	root, err := os.OpenRoot(p("weird"))
	noError(t, err)
	for i := range 15 {
		name := fmt.Sprintf("%d%s", i, strings.Repeat("-long", 50))
		noError(t, root.Mkdir(name, 0o755))
		sub, err := root.OpenRoot(name)
		noError(t, err)
		root.Close()
		root = sub
	}
	noError(t, root.WriteFile("end", []byte("of a long path"), 0o644))
	root.Close()

	times := map[string]time.Time{
		"plain/small": time.Unix(1234567890, 123456789), "plain/empty": time.Unix(-100, 999999999), "plain/large": time.Unix(1<<33, 1),
		"plain/zeros": time.Unix(0, 0), "links/relative": time.Unix(5, 6), "nodes/fifo": time.Unix(7, 8),
		"links/sub": time.Unix(9, 10), "plain": time.Unix(11, 12), "nodes": time.Unix(13, 14), "": time.Unix(15, 16),
	}
	for name, at := range times {
		ts := []unix.Timespec{unix.NsecToTimespec(at.UnixNano()), unix.NsecToTimespec(at.UnixNano())}
		noError(t, unix.UtimesNanoAt(unix.AT_FDCWD, p(name), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
	for name, mode := range map[string]uint32{"read-only/deep": 0o555, "read-only": 0o500, "sticky": 0o1777, "setgid": 0o2775, "none": 0, "": 0o550} {
		noError(t, unix.Chmod(p(name), mode))
	}
}

// gnuTar returns a tar of dir/notes with everything that GNU tar can store.
func gnuTar(t testing.TB, dir string, args ...string) []byte {
	t.Helper()
	needTools(t, "tar")
	args = append([]string{"-C", dir, "--sort=name", "-cf", "-"}, args...)
	return pipe(t, nil, "tar", append(args, "notes")...)
}

var fullTar = []string{"--format=pax", "--xattrs", "--xattrs-include=*", "--acls", "-S"}

// allocated returns how many bytes a file takes on the disk.
func allocated(t testing.TB, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	noError(t, unix.Lstat(path, &st))
	return st.Blocks * 512
}
