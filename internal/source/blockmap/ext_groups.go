package blockmap

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// Flags of a group.
const (
	groupInodesUnset = 1 // its inode table and bitmap are not in use
	groupBlocksUnset = 2 // its block bitmap was never written: nothing but metadata is in it
	groupTableZeroed = 4
)

// extGroup is what a group descriptor says.
type extGroup struct {
	bitmap uint64 // block of the block bitmap
	inodes uint64 // of the inode bitmap
	table  uint64 // first one of the inode table
	free   uint32 // blocks
	sum    uint32 // of the block bitmap
	unset  bool   // the block bitmap is not written
}

// readGroups reads the group descriptors.
func (e *ext) readGroups() error {
	perBlock := uint64(e.blockSize / e.descSize)
	e.desc = make([]extGroup, 0, e.groups)
	buf := make([]byte, e.blockSize)
	for g := range e.groups {
		if g%perBlock == 0 {
			at := e.descBlock(g / perBlock)
			if at >= e.blocks {
				return errors.New("its group descriptors lie beyond its end")
			}
			if err := readInto(e.r, buf, int64(at)*e.blockSize); err != nil {
				return err
			}
		}
		d, err := e.group(g, buf[int64(g%perBlock)*e.descSize:][:e.descSize])
		if err != nil {
			return err
		}
		e.desc = append(e.desc, d)
	}
	return nil
}

// descBlock is where the i-th block of group descriptors is.
func (e *ext) descBlock(i uint64) uint64 {
	if e.incompat&incompatMetaBG == 0 || i < uint64(e.u32(0x104)) {
		return e.first + 1 + i
	}
	g := i * uint64(e.blockSize/e.descSize)
	if e.hasSuper(g) {
		return e.groupStart(g) + 1
	}
	return e.groupStart(g)
}

// group reads one group descriptor.
func (e *ext) group(g uint64, b []byte) (extGroup, error) {
	d := extGroup{
		bitmap: uint64(le.Uint32(b)), inodes: uint64(le.Uint32(b[4:])), table: uint64(le.Uint32(b[8:])),
		free: uint32(le.Uint16(b[0xc:])), sum: uint32(le.Uint16(b[0x18:])),
	}
	if e.descSize >= 64 {
		d.bitmap |= uint64(le.Uint32(b[0x20:])) << 32
		d.inodes |= uint64(le.Uint32(b[0x24:])) << 32
		d.table |= uint64(le.Uint32(b[0x28:])) << 32
		d.free |= uint32(le.Uint16(b[0x2c:])) << 16
		d.sum |= uint32(le.Uint16(b[0x38:])) << 16
	}
	flags := le.Uint16(b[0x12:])
	d.unset = flags&groupBlocksUnset != 0
	sums := e.readonlyCompat&(roMetadataCSum|roGDTCSum) != 0
	switch {
	case sums && le.Uint16(b[0x1e:]) != e.descSum(g, b):
		return d, fmt.Errorf("the checksum of its group %d is wrong", g)
	case flags&^(groupInodesUnset|groupBlocksUnset|groupTableZeroed) != 0 || !sums && flags&(groupBlocksUnset|groupInodesUnset) != 0:
		return d, fmt.Errorf("its group %d has flags that are not known", g)
	}
	return d, nil
}

// span is a run of blocks of the file system.
type span struct{ start, end uint64 }

