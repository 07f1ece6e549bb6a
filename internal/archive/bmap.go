package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"tinybackup/internal/source"
)

// bmapBlock is the size of the blocks that a block map counts in, in bytes.
const bmapBlock = 4096

// A BlockMap says which blocks of a device's image have to be written to get it back: the
// others are free, and whatever is on the target there may stay. A block that is used is
// mapped though it is all zeros.
type BlockMap struct {
	Size   int64 // bytes of the image
	Ranges []BlockRange
}

// BlockRange are blocks of 4 KiB that follow each other.
type BlockRange struct {
	First, Last int64    // numbers, from 0
	SHA256      [32]byte // of what the image has there
}

// blockRanges are the used blocks of a segment of a device, whose bytes in the image are
// raw. Its offset is a multiple of a block. The sums are of raw and not of the device: a
// block that is used in part is read in part, and the rest of it is zeros.
func blockRanges(off int64, raw []byte, used []source.Extent) []BlockRange {
	var ranges []BlockRange
	for _, x := range used {
		first, last := x.Off/bmapBlock, (x.Off+x.Len-1)/bmapBlock
		if n := len(ranges); n > 0 && ranges[n-1].Last >= first-1 {
			ranges[n-1].Last = last
			continue
		}
		ranges = append(ranges, BlockRange{First: first, Last: last})
	}
	for i := range ranges {
		r := &ranges[i]
		r.SHA256 = sha256.Sum256(raw[r.First*bmapBlock-off : min((r.Last+1)*bmapBlock-off, int64(len(raw)))])
	}
	return ranges
}

// Encode is the map in the format of bmaptool, version 2.0 (bmap-tools, BmapCreate.py).
func (m *BlockMap) Encode() []byte {
	blocks, mapped := (m.Size+bmapBlock-1)/bmapBlock, int64(0)
	var ranges strings.Builder
	for _, r := range m.Ranges {
		mapped += r.Last - r.First + 1
		span := fmt.Sprint(r.First)
		if r.Last > r.First {
			span = fmt.Sprintf("%d-%d", r.First, r.Last)
		}
		fmt.Fprintf(&ranges, "        <Range chksum=\"%x\"> %s </Range>\n", r.SHA256, span)
	}
	// The file has its own checksum in it, made with zeros in that place.
	unset := strings.Repeat("0", 2*sha256.Size)
	text := fmt.Sprintf(`<?xml version="1.0" ?>
<!-- Which blocks of a device's image are in use. "bmaptool copy" writes only these. -->
<bmap version="2.0">
    <ImageSize> %d </ImageSize>
    <BlockSize> %d </BlockSize>
    <BlocksCount> %d </BlocksCount>
    <MappedBlocksCount> %d </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> %s </BmapFileChecksum>
    <BlockMap>
%s    </BlockMap>
</bmap>
`, m.Size, bmapBlock, blocks, mapped, unset, ranges.String())
	sum := sha256.Sum256([]byte(text))
	return []byte(strings.Replace(text, unset, hex.EncodeToString(sum[:]), 1))
}
