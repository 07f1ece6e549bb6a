package sftp

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// hostKeys says which host keys are accepted from a target, and with which algorithms to ask
// for them: those of the keys that known_hosts has. Asked for others, a server shows a key
// of another type, which is just as unknown as that of an impostor.
func (t target) hostKeys() (ssh.HostKeyCallback, []string, error) {
	var files []string
	for _, name := range t.knownHosts {
		_, err := os.Stat(name)
		if err == nil {
			files = append(files, name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	check, err := knownhosts.New(files...)
	if err != nil {
		return nil, nil, hinted(err, "correct that line or take it out; ssh-keygen -R HOST removes a host's")
	}

	// A key that nobody has is refused with the list of those that would do.
	var unknown *knownhosts.KeyError
	var algorithms []string
	if err := check(t.keyName, noAddress{}, noKey{}); errors.As(err, &unknown) {
		for _, known := range unknown.Want {
			algorithms = append(algorithms, algorithmsOf(known)...)
		}
	}
	return func(_ string, remote net.Addr, key ssh.PublicKey) error {
		return t.explainKey(check(t.keyName, remote, key), key)
	}, algorithms, nil
}

// algorithmsOf are those by which a server proves that it has a key, or a certificate of it.
func algorithmsOf(known knownhosts.KnownKey) []string {
	if isAuthority(known) { // the type of the authority's key says nothing about the host's
		return []string{
			ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
			ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
		}
	}
	if known.Key.Type() == ssh.KeyAlgoRSA { // RFC 8332
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{known.Key.Type()}
}

// isAuthority looks into the file for what KnownKey does not tell.
func isAuthority(known knownhosts.KnownKey) bool {
	data, err := os.ReadFile(known.Filename)
	if err != nil {
		return false
	}
	lines := strings.Split(string(data), "\n")
	return known.Line <= len(lines) && strings.HasPrefix(strings.TrimSpace(lines[known.Line-1]), "@cert-authority")
}

// explainKey makes an error that says what to do of one that says that a key is refused.
func (t target) explainKey(err error, key ssh.PublicKey) error {
	if err == nil {
		return nil
	}
	shown := fmt.Sprintf("%s %s", key.Type(), ssh.FingerprintSHA256(key))
	var unknown *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &revoked):
		err = hinted(fmt.Errorf("its host key %s IS REVOKED by %s, line %d", shown, revoked.Revoked.Filename, revoked.Revoked.Line),
			"this may be somebody else's server: ask its administrator")
	case errors.As(err, &unknown) && len(unknown.Want) == 0:
		err = hinted(fmt.Errorf("its host key is not known: %s", shown),
			fmt.Sprintf("if the server has that fingerprint, by ssh-keygen -lf of its key, there: %s", t.learn()))
	case errors.As(err, &unknown):
		first := unknown.Want[0]
		err = hinted(fmt.Errorf("ITS HOST KEY HAS CHANGED: it shows %s, %s has in line %d %s %s",
			shown, first.Filename, first.Line, first.Key.Type(), ssh.FingerprintSHA256(first.Key)),
			fmt.Sprintf("somebody may be listening in, or the server was set up anew: ask its administrator; only then: ssh-keygen -R %s -f %s, and %s",
				quoted(knownhosts.Normalize(t.keyName)), first.Filename, t.learn()))
	default:
		err = fmt.Errorf("its host key %s: %w", shown, err)
	}
	return &refused{err}
}

// learn is the command that puts the target's key where we look for it.
func (t target) learn() string {
	host, port, _ := net.SplitHostPort(t.addr)
	scan := "ssh-keyscan " + host
	if port != "22" {
		scan = "ssh-keyscan -p " + port + " " + host
	}
	if t.keyName != t.addr {
		alias, _, _ := net.SplitHostPort(t.keyName)
		scan += fmt.Sprintf(" | sed 's/^[^ ]*/%s/'", alias)
	}
	return scan + " >>" + t.knownHosts[0]
}

// refused is an answer that does not change by asking again.
type refused struct{ error }

func (r *refused) Unwrap() error { return r.error }

// noKey is a public key that nobody has, noAddress where it is.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

type noAddress struct{}

func (noAddress) Network() string { return "tcp" }
func (noAddress) String() string  { return "0.0.0.0:0" }
