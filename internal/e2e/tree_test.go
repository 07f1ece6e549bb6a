//go:build linux

package e2e

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// longPath is how many bytes the longest path in a hard tree has, from the tree's
// own name on. With the directory it is made in, it must stay below PATH_MAX.
const longPath = 4000

// noise is n bytes that nothing compresses, always the same.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b) // never fails
	return b
}

// hardTree makes a directory with everything a file system can hold that is not
// easy to get back.
func hardTree(t *testing.T, root string) {
	t.Helper()
	m := maker{t: t, root: root}
	m.check(os.Mkdir(root, 0o755))
	m.contents()
	m.names()
	m.owners()
	m.attributes()
	m.links()
	m.specials()
	m.long()
	m.times() // last: all the others change the times of directories
}

type maker struct {
	t    *testing.T
	root string
}

func (m maker) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m maker) path(name string) string { return filepath.Join(m.root, name) }

func (m maker) file(name string, data []byte) string {
	m.t.Helper()
	m.check(os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	m.check(os.WriteFile(m.path(name), data, 0o644))
	return m.path(name)
}

// contents are files of many sizes, and files with holes.
func (m maker) contents() {
	for _, n := range []int{0, 1, 511, 512, 513, 4096, 1 << 20, 9<<20 + 1} {
		m.file(fmt.Sprintf("size/%d", n), noise(n, uint64(n)))
	}
	for i := range 500 {
		m.file(fmt.Sprintf("many/%02d/%03d.txt", i%7, i), []byte(strings.Repeat(fmt.Sprintln("line", i), i)))
	}
	holes := []struct {
		name string
		size int64
		data []int64 // where a block is written
	}{
		{"sparse/hole-only", 64 << 20, nil},
		{"sparse/hole-first", 16 << 20, []int64{12 << 20}},
		{"sparse/hole-last", 16 << 20, []int64{0}},
		{"sparse/holes", 40 << 20, []int64{1 << 20, 5 << 20, 6 << 20, 33 << 20}},
		{"sparse/odd-end", 20<<20 + 777, []int64{8 << 20}},
		{"sparse/huge", 1 << 35, []int64{1 << 30, 1<<35 - 4096}},
	}
	m.check(os.MkdirAll(m.path("sparse"), 0o755))
	for i, h := range holes {
		f, err := os.Create(m.path(h.name))
		m.check(err)
		m.check(f.Truncate(h.size))
		for _, off := range h.data {
			_, err := f.WriteAt(noise(4096, uint64(i)), off)
			m.check(err)
		}
		m.check(f.Close())
	}
	// Zeros that are written are no hole.
	m.file("sparse/zeros", make([]byte, 1<<20))
}

// names are what a file may be called.
func (m maker) names() {
	for _, name := range []string{
		"new\nline", "tab\tbell\a", "\xff\xfe not utf-8 \x80", "latin-1 gr\xfcn", "nfd u\u0308", "-rf", "--help", " leading and trailing ",
		`back\slash`, `quotes "double" 'single'`, "*?[glob]{a,b}", "$(touch x)`y`;z", "percent%n%%", "equals=sign",
		"PaxHeaders.0", "GNUSparseFile.0", "\x1b[31mred", "\u202eright-to-left", strings.Repeat("n", 255), strings.Repeat("\xff", 255), "a:b", "~", "#x#",
	} {
		m.file("names/"+name, []byte(name))
		m.check(os.MkdirAll(m.path("names/dir "+name[:min(len(name), 240)]), 0o755))
	}
}

// owners are modes and owners, known and unknown to the machine.
func (m maker) owners() {
	for _, mode := range []uint32{0, 0o400, 0o644, 0o777, 0o4755, 0o2755, 0o1644, 0o7777} {
		m.check(unix.Chmod(m.file(fmt.Sprintf("mode/file-%04o", mode), nil), mode))
		dir := m.path(fmt.Sprintf("mode/dir-%04o", mode))
		m.check(os.Mkdir(dir, 0o755))
		m.file(fmt.Sprintf("mode/dir-%04o/inside", mode), nil)
		m.check(unix.Chmod(dir, mode))
	}
	for _, id := range []int{1, 65534, 2097151, 2097152, 3000000000} {
		path := m.file(fmt.Sprintf("owner/%d", id), nil)
		m.check(os.Lchown(path, id, id+1))
		m.check(os.Symlink("nowhere", path+"-link"))
		m.check(os.Lchown(path+"-link", id+1, id))
	}
	// A set-user-ID bit is lost by a chown that comes after the chmod.
	path := m.file("owner/setuid", nil)
	m.check(os.Lchown(path, 4242, 4242))
	m.check(unix.Chmod(path, 0o6755))
}

// attributes are extended attributes, access lists and capabilities.
func (m maker) attributes() {
	set := func(path, name string, value []byte) {
		m.t.Helper()
		if err := unix.Lsetxattr(path, name, value, 0); err != nil {
			m.t.Fatalf("setxattr %q %s: %v", path, name, err)
		}
	}
	path := m.file("attr/user", []byte("x"))
	set(path, "user.text", []byte("a value"))
	set(path, "user.empty", nil)
	set(path, "user.binary", []byte("\x00\xff\n=\x00"))
	set(path, "user.long", noise(1500, 1))
	set(path, "user.grün \xff", []byte("name"))
	set(m.path("attr"), "user.of-a-directory", []byte("d"))
	set(path, "trusted.tree", []byte("only root sees this"))
	m.check(os.Symlink("user", m.path("attr/link")))
	set(m.path("attr/link"), "trusted.link", []byte("of the link itself"))

	acl := m.file("attr/acl", []byte("x"))
	tool(m.t, "setfacl", "-m", "u:1234:rwx,g:4321:r,m::rx", acl)
	dir := m.path("attr/acl-dir")
	m.check(os.Mkdir(dir, 0o755))
	tool(m.t, "setfacl", "-m", "u:1234:rwx", "-d", "-m", "u:1234:rw,g:daemon:rx", dir)
	m.file("attr/acl-dir/inherits", []byte("x"))

	ping := m.file("attr/capable", []byte("x"))
	tool(m.t, "setcap", "cap_net_raw,cap_net_bind_service+ep", ping)
	m.check(os.Lchown(m.file("attr/capable-owned", []byte("x")), 4242, 4242))
	tool(m.t, "setcap", "cap_net_raw+ep", m.path("attr/capable-owned"))
}

// links are names that share an inode, or point somewhere.
func (m maker) links() {
	path := m.file("z-hard/1", noise(3<<20, 9))
	m.check(os.MkdirAll(m.path("a-hard"), 0o755))
	m.check(os.Link(path, m.path("a-hard/2")))
	m.check(os.Link(path, m.path("z-hard/3")))
	m.check(os.MkdirAll(m.path("links"), 0o755))
	for i, target := range []string{"../size/1", "/etc/passwd", "dangling", "loop", "new\nline", "\xff\xfe", strings.Repeat("t", 4095), "."} {
		m.check(os.Symlink(target, m.path(fmt.Sprintf("links/%d", i))))
	}
	m.check(os.Symlink("loop", m.path("links/loop")))
	m.check(unix.Linkat(unix.AT_FDCWD, m.path("links/2"), unix.AT_FDCWD, m.path("links/2-again"), 0))
}

// specials are what is neither file, directory nor link.
func (m maker) specials() {
	m.check(os.MkdirAll(m.path("special"), 0o755))
	m.check(unix.Mkfifo(m.path("special/fifo"), 0o622))
	m.check(unix.Link(m.path("special/fifo"), m.path("special/fifo-again")))
	m.check(unix.Mknod(m.path("special/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	m.check(unix.Mknod(m.path("special/block"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))
}

// long is a path of longPath bytes, counted from the tree's own name.
func (m maker) long() {
	name := "long"
	m.check(os.Mkdir(m.path(name), 0o755))
	for {
		room := longPath - len(filepath.Base(m.root)) - 1 - len(name) - 1
		if room <= 250 {
			m.check(os.WriteFile(m.path(name+"/"+strings.Repeat("f", room)), []byte("deep"), 0o644))
			return
		}
		name += "/" + strings.Repeat("d", 240)
		m.check(os.Mkdir(m.path(name), 0o755))
	}
}

// times are of all ages, to the nanosecond.
func (m maker) times() {
	set := func(path string, sec, nsec int64) {
		m.t.Helper()
		ts := []unix.Timespec{{Sec: 1_000_000_000}, {Sec: sec, Nsec: nsec}}
		m.check(unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW))
	}
	for i, at := range [][2]int64{{-2, 750_000_000}, {0, 0}, {0, 1}, {1_234_567_890, 123_456_789}, {1_700_000_000, 999_999_999}, {1 << 32, 5}} {
		set(m.file(fmt.Sprintf("time/%d", i), nil), at[0], at[1])
	}
	err := filepath.WalkDir(m.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (d.IsDir() || d.Type() != 0) {
			set(path, 1_600_000_000+int64(len(path)), int64(len(path)))
		}
		return err
	})
	m.check(err)
}
