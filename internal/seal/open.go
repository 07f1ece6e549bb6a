package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"filippo.io/age"
)

// Source is an encrypted file. ReadAt may be called from several goroutines at once.
type Source interface {
	io.ReaderAt
	Size() int64 // bytes
}

// IsSealed says whether src begins as an encrypted file does.
func IsSealed(src Source) (bool, error) {
	head := make([]byte, len(magic))
	n, err := src.ReadAt(head, 0)
	if err == io.EOF {
		err = nil
	}
	return err == nil && string(head[:n]) == magic, err
}

// The sizes of age's format, in bytes: a chunk, and what it has more when it is encrypted.
const (
	chunk    = 64 << 10
	overhead = 16
)

// maxPiece is how much is read of an encrypted file at a time, in plain bytes.
const maxPiece = 64 * chunk

// A File is an encrypted file, decrypted: a Source itself. ReadAt gives out no byte that was
// not authenticated, and may be called from several goroutines.
type File struct {
	src    Source
	key    age.Identity // opens this file alone
	opened []piece      // what was read to open it
	whole  io.ReaderAt  // reads a chunk at a time, and remembers the last one
	off    int64        // where the chunks begin
	size   int64
	bufs   sync.Pool // *[]byte
}

// Open opens an encrypted file. That it has all of its chunks, as many as its size says, and
// the last one is the last, is checked here; each other one when it is read. Whether one of
// the identities fits decides before that: if none, the error is an *Error. src stays the
// caller's to close, after the last ReadAt.
func (ids *Identities) Open(src Source) (*File, error) {
	src = outside{src}
	seen := &recorder{src: src}
	header, err := age.ExtractHeader(io.NewSectionReader(seen, 0, src.Size()))
	if err != nil {
		return nil, damage(err, "it is not encrypted with age, or damaged where it begins")
	}
	key, err := ids.unlock(header)
	if err != nil {
		return nil, err
	}
	f := &File{src: src, key: age.NewInjectedFileKeyIdentity(key)}
	if f.whole, f.size, err = age.DecryptReaderAt(seen, src.Size(), f.key); err != nil {
		return nil, damage(err, "encrypted data are cut off, or damaged where they end")
	}
	chunks := max(1, (f.size+chunk-1)/chunk)
	f.off = src.Size() - f.size - chunks*overhead
	f.opened = seen.pieces
	seen.stop()
	return f, nil
}

// unlock gets the key of a file out of its header.
func (ids *Identities) unlock(header []byte) ([]byte, error) {
	ids.err = nil // of another file
	key, err := age.DecryptHeader(header, ids.all...)
	var none *age.NoIdentityMatchError
	switch {
	case err == nil:
		return key, nil
	case ids.err != nil:
		return nil, ids.err
	case errors.As(err, &none):
		return nil, noMatch(none)
	}
	return nil, fmt.Errorf("encrypted data cannot be opened: %w", err)
}

// noMatch says that no identity fits.
func noMatch(none *age.NoIdentityMatchError) error {
	n := 0
	for _, kind := range none.StanzaTypes {
		if !strings.HasSuffix(kind, "-grease") { // says nothing, on purpose
			n++
		}
	}
	to := fmt.Sprintf("%d recipients", n)
	if n == 1 {
		to = "1 recipient"
	}
	return &Error{
		Msg: "none of the identities fits: it is encrypted to " + to, Err: none,
		Advice: "give the identity that belongs to the --encrypt of the backup: age-keygen -y KEYFILE shows the public key of one",
	}
}

// Size is that of the decrypted bytes.
func (f *File) Size() int64 { return f.size }

// ReadAt implements io.ReaderAt. Of the encrypted file it reads the chunks that hold what is
// asked for, in one piece, or in pieces of 4 MiB.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > f.size {
		return 0, fmt.Errorf("byte %d of %d", off, f.size)
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if at == f.size {
			return done, io.EOF
		}
		end := min(off+int64(len(p)), (at/maxPiece+1)*maxPiece, f.size)
		n, err := f.readPiece(p[done:done+int(end-at)], at)
		if done += n; int64(n) < end-at {
			return done, damage(err, fmt.Sprintf("encrypted data are damaged before byte %d", f.off+(end+chunk-1)/chunk*(chunk+overhead)))
		}
	}
	return done, nil
}

// readPiece reads what is all in one piece.
func (f *File) readPiece(p []byte, off int64) (int, error) {
	first, last := off/chunk, (off+int64(len(p))-1)/chunk
	if first == last {
		return f.whole.ReadAt(p, off)
	}
	// The library reads chunk by chunk, each of which could be a request to a server: so it
	// is given all of them at once. Its reader goes by its source, so each time a new one is
	// made, which costs it nothing but the last chunk's decryption.
	at := f.off + first*(chunk+overhead)
	buf := f.buffer(min(f.off+(last+1)*(chunk+overhead), f.src.Size()) - at)
	defer f.bufs.Put(buf)
	if n, err := f.src.ReadAt(*buf, at); n < len(*buf) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	here := &replay{src: f.src, pieces: append(f.opened[:len(f.opened):len(f.opened)], piece{at, *buf})}
	r, _, err := age.DecryptReaderAt(here, f.src.Size(), f.key)
	if err != nil {
		return 0, err
	}
	return r.ReadAt(p, off)
}

func (f *File) buffer(n int64) *[]byte {
	b, ok := f.bufs.Get().(*[]byte)
	if !ok || int64(cap(*b)) < n {
		b = new([]byte)
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}

// Bytes encrypts data.
func (r *Recipients) Bytes(data []byte) ([]byte, error) {
	var out bytes.Buffer
	w := r.Writer(&out)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

// Bytes decrypts what Recipients.Bytes has made, as Open does.
func (ids *Identities) Bytes(data []byte) ([]byte, error) {
	f, err := ids.Open(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	plain := make([]byte, f.Size())
	_, err = f.ReadAt(plain, 0)
	return plain, err
}

// outside is an encrypted file whose errors, when it is read, are told from what is wrong
// with its bytes.
type outside struct{ Source }

// ReadAt implements io.ReaderAt.
func (o outside) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.Source.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = &readError{err}
	}
	return n, err
}

type readError struct{ error }

// damage is err, which came of bytes for the reason what, unless they could not be read.
func damage(err error, what string) error {
	var read *readError
	if errors.As(err, &read) {
		return read.error
	}
	return fmt.Errorf("%s: %w", what, err)
}

// piece is a part of a file.
type piece struct {
	off  int64
	data []byte
}

// recorder keeps what is read of a source, until it is told to stop.
type recorder struct {
	src    io.ReaderAt
	pieces []piece
	off    bool
}

// ReadAt implements io.ReaderAt.
func (r *recorder) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.src.ReadAt(p, off)
	if !r.off && n > 0 {
		r.pieces = append(r.pieces, piece{off, bytes.Clone(p[:n])})
	}
	return n, err
}

func (r *recorder) stop() { r.off, r.pieces = true, nil }

// replay reads pieces of a source that are at hand.
type replay struct {
	src    io.ReaderAt
	pieces []piece
}

// ReadAt implements io.ReaderAt.
func (r *replay) ReadAt(p []byte, off int64) (int, error) {
	for _, have := range r.pieces {
		if in := off - have.off; in >= 0 && in+int64(len(p)) <= int64(len(have.data)) {
			return copy(p, have.data[in:]), nil
		}
	}
	return r.src.ReadAt(p, off)
}
