package blockmap

import (
	"errors"
	"fmt"
	"io"
)

// signature is what something else than ext and FAT has at a place of the disk.
type signature struct {
	off  int64
	text string
	name string
}

// signatures are those of what a partition may hold on top of, or around, an old
// file system whose superblock is still there.
var signatures = []signature{
	{0, "LUKS\xba\xbe", "LUKS"},
	{0x4000, "SKUL\xba\xbe", "LUKS"},
	{0, "LABELONE", "LVM"}, {512, "LABELONE", "LVM"}, {1024, "LABELONE", "LVM"}, {1536, "LABELONE", "LVM"},
	{4096 - 10, "SWAPSPACE2", "swap"}, {4096 - 10, "SWAP-SPACE", "swap"},
	{16384 - 10, "SWAPSPACE2", "swap"}, {65536 - 10, "SWAPSPACE2", "swap"},
	{0, "XFSB", "XFS"},
	{0x10040, "_BHRfS_M", "btrfs"},
	{0, "\xfc\x4e\x2b\xa9", "RAID"}, {4096, "\xfc\x4e\x2b\xa9", "RAID"},
	{3, "NTFS    ", "NTFS"}, {3, "EXFAT   ", "exFAT"}, {3, "-FVE-FS-", "BitLocker"},
	{4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf7\x5f\x48\xba\x6d\x81", "bcache"},
	{0, "hsqs", "squashfs"},
	{32769, "CD001", "ISO 9660"}, {32769, "BEA01", "UDF"},
	{0x10034, "ReIsEr", "reiserfs"}, {0x8000, "JFS1", "JFS"},
	{32, "NXSB", "APFS"},
	{0, "bluestore block device", "Ceph"},
	{24, "bcachefs", "bcachefs"}, {4096 + 24, "\xc6\x85\x73\xf6\x66\xce\x90\xa9", "bcachefs"},
	{0x20000, "\x00\x00\x00\x00\x0c\xb1\xba\x00", "ZFS"}, {0x20000, "\x0c\xb1\xba\x00", "ZFS"},
}

// recognize says what is in a partition: "ext", "FAT", or "" for what is neither.
// If more than one thing is, it is an error: nobody knows which is the living one.
func recognize(r io.ReaderAt, size int64) (string, error) {
	if size < 64<<10 {
		return "", nil
	}
	head, err := read(r, 0, 4096)
	if err != nil {
		return "", err
	}
	ext := le.Uint16(head[1024+0x38:]) == extMagic
	fat := looksFAT(head)
	switch {
	case ext && fat:
		return "", errors.New("it looks like both ext and FAT")
	case !ext && !fat:
		return "", nil
	}
	other, err := foreign(r, size)
	if err != nil {
		return "", err
	}
	if other != "" {
		return "", fmt.Errorf("it holds traces of %s beside a file system", other)
	}
	if hasTable(head) {
		return "", errors.New("it holds a file system and a partition table")
	}
	if ext {
		return "ext", nil
	}
	return "FAT", nil
}

// foreign names what else is there.
func foreign(r io.ReaderAt, size int64) (string, error) {
	for _, s := range signatures {
		b := make([]byte, len(s.text))
		if s.off+int64(len(b)) > size {
			continue
		}
		if err := readInto(r, b, s.off); err != nil {
			return "", err
		}
		if string(b) == s.text {
			return s.name, nil
		}
	}
	// Linux' RAID keeps its superblock at the end: md's formats 1.0 and 0.90 (md(4)).
	for _, off := range []int64{(size/512 - 16) &^ 7 * 512, size&^0xffff - 0x10000} {
		if off < 0 {
			continue
		}
		b, err := read(r, off, 4)
		if err != nil {
			return "", err
		}
		if string(b) == "\xfc\x4e\x2b\xa9" {
			return "RAID", nil
		}
	}
	return "", nil
}
