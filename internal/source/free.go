package source

import (
	"fmt"
	"io"

	"tinybackup/internal/source/blockmap"
)

// findUsed finds which parts of the device its file systems use. The others are
// holes from now on: zeros that are not read. Nobody else may have the device;
// flushErr says why its cache may be an old one, which is not to be believed.
func (s *Source) findUsed(flushErr error) {
	sector, err := sectorSize(s.device)
	if flushErr != nil {
		err = flushErr
	}
	if err != nil {
		why := fmt.Sprintf("its cache could not be emptied, as root may: %v", err)
		s.parts = []blockmap.Part{{Range: blockmap.Range{Len: s.Size}, Whole: why}}
		return
	}
	found := blockmap.Find(s.live(), s.Size, sector)
	s.parts = found.Parts
	if len(found.Free) > 0 {
		s.used = rest(found.Free, s.Size)
	}
}

// live is the device as a reader that tells when it was read.
func (s *Source) live() io.ReaderAt { return liveReader{s} }

type liveReader struct{ *Source }

func (r liveReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.device.ReadAt(p, off)
	r.opt.Alive()
	return n, err
}

// Parts are a device's partitions, with what is free in them and so is not read;
// none, if that was not looked for.
func (s *Source) Parts() []blockmap.Part { return s.parts }

// rest is what size bytes have beside the sorted ranges.
func rest(ranges []blockmap.Range, size int64) []Extent {
	out := make([]Extent, 0, len(ranges)+1)
	at := int64(0)
	for _, x := range ranges {
		if x.Off > at {
			out = append(out, Extent{at, x.Off - at})
		}
		at = x.Off + x.Len
	}
	if at < size {
		out = append(out, Extent{at, size - at})
	}
	return out
}

// Hole says that there is nothing to be read for the segment: all of it is zeros.
// Its entry's Content must have been opened.
func (s Segment) Hole() bool { return len(s.Entry.content.data(s.Off, s.Len)) == 0 }

// Used are the parts of the segment of a device that its file systems use, as far as
// that is known: all others are zeros in the image. Its entry's Content must have been
// opened.
func (s Segment) Used() []Extent { return s.Entry.content.data(s.Off, s.Len) }
