package tinybackup

import (
	"io"
	"path/filepath"

	"tinybackup/internal/seal"
	"tinybackup/internal/store"
)

// This file is about archives that not everybody can read, as they are made.

// resolveRecipients makes the paths among Encrypt absolute.
func (o *Options) resolveRecipients() (err error) {
	for i, value := range o.Encrypt {
		if !seal.IsFile(value) {
			continue
		}
		if o.Encrypt[i], err = resolvePath(value); err != nil {
			return err
		}
	}
	return nil
}

// relativeRecipients is the first path among Encrypt that is not absolute; or "".
func (o Options) relativeRecipients() string {
	for _, value := range o.Encrypt {
		if seal.IsFile(value) && !filepath.IsAbs(value) {
			return value
		}
	}
	return ""
}

// checkEncrypt is the part of checkWords that is about Encrypt.
func (o Options) checkEncrypt() error {
	for _, value := range o.Encrypt {
		if err := seal.CheckRecipient(value); err != nil {
			return &UsageError{Msg: "--encrypt: " + err.Error(), Hint: hintOf(err)}
		}
	}
	if o.Bmap && len(o.Encrypt) > 0 {
		return &UsageError{
			Msg:  "--bmap and --encrypt do not go together: the map would tell everybody which blocks are used",
			Hint: "leave out --bmap; restore writes an encrypted image onto a device all the same",
		}
	}
	return nil
}

// recipients are those who can read the archives; nil: everybody.
func (o Options) recipients() (*seal.Recipients, error) {
	if len(o.Encrypt) == 0 {
		return nil, nil
	}
	return seal.ReadRecipients(o.Encrypt)
}

// warnUnencrypted warns of a new archive that everybody may read, if the newest one of its
// name is encrypted: who backs up by hand forgets an option.
func (r *run) warnUnencrypted() {
	if r.readers == nil && len(r.before) > 0 && r.before[0].name.Sealed {
		r.warn.addf("the new archive is not encrypted, and %s is: --encrypt was not given", r.before[0].Name)
	}
}

// sealing returns what encrypts the new archive on its way to p; nil, if nothing does.
func (r *run) sealing(p store.Pending) (io.Writer, *seal.Writer) {
	if r.readers == nil {
		return p, nil
	}
	w := r.readers.Writer(p)
	return w, w
}

// conceal makes of the manifest, of an archive that went through w, the one that
// everybody may see; what it does not say is in secret. After that, sizes and sums are
// those of the encrypted archive. An unchanged one did not go through w: it is the last.
func (r *run) conceal(w *seal.Writer, unchanged bool) error {
	r.secret = nil
	if w == nil {
		return nil
	}
	whole := r.manifest
	if unchanged {
		r.manifest = whole.Public(r.last.Size, r.last.SHA256)
		r.report.Reused = r.last.Size
	} else {
		if err := w.Close(); err != nil {
			return err
		}
		r.manifest = whole.Public(w.Size(), w.SHA256())
	}
	r.secret, r.report.Written = whole, r.manifest.Size
	return nil
}

// encodeManifest is the manifest as it is kept.
func (r *run) encodeManifest() ([]byte, error) {
	if r.secret == nil {
		return r.manifest.Encode()
	}
	plain, err := r.secret.Encode()
	if err != nil {
		return nil, err
	}
	sealed, err := r.readers.Bytes(plain)
	if err != nil {
		return nil, err
	}
	return r.manifest.EncodeSealed(sealed)
}
