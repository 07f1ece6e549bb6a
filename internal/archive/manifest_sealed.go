package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// The manifest of an encrypted archive has two parts. The public one, in the header's place, is what listing, rotation
// and status need: Size and SHA256 in it are those of the encrypted archive. The other, encrypted to those who can read
// the archive, is a manifest as any other, of the archive as it is decrypted. It stands in a skippable frame of zstd
// (RFC 8878, 3.1.2), so that zstd -dc shows the public part and nothing else.

// Sealed is what a public part has in place of what is not for everybody.
type Sealed struct {
	Owner  string `json:"owner"`           // OwnerOf Host and Source, by which whoever has it knows it again
	Empty  bool   `json:"empty,omitempty"` // the source held nothing
	Len    int64  `json:"len"`             // bytes of the encrypted part, the last ones of the sidecar
	SHA256 string `json:"sha256"`          // of these, in lower-case hex
}

// skippable is the magic number of a frame that zstd skips.
const skippable = 0x184D2A5A

// OwnerOf is a fingerprint of a source and the host it is on, in lower-case hex. It hides them only from those who
// cannot guess them.
func OwnerOf(host, source string) string {
	return hexSum([]byte(host + "\x00" + source))
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// OwnedBy says whether the archive is of a source on a host.
func (m *Manifest) OwnedBy(host, source string) bool {
	if m.Sealed != nil {
		return m.Sealed.Owner == OwnerOf(host, source)
	}
	return m.Host == host && m.Source == source
}

// Empty says whether the archive holds nothing but the source's own name.
func (m *Manifest) Empty() bool {
	switch {
	case m.Sealed != nil:
		return m.Sealed.Empty
	case m.Kind == KindDir:
		return m.Entries <= 1
	}
	return m.Raw == 0
}

// Public returns the public part of m, for an archive that has so many bytes, and that SHA-256, when it is encrypted.
func (m *Manifest) Public(size int64, sum string) *Manifest {
	return &Manifest{
		Version: m.Version, Archive: m.Archive, Job: m.Job, Host: m.Host, Kind: m.Kind, Codec: m.Codec, Policy: m.Policy,
		Start: m.Start, End: m.End, Size: size, SHA256: sum, Serial: m.Serial, Incomplete: m.Incomplete, WarningCount: m.WarningCount,
		Sealed: &Sealed{Owner: OwnerOf(m.Host, m.Source), Empty: m.Empty()},
	}
}

// checkSealed is the part of check for a public part.
func (m *Manifest) checkSealed() error {
	if _, err := parseHash(m.Sealed.Owner); err != nil {
		return fmt.Errorf("manifest: owner: %w", err)
	}
	if _, err := parseHash(m.Sealed.SHA256); err != nil {
		return fmt.Errorf("manifest: sha256 of the encrypted part: %w", err)
	}
	if m.Sealed.Len <= 0 || m.Sealed.Len > maxManifest {
		return fmt.Errorf("manifest: encrypted part of %d bytes", m.Sealed.Len)
	}
	return nil
}

// EncodeSealed returns m, which Public gave, and secret, the encrypted form of what Encode returned of the whole, as
// ReadManifest takes it.
func (m *Manifest) EncodeSealed(secret []byte) ([]byte, error) {
	if m.Sealed == nil {
		return nil, errors.New("manifest: it has no public part")
	}
	m.Sealed.Len, m.Sealed.SHA256 = int64(len(secret)), hexSum(secret)
	if err := m.check(); err != nil {
		return nil, err
	}
	header, err := m.encodeHead()
	if err != nil {
		return nil, err
	}
	out, err := zstdFrame(header)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return slices.Concat(out, skipped(len(secret)), secret), nil
}

// skipped is the header of a skippable frame of n bytes.
func skipped(n int) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, skippable), uint32(n))
}

// SealedPart returns the encrypted part of a sidecar whose public part is m.
func (m *Manifest) SealedPart(data []byte) ([]byte, error) {
	at := int64(len(data)) - m.Sealed.Len
	if head := skipped(int(m.Sealed.Len)); at < int64(len(head)) || !bytes.HasSuffix(data[:at], head) {
		return nil, errors.New("manifest: its encrypted part is cut off, or not where it should be")
	}
	if got := hexSum(data[at:]); got != m.Sealed.SHA256 {
		return nil, fmt.Errorf("manifest: sha256 of its encrypted part is %s, its header says %s", got, m.Sealed.SHA256)
	}
	return data[at:], nil
}

// ReadSealed decodes plain, the decrypted part of a manifest whose public part is m, and returns the whole manifest. It
// is refused if m tells something else than it.
func (m *Manifest) ReadSealed(plain []byte) (*Manifest, error) {
	whole, err := ReadManifest(plain)
	if err != nil {
		return nil, err
	}
	if whole.Sealed != nil {
		return nil, errors.New("manifest: it is encrypted twice")
	}
	public := whole.Public(m.Size, m.SHA256)
	public.Sealed.Len, public.Sealed.SHA256 = m.Sealed.Len, m.Sealed.SHA256
	want, err := public.encodeHead()
	if err != nil {
		return nil, err
	}
	got, err := m.encodeHead()
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("manifest: its public part is that of another archive, or was changed")
	}
	return whole, err
}

// ReadHead decodes the header of a manifest, for which data need only be its beginning: all but the frames. It says
// nothing of what follows. Older manifests may need all of it, with an error otherwise.
func ReadHead(data []byte) (*Manifest, error) {
	z, err := zstdReader(bytes.NewReader(data), 16<<20)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer z.Close()
	line, err := (&lineReader{r: bufio.NewReader(io.LimitReader(z, maxLine+1))}).next()
	if err != nil {
		return nil, err
	}
	m, err := parseHeader(line)
	if err != nil {
		return nil, err
	}
	return m, m.checkHead()
}

// encodeHead returns the header's line.
func (m *Manifest) encodeHead() ([]byte, error) {
	header, err := json.Marshal(m.headerLine())
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return append(header, '\n'), nil
}
