//go:build linux

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A node is all that a backup must bring back of one file, as text.
type node map[string]string

// tree reads every node of a tree by its path from root.
func tree(t *testing.T, root string) map[string]node {
	t.Helper()
	nodes := make(map[string]node)
	first := make(map[[2]uint64]string) // device and inode -> the first name
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		n := node{
			"mode":  fmt.Sprintf("%06o", st.Mode),
			"owner": fmt.Sprintf("%d:%d", st.Uid, st.Gid),
			"mtime": fmt.Sprintf("%d.%09d", st.Mtim.Sec, st.Mtim.Nsec),
		}
		if d.Type() == 0 {
			n["size"] = fmt.Sprint(st.Size)
			n["blocks"] = fmt.Sprint(st.Blocks)
			if n["content"], err = digest(path, st.Size); err != nil {
				return err
			}
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			if n["target"], err = os.Readlink(path); err != nil {
				return err
			}
		case unix.S_IFBLK, unix.S_IFCHR:
			n["device"] = fmt.Sprintf("%d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		if st.Nlink > 1 && !d.IsDir() {
			key := [2]uint64{uint64(st.Dev), st.Ino}
			if first[key] == "" {
				first[key] = rel
			}
			n["same as"] = first[key]
		}
		nodes[rel] = n
		return xattrs(path, n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return nodes
}

// digest is the SHA-256 of a file, not of its holes: only data and where it is.
func digest(path string, size int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	zero := make([]byte, 4096)
	for off := int64(0); off < size; {
		data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break // a hole to the end
		}
		if err != nil {
			return "", err
		}
		// Whole blocks, so that data is cut alike wherever the file system puts a hole.
		off = data &^ 4095
		n, err := f.ReadAt(buf, off)
		if n == 0 {
			return "", err
		}
		for b := 0; b < n; b += 4096 {
			block := buf[b:min(b+4096, n)]
			if string(block) != string(zero[:len(block)]) {
				fmt.Fprintf(h, "%d:", off+int64(b))
				h.Write(block)
			}
		}
		off += int64(n)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// xattrs adds a file's extended attributes, access lists and capabilities among them.
func xattrs(path string, n node) error {
	list := make([]byte, 64<<10)
	size, err := unix.Llistxattr(path, list)
	if err != nil {
		return &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		size, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return &os.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		n["xattr "+name] = string(value[:size])
	}
	return nil
}

// sameTree compares two trees. ignore says what a tool is known not to bring back.
func sameTree(t *testing.T, got, want map[string]node, ignore func(path, key string) bool) {
	t.Helper()
	wrong := 0
	report := func(format string, args ...any) {
		t.Helper()
		if wrong++; wrong <= 20 {
			t.Errorf(format, args...)
		}
	}
	for path, w := range want {
		g, there := got[path]
		if !there {
			if ignore == nil || !ignore(path, "") {
				report("%q is missing", clip(path))
			}
			continue
		}
		keys := make(map[string]bool)
		for k := range w {
			keys[k] = true
		}
		for k := range g {
			keys[k] = true
		}
		for k := range keys {
			if ignore != nil && ignore(path, k) {
				continue
			}
			if k == "blocks" {
				// A file system may need a few more for where they are.
				if number(g[k]) > number(w[k])+256 {
					report("%q takes %s blocks of 512 bytes, want about %s: its holes are gone", clip(path), g[k], w[k])
				}
			} else if g[k] != w[k] {
				report("%q %s: got %q, want %q", clip(path), k, clip(g[k]), clip(w[k]))
			}
		}
	}
	for path := range got {
		if _, there := want[path]; !there && (ignore == nil || !ignore(path, "")) {
			report("%q is there, and should not", clip(path))
		}
	}
	if wrong > 20 {
		t.Errorf("and %d more differences", wrong-20)
	}
}

func number(s string) int64 {
	var n int64
	_, _ = fmt.Sscan(s, &n)
	return n
}

func clip(s string) string {
	if len(s) > 160 {
		return s[:160] + "…"
	}
	return s
}
