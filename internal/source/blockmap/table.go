package blockmap

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

var le = binary.LittleEndian

// mbrEntry is one of the four of a master boot record (Linux, block/partitions/msdos.c).
type mbrEntry struct {
	status, kind byte
	start, count uint32 // in sectors
}

// Types of partitions in a master boot record.
const (
	mbrEmpty      = 0x00
	mbrProtective = 0xee // all of the disk is GPT's
)

// extended are the types of a partition that holds further ones.
var extended = []byte{0x05, 0x0f, 0x15, 0x1f, 0x85, 0xc5, 0xd5, 0x91, 0x9b}

// mbrEntries are the entries of a boot sector; nil if it is none.
func mbrEntries(sector []byte) []mbrEntry {
	if sector[510] != 0x55 || sector[511] != 0xaa {
		return nil
	}
	entries := make([]mbrEntry, 4)
	for i := range entries {
		b := sector[446+16*i:]
		entries[i] = mbrEntry{b[0], b[4], le.Uint32(b[8:]), le.Uint32(b[12:])}
	}
	return entries
}

// used says that the entry stands for a partition, as far as can be seen.
func (e mbrEntry) used() bool {
	return e.status&0x7f == 0 && e.kind != mbrEmpty && e.start != 0 && e.count != 0
}

// hasTable says whether a boot sector has anything that some system may take for a
// partition table. A boot sector of a file system has code or zeros there.
func hasTable(sector []byte) bool {
	return slices.ContainsFunc(mbrEntries(sector), mbrEntry.used)
}

// Partitions are those of the disk that r holds, as Find takes them, without what is in
// them. Those within an extended partition are not told of. A disk without a table is
// one part with Number 0. The error says what is doubtful about the table.
func Partitions(r io.ReaderAt, size, sector int64) ([]Part, error) {
	if sector == 0 {
		sector = 512
	}
	return partitions(r, size, sector)
}

// partitions are those of the disk, in order. A disk with neither a table nor
// anything that looks like one is one part. An error says why nothing can be told
// of the whole disk.
func partitions(r io.ReaderAt, size, sector int64) ([]Part, error) {
	if sector < 512 || sector > 4096 || sector&(sector-1) != 0 {
		return nil, fmt.Errorf("it has sectors of %d bytes", sector)
	}
	if size < 64<<10 {
		return nil, errors.New("it is too small for a file system")
	}
	boot, err := read(r, 0, 512)
	if err != nil {
		return nil, err
	}
	gpt, err := gptSector(r)
	if err != nil {
		return nil, err
	}
	if gpt == 0 && !hasTable(boot) {
		return []Part{{Range: Range{0, size}}}, nil
	}
	found, err := recognize(r, size)
	if err != nil {
		return nil, err
	}
	if found != "" {
		return nil, fmt.Errorf("it has a partition table and is a file system (%s), too", found)
	}
	other, err := foreign(r, size)
	if err != nil {
		return nil, err
	}
	if other != "" {
		return nil, fmt.Errorf("it has a partition table and traces of %s", other)
	}
	var parts []Part
	protective := slices.ContainsFunc(mbrEntries(boot), func(e mbrEntry) bool { return e.kind == mbrProtective })
	switch {
	case gpt != 0 && protective:
		parts, err = gptParts(r, size, gpt, boot)
	case gpt != 0:
		err = errors.New("it has a GPT without the boot sector that belongs to it")
	case protective:
		err = errors.New("its boot sector speaks of a GPT, and there is none")
	default:
		parts, err = mbrParts(boot, size, sector)
	}
	if err != nil {
		return nil, err
	}
	return inOrder(parts)
}

// inOrder sorts parts, which must not overlap.
func inOrder(parts []Part) ([]Part, error) {
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(a.Off, b.Off) })
	for i := 1; i < len(parts); i++ {
		if a, b := parts[i-1], parts[i]; a.Off+a.Len > b.Off {
			return nil, fmt.Errorf("its partitions %d and %d overlap", a.Number, b.Number)
		}
	}
	return parts, nil
}

