package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"tinybackup/internal/archive"
)

// FileEntry is an entry of an archive of a directory, or the one file of another
// archive.
type FileEntry struct {
	Path    string    `json:"path"` // below the source; "." is the source itself
	Mode    string    `json:"mode"` // as ls -l writes it
	User    string    `json:"user"`
	Group   string    `json:"group"`
	Size    int64     `json:"size"` // bytes
	ModTime time.Time `json:"mtime"`
	Link    string    `json:"link,omitempty"` // where a link points
}

// ListFiles calls visit for each entry of an archive, in its order.
func ListFiles(ctx context.Context, env Env, c Choice, visit func(FileEntry) error) (err error) {
	a, err := openArchive(ctx, env, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if a.kind != archive.KindDir {
		return visit(a.onlyFile())
	}
	stream, err := a.stream(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	err = archive.Entries(ctx, stream, func(e archive.Entry) error {
		return visit(FileEntry{
			Path: a.below(e.Name), Mode: modeText(e.Mode), User: e.User, Group: e.Group,
			Size: e.Size, ModTime: e.ModTime, Link: a.linkTarget(e),
		})
	})
	var told *HintError // of the stream, which names it
	if err != nil && !errors.As(err, &told) {
		return fmt.Errorf("archive %q: %w", a.Name, err)
	}
	return err
}

// below takes the top directory off a name, as restore wants paths.
func (a opened) below(name string) string {
	name = strings.TrimSuffix(name, "/")
	if a.foreign {
		return name
	}
	_, rest, found := strings.Cut(name, "/")
	if !found {
		return "."
	}
	return rest
}

func (a opened) linkTarget(e archive.Entry) string {
	if e.Hard {
		return a.below(e.Link)
	}
	return e.Link
}

// onlyFile is what is known of the file or device that an archive holds.
func (a opened) onlyFile() FileEntry {
	e := FileEntry{Path: a.fileName(), Mode: "?", User: "?", Group: "?", Size: -1, ModTime: a.ModTime}
	if a.manifest == nil || a.manifest.File == nil {
		return e
	}
	f := a.manifest.File
	e.Mode, e.User, e.Group, e.Size, e.ModTime = modeText(fileMode(f.Mode)), f.User, f.Group, f.Size, f.ModTime
	return e
}

// fileMode is the mode of a file as the system has it, S_ISUID and its like included.
func fileMode(mode uint32) fs.FileMode {
	out := fs.FileMode(mode & 0o777)
	for i, bit := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if mode&(0o1000<<i) != 0 {
			out |= bit
		}
	}
	return out
}

// modeText is a mode as ls -l writes it.
func modeText(mode fs.FileMode) string {
	text := []byte("-" + mode.Perm().String()[1:])
	switch mode.Type() {
	case fs.ModeDir:
		text[0] = 'd'
	case fs.ModeSymlink:
		text[0] = 'l'
	case fs.ModeNamedPipe:
		text[0] = 'p'
	case fs.ModeSocket:
		text[0] = 's'
	case fs.ModeDevice:
		text[0] = 'b'
	case fs.ModeDevice | fs.ModeCharDevice:
		text[0] = 'c'
	}
	for _, s := range []struct {
		bit  fs.FileMode
		at   int
		mark byte
	}{{fs.ModeSetuid, 3, 's'}, {fs.ModeSetgid, 6, 's'}, {fs.ModeSticky, 9, 't'}} {
		switch {
		case mode&s.bit == 0:
		case text[s.at] == 'x':
			text[s.at] = s.mark
		default:
			text[s.at] = s.mark - 'a' + 'A'
		}
	}
	return string(text)
}
