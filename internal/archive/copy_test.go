//go:build linux

package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"tinybackup/internal/source"
)

// A copier is a destination that copies by itself what is in another archive.
type copier struct {
	bytes.Buffer
	sent   int64
	copies int
	refuse func(n int64) (bool, error) // false: it can't
}

func (c *copier) Write(p []byte) (int, error) {
	c.sent += int64(len(p))
	return c.Buffer.Write(p)
}

func (c *copier) CopyRange(src io.ReaderAt, off, n int64) (bool, error) {
	c.copies++
	if c.refuse != nil {
		if ok, err := c.refuse(n); err != nil || !ok {
			return false, err
		}
	}
	_, err := c.Buffer.ReadFrom(io.NewSectionReader(src, off, n))
	return true, err
}

// onto archives path to c, with w as the previous archive.
func (w written) onto(t *testing.T, c *copier, path string, opt Options) (*Result, error) {
	t.Helper()
	f, err := os.Open(w.path)
	must(t, err)
	defer f.Close()
	opt.Warn = func(x source.Warning) { t.Error(x) }
	opt.Top, opt.Unread = filepath.Base(path), true
	opt.Previous = &Previous{Manifest: w.manifest, Archive: fileSource{f, w.manifest.Size}}
	src, err := source.Open(path, source.Options{PieceSize: opt.FrameSize, Warn: opt.Warn})
	must(t, err)
	defer src.Close()
	return Write(context.Background(), c, src, opt)
}

// manyFiles is a tree of some frames.
func manyFiles(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "tree")
	must(t, os.Mkdir(dir, 0o755))
	for i := range 400 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d", i)), bytes.Repeat([]byte(fmt.Sprint(i)), 3000), 0o600))
	}
	return dir
}

// A destination that copies by itself gets what has changed, and a call for all that
// lies side by side; where it can't, what is missing is read and written.
func TestCopyUnread(t *testing.T) {
	dir := manyFiles(t)
	opt := Options{Codec: "zstd", FrameSize: 64 << 10}
	first := writeArchive(t, dir, opt).settle()
	must(t, os.WriteFile(filepath.Join(dir, "200"), []byte("other"), 0o600))
	full := writeArchive(t, dir, opt)
	want, err := os.ReadFile(full.path)
	must(t, err)
	for name, refuse := range map[string]func(int64) (bool, error){
		"all":     nil,
		"nothing": func(int64) (bool, error) { return false, nil },
		"large":   func(n int64) (bool, error) { return n > int64(len(want))/2, nil },
	} {
		c := &copier{refuse: refuse}
		res, err := first.onto(t, c, dir, opt)
		must(t, err)
		if !bytes.Equal(c.Bytes(), want) {
			t.Errorf("%s: it is another archive than one made anew", name)
		}
		sameManifest(t, res.Manifest, full.manifest)
		if c.copies > 4 {
			t.Errorf("%s: %d calls of CopyRange", name, c.copies)
		}
		switch name {
		case "all":
			if c.sent > res.Manifest.Size/4 || res.Reused != res.Manifest.Size-c.sent || res.Manifest.SHA256 != "" {
				t.Errorf("%s: sent %d of %d, %+v", name, c.sent, res.Manifest.Size, res)
			}
		case "nothing":
			if res.Manifest.SHA256 != full.manifest.SHA256 {
				t.Errorf("%s: all was read, and the sha256 is %q", name, res.Manifest.SHA256)
			}
		}
	}
}

// Reading all again sends nothing that is there.
func TestCopyByContent(t *testing.T) {
	dir := manyFiles(t)
	opt := Options{Codec: "zstd", FrameSize: 64 << 10, ByContent: true}
	first := writeArchive(t, dir, opt).settle()
	c := &copier{}
	res, err := first.onto(t, c, dir, opt)
	must(t, err)
	if !res.Unchanged || res.Read != res.Manifest.Raw || c.sent != 0 {
		t.Errorf("read %d of %d, sent %d, unchanged %v", res.Read, res.Manifest.Raw, c.sent, res.Unchanged)
	}
}

// A previous archive that went away is one that cannot be used; any other error is the
// destination's.
func TestCopyFails(t *testing.T) {
	dir := manyFiles(t)
	opt := Options{Codec: "zstd", FrameSize: 64 << 10}
	first := writeArchive(t, dir, opt).settle()
	must(t, os.WriteFile(filepath.Join(dir, "200"), []byte("other"), 0o600))
	other := errors.New("no")
	for _, cause := range []error{fs.ErrNotExist, other} {
		_, err := first.onto(t, &copier{refuse: func(int64) (bool, error) { return false, cause }}, dir, opt)
		if !errors.Is(err, cause) || errors.Is(err, ErrPrevious) != (cause == fs.ErrNotExist) {
			t.Errorf("%v gave %v", cause, err)
		}
	}
}
