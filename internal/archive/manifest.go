package archive

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// ManifestVersion is the version of the manifest format that Encode writes, and the only one ReadManifest takes.
const ManifestVersion = 1

// Kinds of a source, as a manifest and an archive's name spell them.
const (
	KindDir    = "dir"    // a PAX tar
	KindFile   = "file"   // a single file, just compressed
	KindDevice = "device" // a raw image
)

// Codecs, as a manifest and an archive's name spell them.
const (
	CodecZstd = "zstd"
	CodecXZ   = "xz"
	CodecGzip = "gzip"
	CodecNone = "none"
)

const (
	maxBytes = 1 << 60 // bounds every size in a manifest, so that sums cannot overflow: 1 EiB
	maxFrame = 1 << 30 // bytes of a frame, raw or not: frames are decoded in memory, several at a time
)

// Manifest is what is remembered of an archive beside it: where it came from, its checksums and its frames.
// An archive can be restored without it.
type Manifest struct {
	Version      int       `json:"version"`                // ManifestVersion
	Tool         string    `json:"tool,omitempty"`         // program and version that made the archive
	Archive      string    `json:"archive"`                // file name of the archive, no directory
	Job          string    `json:"job,omitempty"`          // id of the job, empty for a run by hand
	Host         string    `json:"host,omitempty"`         // host name of the machine that made it
	Source       string    `json:"source,omitempty"`       // absolute path of what was backed up
	Snapshot     string    `json:"snapshot,omitempty"`     // what was read instead of Source, for a reader; empty: itself
	Kind         string    `json:"kind"`                   // KindDir, KindFile or KindDevice
	Codec        string    `json:"codec"`                  // CodecZstd, CodecXZ, CodecGzip or CodecNone
	Policy       string    `json:"policy,omitempty"`       // rotation policy at the time, for a reader
	Level        int       `json:"level,omitempty"`        // compression level, in the codec's own numbers
	FrameSize    int64     `json:"frameSize,omitempty"`    // raw bytes of a frame, at most, that the archive was made with; 0 if unknown
	Start        time.Time `json:"start"`                  // when the run began
	End          time.Time `json:"end"`                    // when the last byte was written
	Align        int64     `json:"align,omitempty"`        // frames begin at its multiples, in bytes; 0: anywhere
	Raw          int64     `json:"raw,omitempty"`          // bytes before compression: of the tar, the file or the image
	Size         int64     `json:"size"`                   // bytes of the archive
	SHA256       string    `json:"sha256"`                 // of the whole archive, in lower-case hex; empty if nobody has read all of it
	Entries      int64     `json:"entries,omitempty"`      // headers in the tar (directories and links too), else 1
	Serial       int64     `json:"serial,omitempty"`       // counts the archives of one name in one destination, from 1
	Incomplete   bool      `json:"incomplete,omitempty"`   // something of the source could not be read
	Warnings     []string  `json:"warnings,omitempty"`     // the first of what went wrong
	WarningCount int64     `json:"warningCount,omitempty"` // how many there were
	File         *FileMeta `json:"file,omitempty"`         // of a single file or a device; nil for a directory
	Sealed       *Sealed   `json:"sealed,omitempty"`       // this is only the public part; nil: it is all there is, and of bytes that are not encrypted
	Frames       []Frame   `json:"-"`                      // in order; they tile the archive without a gap
}

// Frame is an independently compressed piece of an archive: one zstd frame, xz stream or gzip member, or
// with CodecNone just a stretch of bytes.
type Frame struct {
	Off, Len int64    // where it lies in the archive, in bytes
	Raw      int64    // bytes it decodes to
	SHA256   [32]byte // of its Len bytes
	Key      [32]byte // over the identity of what it holds; zero if there is none
	Content  [32]byte // of its Raw bytes, decoded; zero if there is none
	First    string   // name of the first tar entry that starts in it; empty if none does, or it is no tar
}

// FileMeta is what a compressed single file cannot say of itself.
type FileMeta struct {
	Mode    uint32            // st_mode & 07777: permissions, setuid, setgid, sticky
	UID     uint32            // owner, by number
	GID     uint32            // group, by number
	User    string            // owner, by name; empty if it had none
	Group   string            // group, by name; empty if it had none
	ModTime time.Time         // with nanoseconds
	Xattrs  map[string][]byte // extended attributes, POSIX ACLs and capabilities among them
	Size    int64             // bytes of the file or device
}

