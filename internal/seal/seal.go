// Package seal answers who can read it: it encrypts what is written to recipients, of whom
// each can read it, and decrypts what is read with an identity, the secret of one of them.
// Whoever has only recipients cannot read what it wrote itself.
//
// The format is that of age (age-encryption.org/v1), one binary file, so that `age -d -i
// IDENTITY FILE` reads it with no help from us. It keeps bytes secret, and finds every byte
// that was changed; it does not tell who wrote them, which anybody can who has a recipient.
package seal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Error is what is wrong with recipients, identities or an encrypted file.
type Error struct {
	Msg    string // what is wrong, naming the thing; never a part of a secret
	Advice string // what to do about it; may be empty
	Err    error  // the cause, which Msg tells; may be nil
}

// Error implements error.
func (e *Error) Error() string { return e.Msg }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what a person can do about it.
func (e *Error) Hint() string { return e.Advice }

// maxKeys is the size of the largest file of keys that is read, in bytes.
const maxKeys = 1 << 20

// readKeys reads a file of recipients or identities; what says which.
func readKeys(what, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(what, path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeys+1))
	if err != nil {
		return nil, unreadable(what, path, err)
	}
	if len(data) > maxKeys {
		return nil, &Error{Msg: fmt.Sprintf("%s file %q: larger than %d bytes", what, path, maxKeys), Advice: "give a file of keys, one in a line"}
	}
	return data, nil
}

func unreadable(what, path string, err error) error {
	cause := err
	var p *fs.PathError
	if errors.As(err, &p) {
		cause = p.Err
	}
	e := &Error{Msg: fmt.Sprintf("%s file %q: %v", what, path, cause), Err: err, Advice: "see that it is there and can be read"}
	if what == recipientsFile && errors.Is(err, fs.ErrNotExist) {
		e.Advice = "--encrypt wants a public key (age1…, ssh-ed25519 …, ssh-rsa …) or a file with such; age-keygen -o KEYFILE makes a key, and shows its public one"
	}
	return e
}
