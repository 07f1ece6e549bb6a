package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"tinybackup/internal/source"
)

// errStop, returned by a visit function, ends walkTar without an error.
var errStop = errors.New("stop")

// walkTar calls visit for every entry of a tar stream, with a reader for its data, and then reads the stream to its
// end. A stream that ends without the end marker, two blocks of zeros, is an error (archive/tar takes it for whole),
// as are data that follow the marker.
func walkTar(r io.Reader, visit func(*tar.Header, io.Reader) error) error {
	in := &tarInput{r: r, headers: true}
	tr := tar.NewReader(in)
	last := ""
	for {
		h, err := tr.Next()
		in.headers = false
		switch {
		case err == io.EOF && in.ended, err == io.ErrUnexpectedEOF:
			return fmt.Errorf("tar ends too early, at byte %d%s: %w", in.given, after(last), io.ErrUnexpectedEOF)
		case err == io.EOF:
			return in.finish()
		case err != nil && in.err != nil:
			return in.err
		case err != nil:
			return fmt.Errorf("tar is damaged at byte %d%s: %w", in.given, after(last), err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			in.headers = true
			continue
		}
		data := &tarData{r: tr, in: in, name: h.Name}
		if err := data.openSparse(h); err != nil {
			return err
		}
		last = h.Name
		err = visit(h, data)
		if err == errStop {
			return nil
		}
		if err == nil && !isSparse(h) { // archive/tar passes faster over the holes of those
			in.headers = true
			_, err = io.Copy(io.Discard, data)
		}
		if err != nil {
			return err
		}
	}
}

// after names the entry before a place that has no name of its own.
func after(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(", after entry %q", name)
}

// tarInput is a tar stream as archive/tar reads it.
type tarInput struct {
	r     io.Reader
	given int64 // bytes given out
	err   error // of r, other than its end
	ended bool  // somebody saw the end

	headers bool   // what is read next are headers, and padding before them
	buf     []byte // the last header
	ahead   []byte // of it, what is not given out yet
}

// Read implements io.Reader.
func (t *tarInput) Read(p []byte) (int, error) {
	if t.headers && len(t.ahead) == 0 {
		if over := t.given % tarBlock; over != 0 {
			p = p[:min(int64(len(p)), tarBlock-over)]
		} else {
			t.readHeader()
		}
	}
	var n int
	var err error
	if len(t.ahead) > 0 {
		n = copy(p, t.ahead)
		t.ahead = t.ahead[n:]
	} else {
		n, err = t.read(p)
	}
	t.given += int64(n)
	return n, err
}

func (t *tarInput) read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.r.Read(p)
	if n > 0 && err == io.EOF {
		return n, nil // who needs no more has not seen the end
	}
	t.ended = t.ended || err == io.EOF
	if err != nil && err != io.EOF {
		t.err = err
	}
	return n, err
}

// readHeader reads the next header ahead, with the records or the name that it
// may carry. At an error it has what came before; the error comes again.
func (t *tarInput) readHeader() {
	t.buf = t.buf[:0]
	t.headers = t.fill(tarBlock) && t.readRecords()
	t.ahead = t.buf
}

// readRecords reads what belongs to the header in buf; false: what follows is no
// further header.
func (t *tarInput) readRecords() bool {
	flag := t.buf[156]
	if !strings.ContainsRune("xgLK", rune(flag)) {
		return false
	}
	size, err := strconv.ParseInt(strings.Trim(string(t.buf[124:136]), " \x00"), 8, 64)
	if err != nil || size < 0 || size > mib { // archive/tar takes no more either
		return false
	}
	if !t.fill((size + tarBlock - 1) / tarBlock * tarBlock) {
		return false
	}
	if flag == tar.TypeXHeader {
		hideSparse(t.buf[tarBlock : tarBlock+size])
	}
	return true
}

// fill appends the next n bytes to buf; false: as many as there are.
func (t *tarInput) fill(n int64) bool {
	at := len(t.buf)
	t.buf = slices.Grow(t.buf, int(n))[:at+int(n)]
	for at < len(t.buf) {
		got, err := t.read(t.buf[at:])
		at += got
		if err != nil {
			break
		}
	}
	whole := at == len(t.buf)
	t.buf = t.buf[:at]
	return whole
}

// finish reads what follows the end marker: zeros, to fill up the last record, and nothing else.
func (t *tarInput) finish() error {
	end := t.given
	buf := make([]byte, 64<<10)
	for {
		n, err := t.Read(buf)
		if !allZero(buf[:n]) {
			return fmt.Errorf("tar: data after its end marker at byte %d", end)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// tarData is the content of an entry: of a sparse one, its data without the holes.
type tarData struct {
	r    io.Reader
	in   *tarInput
	name string

	sparse  bool
	size    int64           // of a sparse file, with its holes
	extents []source.Extent // of a sparse file, where its data is
}

// Read implements io.Reader. Errors are the stream's own, or name the entry.
func (d *tarData) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case d.in.err != nil:
		return n, d.in.err
	case err == io.ErrUnexpectedEOF:
		return n, fmt.Errorf("tar ends too early, at byte %d, in entry %q: %w", d.in.given, d.name, err)
	}
	return n, d.damaged(err)
}

func (d *tarData) damaged(err error) error {
	return fmt.Errorf("tar is damaged before byte %d, in entry %q: %w", d.in.given, d.name, err)
}
