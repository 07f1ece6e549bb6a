package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"tinybackup/internal/archive"
	"tinybackup/internal/seal"
	"tinybackup/internal/store"
)

// This file is about archives that not everybody can read, as they are read.

// identityOption is of the commands that read archives.
type identityOption struct {
	Identity []string `long:"identity" value-name:"FILE" description:"secret key that reads encrypted archives, of age or ssh; may be repeated"`
}

// identityKey is the option's name.
const identityKey = "identity"

// identityFiles are the files that a command takes identities from: those that were
// typed, or else those of the environment, one in a line.
func (e Env) identityFiles(typed []string) []string {
	if len(typed) > 0 || e.getenv == nil {
		return typed
	}
	var files []string
	for line := range strings.Lines(e.getenv(variable(identityKey))) {
		if line = strings.TrimSpace(line); line != "" {
			files = append(files, line)
		}
	}
	return files
}

// readIdentities reads files with identities; nil, if there are none.
func readIdentities(ctx context.Context, env Env, files []string) (*seal.Identities, error) {
	if len(files) == 0 {
		return nil, nil
	}
	var ask seal.Ask
	if env.Passphrase != nil {
		ask = func(file string) ([]byte, error) { return env.Passphrase(ctx, file) }
	}
	return seal.ReadIdentities(files, ask)
}

// askPassphrase asks whoever sits at the terminal in, which does not show what is typed.
func (e Env) askPassphrase(ctx context.Context, in *os.File, file string) ([]byte, error) {
	before, err := term.GetState(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(e.Stderr, "Passphrase of %s: ", oneLine(file))
	type answer struct {
		phrase []byte
		err    error
	}
	typed := make(chan answer, 1)
	go func() { // reading from a terminal can't be interrupted
		phrase, err := term.ReadPassword(int(in.Fd()))
		typed <- answer{phrase, err}
	}()
	defer fmt.Fprintln(e.Stderr)
	select {
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), term.Restore(int(in.Fd()), before))
	case a := <-typed:
		return a.phrase, a.err
	}
}

// isSealed says whether an archive is encrypted. src is it.
func (p picked) isSealed(src store.Reader) (bool, error) {
	if !p.foreign {
		return p.name.Sealed, nil
	}
	return seal.IsSealed(src)
}

// needsIdentity says that an archive cannot be read without one.
func needsIdentity(archive string) error {
	return &UsageError{
		Msg:  fmt.Sprintf("archive %q is encrypted", archive),
		Hint: "--identity FILE reads it: the secret key, of age or ssh, that belongs to the --encrypt of the backup",
	}
}

// unseal returns src, which is the archive p, decrypted, and has the whole manifest take
// the place of its public part; one that cannot be used is p's doubt.
func (p *picked) unseal(ctx context.Context, ids *seal.Identities, src seal.Source) (*seal.File, error) {
	f, err := ids.Open(src)
	if err != nil {
		return nil, fmt.Errorf("archive %q: %w", p.Name, err)
	}
	if p.manifest != nil {
		p.manifest, p.doubt = p.wholeManifest(ctx, ids, f.Size())
	}
	return f, nil
}

// wholeManifest decrypts the manifest of an archive that has size bytes when it is
// decrypted.
func (p *picked) wholeManifest(ctx context.Context, ids *seal.Identities, size int64) (*archive.Manifest, error) {
	data, err := p.store.ReadSide(ctx, archive.SideName(p.Name))
	if err != nil {
		return nil, err
	}
	sealed, err := p.manifest.SealedPart(data)
	if err != nil {
		return nil, err
	}
	plain, err := ids.Bytes(sealed)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	m, err := p.manifest.ReadSealed(plain)
	if err == nil && m.Size != size {
		err = fmt.Errorf("manifest: it tells of %d bytes, the decrypted archive has %d", m.Size, size)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// An unsealed is an encrypted archive, decrypted.
type unsealed struct {
	*seal.File
	io.Closer // of the archive
}
