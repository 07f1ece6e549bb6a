package source

import (
	"fmt"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// rule is one exclude pattern.
type rule struct {
	glob    string
	include bool // "!pattern": entries that match are backed up after all
	anyName bool // no slash in the pattern: it is matched against base names
	dirOnly bool // "pattern/"
}

// Excludes decides which entries of a tree are left out. The last pattern that
// matches an entry decides.
//
//   - a pattern without a slash matches base names, at any depth: *.o, node_modules
//   - one with a slash is anchored at the source: /build, doc/*.pdf, **/cache/*
//     (also written with the source's absolute path in front)
//   - a slash at the end makes it match directories only
//   - a ! in front takes matching entries in again; but what lies in a directory
//     that is left out is never looked at
//   - * and ? stop at slashes, ** does not; [a-z] and {a,b} work as in a shell
type Excludes struct{ rules []rule }

// NewExcludes compiles patterns for the source at the absolute path root.
func NewExcludes(root string, patterns []string) (*Excludes, error) {
	x := &Excludes{}
	for _, text := range patterns {
		r := rule{glob: text}
		if rest, ok := strings.CutPrefix(r.glob, "!"); ok {
			r.include, r.glob = true, rest
		}
		if rest, ok := strings.CutPrefix(r.glob, strings.TrimSuffix(root, "/")+"/"); ok && rest != "" && root != "/" {
			r.glob = "/" + rest
		}
		if rest := strings.TrimRight(r.glob, "/"); rest != r.glob {
			r.dirOnly, r.glob = true, rest
		}
		r.anyName = !strings.Contains(r.glob, "/")
		r.glob = strings.TrimPrefix(r.glob, "/")
		if r.glob == "" || !doublestar.ValidatePattern(r.glob) {
			return nil, fmt.Errorf("exclude %q: not a valid pattern", text)
		}
		x.rules = append(x.rules, r)
	}
	return x, nil
}

// Match reports whether the entry at rel, a slash-separated path below the
// source, is left out.
func (x *Excludes) Match(rel string, isDir bool) bool {
	out := false
	base := path.Base(rel)
	for i := range x.rules {
		r := &x.rules[i]
		if r.include != out || (r.dirOnly && !isDir) {
			continue
		}
		name := rel
		if r.anyName {
			name = base
		}
		if ok, _ := doublestar.Match(r.glob, name); ok {
			out = !r.include
		}
	}
	return out
}
