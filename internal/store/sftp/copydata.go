package sftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	wire "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// copier is an SFTP session that knows the three requests by which a server copies from one
// of its files to another, which the library has no words for: open, close, and copy-data. It
// is version 3 of the protocol (draft-ietf-secsh-filexfer-02, sections 3 to 7), one request at
// a time. Its own process on the server copies; others are not held up.
type copier struct {
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	id      uint32
	handles map[string]string // of the files that are open, by their names; the session's end closes them
}

const (
	fxpInit     = 1
	fxpVersion  = 2
	fxpOpen     = 3
	fxpStatus   = 101
	fxpHandle   = 102
	fxpExtended = 200

	fxfRead  = 1
	fxfWrite = 2

	maxReply = 256 << 10 // what a reply may be long, as OpenSSH has it
)

// newCopier begins a session.
func newCopier(client *ssh.Client) (*copier, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	s := &copier{session: session, handles: map[string]string{}}
	s.in, err = session.StdinPipe()
	if err == nil {
		s.out, err = session.StdoutPipe()
	}
	if err == nil {
		err = session.RequestSubsystem("sftp")
	}
	if err == nil {
		err = s.send(binary.BigEndian.AppendUint32([]byte{fxpInit}, 3))
	}
	if err == nil {
		var reply []byte
		if reply, err = s.receive(); err == nil && reply[0] != fxpVersion {
			err = errReply
		}
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

var errReply = errors.New("a reply that is none of SFTP")

// copy copies n bytes of the file src from off on to the file dst, to at: both exist. An
// answer of the server is a *wire.StatusError, as with the library.
//
// The request (draft-ietf-secsh-filexfer-extensions-00, section 7): string "copy-data", string
// read-from-handle, uint64 read-from-offset, uint64 read-data-length, string write-to-handle,
// uint64 write-to-offset. The answer is a status.
func (s *copier) copy(src string, off, n int64, dst string, at int64) error {
	from, err := s.open(src, fxfRead)
	if err != nil {
		return err
	}
	to, err := s.open(dst, fxfWrite)
	if err != nil {
		return err
	}
	b := appendString(s.request(fxpExtended), extCopyData)
	b = appendString(b, from)
	b = binary.BigEndian.AppendUint64(b, uint64(off))
	b = binary.BigEndian.AppendUint64(b, uint64(n))
	b = appendString(b, to)
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	_, err = s.ask(b, fxpStatus)
	return err
}

// open returns the handle of a file, which is opened once.
func (s *copier) open(name string, flags uint32) (string, error) {
	if handle, ok := s.handles[name]; ok {
		return handle, nil
	}
	b := appendString(s.request(fxpOpen), name)
	b = binary.BigEndian.AppendUint32(b, flags)
	b = binary.BigEndian.AppendUint32(b, 0) // no attributes
	reply, err := s.ask(b, fxpHandle)
	if err != nil {
		return "", err
	}
	handle, _, err := cutString(reply)
	if err == nil {
		s.handles[name] = handle
	}
	return handle, err
}

// request begins a packet: byte type, uint32 request-id.
func (s *copier) request(kind byte) []byte {
	s.id++
	return binary.BigEndian.AppendUint32([]byte{kind}, s.id)
}

// ask sends a request and returns what the reply has after its type and id. A status other
// than SSH_FX_OK is an error.
func (s *copier) ask(b []byte, want byte) ([]byte, error) {
	if err := s.send(b); err != nil {
		return nil, err
	}
	reply, err := s.receive()
	if err != nil {
		return nil, err
	}
	if len(reply) < 5 || binary.BigEndian.Uint32(reply[1:]) != s.id {
		return nil, errReply
	}
	kind, reply := reply[0], reply[5:]
	if kind == fxpStatus && len(reply) >= 4 {
		if code := binary.BigEndian.Uint32(reply); code != 0 || want != fxpStatus {
			return nil, statusError(code)
		}
		return nil, nil
	}
	if kind != want {
		return nil, errReply
	}
	return reply, nil
}

// statusError is the error of a status, the same as the library's.
func statusError(code uint32) error {
	switch err := (&wire.StatusError{Code: code}); err.FxCode() {
	case wire.ErrSSHFxNoSuchFile:
		return fs.ErrNotExist
	case wire.ErrSSHFxPermissionDenied:
		return fs.ErrPermission
	default:
		return err
	}
}

// send sends a packet: uint32 length, and what it has.
func (s *copier) send(b []byte) error {
	_, err := s.in.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func (s *copier) receive() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(s.out, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > maxReply {
		return nil, fmt.Errorf("%w: of %d bytes", errReply, n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(s.out, b)
	return b, err
}

// close ends the session, and with it all that it opened.
func (s *copier) close() {
	_ = s.session.Close() // it may have ended by itself
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func cutString(b []byte) (string, []byte, error) {
	if len(b) < 4 {
		return "", nil, errReply
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; uint32(len(b)) < n {
		return "", nil, errReply
	}
	return string(b[:n]), b[n:], nil
}
