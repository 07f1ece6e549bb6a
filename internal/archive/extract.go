package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strconv"
	"strings"
)

// ExtractOptions say what Extract restores, and how.
type ExtractOptions struct {
	// Strip takes the first component off every name, so that the target becomes what that directory was, its mode,
	// owner and times included. An archive of more than one such directory is then an error. A tar made of "." has
	// nothing to strip.
	Strip bool
	// Paths select entries, and all that is below them; none means everything. A path is taken as below the archive's
	// first directory, or as starting with it.
	Paths []string
	// Overwrite replaces what exists: a file, link or node by another, and one of them by a directory. A directory
	// is never replaced by anything else. Otherwise what exists stays, and is counted in ExtractReport.Kept.
	Overwrite bool
	// NumericOwner takes owners by number only. Otherwise a name counts, if this system knows it.
	NumericOwner bool
	// KeepOwner restores owners for others than root, too, as far as the system lets them.
	KeepOwner bool
	// Again, if not nil, opens the same tar stream once more. It is needed for a selected hard link to a file that is
	// not selected, whose data are found before or behind it. Extract closes it.
	Again func() (io.ReadCloser, error)
	// Progress, if not nil, is told how many bytes more of the stream were read.
	Progress func(int64)
}

// ExtractReport says what Extract did. The lists are the first maxListed of what was counted.
type ExtractReport struct {
	Entries      int64    // restored, directories included
	Bytes        int64    // of restored files, holes included
	Kept         int64    // entries that existed and were left alone
	KeptPaths    []string // some of them
	WarningCount int64    // what could not be restored, or not in all of its properties
	Warnings     []string // some of them
	Missing      []string // of ExtractOptions.Paths, those that match nothing
}

const (
	// maxListed bounds the lists of a report.
	maxListed = 200
	// maxDepth bounds how many directories one name can have made.
	maxDepth = 10_000
	// maxOldSparse bounds files in GNU tar's older formats for holes, in bytes: reading the holes takes a minute for
	// each TiB.
	maxOldSparse = 16 << 40
)

// Extract restores the entries of a tar stream below the directory target, which is made if it does not exist.
// Nothing outside of it is touched, whatever the archive says: a name that is absolute or has "..", a hard link out
// of the target, or an entry behind a symbolic link is an error that names the entry and ends the extraction.
// (Symbolic links themselves are restored as they are; they are not followed.)
//
// A file appears under its name when it is complete, with owner, mode, times, extended attributes and ACLs; blocks of
// zeros become holes. Directories, those that existed too, get their properties last, so that one without write
// permission can be filled. What cannot be restored is a warning, and the rest goes on. A stream that is damaged, a
// full disk or an I/O error ends the extraction; what was restored by then stays. When Extract returns without an
// error, everything is on the disk. A path that matches nothing is an error, but only at the end.
//
// A process that is killed leaves at most one file, .tinybackup-restore-* in the directory it was busy with, which the
// next extraction of the same entry replaces; the directories made so far have their mode only after that.
func Extract(ctx context.Context, r io.Reader, target string, opt ExtractOptions) (ExtractReport, error) {
	sel, err := newSelection(opt.Paths)
	if err != nil {
		return ExtractReport{}, err
	}
	e := &extractor{ctx: ctx, opt: opt, sel: sel, dirs: make(map[string]*dirState), kept: make(map[uint64]struct{}),
		links: make(map[string][][]string), seed: maphash.MakeSeed()}
	e.maker = newMaker(opt.Overwrite, opt.NumericOwner, opt.KeepOwner, e.warn)
	created, err := makeTarget(target, opt.Strip)
	if err != nil {
		return e.report, err
	}
	if e.tree, err = newDirTree(target, e.child); err != nil {
		return e.report, err
	}
	defer e.tree.close()
	e.dirs[""] = &dirState{created: created}
	if fi, err := e.tree.top.f.Stat(); err == nil {
		if err := e.openUp("", fi, e.tree.top.f.Chmod); err != nil {
			return e.report, err
		}
	}

	err = walkTar(&progressReader{ctx, r, opt.Progress}, e.entry)
	if err == nil {
		err = e.secondPass()
	}
	err = errors.Join(err, e.finishDirs())
	if err == nil {
		err = e.tree.sync()
	}
	if err == nil {
		err = e.missing()
	}
	return e.report, err
}

