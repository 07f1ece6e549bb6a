package sftp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// certificates and plainKeys are the algorithms by which a server proves that it has a
// certificate of a key, or the key.
var (
	certificates = []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	}
	plainKeys = []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
)

// hostKeys says which host keys are accepted from a target, and with which algorithms to ask
// for them: first those of the keys that known_hosts has. Asked for others, a server shows a
// key of another type, which is just as unknown as that of an impostor.
func (t target) hostKeys() (ssh.HostKeyCallback, []string, error) {
	known, err := t.known()
	if err != nil {
		return nil, nil, err
	}
	var algorithms, own []string
	add := func(more ...string) {
		for _, a := range more {
			if !slices.Contains(algorithms, a) {
				algorithms = append(algorithms, a)
			}
		}
	}
	for _, k := range known.own {
		if kind := k.key.Type(); kind == ssh.KeyAlgoRSA { // RFC 8332
			own = append(own, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			own = append(own, kind)
		}
	}
	if len(known.authorities) > 0 {
		for i, kind := range plainKeys {
			if slices.Contains(own, kind) { // then one that nobody vouches for will do, too
				add(certificates[i])
			}
		}
	}
	add(own...)
	if len(known.authorities) > 0 {
		add(certificates...)
	}
	add(plainKeys...) // to tell what it shows
	return func(_ string, remote net.Addr, key ssh.PublicKey) error {
		return t.check(known, remote, key)
	}, algorithms, nil
}

// check refuses a key that is not known, with what to do about it.
func (t target) check(known *knownKeys, remote net.Addr, key ssh.PublicKey) error {
	var revoked *knownKey
	checker := ssh.CertChecker{
		IsHostAuthority: func(authority ssh.PublicKey, _ string) bool { return find(known.authorities, authority) != nil },
		IsRevoked: func(cert *ssh.Certificate) bool {
			revoked = find(known.revoked, cert.SignatureKey)
			return revoked != nil
		},
	}
	plain := key
	if cert, ok := key.(*ssh.Certificate); ok {
		plain = cert.Key // which the server has proved to have
	}
	shown := fmt.Sprintf("%s %s", plain.Type(), ssh.FingerprintSHA256(plain))
	if revoked = find(known.revoked, plain); revoked == nil {
		if find(known.own, plain) != nil {
			return nil
		}
		if cert, ok := key.(*ssh.Certificate); ok && find(known.authorities, cert.SignatureKey) != nil {
			err := checker.CheckHostKey(t.keyName, remote, key)
			if err == nil {
				return nil
			}
			if revoked == nil {
				return &refused{fmt.Errorf("the certificate of its host key %s: %w", shown, err)}
			}
		}
	}
	switch {
	case revoked != nil:
		return &refused{hinted(fmt.Errorf("its host key %s IS REVOKED by %s, line %d", shown, revoked.file, revoked.line),
			"this may be somebody else's server: ask its administrator")}
	case len(known.own) > 0:
		first := known.own[0]
		return &refused{hinted(fmt.Errorf("ITS HOST KEY HAS CHANGED: it shows %s, %s has in line %d %s %s",
			shown, first.file, first.line, first.key.Type(), ssh.FingerprintSHA256(first.key)),
			fmt.Sprintf("somebody may be listening in, or the server was set up anew: ask its administrator; only then: ssh-keygen -R %s -f %s, and %s",
				quoted(knownhosts.Normalize(t.keyName)), first.file, t.learn()))}
	case known.unread != "":
		return &refused{hinted(errors.New(known.unread), "correct that line or take it out; ssh-keygen -R HOST removes a host's")}
	}
	return &refused{hinted(fmt.Errorf("its host key is not known: %s", shown),
		fmt.Sprintf("if the server has that fingerprint, by ssh-keygen -lf of its key, there: %s", t.learn()))}
}

// learn is the command that puts the target's key where we look for it.
func (t target) learn() string {
	file := "FILE, and give that as --known-hosts"
	for _, name := range t.knownHosts {
		if name != os.DevNull {
			file = name
			break
		}
	}
	host, port, _ := net.SplitHostPort(t.addr)
	if len(t.jumps) > 0 { // ssh-keyscan does not get there
		return fmt.Sprintf("ssh -p %s -o UserKnownHostsFile=%s %s@%s", port, file, t.user, t.name)
	}
	scan := "ssh-keyscan " + host
	if port != "22" {
		scan = "ssh-keyscan -p " + port + " " + host
	}
	if t.keyName != t.addr {
		alias, _, _ := net.SplitHostPort(t.keyName)
		scan += fmt.Sprintf(" | sed 's/^[^ ]*/%s/'", alias)
	}
	return scan + " >>" + file
}

// refused is an answer that does not change by asking again.
type refused struct{ error }

func (r *refused) Unwrap() error { return r.error }