func mbrParts(boot []byte, size, sector int64) ([]Part, error) {
	var parts []Part
	for i, e := range mbrEntries(boot) {
		if e.kind == mbrEmpty && e.count == 0 {
			continue
		}
		if !e.used() {
			return nil, fmt.Errorf("entry %d of its partition table makes no sense", i+1)
		}
		p := Part{Number: i + 1, Range: Range{int64(e.start) * sector, int64(e.count) * sector}}
		if p.Off+p.Len > size {
			return nil, fmt.Errorf("its partition %d reaches beyond its end", p.Number)
		}
		if slices.Contains(extended, e.kind) {
			p.Whole = "it is an extended partition"
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// gptSector is the size of the sectors that a GPT on the disk counts in; 0 if it
// has none. An image may have been made of a disk with other sectors than those of
// the disk that it is on now.
func gptSector(r io.ReaderAt) (int64, error) {
	found := int64(0)
	for _, sector := range []int64{512, 4096} {
		b, err := read(r, sector, 8)
		if err != nil {
			return 0, err
		}
		if string(b) != gptSignature {
			continue
		}
		if found != 0 {
			return 0, errors.New("it has two GPTs")
		}
		found = sector
	}
	return found, nil
}

const gptSignature = "EFI PART"

// Bounds of what a GPT says: the common 128 entries of 128 bytes are 16 KiB.
const (
	maxGPTEntries = 1024
	gptEntrySize  = 128
)

// gptHeader is the header of a GPT, and its backup (UEFI specification 2.10, 5.3.2).
type gptHeader struct {
	my, alternate uint64 // sectors
	first, last   uint64 // that partitions may use
	guid          []byte
	entries       uint64 // sector of the entries
	count         uint32
	sum           uint32 // of the entries
}

func readGPTHeader(r io.ReaderAt, size, sector int64, at uint64) (h gptHeader, err error) {
	sectors := uint64(size / sector)
	if at >= sectors {
		return h, errors.New("it lies beyond the end")
	}
	b, err := read(r, int64(at)*sector, sector)
	if err != nil {
		return h, err
	}
	length := le.Uint32(b[12:])
	if string(b[:8]) != gptSignature || le.Uint32(b[8:]) != 0x10000 || length < 92 || int64(length) > sector {
		return h, errors.New("it is of an unknown kind")
	}
	sum := le.Uint32(b[16:])
	clear(b[16:20])
	if crc32.ChecksumIEEE(b[:length]) != sum {
		return h, errors.New("its checksum is wrong")
	}
	h = gptHeader{
		my: le.Uint64(b[24:]), alternate: le.Uint64(b[32:]), first: le.Uint64(b[40:]), last: le.Uint64(b[48:]),
		guid: b[56:72], entries: le.Uint64(b[72:]), count: le.Uint32(b[80:]), sum: le.Uint32(b[88:]),
	}
	switch {
	case h.my != at:
		err = errors.New("it says that it is elsewhere")
	case h.first > h.last || h.last >= sectors || h.entries < 2 || h.entries >= sectors:
		err = errors.New("it points beyond the end")
	case h.count > maxGPTEntries || le.Uint32(b[84:]) != gptEntrySize:
		err = errors.New("it has entries of an unknown kind")
	}
	return h, err
}

// gptParts reads a GPT, which must be in order twice: as it is and as its backup.
func gptParts(r io.ReaderAt, size, sector int64, boot []byte) ([]Part, error) {
	for _, e := range mbrEntries(boot) {
		if e.kind != mbrProtective && e.kind != mbrEmpty {
			return nil, errors.New("it has a hybrid of MBR and GPT")
		}
	}
	h, err := readGPTHeader(r, size, sector, 1)
	if err != nil {
		return nil, fmt.Errorf("its GPT is in doubt: %w", err)
	}
	b, err := readGPTHeader(r, size, sector, h.alternate)
	if err != nil {
		return nil, fmt.Errorf("the backup of its GPT is in doubt: %w", err)
	}
	if b.alternate != 1 || !bytes.Equal(b.guid, h.guid) || b.first != h.first || b.last != h.last || b.count != h.count || b.sum != h.sum {
		return nil, errors.New("its GPT and the backup of it differ")
	}
	entries, err := read(r, int64(h.entries)*sector, int64(h.count)*gptEntrySize)
	if err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(entries) != h.sum {
		return nil, errors.New("the checksum of its GPT's entries is wrong")
	}
	var parts []Part
	for i := range int(h.count) {
		e := entries[i*gptEntrySize:][:gptEntrySize]
		if allZero(e[:16]) { // the type
			continue
		}
		first, last := le.Uint64(e[32:]), le.Uint64(e[40:])
		if first < h.first || first > last || last > h.last {
			return nil, fmt.Errorf("its partition %d is where none may be", i+1)
		}
		parts = append(parts, Part{Number: i + 1, Range: Range{int64(first) * sector, int64(last-first+1) * sector}})
	}
	return parts, nil
}

func allZero(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}
