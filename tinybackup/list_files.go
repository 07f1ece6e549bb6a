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
			Path: a.below(e.Name), Mode: e.Mode.String(), User: e.User, Group: e.Group,
			Size: e.Size, ModTime: e.ModTime, Link: a.linkTarget(e),
		})
	})
	if err != nil {
		return fmt.Errorf("archive %q: %w", a.Name, err)
	}
	return nil
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
	e.Mode, e.User, e.Group, e.Size, e.ModTime = fs.FileMode(f.Mode&0o777).String(), f.User, f.Group, f.Size, f.ModTime
	return e
}
