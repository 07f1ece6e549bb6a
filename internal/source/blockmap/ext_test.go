//go:build linux

package blockmap

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// extVariants are file systems as mke2fs makes them.
var extVariants = []struct {
	name  string
	mib   int64
	args  string
	after string // commands of tune2fs or resize2fs, with the image as the last argument
	whole string // why it is read whole; "": it is not
}{
	{name: "ext4-1k", mib: 20, args: "-t ext4 -b 1024"},
	{name: "ext4-2k", mib: 20, args: "-t ext4 -b 2048 -g 4096"},
	{name: "ext4-4k", mib: 20, args: "-t ext4 -b 4096"},
	{name: "ext4-4k-groups", mib: 40, args: "-t ext4 -b 4096 -g 1024"},
	{name: "ext4-uninit-groups", mib: 700, args: "-t ext4 -b 4096"},
	{name: "ext3-1k", mib: 20, args: "-t ext3 -b 1024"},
	{name: "ext3-4k", mib: 20, args: "-t ext3 -b 4096 -g 2048"},
	{name: "ext2-1k", mib: 20, args: "-t ext2 -b 1024"},
	{name: "ext2-2k", mib: 20, args: "-t ext2 -b 2048"},
	{name: "ext2-4k", mib: 300, args: "-t ext2 -b 4096"},
	{name: "no-64bit", mib: 20, args: "-t ext4 -b 1024 -O ^64bit"},
	{name: "no-64bit-no-csum", mib: 40, args: "-t ext4 -O ^64bit,^metadata_csum -b 2048 -g 2048"},
	{name: "uninit_bg", mib: 300, args: "-t ext4 -b 4096 -O ^metadata_csum,uninit_bg -g 8192"},
	{name: "uninit_bg-64bit", mib: 300, args: "-t ext4 -b 4096 -O ^metadata_csum,uninit_bg,64bit -g 8192"},
	{name: "no-csum", mib: 20, args: "-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg"},
	{name: "no-flex_bg-1k", mib: 20, args: "-t ext4 -b 1024 -O ^flex_bg"},
	{name: "no-flex_bg-4k", mib: 300, args: "-t ext4 -b 4096 -O ^flex_bg"},
	{name: "meta_bg-1k", mib: 200, args: "-t ext4 -b 1024 -O meta_bg,^resize_inode"},
	{name: "meta_bg-4k", mib: 300, args: "-t ext4 -b 4096 -g 1024 -O meta_bg,^resize_inode"},
	{name: "sparse_super2", mib: 200, args: "-t ext4 -b 1024 -O sparse_super2,^resize_inode"},
	{name: "no-sparse_super", mib: 100, args: "-t ext4 -b 1024 -O ^sparse_super,^resize_inode"},
	{name: "no-resize_inode", mib: 20, args: "-t ext4 -b 4096 -g 1024 -O ^resize_inode"},
	{name: "metadata_csum_seed", mib: 20, args: "-t ext4 -b 1024 -O metadata_csum_seed"},
	{name: "inline_data", mib: 20, args: "-t ext4 -b 1024 -I 256 -O inline_data"},
	{name: "inode-128", mib: 20, args: "-t ext4 -b 1024 -I 128"},
	{name: "inode-1024", mib: 20, args: "-t ext4 -b 4096 -I 1024 -g 1024"},
	{name: "quota", mib: 20, args: "-t ext4 -b 1024 -O quota"},
	{name: "project", mib: 20, args: "-t ext4 -b 1024 -I 256 -O quota,project"},
	{name: "encrypt", mib: 20, args: "-t ext4 -b 4096 -O encrypt"},
	{name: "casefold", mib: 20, args: "-t ext4 -b 1024 -O casefold"},
	{name: "verity", mib: 20, args: "-t ext4 -b 4096 -O verity"},
	{name: "stable_inodes", mib: 20, args: "-t ext4 -b 1024 -O stable_inodes"},
	{name: "orphan_file", mib: 20, args: "-t ext4 -b 1024 -O orphan_file"},
	{name: "mmp", mib: 20, args: "-t ext4 -b 1024 -O mmp"},
	{name: "ea_inode", mib: 20, args: "-t ext4 -b 1024 -O ea_inode,large_dir"},
	{name: "fast_commit", mib: 40, args: "-t ext4 -b 1024 -O fast_commit"},
	{name: "no-journal", mib: 20, args: "-t ext4 -b 1024 -O ^has_journal"},
	{name: "large-journal", mib: 300, args: "-t ext4 -b 1024 -J size=128"},
	{name: "no-lazy-init", mib: 20, args: "-t ext4 -b 1024 -E lazy_itable_init=0,lazy_journal_init=0"},
	{name: "grown", mib: 64, args: "-t ext4 -b 1024 FILE 20M", after: "resize2fs"},
	{name: "shrunk", mib: 100, args: "-t ext4 -b 1024", after: "resize2fs -M"},
	{name: "other-uuid", mib: 20, args: "-t ext4 -b 1024", after: "tune2fs -U 01234567-89ab-cdef-0123-456789abcdef"},
	{name: "csum-later", mib: 20, args: "-t ext3 -b 1024", after: "tune2fs -O metadata_csum,extents,64bit"},
	{name: "odd-size", mib: 20, args: "-t ext4 -b 1024 FILE 19999"},
	{name: "bigalloc", mib: 64, args: "-t ext4 -b 4096 -O bigalloc -C 16384", whole: "bigalloc"},
	{name: "external-journal-device", mib: 20, args: "-O journal_dev -b 1024", whole: "revision|features|unmounted"},
}

