package archive

import (
	"fmt"
	"strings"
)

// selection decides which entries the caller asked for.
type selection struct{ paths []*selectedPath }

type selectedPath struct {
	given, clean string
	full, below  bool // it matched names with the top directory, or without
	file         bool // it matched something that is no directory: there is nothing below
}

// newSelection refuses paths that no entry can have.
func newSelection(paths []string) (*selection, error) {
	s := &selection{}
	for _, given := range paths {
		var parts []string
		for part := range strings.SplitSeq(given, "/") {
			if part == ".." {
				return nil, fmt.Errorf("select %q: it is not below the source", given)
			}
			if part != "" && part != "." {
				parts = append(parts, part)
			}
		}
		if strings.HasPrefix(given, "/") {
			return nil, fmt.Errorf("select %q: a path is relative to the source", given)
		}
		s.paths = append(s.paths, &selectedPath{given: given, clean: strings.Join(parts, "/")})
	}
	return s, nil
}

type selected int

const (
	selectNot   selected = iota
	selectAbove          // something below may be selected
	selectYes
)

// match decides about an entry, and remembers which paths matched.
func (s *selection) match(n entryName, dir bool) selected {
	if len(s.paths) == 0 {
		return selectYes
	}
	best := selectNot
	for _, p := range s.paths {
		full, below := isBelow(n.full, p.clean), isBelow(n.below, p.clean)
		switch {
		case full || below:
			best = selectYes
			p.full = p.full || full && !below
			p.below = p.below || below
			// A path that starts with the top directory's name may match twice.
			top, _, _ := strings.Cut(n.full, "/")
			p.file = p.file || !dir && n.below == p.clean && (n.full == n.below || !isBelow(p.clean, top))
		case best == selectNot && (isBelow(p.clean, n.full) || isBelow(p.clean, n.below)):
			best = selectAbove
		}
	}
	return best
}

// done tells whether no later entry can match: every path was a file.
func (s *selection) done() bool {
	for _, p := range s.paths {
		if !p.file {
			return false
		}
	}
	return len(s.paths) > 0
}

// outcome returns the paths that matched nothing, and those that matched in two ways.
func (s *selection) outcome() (missing, ambiguous []string) {
	for _, p := range s.paths {
		if !p.full && !p.below {
			missing = append(missing, p.given)
		}
		if p.full && p.below {
			ambiguous = append(ambiguous, p.clean)
		}
	}
	return missing, ambiguous
}

// isBelow tells whether path is dir or in it. Everything is below "".
func isBelow(path, dir string) bool {
	return dir == "" || path == dir || len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}
