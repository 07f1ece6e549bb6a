package blockmap

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

const extMagic = 0xef53

// Features of ext that matter here (docs.kernel.org/filesystems/ext4, super block).
const (
	compatJournal      = 0x4
	compatSparseSuper2 = 0x200

	incompatRecover    = 0x4
	incompatMetaBG     = 0x10
	incompatExtents    = 0x40
	incompat64         = 0x80
	incompatMMP        = 0x100
	incompatFlexBG     = 0x200
	incompatCSumSeed   = 0x2000
	incompatKnown      = 0x2 | incompatRecover | incompatMetaBG | incompatExtents | incompat64 | incompatMMP | incompatFlexBG | incompatOnlyInodes | incompatCSumSeed
	incompatOnlyInodes = 0x400 | 0x4000 | 0x8000 | 0x10000 | 0x20000 // ea_inode, large_dir, inline_data, encrypt, casefold

	roSparseSuper   = 0x1
	roGDTCSum       = 0x10 // "uninit_bg"
	roBigAlloc      = 0x200
	roMetadataCSum  = 0x400
	roOrphanPresent = 0x10000
	// large_file, btree_dir, huge_file, dir_nlink, extra_isize, quota, project, verity
	roKnown = roSparseSuper | roGDTCSum | roMetadataCSum | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x100 | 0x2000 | 0x8000
)

// maxGroups bounds memory, to some 40 MiB: 32 TiB of blocks of 4 KiB.
const maxGroups = 1 << 18

// ext is an ext2, ext3 or ext4 file system.
type ext struct {
	r     io.ReaderAt
	super []byte // the superblock

	blockSize      int64  // bytes
	blocks, first  uint64 // the number of all, and that of the first one in a group
	perGroup       uint64 // blocks
	inodes         uint64 // per group
	inodeSize      int64
	groups         uint64
	descSize       int64
	compat         uint32
	incompat       uint32
	readonlyCompat uint32
	seed           uint32 // of the checksums
	desc           []extGroup
}

func findExt(r io.ReaderAt, size int64, free *freeList) (format string, err error) {
	e := &ext{r: r}
	if e.super, err = read(r, 1024, 1024); err != nil {
		return "ext", err
	}
	e.compat, e.incompat, e.readonlyCompat = e.u32(0x5c), e.u32(0x60), e.u32(0x64)
	format = e.format()
	for _, check := range []func() error{e.checkState, e.checkFeatures, e.checkSum, func() error { return e.geometry(size) }, e.checkBackup,
		e.readGroups, e.checkJournal, e.checkMMP} {
		if err := check(); err != nil {
			return format, err
		}
	}
	return format, e.findFree(free)
}

func (e *ext) u16(off int) uint16 { return le.Uint16(e.super[off:]) }
func (e *ext) u32(off int) uint32 { return le.Uint32(e.super[off:]) }

func (e *ext) format() string {
	switch {
	case e.incompat&(incompatExtents|incompat64|incompatFlexBG) != 0 || e.readonlyCompat&(roMetadataCSum|roGDTCSum|roBigAlloc) != 0:
		return "ext4"
	case e.compat&compatJournal != 0:
		return "ext3"
	}
	return "ext2"
}

// checkState says whether the file system was put away in order.
func (e *ext) checkState() error {
	const valid = 1 // without errors (2), and without orphans being taken off (4)
	switch {
	case e.u32(0x4c) != 1:
		return fmt.Errorf("its revision is %d", e.u32(0x4c))
	case e.incompat&incompatRecover != 0:
		// What the journal holds is newer than the maps: what they call free may not be.
		return errors.New("its journal has to be replayed: it was not unmounted")
	case e.u16(0x3a) != valid || e.u32(0x194) != 0:
		return errors.New("it was not unmounted, or has errors: e2fsck has to look at it")
	case e.u32(0xe8) != 0 || e.readonlyCompat&roOrphanPresent != 0:
		return errors.New("it has deleted files that are not cleared yet")
	}
	return nil
}

func (e *ext) checkFeatures() error {
	switch {
	case e.readonlyCompat&roBigAlloc != 0:
		return errors.New("it has the feature bigalloc")
	case e.incompat&^incompatKnown != 0:
		return fmt.Errorf("it has features that are not known (incompatible 0x%x)", e.incompat&^incompatKnown)
	case e.readonlyCompat&^roKnown != 0:
		return fmt.Errorf("it has features that are not known (read-only 0x%x)", e.readonlyCompat&^roKnown)
	case e.readonlyCompat&roGDTCSum != 0 && e.readonlyCompat&roMetadataCSum != 0:
		return errors.New("it has two kinds of checksums")
	case e.incompat&incompatCSumSeed != 0 && e.readonlyCompat&roMetadataCSum == 0:
		return errors.New("it has a seed for checksums, and no checksums")
	}
	return nil
}

