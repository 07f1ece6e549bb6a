package seal

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

const identityFile = "identity"

// magic is what every age file begins with, and with it an identity file that has a
// passphrase.
const magic = "age-encryption.org/"

// Ask gets a passphrase from a person; what says of what. Nil: there is nobody to ask.
type Ask func(what string) ([]byte, error)

// Identities can read what was encrypted to their recipients. They belong to one goroutine.
type Identities struct {
	all []age.Identity
	asker
}

// asker gets passphrases, and remembers why it could not: the library tells that in words
// of its own.
type asker struct {
	ask Ask
	err error
}

// ReadIdentities reads files with identities: of age, AGE-SECRET-KEY-… in lines, also
// encrypted with a passphrase; or an ssh private key of type ed25519 or RSA, also with one.
// A passphrase is asked for when it is needed first. The error is an *Error.
func ReadIdentities(files []string, ask Ask) (*Identities, error) {
	ids := &Identities{asker: asker{ask: ask}}
	for _, path := range files {
		data, err := readKeys(identityFile, path)
		if err != nil {
			return nil, err
		}
		some, err := ids.parse(path, data)
		if err != nil {
			var e *Error
			if errors.As(err, &e) {
				return nil, err
			}
			return nil, &Error{
				Msg: fmt.Sprintf("identity file %q: %v", path, err), Err: err,
				Advice: "an identity is a file that age-keygen made (AGE-SECRET-KEY-…), or an ssh private key (ed25519 or RSA)",
			}
		}
		ids.all = append(ids.all, some...)
	}
	return ids, nil
}

func (a *asker) parse(path string, data []byte) ([]age.Identity, error) {
	text := bytes.TrimSpace(data)
	switch {
	case bytes.HasPrefix(data, []byte(magic)): // its last byte may look like a blank
		return []age.Identity{&lockedFile{path: path, data: data, asker: a}}, nil
	case bytes.HasPrefix(text, []byte(armor.Header)):
		return []age.Identity{&lockedFile{path: path, data: text, asker: a}}, nil
	case bytes.HasPrefix(text, []byte("-----BEGIN")):
		one, err := a.parseSSH(path, data)
		return []age.Identity{one}, err
	case bytes.HasPrefix(text, []byte("age1")), bytes.HasPrefix(text, []byte("ssh-")):
		return nil, &Error{
			Msg:    fmt.Sprintf("identity file %q: it has a public key, which reads nothing", path),
			Advice: "give the file with the secret key: the one that age-keygen made, or the ssh key without .pub",
		}
	}
	return age.ParseIdentities(bytes.NewReader(data))
}

func (a *asker) parseSSH(path string, pem []byte) (age.Identity, error) {
	one, err := agessh.ParseIdentity(pem)
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		return one, err
	}
	if locked.PublicKey == nil { // of an older format, which hides it, too
		return nil, &Error{
			Msg:    fmt.Sprintf("identity file %q: it has a passphrase, and is in an old format", path),
			Advice: "ssh-keygen -p -f FILE writes a copy of it in the new one",
		}
	}
	return agessh.NewEncryptedSSHIdentity(locked.PublicKey, pem, func() ([]byte, error) { return a.sshPhrase(path, pem) })
}

// sshPhrase gets the passphrase of an ssh key, and tries it: the library's error would not
// tell a wrong one from a damaged archive.
func (a *asker) sshPhrase(path string, pem []byte) ([]byte, error) {
	phrase, err := a.phrase(path)
	if err != nil {
		return nil, err
	}
	_, err = ssh.ParseRawPrivateKeyWithPassphrase(pem, phrase)
	if errors.Is(err, x509.IncorrectPasswordError) {
		err = errWrongPhrase
	}
	if err != nil {
		a.err = &Error{Msg: fmt.Sprintf("identity file %q: %v", path, err), Advice: "ssh-keygen -y -f FILE tries it by itself"}
		return nil, a.err
	}
	return phrase, nil
}

var errWrongPhrase = errors.New("the passphrase is wrong")

// phrase gets the passphrase of a file.
func (a *asker) phrase(path string) (phrase []byte, err error) {
	if a.ask != nil {
		phrase, a.err = a.ask(path)
		return phrase, a.err
	}
	a.err = &Error{
		Msg:    fmt.Sprintf("identity file %q: it has a passphrase, and there is no terminal to ask for it", path),
		Advice: "give an identity without a passphrase, or run this in a terminal",
	}
	return nil, a.err
}

// lockedFile is a file of identities that is encrypted with a passphrase. It is opened
// when it is needed.
type lockedFile struct {
	*asker
	path string
	data []byte         // armored or not
	all  []age.Identity // nil: not opened yet
}

// Unwrap implements age.Identity.
func (l *lockedFile) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if l.all == nil {
		if err := l.open(); err != nil {
			return nil, err
		}
	}
	for _, one := range l.all {
		key, err := one.Unwrap(stanzas)
		if !errors.Is(err, age.ErrIncorrectIdentity) {
			return key, err
		}
	}
	return nil, age.ErrIncorrectIdentity
}

func (l *lockedFile) open() error {
	phrase, err := l.phrase(l.path)
	if err != nil {
		return err
	}
	key, err := age.NewScryptIdentity(string(phrase))
	if err != nil {
		l.err = &Error{Msg: fmt.Sprintf("identity file %q: the passphrase is empty", l.path), Err: err}
		return l.err
	}
	var in io.Reader = bytes.NewReader(l.data)
	if strings.HasPrefix(string(l.data), armor.Header) {
		in = armor.NewReader(in)
	}
	plain, err := age.Decrypt(in, key)
	if errors.As(err, new(*age.NoIdentityMatchError)) {
		err = errWrongPhrase
	}
	if err == nil {
		l.all, err = age.ParseIdentities(io.LimitReader(plain, maxKeys))
	}
	if err != nil {
		// Without its cause, which would say to the library that another identity may fit.
		l.err = &Error{Msg: fmt.Sprintf("identity file %q: %v", l.path, err), Advice: "age -d FILE tries it by itself"}
		return l.err
	}
	return nil
}
