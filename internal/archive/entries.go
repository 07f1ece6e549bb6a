package archive

import (
	"archive/tar"
	"context"
	"io"
	"io/fs"
	"strconv"
	"time"
)

// Entry is what an archive of a directory says of one of its entries.
type Entry struct {
	Name    string      // as in the tar, with its top directory; a directory ends in a slash
	Mode    fs.FileMode // type and permissions
	User    string      // owner; the number if there is no name
	Group   string
	Size    int64 // bytes of a file, holes included
	ModTime time.Time
	Link    string // what a symbolic or hard link points to
	Hard    bool   // it is a hard link
}

// Entries calls visit for every entry of a tar stream, in its order, and checks
// the stream up to its end.
func Entries(ctx context.Context, r io.Reader, visit func(Entry) error) error {
	return walkTar(&progressReader{ctx, r, nil}, func(h *tar.Header, _ io.Reader) error {
		e := Entry{
			Name: h.Name, Mode: h.FileInfo().Mode(), User: h.Uname, Group: h.Gname,
			Size: h.Size, ModTime: h.ModTime, Link: h.Linkname, Hard: h.Typeflag == tar.TypeLink,
		}
		if e.User == "" {
			e.User = strconv.Itoa(h.Uid)
		}
		if e.Group == "" {
			e.Group = strconv.Itoa(h.Gid)
		}
		return visit(e)
	})
}