// checkSum compares the superblock's checksum, and finds the seed of the others.
func (e *ext) checkSum() error {
	if e.readonlyCompat&roMetadataCSum == 0 {
		return nil
	}
	const crc32c = 1
	if e.super[0x175] != crc32c || crc32C(^uint32(0), e.super[:0x3fc]) != e.u32(0x3fc) {
		return errors.New("the checksum of its superblock is wrong")
	}
	e.seed = crc32C(^uint32(0), e.uuid())
	if e.incompat&incompatCSumSeed != 0 {
		e.seed = e.u32(0x270)
	}
	return nil
}

func (e *ext) uuid() []byte { return e.super[0x68:0x78] }

// geometry takes the sizes from the superblock; size is the partition's.
func (e *ext) geometry(size int64) error {
	logBlock := e.u32(0x18)
	if logBlock > 6 {
		return errors.New("its blocks have an unknown size")
	}
	e.blockSize = 1024 << logBlock
	e.blocks = uint64(e.u32(0x4))
	e.descSize = 32
	if e.incompat&incompat64 != 0 {
		e.blocks |= uint64(e.u32(0x150)) << 32
		e.descSize = int64(e.u16(0xfe))
		if e.descSize < 64 || e.descSize > 1024 || e.descSize&(e.descSize-1) != 0 {
			return errors.New("its group descriptors have an unknown size")
		}
	}
	if e.blockSize == 1024 {
		e.first = 1
	}
	e.perGroup, e.inodes = uint64(e.u32(0x20)), uint64(e.u32(0x28))
	e.inodeSize = int64(e.u16(0x58))
	bits := uint64(8 * e.blockSize)
	switch {
	case uint64(e.u32(0x14)) != e.first || e.u16(0x5a) != 0:
		return errors.New("its superblock is not the first one")
	case e.u32(0x1c) != logBlock || uint64(e.u32(0x24)) != e.perGroup:
		return errors.New("its clusters are no blocks")
	case e.perGroup < 256 || e.perGroup > bits || e.perGroup%8 != 0 || e.inodes < 8 || e.inodes > bits:
		return errors.New("its groups have an unknown size")
	case e.inodeSize < 128 || e.inodeSize > e.blockSize || e.inodeSize&(e.inodeSize-1) != 0:
		return errors.New("its inodes have an unknown size")
	case e.blocks <= e.first || e.blocks > uint64(size/e.blockSize):
		return errors.New("it is larger than its partition")
	}
	e.groups = (e.blocks - e.first + e.perGroup - 1) / e.perGroup
	switch {
	case e.groups > maxGroups:
		return errors.New("it is too large")
	case e.groups*e.inodes != uint64(e.u32(0)):
		return errors.New("its number of inodes is wrong")
	}
	return nil
}

// checkBackup compares what the first backup of the superblock says of sizes: they
// are all that could shift the maps without anybody seeing it.
func (e *ext) checkBackup() error {
	g := uint64(1)
	for g < e.groups && !e.hasSuper(g) {
		g++
	}
	if g >= e.groups {
		return nil // it has none
	}
	b, err := read(e.r, int64(e.groupStart(g))*e.blockSize, 1024)
	if err != nil {
		return err
	}
	const features = incompatMetaBG | incompat64 | incompatFlexBG | incompatCSumSeed
	const roFeatures = roSparseSuper | roGDTCSum | roBigAlloc | roMetadataCSum
	same := (le.Uint32(b[0x60:])^e.incompat)&features == 0 && (le.Uint32(b[0x64:])^e.readonlyCompat)&roFeatures == 0
	for _, f := range []Range{{0x0, 8}, {0x14, 0x18}, {0x38, 2}, {0x4c, 4}, {0x58, 2}, {0x68, 16}, {0xce, 2}, {0xfe, 2}, {0x104, 4}, {0x150, 4}} {
		same = same && slices.Equal(b[f.Off:f.Off+f.Len], e.super[f.Off:f.Off+f.Len])
	}
	if !same {
		return errors.New("its superblock and the backup of it differ")
	}
	return nil
}

func (e *ext) groupStart(g uint64) uint64 { return e.first + g*e.perGroup }

// hasSuper says whether a group begins with a copy of the superblock.
func (e *ext) hasSuper(g uint64) bool {
	switch {
	case g == 0:
		return true
	case e.compat&compatSparseSuper2 != 0:
		return g == uint64(e.u32(0x24c)) || g == uint64(e.u32(0x250))
	case g == 1 || e.readonlyCompat&roSparseSuper == 0:
		return true
	}
	return isPower(g, 3) || isPower(g, 5) || isPower(g, 7)
}

func isPower(n, base uint64) bool {
	p := base
	for p < n {
		p *= base
	}
	return p == n
}

// checkMMP says whether another machine has the file system mounted ("multiple
// mount protection").
func (e *ext) checkMMP() error {
	if e.incompat&incompatMMP == 0 {
		return nil
	}
	const magic, clean = 0x004d4d50, 0xff4d4d50
	at := le.Uint64(e.super[0x168:])
	if at <= e.first || at >= e.blocks {
		return errors.New("its protection against two mounts is damaged")
	}
	b, err := read(e.r, int64(at)*e.blockSize, 8)
	if err != nil {
		return err
	}
	if le.Uint32(b) != magic || le.Uint32(b[4:]) != clean {
		return errors.New("it is in use by another machine, or was not unmounted there")
	}
	return nil
}
