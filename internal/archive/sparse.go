package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"

	"tinybackup/internal/source"
)

// The holes of a file in the format that GNU tar calls PAX 1.0 ("Storing Sparse
// Files") are read here, and not by archive/tar: that gives them out as zeros,
// which for a terabyte is a minute of work, and takes no map of more than 1 MiB.
// So its PAX records get another name before archive/tar sees them.
const (
	gnuSparse    = "GNU.sparse."
	hiddenSparse = "TBU.sparse." // as long as the other
)

// maxSparseMap bounds what is held of a map, in bytes: some ten million holes.
const maxSparseMap = 256 * mib

var errSparseMap = errors.New("the map of its holes is damaged")

// hideSparse renames the records of a sparse file in PAX 1.0. What is no list of
// records stays: archive/tar says what is wrong with it.
func hideSparse(records []byte) {
	var keys []int // where those to rename begin
	version := map[string]bool{}
	for at := 0; at < len(records); {
		digits, rest, ok := bytes.Cut(records[at:], []byte(" "))
		n, err := strconv.Atoi(string(digits))
		if !ok || err != nil || n <= len(digits)+1 || n > len(records)-at {
			return
		}
		if bytes.HasPrefix(rest, []byte(gnuSparse)) {
			keys = append(keys, at+len(digits)+1)
			version[string(records[at+len(digits)+1:at+n])] = true
		}
		at += n
	}
	if !version[gnuSparse+"major=1\n"] || !version[gnuSparse+"minor=0\n"] {
		return
	}
	for _, at := range keys {
		copy(records[at:], hiddenSparse)
	}
}

// openSparse makes h what the file is that d holds the data of, and reads the map,
// if it is sparse in PAX 1.0.
func (d *tarData) openSparse(h *tar.Header) error {
	if h.PAXRecords[hiddenSparse+"major"] == "" {
		return nil
	}
	if name := h.PAXRecords[hiddenSparse+"name"]; name != "" {
		h.Name, d.name = name, name
	}
	stored := h.Size
	size, err := strconv.ParseInt(h.PAXRecords[hiddenSparse+"realsize"], 10, 64)
	if err != nil || size < 0 || h.Typeflag != tar.TypeReg {
		return d.damaged(errSparseMap)
	}
	h.Size = size
	d.sparse, d.size = true, size
	m := sparseMap{r: d}
	if d.extents, err = m.extents(size); err != nil {
		return err
	}
	data := int64(0)
	for _, x := range d.extents {
		data += x.Len
	}
	if data != stored-m.n {
		return d.damaged(errSparseMap)
	}
	return nil
}

// sparseMap reads a map: numbers, each with a newline behind it, filled up with
// zeros to a whole block.
type sparseMap struct {
	r     *tarData
	n     int64 // bytes read
	block [tarBlock]byte
	left  []byte // of block
}

// extents reads the map of a file of size bytes: how many parts are data, then
// offset and length of each.
func (m *sparseMap) extents(size int64) ([]source.Extent, error) {
	count, err := m.number()
	if err != nil {
		return nil, err
	}
	var out []source.Extent
	end := int64(0)
	for range count {
		off, err := m.number()
		if err != nil {
			return nil, err
		}
		n, err := m.number()
		if err != nil {
			return nil, err
		}
		if off < end || off > size || n > size-off {
			return nil, m.r.damaged(errSparseMap)
		}
		end = off + n
		if n > 0 { // a last hole is a part without data
			out = append(out, source.Extent{Off: off, Len: n})
		}
	}
	return out, nil
}

func (m *sparseMap) number() (int64, error) {
	n := int64(0)
	for digits := 0; ; digits++ {
		if len(m.left) == 0 {
			if m.n >= maxSparseMap {
				return 0, m.r.damaged(errSparseMap)
			}
			if _, err := io.ReadFull(m.r, m.block[:]); err == io.EOF || err == io.ErrUnexpectedEOF {
				return 0, m.r.damaged(errSparseMap)
			} else if err != nil {
				return 0, err
			}
			m.n += tarBlock
			m.left = m.block[:]
		}
		c := m.left[0]
		m.left = m.left[1:]
		if c == '\n' && digits > 0 {
			return n, nil
		}
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, m.r.damaged(errSparseMap)
		}
		n = 10*n + int64(c-'0')
	}
}
