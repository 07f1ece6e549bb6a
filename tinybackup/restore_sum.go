package tinybackup

import (
	"context"
	"fmt"
	"io"

	"tinybackup/internal/archive"
	"tinybackup/internal/seal"
)

// An archive without a manifest may look whole and not be: what is compressed piece by
// piece can be cut off between two of them, and what is not compressed has no checksums at
// all. Then SHA256SUMS is all that tells, which is compared when all has been read.

// A summedStream is what an archive holds, whose end is an error if the archive is not what
// SHA256SUMS says.
type summedStream struct {
	io.ReadCloser
	check func() error // nil: it was
	err   error        // what it said
}

// Read implements io.Reader.
func (s *summedStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != io.EOF {
		return n, err
	}
	if s.check != nil {
		s.err, s.check = s.check(), nil
	}
	if s.err != nil {
		err = s.err
	}
	return n, err
}

// streamSummed is stream without a manifest.
func (a opened) streamSummed(ctx context.Context) (io.ReadCloser, error) {
	src := seal.NewSummed(a.src)
	stream, err := archive.NewReader(ctx, a.codec, src)
	if err != nil {
		return nil, err
	}
	return &summedStream{ReadCloser: stream, check: func() error {
		sum, err := src.SHA256()
		if err == nil {
			err = a.compareSum(ctx, sum)
		}
		return err
	}}, nil
}

// A namedStream is what an archive holds, whose errors say which one.
type namedStream struct {
	io.ReadCloser
	ctx context.Context
	a   opened
}

// Read implements io.Reader.
func (s *namedStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = s.a.broken(s.ctx, err)
	}
	return n, err
}

// named makes a namedStream of a stream.
func (a opened) named(ctx context.Context) func(io.ReadCloser, error) (io.ReadCloser, error) {
	return func(stream io.ReadCloser, err error) (io.ReadCloser, error) {
		if err != nil {
			return nil, a.broken(ctx, err)
		}
		return &namedStream{stream, ctx, a}, nil
	}
}

// broken says which archive it is that could not be read, and what to do.
func (a opened) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	hint := hintOf(err)
	err = fmt.Errorf("archive %q: %w", a.Name, err)
	switch {
	case hint == "" && a.foreign:
		return err
	case hint == "":
		hint = "tinybackup list " + shellQuote(a.store.String()) + " shows other archives; --at TIME takes an older one"
	}
	return &HintError{Err: err, Hint: hint}
}

// compareSum compares an archive with its line in SHA256SUMS, if there is one.
func (a opened) compareSum(ctx context.Context, sum string) error {
	sums, err := a.store.Sums(ctx)
	if err != nil {
		return err
	}
	if want, known := sums[a.Name]; known && want != sum {
		return &HintError{
			Err:  fmt.Errorf("SHA256SUMS says %s, it has %s", want, sum),
			Hint: "tinybackup list " + shellQuote(a.store.String()) + " shows other archives, and --at TIME takes an older one; if SHA256SUMS is what is damaged, remove its line of this archive",
		}
	}
	return nil
}
