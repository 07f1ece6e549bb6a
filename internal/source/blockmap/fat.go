package blockmap

import (
	"bytes"
	"errors"
	"io"
	"math/bits"
)

// maxFATBytes bounds memory: 8 million clusters.
const maxFATBytes = 32 << 20

// fat is a FAT16 or FAT32 file system.
type fat struct {
	r    io.ReaderAt
	boot []byte // the first sector, or its first 512 bytes

	wide     bool // FAT32: entries of 32 bits
	sector   int64
	cluster  int64 // bytes
	reserved int64 // sectors before the table
	sectors  int64 // of the table
	rootLen  int64 // bytes of FAT16's root directory
	data     int64 // byte where cluster 2 begins
	clusters int64
	table    []byte
	claimed  []uint64 // a bit for each cluster that belongs to a file
}

// looksFAT says whether a boot sector may be one of FAT.
func looksFAT(b []byte) bool {
	return b[510] == 0x55 && b[511] == 0xaa && (b[0] == 0xeb || b[0] == 0xe9) &&
		(string(b[0x36:0x39]) == "FAT" || string(b[0x52:0x55]) == "FAT")
}

func findFAT(r io.ReaderAt, size int64, free *freeList) (format string, err error) {
	f := &fat{r: r}
	if f.boot, err = read(r, 0, 512); err != nil {
		return "FAT", err
	}
	if err := f.geometry(size); err != nil {
		return "FAT", err
	}
	format = "FAT16"
	if f.wide {
		format = "FAT32"
	}
	for _, check := range []func() error{f.checkState, f.readTable, f.checkTable, f.checkBackup, f.checkInfo, f.walk} {
		if err := check(); err != nil {
			return format, err
		}
	}
	for c := int64(2); c < f.clusters+2; c++ {
		if f.entry(c) == 0 {
			free.add(f.offset(c), f.cluster)
		}
	}
	return format, nil
}

func (f *fat) u16(off int) int64 { return int64(le.Uint16(f.boot[off:])) }
func (f *fat) u32(off int) int64 { return int64(le.Uint32(f.boot[off:])) }

// geometry takes the sizes from the boot sector; size is the partition's.
func (f *fat) geometry(size int64) error {
	f.sector = f.u16(11)
	perCluster := int64(f.boot[13])
	if f.sector < 512 || f.sector > 4096 || bits.OnesCount64(uint64(f.sector)) != 1 || bits.OnesCount64(uint64(perCluster)) != 1 {
		return errors.New("its clusters have an unknown size")
	}
	f.cluster = f.sector * perCluster
	f.reserved, f.sectors = f.u16(14), f.u16(22)
	f.rootLen = f.u16(17) * 32
	total := f.u16(19)
	if total == 0 {
		total = f.u32(32)
	} else if f.u32(32) != 0 && f.u32(32) != total {
		return errors.New("it has two sizes")
	}
	if f.wide = f.sectors == 0; f.wide {
		f.sectors = f.u32(36)
	}
	// FAT16 holds little that is said twice, so that what is unusual is doubtful.
	// mkfs.fat makes the root directory at least a cluster.
	usualRoot := max(512*fatEntry, f.cluster)
	switch {
	case f.boot[16] != 2:
		return errors.New("it has not two tables")
	case f.reserved == 0 || f.sectors == 0 || f.sectors > maxFATBytes/f.sector:
		return errors.New("its tables have an unknown size")
	case f.wide && (f.rootLen != 0 || f.u16(19) != 0 || f.u16(42) != 0 || f.u16(40)&0x80 != 0 || string(f.boot[0x52:0x5a]) != "FAT32   "):
		return errors.New("it is an unknown kind of FAT32")
	case !f.wide && (f.rootLen != usualRoot || string(f.boot[0x36:0x3b]) != "FAT16"):
		return errors.New("it is an unknown kind of FAT, or FAT12")
	case total > size/f.sector:
		return errors.New("it is larger than its partition")
	}
	first := f.reserved + 2*f.sectors + f.rootLen/f.sector
	f.data = first * f.sector
	f.clusters = (total - first) / perCluster
	// The number of clusters is what says how wide an entry is.
	const fat16, fat32, limit = 4085, 65525, 0x0ffffff5
	switch {
	case f.wide && (f.clusters < fat32 || f.clusters >= limit), !f.wide && (f.clusters < fat16 || f.clusters >= fat32):
		return errors.New("its number of clusters is not that of its kind of FAT")
	case (f.clusters+2)*f.width() > f.sectors*f.sector:
		return errors.New("its table is too short")
	}
	return nil
}