// metadata lists the blocks that hold the file system itself, in order. Where two
// things would be in one place, or one out of bounds, is an error.
func (e *ext) metadata() ([]span, error) {
	perBlock := uint64(e.blockSize / e.inodeSize)
	table := (e.inodes + perBlock - 1) / perBlock
	all := make([]span, 0, 4*e.groups)
	for g, d := range e.desc {
		start := e.groupStart(uint64(g))
		if n := e.headBlocks(uint64(g)); n > 0 {
			all = append(all, span{start, start + n})
		}
		for _, s := range []span{{d.bitmap, d.bitmap + 1}, {d.inodes, d.inodes + 1}, {d.table, d.table + table}} {
			if s.start <= e.first || s.start >= e.blocks || s.end > e.blocks {
				return nil, fmt.Errorf("the maps of its group %d are out of bounds", g)
			}
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	for i, s := range all {
		if s.end > e.blocks || i > 0 && all[i-1].end > s.start {
			return nil, errors.New("its maps overlap")
		}
	}
	return all, nil
}

// headBlocks is how many blocks at the start of a group are copies of the
// superblock and the group descriptors, and what is reserved for more of them.
func (e *ext) headBlocks(g uint64) uint64 {
	super := uint64(0)
	if e.hasSuper(g) {
		super = 1
	}
	perBlock := uint64(e.blockSize / e.descSize)
	reserved := uint64(e.u16(0xce))
	if e.incompat&incompatMetaBG == 0 {
		return super * (1 + (e.groups+perBlock-1)/perBlock + reserved)
	}
	if old := uint64(e.u32(0x104)); g/perBlock < old {
		return super * (1 + old + reserved)
	}
	if i := g % perBlock; i == 0 || i == 1 || i == perBlock-1 {
		return super + 1
	}
	return super
}

// findFree reads the block bitmaps, and compares them with all that is known
// besides.
func (e *ext) findFree(free *freeList) error {
	meta, err := e.metadata()
	if err != nil {
		return err
	}
	buf := make([]byte, e.blockSize)
	total := uint64(0)
	for g, d := range e.desc {
		start := e.groupStart(uint64(g))
		n := min(e.perGroup, e.blocks-start)
		if err := e.bitmap(uint64(g), buf); err != nil {
			return err
		}
		for i := n; i < e.perGroup && !d.unset; i++ {
			if buf[i/8]&(1<<(i%8)) == 0 {
				return fmt.Errorf("its group %d calls free what lies beyond the end", g)
			}
		}
		// What ends before this group is not needed any more.
		for len(meta) > 0 && meta[0].end <= start {
			meta = meta[1:]
		}
		for _, s := range meta {
			if s.start >= start+n {
				break
			}
			for b := max(s.start, start); b < min(s.end, start+n); b++ {
				i := b - start
				if !d.unset && buf[i/8]&(1<<(i%8)) == 0 {
					return fmt.Errorf("its group %d calls its own maps free", g)
				}
				buf[i/8] |= 1 << (i % 8)
			}
		}
		count := e.collect(buf, start, n, free)
		if count != uint64(d.free) {
			return fmt.Errorf("its group %d has %d free blocks, and says %d", g, count, d.free)
		}
		total += count
	}
	said := uint64(e.u32(0xc))
	if e.incompat&incompat64 != 0 {
		said |= uint64(e.u32(0x158)) << 32
	}
	if total != said {
		return fmt.Errorf("it has %d free blocks, and says %d", total, said)
	}
	return nil
}

// bitmap reads the block bitmap of a group; it is empty if it was never written.
func (e *ext) bitmap(g uint64, buf []byte) error {
	d := e.desc[g]
	if d.unset {
		clear(buf)
		return nil
	}
	if err := readInto(e.r, buf, int64(d.bitmap)*e.blockSize); err != nil {
		return err
	}
	if e.readonlyCompat&roMetadataCSum == 0 {
		return nil
	}
	sum := crc32C(e.seed, buf[:e.perGroup/8])
	if e.descSize < 64 {
		sum &= 0xffff
	}
	if sum != d.sum {
		return fmt.Errorf("the checksum of its group %d's map is wrong", g)
	}
	return nil
}

// collect adds the free ones of the n blocks from start on, and counts them.
func (e *ext) collect(bitmap []byte, start, n uint64, free *freeList) (count uint64) {
	for i := uint64(0); i < n; {
		if i%8 == 0 && bitmap[i/8] == 0xff {
			i += 8
			continue
		}
		if bitmap[i/8]&(1<<(i%8)) != 0 {
			i++
			continue
		}
		j := i
		for j < n && bitmap[j/8]&(1<<(j%8)) == 0 {
			// All that is zero from here on in this byte.
			j += min(8-j%8, uint64(bits.TrailingZeros8(bitmap[j/8]>>(j%8))))
		}
		j = min(j, n)
		free.add(int64(start+i)*e.blockSize, int64(j-i)*e.blockSize)
		count += j - i
		i = j
	}
	return count
}
