package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
)

// NewPathReader returns a tar stream of the entries that paths select, as
// ExtractOptions.Paths would, and of some around them: only the frames that may
// hold one of them are read. The manifest must be one that ReadManifest gave,
// of an archive of a directory. The caller closes the reader, then src.
func NewPathReader(ctx context.Context, src Source, m *Manifest, paths []string) (io.ReadCloser, error) {
	p := &pathReader{}
	var parts []io.Reader
	for _, r := range m.framesOf(paths) {
		frames, err := NewFrameReader(ctx, src, m, r.first, r.last)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.open = append(p.open, frames)
		parts = append(parts, frames)
	}
	p.Reader = io.MultiReader(append(parts, bytes.NewReader(tarEnd))...)
	return p, nil
}

type pathReader struct {
	io.Reader
	open []io.Closer
}

// Close implements io.Closer.
func (p *pathReader) Close() error {
	var err error
	for _, c := range p.open {
		err = errors.Join(err, c.Close())
	}
	return err
}

// frameRange is the frames from first to the one before last.
type frameRange struct{ first, last int }

// framesOf returns the frames that hold what is at or below the paths, in order
// and without overlap.
func (m *Manifest) framesOf(paths []string) []frameRange {
	if len(m.Frames) == 0 {
		return nil
	}
	top, _, _ := strings.Cut(m.Frames[0].First, "/")
	var all []frameRange
	for _, name := range paths {
		name = strings.Trim(path.Clean("/"+name), "/")
		// A path may be meant with the top directory or without.
		all = append(all, m.framesAt(top+"/"+name), m.framesAt(name))
		// The directories above have properties, too.
		for dir := path.Dir(top + "/" + name); dir != "."; dir = path.Dir(dir) {
			all = append(all, m.frameOf(dir))
		}
	}
	slices.SortFunc(all, func(a, b frameRange) int { return cmp.Compare(a.first, b.first) })
	var out []frameRange
	for _, r := range all {
		switch n := len(out) - 1; {
		case r.first == r.last:
		case n >= 0 && r.first <= out[n].last:
			out[n].last = max(out[n].last, r.last)
		default:
			out = append(out, r)
		}
	}
	return out
}

// framesAt returns the frames that hold the entry called name and all below it.
// Entries are in the order of their paths' components, a directory before what
// is in it; a frame that an entry starts in begins with one.
func (m *Manifest) framesAt(name string) frameRange {
	want := treeOrder(name)
	r := frameRange{0, len(m.Frames)}
	for i, f := range m.Frames {
		if f.First == "" {
			continue
		}
		if at := treeOrder(f.First); at <= want {
			r.first = i
		} else if !strings.HasPrefix(at, want+"\x00") {
			r.last = i
			break
		}
	}
	return r
}

// frameOf returns the frame that the entry called name starts in.
func (m *Manifest) frameOf(name string) frameRange {
	r := m.framesAt(name)
	r.last = min(r.last, r.first+1)
	return r
}

// treeOrder is a string that sorts as the tree is walked: a slash before all
// that a name can have.
func treeOrder(name string) string { return strings.ReplaceAll(strings.Trim(name, "/"), "/", "\x00") }
