package source

import (
	"fmt"
	"strings"
)

// An InUseError says that a device is mounted, or in use by another part of the
// kernel, so that its content may change while it is read.
type InUseError struct {
	Path   string
	Mounts []Mount // as far as this process sees them
	Why    string  // why that they are read-only is not enough; "": they are not
}

func (e *InUseError) Error() string {
	text := fmt.Sprintf("device %q is in use", e.Path)
	for i, m := range e.Mounts {
		text += map[bool]string{true: ", mounted at ", false: " and "}[i == 0] + Printable(m.Point)
	}
	if e.Why != "" {
		text += ": " + e.Why
	}
	return text
}

// A Mount is where a device, or a partition of it, is mounted.
type Mount struct {
	Point    string
	ReadOnly bool // the file system, and not this way to it alone

	number string // of the partition's device, as "8:1"
}

// PlainMount is a path of fstab(5) or of /proc as it is: in those, blanks and
// backslashes are written in octal (getmntent(3)).
func PlainMount(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}
