package tinybackup

import (
	"fmt"

	"tinybackup/internal/source"
)

// Part is a partition of a device, or a device without partitions. Sizes are bytes.
type Part struct {
	Number int    `json:"number"`           // in the partition table; 0: the whole device
	Format string `json:"format,omitempty"` // of its file system; empty: not known
	Offset int64  `json:"offset"`           // on the device
	Size   int64  `json:"size"`
	Free   int64  `json:"free"`            // not read, and zeros in the image
	Whole  string `json:"whole,omitempty"` // why all of it is read
}

func partsOf(src *source.Source) []Part {
	var out []Part
	for _, p := range src.Parts() {
		out = append(out, Part{Number: p.Number, Format: p.Format, Offset: p.Off, Size: p.Len, Free: p.Free, Whole: p.Whole})
	}
	return out
}

// String is the part in a line of plain words.
func (p Part) String() string {
	name := "device"
	if p.Number > 0 {
		name = fmt.Sprintf("partition %d", p.Number)
	}
	format := p.Format
	if format != "" {
		format += ", "
	}
	text := fmt.Sprintf("%s (%s%s): ", name, format, Size(p.Size))
	if p.Whole != "" {
		return text + "read whole: " + p.Whole
	}
	return text + Size(p.Free).String() + " are free and not read"
}