// width is that of a table's entry, in bytes.
func (f *fat) width() int64 {
	if f.wide {
		return 4
	}
	return 2
}

// offset is where a cluster is.
func (f *fat) offset(c int64) int64 { return f.data + (c-2)*f.cluster }

// entry is what the table says of a cluster: 0 is free.
func (f *fat) entry(c int64) uint32 {
	if f.wide {
		return le.Uint32(f.table[4*c:]) & 0x0fffffff
	}
	return uint32(le.Uint16(f.table[2*c:]))
}

// last is from which value on an entry ends a chain; the value before is that of a
// bad cluster.
func (f *fat) last() uint32 {
	if f.wide {
		return 0x0ffffff8
	}
	return 0xfff8
}

// checkState says whether the file system was put away in order, as Linux notes it.
func (f *fat) checkState() error {
	state := f.boot[0x25]
	if f.wide {
		state = f.boot[0x41]
	}
	if state&3 != 0 {
		return errors.New("it was not unmounted: fsck.fat has to look at it")
	}
	return nil
}

// readTable reads the table, which is there twice.
func (f *fat) readTable() error {
	n := f.sectors * f.sector
	var err error
	if f.table, err = read(f.r, f.reserved*f.sector, n); err != nil {
		return err
	}
	const piece = 64 << 10
	buf := make([]byte, piece)
	for at := int64(0); at < n; at += piece {
		part := buf[:min(piece, n-at)]
		if err := readInto(f.r, part, f.reserved*f.sector+n+at); err != nil {
			return err
		}
		if !bytes.Equal(part, f.table[at:at+int64(len(part))]) {
			return errors.New("its two tables differ")
		}
	}
	return nil
}

// checkTable looks at the first two entries: the medium's kind, and whether Windows
// has put it away in order.
func (f *fat) checkTable() error {
	ones := f.last() | 7
	if f.entry(0) != ones&^0xff|uint32(f.boot[21]) {
		return errors.New("its table does not begin as one")
	}
	if f.entry(1) < f.last() {
		return errors.New("it was not unmounted, or has errors: fsck.fat has to look at it")
	}
	return nil
}

// checkBackup compares FAT32's boot sector with the copy of it.
func (f *fat) checkBackup() error {
	if !f.wide {
		return nil
	}
	at := f.u16(50)
	if at == 0 || at == 0xffff || at >= f.reserved {
		return errors.New("it has no backup of its boot sector")
	}
	b, err := read(f.r, at*f.sector, 512)
	if err != nil {
		return err
	}
	const from, to = 11, 0x40 // up to what changes when it is mounted
	if !bytes.Equal(b[from:to], f.boot[from:to]) {
		return errors.New("its boot sector and the backup of it differ")
	}
	return nil
}

// checkInfo compares the number of free clusters with what FAT32 notes of it.
func (f *fat) checkInfo() error {
	if !f.wide {
		return nil
	}
	at := f.u16(48)
	if at == 0 || at >= f.reserved {
		return errors.New("it has no information sector")
	}
	b, err := read(f.r, at*f.sector, 512)
	if err != nil {
		return err
	}
	if le.Uint32(b) != 0x41615252 || le.Uint32(b[484:]) != 0x61417272 {
		return errors.New("its information sector is damaged")
	}
	const unknown = 0xffffffff
	said := le.Uint32(b[488:])
	count := uint32(0)
	for c := int64(2); c < f.clusters+2; c++ {
		if f.entry(c) == 0 {
			count++
		}
	}
	if said != unknown && said != count {
		return errors.New("its number of free clusters is wrong: fsck.fat can put it right")
	}
	return nil
}
