package blockmap

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32C is the kernel's crc32c_le: without the inversions before and after.
func crc32C(crc uint32, b []byte) uint32 { return ^crc32.Update(^crc, castagnoli, b) }

// crc16 is the kernel's, with the polynomial 0x8005.
func crc16(crc uint16, b []byte) uint16 {
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			odd := crc & 1
			crc >>= 1
			if odd != 0 {
				crc ^= 0xa001
			}
		}
	}
	return crc
}

// descSum is the checksum of a group descriptor, over all of it but the sum itself.
func (e *ext) descSum(g uint64, b []byte) uint16 {
	const at = 0x1e
	number := le.AppendUint32(nil, uint32(g))
	if e.readonlyCompat&roMetadataCSum != 0 {
		sum := crc32C(e.seed, number)
		sum = crc32C(sum, b[:at])
		sum = crc32C(sum, []byte{0, 0})
		return uint16(crc32C(sum, b[at+2:]))
	}
	sum := crc16(0xffff, e.uuid())
	sum = crc16(sum, number)
	sum = crc16(sum, b[:at])
	return crc16(sum, b[at+2:])
}
