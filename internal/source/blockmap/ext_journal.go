package blockmap

import (
	"encoding/binary"
	"errors"
)

var errJournal = errors.New("its journal is in doubt")

// checkJournal looks into the journal itself: the superblock's flag, which says
// that it has to be replayed, is a single bit, without a checksum in ext3.
func (e *ext) checkJournal() error {
	if e.compat&compatJournal == 0 {
		return nil
	}
	const inode = 8
	if e.u32(0xe0) != inode || e.u32(0xe4) != 0 {
		return errors.New("its journal is on another device")
	}
	table := e.desc[0].table
	if table <= e.first || table >= e.blocks {
		return errJournal
	}
	b, err := read(e.r, int64(table)*e.blockSize+(inode-1)*e.inodeSize, 128)
	if err != nil {
		return err
	}
	at, err := e.firstBlock(b)
	if err != nil {
		return err
	}
	if b, err = read(e.r, int64(at)*e.blockSize, 0x28); err != nil {
		return err
	}
	// JBD2's superblock is big-endian (docs.kernel.org/filesystems/ext4, journal).
	be := binary.BigEndian
	const magic, version1, version2 = 0xc03b3998, 3, 4
	kind, start, errno := be.Uint32(b[4:]), be.Uint32(b[0x1c:]), be.Uint32(b[0x20:])
	switch {
	case be.Uint32(b) != magic || kind != version1 && kind != version2 || int64(be.Uint32(b[0xc:])) != e.blockSize:
		return errJournal
	case start != 0 || errno != 0:
		return errors.New("its journal is not empty: it was not unmounted")
	}
	return nil
}

// firstBlock is the block where an inode's content begins.
func (e *ext) firstBlock(inode []byte) (uint64, error) {
	const usesExtents = 0x80000
	b := inode[0x28:0x64]
	if le.Uint32(inode[0x20:])&usesExtents == 0 {
		return e.within(uint64(le.Uint32(b)))
	}
	const magic, maxDepth = 0xf30a, 5
	for left := maxDepth; ; left-- {
		if le.Uint16(b) != magic || le.Uint16(b[2:]) == 0 || le.Uint32(b[12:]) != 0 {
			return 0, errJournal
		}
		first := b[12:24]
		if le.Uint16(b[6:]) == 0 { // a leaf
			return e.within(uint64(le.Uint16(first[6:]))<<32 | uint64(le.Uint32(first[8:])))
		}
		next, err := e.within(uint64(le.Uint16(first[8:]))<<32 | uint64(le.Uint32(first[4:])))
		if err != nil || left == 0 {
			return 0, errJournal
		}
		if b, err = read(e.r, int64(next)*e.blockSize, 24); err != nil {
			return 0, err
		}
	}
}

// within refuses a block that the file system does not have.
func (e *ext) within(block uint64) (uint64, error) {
	if block <= e.first || block >= e.blocks {
		return 0, errJournal
	}
	return block, nil
}
