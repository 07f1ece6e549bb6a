// Package blockmap finds the parts of a disk that no file system uses, so that an
// image of it need not hold what was deleted.
//
// What is on a disk is not to be trusted: each number is bounded before it is
// used, and memory is bounded whatever they say. A part is free only if the file
// system says so in a way that leaves no doubt: it was put away cleanly, knows no
// feature that we do not, and all it says twice, or with a checksum, agrees. Else
// that partition is to be copied whole, and the reason is told. What is in no
// partition is never free: boot loaders live there.
//
// It knows the partition tables MBR and GPT, and the file systems ext2, ext3 and
// ext4 (docs.kernel.org/filesystems/ext4) and FAT16 and FAT32 (Microsoft's
// "FAT32 File System Specification", 2000).
package blockmap

import (
	"errors"
	"fmt"
	"io"
)

// Range is a part of the disk, in bytes.
type Range struct{ Off, Len int64 }

// Part is a partition, or a disk without partitions.
type Part struct {
	Range
	Number int    // in the partition table, from 1; 0: the whole disk
	Format string // of its file system, such as "ext4"; "" if that is not known
	Free   int64  // bytes of it that need not be read
	Whole  string // why all of it is to be read; "": Free was found
}

// Map is what is known of a disk.
type Map struct {
	Free  []Range // what need not be read: in order, without overlap
	Parts []Part  // in the order of the disk
}

// Find reads the maps of the disk that r holds: size bytes, with sectors of sector
// bytes, as partition tables count (0: 512). Nothing may write to r meanwhile.
//
// It never fails: what can't be read, or is not understood, is not free.
func Find(r io.ReaderAt, size, sector int64) Map {
	if sector == 0 {
		sector = 512
	}
	parts, err := partitions(r, size, sector)
	if err != nil {
		return Map{Parts: []Part{{Range: Range{0, size}, Whole: err.Error()}}}
	}
	m := Map{Parts: parts}
	var all freeList
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.Whole != "" {
			continue
		}
		var free freeList
		var err error
		p.Format, err = find(io.NewSectionReader(r, p.Off, p.Len), p.Len, &free)
		if err != nil {
			p.Whole = err.Error()
			continue
		}
		for _, x := range free.done() {
			all.add(p.Off+x.Off, x.Len)
			p.Free += x.Len
		}
	}
	m.Free = all.done()
	return m
}

// find finds what is free in a partition of size bytes.
func find(r io.ReaderAt, size int64, free *freeList) (format string, err error) {
	found, err := recognize(r, size)
	if err != nil {
		return "", err
	}
	switch found {
	case "ext":
		return findExt(r, size, free)
	case "FAT":
		return findFAT(r, size, free)
	}
	return "", errors.New("it holds no file system whose free space is known")
}

// read reads n bytes at off.
func read(r io.ReaderAt, off, n int64) ([]byte, error) {
	buf := make([]byte, n)
	return buf, readInto(r, buf, off)
}

func readInto(r io.ReaderAt, buf []byte, off int64) error {
	if _, err := r.ReadAt(buf, off); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("%d bytes at %d of it can't be read: %w", len(buf), off, err)
	}
	return nil
}

// maxRanges bounds the memory of a list: 16 MiB.
const maxRanges = 1 << 20

// freeList gathers ranges that are added in order. When they become too many, it
// forgets the shortest.
type freeList struct {
	ranges []Range
	least  int64 // bytes; shorter ones are forgotten
	limit  int   // of ranges; 0: maxRanges
}

func (l *freeList) add(off, n int64) {
	if i := len(l.ranges) - 1; i >= 0 {
		last := &l.ranges[i]
		if last.Off+last.Len == off {
			last.Len += n
			return
		}
		if last.Len < l.least {
			l.ranges = l.ranges[:i]
		}
	}
	l.ranges = append(l.ranges, Range{off, n})
	limit := l.limit
	if limit == 0 {
		limit = maxRanges
	}
	for len(l.ranges) > limit {
		l.least = max(1024, 2*l.least)
		keep := l.ranges[:0]
		for i, x := range l.ranges {
			if x.Len >= l.least || i == len(l.ranges)-1 { // the last one may still grow
				keep = append(keep, x)
			}
		}
		l.ranges = keep
	}
}

func (l *freeList) done() []Range { return l.ranges }
