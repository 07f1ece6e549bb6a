package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
)

// errStop, returned by a visit function, ends walkTar without an error.
var errStop = errors.New("stop")

// walkTar calls visit for every entry of a tar stream, with a reader for its data, and then reads the stream to its
// end. A stream that ends without the end marker, two blocks of zeros, is an error (archive/tar takes it for whole),
// as are data that follow the marker.
func walkTar(r io.Reader, visit func(*tar.Header, io.Reader) error) error {
	in := &tarInput{r: r}
	tr := tar.NewReader(in)
	last := ""
	for {
		h, err := tr.Next()
		switch {
		case err == io.EOF && in.ended, err == io.ErrUnexpectedEOF:
			return fmt.Errorf("tar ends too early, at byte %d%s: %w", in.n, after(last), io.ErrUnexpectedEOF)
		case err == io.EOF:
			return in.finish()
		case err != nil && in.err != nil:
			return in.err
		case err != nil:
			return fmt.Errorf("tar is damaged at byte %d%s: %w", in.n, after(last), err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		last = h.Name
		err = visit(h, &tarData{tr, in, h.Name})
		if err == errStop {
			return nil
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
	n     int64 // bytes read
	err   error // of r, other than its end
	ended bool  // somebody saw the end
}

// Read implements io.Reader.
func (t *tarInput) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	if n > 0 && err == io.EOF {
		return n, nil // who needs no more has not seen the end
	}
	t.ended = t.ended || err == io.EOF
	if err != nil && err != io.EOF {
		t.err = err
	}
	return n, err
}

// finish reads what follows the end marker: zeros, to fill up the last record, and nothing else.
func (t *tarInput) finish() error {
	end := t.n
	buf := make([]byte, 64<<10)
	for {
		n, err := t.r.Read(buf)
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

// tarData is the content of an entry.
type tarData struct {
	r    io.Reader
	in   *tarInput
	name string
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
		return n, fmt.Errorf("tar ends too early, at byte %d, in entry %q: %w", d.in.n, d.name, err)
	}
	return n, fmt.Errorf("tar is damaged before byte %d, in entry %q: %w", d.in.n, d.name, err)
}
