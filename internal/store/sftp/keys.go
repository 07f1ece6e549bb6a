package sftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentTime is how long an agent may take to show its keys. Some ask a person first.
const agentTime = 10 * time.Second

// keyring collects what a target is offered, and why there is not more.
type keyring struct {
	ctx     context.Context
	t       target
	agent   io.Closer // the connection to it; nil: none
	asked   bool      // for keys, by the server's leave
	offered int
	locked  []string // files with a passphrase, whose keys the agent does not have
	wrong   []string // what went wrong with others
}

// signers returns the keys in the order in which they are offered: first those that the
// configuration names, as servers listen to a few only.
func (k *keyring) signers() ([]ssh.Signer, error) {
	k.asked = true
	held := k.fromAgent()
	var named []ssh.Signer
	for _, file := range k.t.identities {
		named = append(named, k.fromFile(file, &held)...)
	}
	if !k.t.only {
		named = append(named, held...)
	}
	k.offered = len(named)
	return named, nil
}

// fromAgent returns the keys of the agent, none if there is no agent.
func (k *keyring) fromAgent() []ssh.Signer {
	if k.t.agent == "" {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(k.ctx, agentTime, errors.New("no answer in time"))
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", k.t.agent)
	if err != nil {
		k.wrong = append(k.wrong, fmt.Sprintf("the agent does not answer: %v", err))
		return nil
	}
	k.agent = conn
	cut := context.AfterFunc(ctx, func() { conn.Close() })
	held, err := agent.NewClient(conn).Signers()
	if !cut() {
		held, err = nil, context.Cause(ctx)
	}
	if err != nil {
		k.wrong = append(k.wrong, fmt.Sprintf("the agent shows no keys: %v", err))
		return nil
	}
	context.AfterFunc(k.ctx, func() { conn.Close() }) // else its signing had no end, either
	return held
}

// fromFile returns the key of a file; that of the agent, which is taken out of held, if it
// has the same.
func (k *keyring) fromFile(name string, held *[]ssh.Signer) []ssh.Signer {
	data, err := os.ReadFile(name)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		k.wrong = append(k.wrong, err.Error())
		return nil
	}
	signer, err := ssh.ParsePrivateKey(data)
	public := publicKey(name, signer, err)
	for i, s := range *held {
		if public != nil && bytes.Equal(s.PublicKey().Marshal(), public.Marshal()) {
			*held = append((*held)[:i:i], (*held)[i+1:]...)
			return []ssh.Signer{s}
		}
	}
	var locked *ssh.PassphraseMissingError
	switch {
	case missing && k.t.explicit:
		k.wrong = append(k.wrong, name+" does not exist")
	case missing:
	case errors.As(err, &locked):
		k.locked = append(k.locked, name)
	case err != nil:
		k.wrong = append(k.wrong, fmt.Sprintf("%s: %v", name, err))
	default:
		return withCertificate(name, signer)
	}
	return nil
}

// publicKey is the public half of a key's file: of the file itself, or of that beside it.
func publicKey(name string, signer ssh.Signer, err error) ssh.PublicKey {
	var locked *ssh.PassphraseMissingError
	if signer != nil {
		return signer.PublicKey()
	}
	if errors.As(err, &locked) && locked.PublicKey != nil {
		return locked.PublicKey
	}
	data, err := os.ReadFile(name + ".pub")
	if err != nil {
		return nil
	}
	public, _, _, _, _ := ssh.ParseAuthorizedKey(data) // nil if it is none
	return public
}

// withCertificate adds the certificate that ssh-keygen(1) puts beside a key, if there is one.
func withCertificate(name string, signer ssh.Signer) []ssh.Signer {
	signers := []ssh.Signer{signer}
	data, err := os.ReadFile(name + "-cert.pub")
	if err != nil {
		return signers
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return signers
	}
	if cert, ok := public.(*ssh.Certificate); ok {
		if certified, err := ssh.NewCertSigner(cert, signer); err == nil {
			return []ssh.Signer{certified, signer}
		}
	}
	return signers
}

// close ends the connection to the agent.
func (k *keyring) close() {
	if k.agent != nil {
		_ = k.agent.Close() // nothing was written that matters
	}
}

// explain makes an error that says what to do of a server's refusal.
func (k *keyring) explain(err error) error {
	why := fmt.Sprintf("the server lets %s in by none of the %d keys at hand", k.t.user, k.offered)
	hint := "take the public key there, for example with ssh-copy-id, and try it with ssh"
	switch {
	case strings.Contains(err.Error(), "oo many authentication failures"):
		why = fmt.Sprintf("the server ended it after too many of the %d keys at hand", k.offered)
		hint = "name the right one in ~/.ssh/config: IdentityFile, and IdentitiesOnly yes"
	case !k.asked:
		why = "the server takes no keys, perhaps passwords only"
		hint = "tinybackup logs in with keys: have the server allow them, PubkeyAuthentication in sshd_config(5)"
	case k.offered > 0 && !strings.Contains(err.Error(), "publickey"): // of what failed
		why = fmt.Sprintf("the server lets %s in by a key, but wants a password or the like besides", k.t.user)
		hint = "nobody is there to give it at night: have the server ask for a key alone, AuthenticationMethods in sshd_config(5)"
	case k.offered == 0:
		why = fmt.Sprintf("there is no key to log in with as %s", k.t.user)
		hint = "make one with ssh-keygen -t ed25519, and take it there with ssh-copy-id"
	}
	if len(k.locked) > 0 {
		why += fmt.Sprintf("; %s has a passphrase", strings.Join(k.locked, " and "))
		hint = "ssh-add unlocks it for as long as an agent runs; a backup at night wants a key of its own, without a passphrase"
	}
	if len(k.wrong) > 0 {
		why += "; " + strings.Join(k.wrong, "; ")
	}
	return &refused{hinted(errors.New(why), hint)}
}