// mkext makes an image with files, some of which are deleted again, and garbage in
// all blocks that were free before.
func mkext(t testing.TB, image string, mib int64, args, from string, gone []string) {
	t.Helper()
	const noisy = 16 << 20
	garbage(t, image, mib<<20, noisy)
	file := image
	var all []string
	for _, a := range strings.Fields(args) {
		if a == "FILE" {
			a, file = image, ""
		}
		all = append(all, a)
	}
	head := []string{"-q", "-F", "-E", "nodiscard"}
	if from != "" {
		head = append(head, "-d", from)
	}
	if i := slices.Index(all, "-E"); i >= 0 {
		all[i+1] += ",nodiscard"
	}
	all = append(head, all...)
	if file != "" {
		all = append(all, file)
	}
	run(t, "mke2fs", all...)
	commands := ""
	for _, name := range gone {
		commands += "rm \"" + name + "\"\n"
	}
	if commands != "" {
		script := image + ".cmd"
		check(t, os.WriteFile(script, []byte(commands), 0o600))
		run(t, "debugfs", "-w", "-f", script, image)
	}
}

// dumpe2fs is the free set as e2fsprogs reads it.
func dumpe2fs(t testing.TB, image string) []Range {
	t.Helper()
	out := run(t, "dumpe2fs", image)
	number := func(pattern string) int64 {
		n, err := strconv.ParseInt(regexp.MustCompile(pattern).FindStringSubmatch(out)[1], 10, 64)
		check(t, err)
		return n
	}
	size := number(`(?m)^Block size: +(\d+)`)
	var free freeList
	for _, line := range regexp.MustCompile(`(?m)^  Free blocks:(.*)$`).FindAllStringSubmatch(out, -1) {
		for _, word := range strings.Split(line[1], ",") {
			from, to, isRange := strings.Cut(strings.TrimSpace(word), "-")
			if from == "" {
				continue
			}
			if !isRange {
				to = from
			}
			a, err := strconv.ParseInt(from, 10, 64)
			check(t, err)
			b, err := strconv.ParseInt(to, 10, 64)
			check(t, err)
			free.add(a*size, (b-a+1)*size)
		}
	}
	return free.done()
}

// TestExtVariants compares what is free with what dumpe2fs says, and restores each
// of the file systems.
func TestExtVariants(t *testing.T) {
	need(t, "mke2fs", "debugfs", "dumpe2fs", "e2fsck", "tune2fs", "resize2fs")
	for _, v := range extVariants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			image, from := filepath.Join(dir, "image"), filepath.Join(dir, "from")
			var gone []string
			if v.name == "external-journal-device" {
				from = ""
			} else {
				gone = tree(t, from, 8<<20)
			}
			mkext(t, image, v.mib, v.args, from, gone)
			if strings.Contains(v.args, "quota") {
				run(t, "sh", "-c", `e2fsck -fy "$1" || [ $? = 1 ]`, "sh", image) // debugfs counts no quota
			}
			if v.after != "" {
				words := strings.Fields(v.after)
				if words[0] == "resize2fs" || v.name == "csum-later" {
					run(t, "e2fsck", "-fy", image)
				}
				words = append(words, image)
				run(t, words[0], words[1:]...)
			}
			m, _ := findIn(t, image)
			if len(m.Parts) != 1 {
				t.Fatalf("parts: got %+v, want one", m.Parts)
			}
			if v.whole != "" {
				if !regexp.MustCompile(v.whole).MatchString(m.Parts[0].Whole) || len(m.Free) != 0 {
					t.Fatalf("got %+v and %d ranges, want it whole: %s", m.Parts[0], len(m.Free), v.whole)
				}
				return
			}
			if why := m.Parts[0].Whole; why != "" {
				t.Fatalf("read whole: %s", why)
			}
			if want := strings.SplitN(run(t, "blkid", "-p", "-o", "value", "-s", "TYPE", image), "\n", 2)[0]; m.Parts[0].Format != want {
				t.Errorf("format: got %s, want %s", m.Parts[0].Format, want)
			}
			if want := dumpe2fs(t, image); !slices.Equal(m.Free, want) {
				t.Fatalf("free: got %d ranges, dumpe2fs has %d", len(m.Free), len(want))
			}
			if n := total(m); n < 4<<20 && v.name != "shrunk" || n != m.Parts[0].Free {
				t.Errorf("free: %d bytes, and the part says %d", n, m.Parts[0].Free)
			}
			copied := restored(t, image, m)
			run(t, "e2fsck", "-fn", copied)
			back := filepath.Join(dir, "back")
			check(t, os.Mkdir(back, 0o755))
			run(t, "debugfs", "-R", "rdump / "+back, copied)
			for _, name := range gone {
				check(t, os.Remove(filepath.Join(from, name)))
			}
			if v.name == "inline_data" { // debugfs does not read such files as they are
				from = filepath.Join(dir, "before")
				check(t, os.Mkdir(from, 0o755))
				run(t, "debugfs", "-R", "rdump / "+from, image)
			}
			sameTree(t, back, from)
			// The copies of the superblock are there, too.
			if strings.HasPrefix(v.args, "-t ext4 -b 1024") && v.name != "sparse_super2" && v.name != "meta_bg-1k" && v.after == "" {
				run(t, "dumpe2fs", "-h", "-o", "superblock=8193", "-o", "blocksize=1024", copied)
			}
		})
	}
}
