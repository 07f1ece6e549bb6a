//go:build linux

package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRestoreFile(t *testing.T) {
	t.Parallel()
	data := sample(300_000, 1)
	meta := &FileMeta{Mode: 0o640, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), ModTime: time.Unix(1234567890, 123456789),
		Xattrs: map[string][]byte{"user.a": {0, 1}}, Size: int64(len(data))}
	dir := t.TempDir()
	noError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	for _, test := range []struct{ target, name, want string }{
		{"new", "", "new"},
		{"sub", "f", "sub/f"},
		{"sub/", "g", "sub/g"},
		{strings.Repeat("n", 255), "", strings.Repeat("n", 255)},
		{"\xff\n", "", "\xff\n"},
	} {
		report, err := RestoreFile(ctx, newReader(data), filepath.Join(dir, test.target), meta, RestoreOptions{Name: test.name})
		if err != nil || len(report.Warnings) > 0 || report.Path != filepath.Join(dir, test.want) || report.Bytes != meta.Size {
			t.Errorf("%q: %+v, %v", test.target, report, err)
		}
		got, err := os.ReadFile(filepath.Join(dir, test.want))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%q: %d bytes, %v", test.target, len(got), err)
		}
		want := fmt.Sprintf("-rw-r----- %d:%d 2009-02-13 23:31:30.123456789 +0000 UTC 300000 bytes", os.Geteuid(), os.Getegid())
		if got := describe(t, dir)[test.want]; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " user.a=0001") {
			t.Errorf("%q: got %s, want %s", test.target, got, want)
		}
	}
}

func TestRestoreFileRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := func(name string) string { return filepath.Join(dir, name) }
	noError(t, os.WriteFile(p("there"), []byte("old"), 0o600))
	noError(t, os.Symlink("there", p("link")))
	noError(t, os.Symlink("nowhere", p("dangling")))
	noError(t, os.MkdirAll(p("sub/dir"), 0o755))
	noError(t, unix.Mkfifo(p("fifo"), 0o600))
	noError(t, os.WriteFile(p("sub/there"), []byte("old"), 0o600))
	before := describe(t, dir)
	boom := errors.New("boom")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for _, test := range []struct {
		target string
		opt    RestoreOptions
		size   int64
		err    error
		ctx    context.Context
		want   string
	}{
		{target: "there", want: "file already exists"},
		{target: "link", want: "file already exists"},
		{target: "dangling", want: "file already exists"},
		{target: "sub", opt: RestoreOptions{Name: "there"}, want: `sub/there": file already exists`},
		{target: "sub", opt: RestoreOptions{Name: "dir", Overwrite: true}, want: "a directory of that name exists"},
		{target: "sub", want: "no name for a file"},
		{target: "sub", opt: RestoreOptions{Name: "../x"}, want: "no name for a file"},
		{target: "sub", opt: RestoreOptions{Name: ".."}, want: "no name for a file"},
		{target: "fifo", opt: RestoreOptions{Overwrite: true}, want: "no regular file"},
		{target: "/dev/null", opt: RestoreOptions{Overwrite: true}, want: "it is a device"},
		{target: "no/such/dir", want: "no such file or directory"},
		{target: "there/x", want: "not a directory"},
		{target: "new", size: 9, want: "holds 10 or more bytes, the manifest says 9"},
		{target: "new", size: 11, want: "holds 10 bytes, the manifest says 11"},
		{target: "new", err: boom, want: "boom"},
		{target: "new", size: 9, err: boom, want: "more bytes"}, // it need not read on
		{target: "there", opt: RestoreOptions{Overwrite: true}, err: boom, want: "boom"},
		{target: "new", ctx: ended, want: "context canceled"},
	} {
		target := test.target
		if !filepath.IsAbs(target) {
			target = p(target)
		}
		if test.ctx == nil {
			test.ctx = ctx
		}
		var r = newReader([]byte("0123456789"))
		if test.err != nil {
			r = failingReader{test.err}
		}
		if test.err != nil && test.size > 0 {
			r = io.MultiReader(newReader([]byte("0123456789")), newReader([]byte("0123456789")), r)
		}
		for name, restore := range map[string]func() error{
			"RestoreFile": func() error {
				_, err := RestoreFile(test.ctx, r, target, &FileMeta{Size: cmp.Or(test.size, 10)}, test.opt)
				return err
			},
			"RestoreImage": func() error {
				_, err := RestoreImage(test.ctx, r, target, &FileMeta{Size: cmp.Or(test.size, 10)}, test.opt)
				return err
			},
		} {
			if s, ok := r.(*bytes.Reader); ok {
				s.Seek(0, 0)
			}
			err := restore()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s to %s: got %v, want %s", name, test.target, err, test.want)
			}
			if strings.Contains(test.want, "exists") && !strings.Contains(test.want, "directory") && !errors.Is(err, fs.ErrExist) {
				t.Errorf("%s to %s: %v is not fs.ErrExist", name, test.target, err)
			}
		}
	}
	after := describe(t, dir)
	delete(after, "") // its time
	delete(before, "")
	compare(t, after, before)
}

func TestRestoreFileOverwrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := func(name string) string { return filepath.Join(dir, name) }
	noError(t, os.WriteFile(p("there"), []byte("old"), 0o600))
	noError(t, os.WriteFile(p(tempName("there")), []byte("left by a process that was killed"), 0o600))
	noError(t, os.Symlink("there", p("link")))
	noError(t, os.Symlink("nowhere", p("dangling")))
	for _, name := range []string{"link", "dangling"} {
		_, err := RestoreFile(ctx, newReader([]byte("new")), p(name), nil, RestoreOptions{Overwrite: true})
		noError(t, err)
	}
	wantFiles(t, dir, map[string]string{"there": "new", "link": "link", "dangling": "new"})
	if got := describe(t, dir)["there"]; !strings.HasPrefix(got, "-rw------- ") {
		t.Errorf("without properties, the file is %s", got)
	}
}

// TestRestoreImageIsSparse restores an image that is mostly zeros, and has a size that is no multiple of a block.
func TestRestoreImageIsSparse(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 4095, 4096, 4097, 256 << 10, 256<<10 + 1, 20<<20 + 512, 20 << 20} {
		image := make([]byte, size)
		copy(image[size/2:], sample(10_000, 3))
		if size%2 == 1 {
			image[size-1] = 1 // an end that is not a hole
		}
		target := filepath.Join(t.TempDir(), "image")
		report, err := RestoreImage(ctx, newReader(image), target, &FileMeta{Mode: 0o777, UID: 5, Size: int64(size)}, RestoreOptions{})
		if err != nil || report.Bytes != int64(size) || len(report.Warnings) > 0 {
			t.Errorf("%d bytes: %+v, %v", size, report, err)
		}
		got, err := os.ReadFile(target)
		if err != nil || !bytes.Equal(got, image) {
			t.Errorf("%d bytes: %d bytes back, %v", size, len(got), err)
		}
		if n := allocated(t, target); n > 40<<10 {
			t.Errorf("%d bytes take %d on the disk", size, n)
		}
		if got := describe(t, filepath.Dir(target))["image"]; !strings.HasPrefix(got, fmt.Sprintf("-rw------- %d:", os.Geteuid())) {
			t.Errorf("the image is %s", got)
		}
	}
}