// extractor is one extraction.
type extractor struct {
	ctx    context.Context
	opt    ExtractOptions
	sel    *selection
	tree   *dirTree
	maker  *maker
	report ExtractReport

	finishing bool // no more directories are made

	first bool   // the first entry has been seen
	top   string // its first component; empty for a tar of "."

	dirs  map[string]*dirState // by path
	kept  map[uint64]struct{}  // hashes of paths of regular files that differ from the archive's
	seed  maphash.Seed
	links map[string][][]string // files that are not selected: the selected hard links to them
}

// entryName is the name of an entry, taken apart.
type entryName struct {
	full  string   // all of it, cleaned
	below string   // without the top directory
	parts []string // components below the target
}

func (n entryName) path() string { return strings.Join(n.parts, "/") }

// name takes an entry's name, or the target of a hard link, apart. It refuses what would lead out of the target.
func (e *extractor) name(h *tar.Header, name string) (entryName, error) {
	var n entryName
	if strings.HasPrefix(name, "/") {
		return n, fmt.Errorf("entry %q: name %q is absolute", h.Name, name)
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return n, fmt.Errorf("entry %q: name %q leads out of the target", h.Name, name)
		case strings.IndexByte(part, 0) >= 0:
			return n, fmt.Errorf("entry %q: name %q has a zero byte", h.Name, name)
		case part != "" && part != ".":
			n.parts = append(n.parts, part)
		}
		if len(n.parts) > maxDepth {
			return n, fmt.Errorf("entry \"%.60s…\": more than %d directories deep", h.Name, maxDepth)
		}
	}
	if !e.first {
		e.first = true
		if len(n.parts) > 0 {
			e.top = n.parts[0]
		}
	}
	n.full = n.path()
	n.below = n.full
	inTop := e.top != "" && len(n.parts) > 0 && n.parts[0] == e.top
	if inTop {
		n.below = strings.TrimPrefix(n.full[len(e.top):], "/")
	}
	if e.opt.Strip && e.top != "" {
		if !inTop {
			return n, fmt.Errorf("entry %q: name %q is not in %q, as the entries before", h.Name, name, e.top)
		}
		n.parts = n.parts[1:]
	}
	return n, nil
}

// entry restores one entry, if it is selected.
func (e *extractor) entry(h *tar.Header, data io.Reader) error {
	n, err := e.name(h, h.Name)
	if err != nil {
		return err
	}
	dir := h.Typeflag == tar.TypeDir
	switch e.sel.match(n, dir) {
	case selectNot:
		return nil
	case selectAbove:
		if dir {
			e.state(n.path()).meta = tarMeta(h)
		}
		return nil
	}
	if len(n.parts) == 0 && !dir {
		return fmt.Errorf("entry %q: it is to become the target, but is no directory", h.Name)
	}
	if dir {
		err = e.directory(n, h)
	} else {
		err = e.other(n, h, data)
	}
	if err == nil && e.sel.done() {
		err = errStop
	}
	return err
}

// other restores an entry that is no directory.
func (e *extractor) other(n entryName, h *tar.Header, data io.Reader) error {
	if h.Typeflag == tar.TypeLink {
		return e.hardLink(n, h)
	}
	path := n.path()
	in, err := e.tree.enter(n.parts[:len(n.parts)-1])
	if err != nil {
		return e.failed("restore", path, err)
	}
	name := n.parts[len(n.parts)-1]
	m := tarMeta(h)
	var made outcome
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		if isSparse(h) {
			if h.Size > maxOldSparse {
				e.warn("restore", path, fmt.Errorf("%d bytes of holes in an old format", h.Size))
				return nil
			}
			data = &progressReader{ctx: e.ctx, r: data} // nothing is read for holes, which can be long
		}
		var size int64
		made, size, err = e.maker.regular(in, name, path, m, data)
		if made == outcomeMade {
			e.report.Bytes += size
		}
		if made == outcomeKept && !sameFile(in, name, h) {
			e.kept[maphash.String(e.seed, path)] = struct{}{}
		}
	case tar.TypeSymlink:
		made, err = e.maker.symlink(in, name, path, m, h.Linkname)
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		made, err = e.maker.node(in, name, path, m, nodeType(h.Typeflag), h.Devmajor, h.Devminor)
	default:
		e.warn("restore", path, fmt.Errorf("unknown type %q", h.Typeflag))
		return nil
	}
	return e.count(made, path, err)
}

// hardLink makes another name of a file that came before.
func (e *extractor) hardLink(n entryName, h *tar.Header) error {
	to, err := e.name(h, h.Linkname)
	if err != nil {
		return err
	}
	if e.sel.match(to, false) != selectYes {
		e.links[to.full] = append(e.links[to.full], n.parts)
		return nil
	}
	return e.link(to.parts, n.parts)
}

