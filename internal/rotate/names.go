// Package rotate answers which: how archives are named, and which of them a policy keeps.
//
// It is pure: it opens no file and reads no clock. A caller lists a destination, turns the
// listing into Items with ParseName, asks Plan, and removes what Decision.Remove returns.
// Whatever looks doubtful in the listing makes Plan refuse, so a mistake elsewhere costs
// disk space and not an archive.
package rotate

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind is what an archive holds: a directory, a single file or a device.
type Kind string

// The kinds of archive; no other is valid.
const (
	KindDir    Kind = "dir"    // a tar: NAME-STAMP.tar[.zst|.xz|.gz][.age]
	KindFile   Kind = "file"   // the file itself: NAME-STAMP[.zst|.xz|.gz][.age]
	KindDevice Kind = "device" // a raw image: NAME-STAMP.img[.zst|.xz|.gz][.age]
)

// sealed is the end of an encrypted archive's name.
const sealed = ".age"

// stamp is the time in a name, always UTC: local times collide in the hour that autumn repeats.
const stamp = "20060102T150405Z"

// maxSeries leaves room within the 255 bytes of a file name (NAME_MAX of ext4, XFS, btrfs) for
// the stamp, the suffix, and what a store adds to a partial file.
const maxSeries = 200

// Name is the name of an archive, taken apart.
type Name struct {
	Series string    // the job's name; see CheckSeries
	Time   time.Time // when the backup began: UTC, whole seconds, years 1970 to 9999
	Kind   Kind
	Codec  string // "zstd", "xz", "gzip" or "none"
	Sealed bool   // it is encrypted, as a whole
}

// Check returns an error that says what keeps n from being an archive's name, or nil.
func (n Name) Check() error {
	if err := CheckSeries(n.Series); err != nil {
		return err
	}
	if y := n.Time.UTC().Year(); y < 1970 || y > 9999 {
		return fmt.Errorf("name %q: the year %d is not within 1970 to 9999", n.Series, y)
	}
	if _, ok := kindSuffix(n.Kind); !ok {
		return fmt.Errorf("name %q: no such kind of archive: %q", n.Series, n.Kind)
	}
	if _, ok := codecSuffix(n.Codec); !ok {
		return fmt.Errorf("name %q: no such codec: %q", n.Series, n.Codec)
	}
	return nil
}

// String returns the file name, such as notes-20261121T023000Z.tar.zst. A Time in another zone
// is converted to UTC, a fraction of a second dropped. A Name that Check refuses yields "",
// which no file can be called, so that none is made that ParseName would not know again.
func (n Name) String() string {
	if n.Check() != nil {
		return ""
	}
	kind, _ := kindSuffix(n.Kind)
	codec, _ := codecSuffix(n.Codec)
	name := n.Series + "-" + n.Time.UTC().Format(stamp) + kind + codec
	if n.Sealed {
		name += sealed
	}
	return name
}

// ParseName takes a file name apart. It returns true only for a string that Name.String could
// have made, so ParseName(s).String() == s; anything else in a destination is not ours.
//
// A series may itself contain what looks like a stamp or a suffix. Still no file name can be
// read in two ways: no suffix has a capital Z, so the last Z of a name ends its stamp.
func ParseName(file string) (Name, bool) {
	z := strings.LastIndexByte(file, 'Z')
	dash := z - len(stamp)
	if dash < 0 {
		return Name{}, false
	}
	n := Name{Series: file[:dash], Kind: KindFile}
	suffix, isSealed := strings.CutSuffix(file[z+1:], sealed)
	n.Sealed = isSealed
	if rest, ok := strings.CutPrefix(suffix, ".tar"); ok {
		n.Kind, suffix = KindDir, rest
	} else if rest, ok := strings.CutPrefix(suffix, ".img"); ok {
		n.Kind, suffix = KindDevice, rest
	}
	switch suffix {
	case "":
		n.Codec = "none"
	case ".zst":
		n.Codec = "zstd"
	case ".xz":
		n.Codec = "xz"
	case ".gz":
		n.Codec = "gzip"
	}
	var err error
	if n.Time, err = time.Parse(stamp, file[dash+1:z+1]); err != nil {
		return Name{}, false
	}
	// time.Parse takes more than Format makes: one digit for an hour, a fraction of a second.
	// Comparing the whole name leaves no such gap, and also refuses a missing dash, an unknown suffix
	// and a series that cannot be.
	if n.String() != file {
		return Name{}, false
	}
	return n, true
}

// CheckSeries returns an error that says why name cannot be a job's name, or nil. The name begins
// the names of its archives and of its log, and stands in job files and messages: it must be one
// to 200 bytes of UTF-8 without "/" and control characters, and not begin with "-" or ".".
func CheckSeries(name string) error {
	switch {
	case name == "":
		return fmt.Errorf(`name "": is empty`)
	case len(name) > maxSeries:
		return fmt.Errorf("name %q: is %d bytes long, and at most %d fit into a file name", name, len(name), maxSeries)
	case !utf8.ValidString(name):
		return fmt.Errorf("name %q: is not valid UTF-8", name)
	case name[0] == '-':
		return fmt.Errorf(`name %q: begins with "-", which commands take for an option`, name)
	case name[0] == '.':
		return fmt.Errorf(`name %q: begins with ".", which would hide its archives`, name)
	}
	for _, r := range name {
		if r == '/' {
			return fmt.Errorf(`name %q: contains "/"`, name)
		}
		if unicode.IsControl(r) {
			return fmt.Errorf("name %q: contains the control character %U", name, r)
		}
	}
	return nil
}

// kindSuffix returns the part of a file name that tells the kind; false for an unknown one.
func kindSuffix(k Kind) (string, bool) {
	switch k {
	case KindDir:
		return ".tar", true
	case KindFile:
		return "", true
	case KindDevice:
		return ".img", true
	}
	return "", false
}

// codecSuffix returns the part of a file name that tells the codec; false for an unknown one.
func codecSuffix(codec string) (string, bool) {
	switch codec {
	case "none":
		return "", true
	case "zstd":
		return ".zst", true
	case "xz":
		return ".xz", true
	case "gzip":
		return ".gz", true
	}
	return "", false
}