// SideName returns the name under which the manifest of an archive is kept.
func SideName(archive string) string { return archive + ".manifest" }

// Whole tells whether m has its frames, which ReadHead leaves out.
func (m *Manifest) Whole() bool { return m.Size == 0 || len(m.Frames) > 0 }

// check returns an error if m is not a manifest of an archive that can exist.
func (m *Manifest) check() error {
	if err := m.checkHead(); err != nil || m.Sealed != nil {
		return err
	}
	return m.checkFrames()
}

// checkHead is check without the frames.
func (m *Manifest) checkHead() error {
	switch {
	case m.Version != ManifestVersion:
		return fmt.Errorf("manifest: version %d, and this program knows version %d only", m.Version, ManifestVersion)
	case m.Kind != KindDir && m.Kind != KindFile && m.Kind != KindDevice:
		return fmt.Errorf("manifest: unknown kind %q", m.Kind)
	case !knownCodec(m.Codec):
		return fmt.Errorf("manifest: unknown codec %q", m.Codec)
	case m.Raw < 0 || m.Raw > maxBytes:
		return fmt.Errorf("manifest: raw size of %d bytes", m.Raw)
	case m.Size < 0 || m.Size > maxBytes:
		return fmt.Errorf("manifest: archive size of %d bytes", m.Size)
	case m.FrameSize < 0 || m.FrameSize > maxBytes:
		return fmt.Errorf("manifest: frame size of %d bytes", m.FrameSize)
	case m.Entries < 0:
		return fmt.Errorf("manifest: %d entries", m.Entries)
	}
	if _, err := parseHash(m.SHA256); err != nil && m.SHA256 != "" {
		return fmt.Errorf("manifest: sha256 of the archive: %w", err)
	}
	if f := m.File; f != nil {
		if f.Mode&^07777 != 0 {
			return fmt.Errorf("manifest: file mode %#o", f.Mode)
		}
		if f.Size < 0 || f.Size > maxBytes {
			return fmt.Errorf("manifest: file size of %d bytes", f.Size)
		}
	}
	if m.Sealed != nil {
		return m.checkSealed()
	}
	return nil
}

// checkFrames returns an error unless the frames tile the archive.
func (m *Manifest) checkFrames() error {
	var off, raw int64
	for i := range m.Frames {
		f := &m.Frames[i]
		switch {
		case f.Off != off:
			return fmt.Errorf("manifest: frame %d starts at byte %d, the one before ends at %d", i, f.Off, off)
		case f.Len < 0 || f.Len == 0 && m.Codec != CodecNone || f.Len > m.Size-off:
			return fmt.Errorf("manifest: frame %d of %d bytes at byte %d of %d", i, f.Len, off, m.Size)
		case f.Raw < 0 || f.Raw > m.Raw-raw:
			return fmt.Errorf("manifest: frame %d of %d raw bytes at raw byte %d of %d", i, f.Raw, raw, m.Raw)
		case f.Raw > maxFrame || f.Len > maxFrame:
			return fmt.Errorf("manifest: frame %d of %d bytes, %d raw: larger than %d", i, f.Len, f.Raw, maxFrame)
		case m.Codec == CodecNone && f.Raw != f.Len:
			return fmt.Errorf("manifest: frame %d has %d bytes, but %d raw ones and no compression", i, f.Len, f.Raw)
		}
		off += f.Len
		raw += f.Raw
	}
	if off != m.Size {
		return fmt.Errorf("manifest: the frames make %d bytes, the archive has %d", off, m.Size)
	}
	if raw != m.Raw {
		return fmt.Errorf("manifest: the frames make %d raw bytes, the archive has %d", raw, m.Raw)
	}
	return nil
}

// knownCodec tells whether codec is one of ours.
func knownCodec(codec string) bool {
	return codec == CodecZstd || codec == CodecXZ || codec == CodecGzip || codec == CodecNone
}

// parseHash decodes 64 lower-case hex digits.
func parseHash(s string) (sum [32]byte, err error) {
	if len(s) != 2*len(sum) {
		return sum, fmt.Errorf("%d characters, want %d", len(s), 2*len(sum))
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return sum, errors.New("not lower-case hex")
		}
	}
	_, err = hex.Decode(sum[:], []byte(s))
	return sum, err
}
