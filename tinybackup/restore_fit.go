package tinybackup

import (
	"bytes"
	"fmt"
	"io"

	"tinybackup/internal/source/blockmap"
)

// scanEnds is how much an imageScan keeps of an image's beginning and of its end.
const scanEnds = 1 << 20

// An imageScan is what is to be known of an image before it is written onto a
// device. The image is written to it, once.
type imageScan struct {
	limit  int64 // bytes of the device
	size   int64 // of the image, so far
	beyond int64 // where the first byte is, from limit on, that is not zero; -1: nowhere
	head   []byte
	last   [2][]byte // the end, in two parts; the second is complete or not there
}

// Write takes the next bytes.
func (s *imageScan) Write(p []byte) (int, error) {
	if n := scanEnds - len(s.head); n > 0 {
		s.head = append(s.head, p[:min(n, len(p))]...)
	}
	if end := s.size + int64(len(p)); s.beyond < 0 && end > s.limit {
		if rest := bytes.TrimLeft(p[max(0, s.limit-s.size):], "\x00"); len(rest) > 0 {
			s.beyond = end - int64(len(rest))
		}
	}
	if s.last[0] = append(s.last[0], p...); len(s.last[0]) >= scanEnds {
		s.last[0], s.last[1] = s.last[1][:0], s.last[0]
	}
	s.size += int64(len(p))
	return len(p), nil
}

// ReadAt reads the beginning and the end of the image: all that partition tables are in.
func (s *imageScan) ReadAt(p []byte, off int64) (int, error) {
	tail := append(append([]byte{}, s.last[1]...), s.last[0]...)
	from := s.size - int64(len(tail))
	switch {
	case off+int64(len(p)) <= int64(len(s.head)):
		return copy(p, s.head[off:]), nil
	case off >= from && off < s.size:
		n := copy(p, tail[off-from:])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	return 0, fmt.Errorf("byte %d of the image was not kept", off)
}

// gpt is the size of the sectors that the image's GPT counts in; 0 if it has none.
func (s *imageScan) gpt() int64 {
	for _, sector := range []int64{512, 4096} {
		if int64(len(s.head)) > sector+8 && string(s.head[sector:sector+8]) == "EFI PART" {
			return sector
		}
	}
	return 0
}

// gptRoom is what a GPT needs behind the last partition for its copy, in sectors: a
// header, and entries of 16 KiB.
const gptRoom = 33

// fit says how much of the image is to be written: all of it; or, on a device that is
// smaller, what comes before the end of the device, if no partition reaches beyond.
func (d *deviceRestore) fit() (int64, error) {
	disk := d.dev.Size
	if d.seen == nil { // it was known before
		return d.total(), nil
	}
	size := d.seen.size
	if size <= disk {
		return size, nil
	}
	refuse := func(why string) (int64, error) {
		return 0, &HintError{
			Err:  fmt.Errorf("the image has %s (%d bytes) and does not fit onto %s, which has %s (%d bytes): %s", Size(size), size, d.dev.Path, Size(disk), disk, why),
			Hint: "take a larger device; or restore into a file and make its file systems smaller there",
		}
	}
	parts, err := blockmap.Partitions(d.seen, size, 0)
	if err != nil {
		return refuse(err.Error())
	}
	used := int64(0)
	for _, p := range parts {
		if p.Number == 0 {
			return refuse("it has no partition table to tell what of it is used")
		}
		used = max(used, p.Off+p.Len)
	}
	room, end := disk, size
	if sector := d.seen.gpt(); sector > 0 {
		room, end = disk-gptRoom*sector, size-gptRoom*sector // both copies of the table count for nothing
	}
	if used > room {
		return refuse(fmt.Sprintf("its partitions take %s (%d bytes)", Size(used), used))
	}
	left := fmt.Sprintf("%s is smaller than the image: the last %s of that, which no partition has, are left out", d.dev.Path, Size(size-disk))
	if d.seen.beyond >= 0 && d.seen.beyond < end {
		d.report.warn("%s, and are not empty", left)
	} else {
		d.report.Notes = append(d.report.Notes, left)
	}
	return disk, nil
}
