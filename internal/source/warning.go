package source

import "fmt"

// Class says what a warning means for the archive.
type Class int

const (
	// Note is worth a line in the log, and nothing else: a socket was left out.
	Note Class = iota
	// Changed entries are stored, but moved while they were read: grown, shrunk,
	// replaced or gone.
	Changed
	// Unreadable entries, or parts of them, are missing from the archive.
	Unreadable
)

// Warning is something that a person should know of one entry of the source.
type Warning struct {
	Class Class
	Path  string // below the source's root, "" for the root itself
	Text  string // what happened, lower case, no period
	Lost  int64  // bytes that are stored as zeros, as they can't be read
}

// String is the warning as one line, with a path that no terminal trips over.
func (w Warning) String() string {
	return fmt.Sprintf("%s: %s", Printable(w.Path), w.Text)
}

// Printable returns path as it may be shown: the root as ".", and quoted as in
// Go if it holds control characters or is not UTF-8.
func Printable(path string) string {
	if path == "" {
		return "."
	}
	if q := fmt.Sprintf("%+q", path); len(q) != len(path)+2 {
		for _, r := range path {
			if r < ' ' || r == 0x7f || r == 0xfffd {
				return q
			}
		}
	}
	return path
}