// link makes parts a name of the file that to names.
func (e *extractor) link(to, parts []string) error {
	path := strings.Join(parts, "/")
	if len(parts) == 0 || len(to) == 0 {
		return fmt.Errorf("entry %q: a hard link to %q", path, strings.Join(to, "/"))
	}
	if _, ok := e.kept[maphash.String(e.seed, strings.Join(to, "/"))]; ok {
		e.warn("link", path, fmt.Errorf("the archive has it as a hard link to %q, where another file existed", strings.Join(to, "/")))
		return nil
	}
	from, err := e.tree.openApart(to[:len(to)-1])
	if err != nil {
		return e.failed("link", path, err)
	}
	defer from.close()
	in, err := e.tree.enter(parts[:len(parts)-1])
	if err != nil {
		return e.failed("link", path, err)
	}
	made, err := e.maker.hardLink(in, parts[len(parts)-1], path, from, to[len(to)-1])
	return e.count(made, path, err)
}

// count notes what became of an entry.
func (e *extractor) count(made outcome, path string, err error) error {
	switch {
	case err != nil:
		return e.failed("restore", path, err)
	case made == outcomeMade:
		e.report.Entries++
	case made == outcomeKept:
		e.report.Kept++
		if len(e.report.KeptPaths) < maxListed {
			e.report.KeptPaths = append(e.report.KeptPaths, path)
		}
	}
	return nil
}

// secondPass restores the selected hard links to files that are not selected.
func (e *extractor) secondPass() error {
	if len(e.links) == 0 {
		return nil
	}
	if e.opt.Again != nil {
		r, err := e.opt.Again()
		if err != nil {
			return err
		}
		defer r.Close()
		if err := walkTar(&progressReader{e.ctx, r, e.opt.Progress}, e.linkedEntry); err != nil {
			return err
		}
	}
	for target, links := range e.links {
		for _, parts := range links {
			e.warn("restore", strings.Join(parts, "/"), fmt.Errorf("it is a hard link to %q, which is not selected", target))
		}
	}
	return nil
}

// linkedEntry restores an entry under the names of the selected links to it.
func (e *extractor) linkedEntry(h *tar.Header, data io.Reader) error {
	n, err := e.name(h, h.Name)
	if err != nil {
		return err
	}
	links := e.links[n.full]
	if len(links) == 0 || h.Typeflag == tar.TypeLink || h.Typeflag == tar.TypeDir {
		return nil
	}
	delete(e.links, n.full)
	if err := e.other(entryName{parts: links[0]}, h, data); err != nil {
		return err
	}
	for _, parts := range links[1:] {
		if err := e.link(links[0], parts); err != nil {
			return err
		}
	}
	if len(e.links) == 0 {
		return errStop
	}
	return nil
}

// missing returns an error if a path selects nothing, and notes what is ambiguous.
func (e *extractor) missing() error {
	var ambiguous []string
	e.report.Missing, ambiguous = e.sel.outcome()
	for _, path := range ambiguous {
		e.warn("select", path, fmt.Errorf("there are both %q and %q; both were restored", path, e.top+"/"+path))
	}
	var missing []string
	for _, path := range e.report.Missing {
		missing = append(missing, strconv.Quote(path))
	}
	if len(missing) > 0 {
		return errors.New("not in the archive: " + strings.Join(missing, ", "))
	}
	return nil
}

// warn counts something that went wrong with one entry.
func (e *extractor) warn(op, path string, err error) {
	e.report.WarningCount++
	if len(e.report.Warnings) < maxListed {
		e.report.Warnings = append(e.report.Warnings, fmt.Sprintf("%s %q: %v", op, path, err))
	}
}

// failed decides whether an error is the end: else it becomes a warning, and failed returns nil.
func (e *extractor) failed(op, path string, err error) error {
	if err == errSkipped {
		return nil // there was a warning for its directory
	}
	var stream *streamError
	if errors.As(err, &stream) {
		var damage *DamageError
		if errors.As(stream.err, &damage) {
			damage.Entry = path
		}
		return stream.err
	}
	var hostile *behindLinkError
	err = bare(err)
	if isFatal(err) || errors.As(err, &hostile) {
		return fmt.Errorf("%s %q: %w", op, path, err)
	}
	e.warn(op, path, err)
	return nil
}

// progressReader is a stream that stops with its context and tells how far it is.
type progressReader struct {
	ctx      context.Context
	r        io.Reader
	progress func(int64)
}

// Read implements io.Reader.
func (p *progressReader) Read(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	n, err := p.r.Read(b)
	if p.progress != nil && n > 0 {
		p.progress(int64(n))
	}
	return n, err
}
