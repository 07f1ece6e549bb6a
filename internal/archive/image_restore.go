package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// RestoreOptions say how RestoreFile and RestoreImage restore.
type RestoreOptions struct {
	// Name is the file's name if the target is an existing directory. It has no slash.
	Name string
	// Overwrite replaces a file that exists. Otherwise that is an error.
	Overwrite bool
	// NumericOwner and KeepOwner are those of ExtractOptions.
	NumericOwner, KeepOwner bool
	// Progress, if not nil, is told how many bytes more were read.
	Progress func(int64)
}

// RestoreReport says what RestoreFile or RestoreImage did.
type RestoreReport struct {
	Path     string   // of the file that was made
	Bytes    int64    // its size, holes included
	Warnings []string // what of its properties could not be restored
}

// RestoreFile writes r to the file target, or into it under opt.Name if it is a directory, and gives it the
// properties in meta, which may be nil: then it is the caller's, with mode 0600. Blocks of zeros become holes.
//
// The file has its name only when it is complete and on the disk. If target exists, the error is fs.ErrExist, unless
// opt.Overwrite is set; a symbolic link is then followed. What is neither a file nor a directory is never replaced.
// A size other than meta's is an error, and nothing is left behind by any error; a process that is killed leaves
// .tinybackup-restore-*, which the next call replaces.
func RestoreFile(ctx context.Context, r io.Reader, target string, meta *FileMeta, opt RestoreOptions) (RestoreReport, error) {
	var props *entryMeta
	size := int64(-1)
	if meta != nil {
		props, size = fileMeta(meta), meta.Size
	}
	return restoreOne(ctx, r, target, props, size, opt)
}

// RestoreImage writes the image r of a device to the file target, as RestoreFile does. Of meta, which may be nil, it
// takes only the size: the file is the caller's, with mode 0600, whoever the device belonged to. It does not write
// to devices: package device does.
func RestoreImage(ctx context.Context, r io.Reader, target string, meta *FileMeta, opt RestoreOptions) (RestoreReport, error) {
	size := int64(-1)
	if meta != nil {
		size = meta.Size
	}
	return restoreOne(ctx, r, target, nil, size, opt)
}

// restoreOne restores a single file; a size of -1 is not compared.
func restoreOne(ctx context.Context, r io.Reader, target string, meta *entryMeta, size int64, opt RestoreOptions) (RestoreReport, error) {
	var report RestoreReport
	path, err := restorePath(target, opt)
	if err != nil {
		return report, err
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return report, err
	}
	in, err := openHandle(root)
	if err != nil {
		return report, err
	}
	defer in.close()

	m := newMaker(opt.Overwrite, opt.NumericOwner, opt.KeepOwner, func(op, path string, err error) {
		report.Warnings = append(report.Warnings, fmt.Sprintf("%s %q: %v", op, path, err))
	})
	m.durable = true
	sized := &sizedReader{r: &progressReader{ctx, r, opt.Progress}, want: size}
	made, n, err := m.regular(in, filepath.Base(path), path, meta, sized)
	if err == nil && made == outcomeKept {
		err = fs.ErrExist
	}
	var stream *streamError
	if errors.As(err, &stream) {
		return report, stream.err
	}
	if err != nil {
		return report, fmt.Errorf("restore %q: %w", path, bare(err))
	}
	report.Path, report.Bytes = path, n
	return report, nil
}

// restorePath decides which file is to be made.
func restorePath(target string, opt RestoreOptions) (string, error) {
	fi, err := os.Stat(target)
	if err == nil && fi.IsDir() {
		if opt.Name == "" || opt.Name != filepath.Base(opt.Name) || opt.Name == "." || opt.Name == ".." {
			return "", fmt.Errorf("restore %q: it is a directory, and %q is no name for a file in it", target, opt.Name)
		}
		target = filepath.Join(target, opt.Name)
		fi, err = os.Stat(target)
	}
	if err != nil {
		// It does not exist, or is a link to nothing, which is an error later on unless it may be replaced.
		return target, nil
	}
	switch mode := fi.Mode(); {
	case mode.IsDir():
		return "", fmt.Errorf("restore %q: a directory of that name exists", target)
	case mode&fs.ModeDevice != 0:
		return "", fmt.Errorf("restore %q: it is a device; restore to a file, and write that to the device", target)
	case !mode.IsRegular():
		return "", fmt.Errorf("restore %q: it exists and is no regular file", target)
	}
	// As with cp and every other program, a link to a file is as good as the file.
	return filepath.EvalSymlinks(target)
}

// sizedReader makes an error of the end of r, if it is not at byte want.
type sizedReader struct {
	r       io.Reader
	n, want int64
}

// Read implements io.Reader.
func (s *sizedReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if s.want >= 0 && (s.n > s.want || err == io.EOF && s.n != s.want) {
		more := ""
		if s.n > s.want {
			more = "or more "
		}
		return n, fmt.Errorf("the archive holds %d %sbytes, the manifest says %d", s.n, more, s.want)
	}
	return n, err
}
