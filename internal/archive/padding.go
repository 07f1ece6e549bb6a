package archive

import (
	"encoding/binary"
	"fmt"
)

// padding fills frames up, so that the next one begins at a multiple of align
// bytes, with what the format lets every reader pass over.
type padding struct {
	codec string
	align int64 // bytes; 0: no padding
}

func newPadding(codec string, align int64) (*padding, error) {
	if align != 0 && (align < 64 || align > 32<<10 || align%4 != 0) {
		return nil, fmt.Errorf("alignment of %d bytes", align)
	}
	if codec == CodecNone {
		align = 0 // there is nothing that a reader would pass over
	}
	return &padding{codec, align}, nil
}

// append adds the padding that a frame at an aligned offset needs.
func (p *padding) append(frame []byte) []byte {
	if p.align == 0 || len(frame) == 0 {
		return frame
	}
	n := int((p.align - int64(len(frame))%p.align) % p.align)
	switch p.codec {
	case CodecZstd:
		return p.zstd(frame, n)
	case CodecGzip:
		return p.gzip(frame, n)
	case CodecXZ:
		// Stream padding: zeros, in fours (xz file format, 2.2). A stream's size is a
		// multiple of four too.
		return append(frame, make([]byte, n)...)
	}
	return frame
}

// zstd appends a skippable frame of n bytes (RFC 8878, 3.1.2): a magic number,
// its size, anything.
func (p *padding) zstd(frame []byte, n int) []byte {
	const head = 8
	if n == 0 {
		return frame
	}
	if n < head {
		n += int(p.align)
	}
	frame = binary.LittleEndian.AppendUint32(frame, 0x184D2A50)
	frame = binary.LittleEndian.AppendUint32(frame, uint32(n-head))
	return append(frame, make([]byte, n-head)...)
}

// gzip appends an empty member of n bytes (RFC 1952, 2.3): a header with an extra
// field, an empty deflate block, checksum and size of nothing.
func (p *padding) gzip(frame []byte, n int) []byte {
	const (
		member = 10 + 2 + 2 + 8 // header, length of the extra field, block, trailer
		sub    = 4              // a subfield's id and length
	)
	if n == 0 {
		return frame
	}
	if n < member+sub {
		n += int(p.align)
	}
	extra := n - member
	frame = append(frame, 0x1f, 0x8b, 8, 4 /* FEXTRA */, 0, 0, 0, 0, 0, 255 /* unknown system */)
	frame = binary.LittleEndian.AppendUint16(frame, uint16(extra))
	frame = append(frame, 'T', 'B')
	frame = binary.LittleEndian.AppendUint16(frame, uint16(extra-sub))
	frame = append(frame, make([]byte, extra-sub)...)
	return append(frame, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}
