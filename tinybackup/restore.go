package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/store"
)

// RestoreOptions say what Restore gets back.
type RestoreOptions struct {
	From   string   // a destination, or an archive
	Target string   // what the source was, it becomes
	Paths  []string // below the source; empty: all of it
	// At takes the newest archive that is not younger. Zero: the newest.
	At   time.Time
	Name string // of the archives, if From holds several
	// Identity are the files with the secret keys that read an encrypted archive.
	Identity []string
	Access
	// Overwrite replaces files that are there. Without it they are kept, and told of.
	Overwrite bool
	// NumericOwner gives files to the numbers of their owners, not to the names.
	NumericOwner bool
	// Yes lets Target be a block device, all of which is overwritten. Otherwise Confirm
	// is asked, whose error ends the restore; nil: it is refused.
	Yes     bool
	Confirm func(context.Context, Overwrite) error
}

// RestoreReport is what Restore did. Sizes are bytes.
type RestoreReport struct {
	Archive      string    `json:"archive"`
	Target       string    `json:"target"`
	Kind         string    `json:"kind"` // "dir", "file" or "device"
	Start        time.Time `json:"start"`
	End          time.Time `json:"end"`
	Entries      int64     `json:"entries"`
	Bytes        int64     `json:"bytes"`
	Kept         int64     `json:"kept"`                 // files that were there already, and stayed
	KeptPaths    []string  `json:"kept_paths,omitempty"` // the first of them
	Compared     bool      `json:"compared,omitempty"`   // of a device: it was read back, and holds the image
	Notes        []string  `json:"notes,omitempty"`      // of a device: what else there is to know
	Warnings     []string  `json:"warnings,omitempty"`   // the first of them
	WarningCount int64     `json:"warning_count"`
}

// Restore gets back what an archive holds: a directory's contents into Target,
// which is made if need be; a file as Target, or into it if that is a directory; a
// device's image as the file Target, or onto the block device Target. Files that could not be restored, or not in all of their
// properties, are warnings in the report. What was restored before an error
// stays.
func Restore(ctx context.Context, env Env, o RestoreOptions) (r RestoreReport, err error) {
	r.Start = env.Now()
	defer func() { r.End = env.Now() }()
	a, err := openArchive(ctx, env, Choice{From: o.From, Name: o.Name, At: o.At, Identity: o.Identity, Access: o.Access})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	r.Archive, r.Target = a.Name, o.Target
	r.Kind = a.kind
	env.Log.Info("restore begins", "archive", a.Name, "target", o.Target)
	for _, path := range o.Paths {
		if filepath.IsAbs(path) {
			return r, a.notBelow(path)
		}
	}
	switch {
	case a.kind != archive.KindDir && len(o.Paths) > 0:
		return r, &UsageError{Msg: fmt.Sprintf("archive %q holds a single file, and no paths", a.Name), Hint: "leave the paths out"}
	case isDevice(o.Target):
		err = a.restoreDevice(ctx, env, o, &r)
	case a.kind == archive.KindDir:
		err = a.extract(ctx, env, o, &r)
	default:
		err = a.restoreFile(ctx, env, o, &r)
	}
	if hint := targetHint(err, o); hint != "" && hintOf(err) == "" {
		err = &HintError{Err: err, Hint: hint}
	}
	for _, w := range r.Warnings {
		env.Log.Warn(w)
	}
	if n := r.WarningCount - int64(len(r.Warnings)); n > 0 {
		env.Log.Warn(fmt.Sprintf("and %d more", n))
	}
	if a.doubt != nil { // which openArchive has told of
		r.Warnings, r.WarningCount = append(r.Warnings, a.doubtText()), r.WarningCount+1
	}
	return r, err
}

// notBelow refuses a path that is not one below the source.
func (a opened) notBelow(path string) error {
	e := &UsageError{
		Msg:  fmt.Sprintf("path %q is absolute, and not one below the source", path),
		Hint: "tinybackup list --files " + shellQuote(a.path()) + " shows the paths",
	}
	if a.manifest != nil && within(path, a.manifest.Source) {
		if below, err := filepath.Rel(a.manifest.Source, path); err == nil {
			e.Hint = "below the source it is " + shellQuote(below)
		}
	}
	return e
}

// targetHint is what to do about a target that nothing can be restored to.
func targetHint(err error, o RestoreOptions) string {
	if err == nil {
		return ""
	}
	in := filepath.Dir(o.Target) // of a target with a slash at its end, that itself
	_, missing := os.Stat(in)
	there, _ := os.Stat(filepath.Clean(o.Target))
	switch {
	case errors.Is(err, fs.ErrExist) && !o.Overwrite:
		return "--overwrite replaces it"
	case errors.Is(err, fs.ErrNotExist) && errors.Is(missing, fs.ErrNotExist):
		return "make its directory first: mkdir -p " + shellQuote(in)
	case there != nil && !there.IsDir() && strings.HasSuffix(err.Error(), syscall.ENOTDIR.Error()): // os.Root has an error of its own
		return "give a target that is a directory, or that is not there yet"
	case errors.Is(err, fs.ErrPermission):
		return "give a target that you may write to, or run tinybackup as a user who may"
	}
	return ""
}

// opened is an archive that is open for reading.
type opened struct {
	picked
	src         store.Reader
	kind, codec string
}

// Close closes the archive, and the store it is in.
func (a opened) Close() error { return errors.Join(a.src.Close(), a.store.Close()) }

// openArchive opens the archive that is meant, see pick. The caller closes it.
func openArchive(ctx context.Context, env Env, c Choice) (_ opened, err error) {
	p, err := pick(ctx, env, c)
	if err != nil {
		return opened{}, err
	}
	defer func() { closeAfter(&err, p.store) }()
	src, err := p.open(ctx, env, c.Identity)
	if err != nil {
		return opened{}, err
	}
	if p.doubt != nil {
		env.Log.Warn(p.doubtText())
	}
	a := opened{picked: p, src: src, kind: string(p.name.Kind), codec: p.name.Codec}
	if p.foreign {
		isTar := false
		if a.codec, isTar, err = archive.Detect(ctx, src); err != nil {
			return opened{}, errors.Join(fmt.Errorf("archive %q: %w", p.Name, err), src.Close())
		}
		if a.kind = archive.KindFile; isTar {
			a.kind = archive.KindDir
		}
	}
	return a, nil
}

// open opens the archive, and decrypts it if it is encrypted.
func (p *picked) open(ctx context.Context, env Env, identity []string) (_ store.Reader, err error) {
	ids, err := readIdentities(ctx, env, identity)
	if err != nil {
		return nil, err
	}
	src, err := p.store.Open(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			src.Close()
		}
	}()
	sealed, err := p.isSealed(src)
	switch {
	case err != nil || !sealed:
		return src, err
	case ids == nil:
		return nil, needsIdentity(p.Name)
	}
	plain, err := p.unseal(ctx, ids, src)
	return unsealed{plain, src}, err
}

// doubtText says that the manifest cannot be used, and why.
func (p picked) doubtText() string { return "the manifest is not used: " + p.doubt.Error() }

// stream reads all of the archive. With a manifest, on all cores, and no byte
// of a damaged frame comes out.
func (a opened) stream(ctx context.Context) (io.ReadCloser, error) {
	switch {
	case a.manifest != nil:
		return a.named(ctx)(archive.NewFrameReader(ctx, a.src, a.manifest, 0, len(a.manifest.Frames)))
	case a.sealed(): // of which each byte is authenticated, and that it is the last one
		return a.named(ctx)(archive.NewReader(ctx, a.codec, a.src))
	}
	return a.named(ctx)(a.streamSummed(ctx))
}

// total is how many bytes the stream has, -1 if that is not known.
func (a opened) total() int64 {
	if a.manifest == nil {
		return -1
	}
	return a.manifest.Raw
}

func (a opened) extract(ctx context.Context, env Env, o RestoreOptions, r *RestoreReport) (err error) {
	again := func() (io.ReadCloser, error) { return a.stream(ctx) }
	open, total := again, a.total()
	if a.manifest != nil && len(o.Paths) > 0 {
		open = func() (io.ReadCloser, error) {
			return a.named(ctx)(archive.NewPathReader(ctx, a.src, a.manifest, o.Paths))
		}
		total = -1
	}
	stream, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	got, err := archive.Extract(ctx, stream, o.Target, archive.ExtractOptions{
		// An archive that somebody else made need not have one top directory.
		Strip: !a.foreign, Paths: o.Paths, Overwrite: o.Overwrite, NumericOwner: o.NumericOwner,
		Again: again, Progress: env.teller("restoring", total),
	})
	r.Entries, r.Bytes, r.Kept, r.KeptPaths = got.Entries, got.Bytes, got.Kept, got.KeptPaths
	r.Warnings, r.WarningCount = got.Warnings, got.WarningCount
	if len(got.Missing) > 0 {
		return &HintError{Err: err, Hint: "tinybackup list --files " + shellQuote(a.path()) + " shows what it holds"}
	}
	return err
}

// fileName is what the one file of the archive is called.
func (a opened) fileName() string {
	switch {
	case a.kind == archive.KindDevice:
		return a.name.Series + ".img"
	case a.manifest != nil:
		return filepath.Base(a.manifest.Source)
	case a.foreign:
		return strings.TrimSuffix(a.Name, filepath.Ext(a.Name))
	}
	return a.name.Series
}

// sealed says whether src is an encrypted archive, decrypted.
func (a opened) sealed() bool {
	_, ok := a.src.(unsealed)
	return ok
}

// path is where the archive is.
func (a opened) path() string { return joinDest(a.store.String(), a.Name) }

func (a opened) restoreFile(ctx context.Context, env Env, o RestoreOptions, r *RestoreReport) (err error) {
	if err := checkNode(o.Target); err != nil {
		return err
	}
	stream, err := a.stream(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	opt := archive.RestoreOptions{
		Name: a.fileName(), Overwrite: o.Overwrite, NumericOwner: o.NumericOwner, Progress: env.teller("restoring", a.total()),
	}
	var meta *archive.FileMeta
	if a.manifest != nil {
		meta = a.manifest.File
	}
	restore := archive.RestoreFile
	if a.kind == archive.KindDevice {
		restore = archive.RestoreImage
	}
	got, err := restore(ctx, stream, o.Target, meta, opt)
	r.Target, r.Entries, r.Bytes = got.Path, 1, got.Bytes
	r.Warnings, r.WarningCount = got.Warnings, int64(len(got.Warnings))
	if err == nil && a.manifest == nil && a.doubt == nil && !a.foreign {
		a.warnAlone(ctx, r)
	}
	return err
}

// warnAlone warns of what nobody knows of a file or a device whose archive has no manifest.
func (a opened) warnAlone(ctx context.Context, r *RestoreReport) {
	if a.kind == archive.KindFile {
		r.warn("archive %q has no manifest, which has the mode, the owner and the times of the file", a.Name)
	}
	if a.sealed() {
		return
	}
	if sums, err := a.store.Sums(ctx); err != nil || sums[a.Name] == "" {
		r.warn("archive %q has neither a manifest nor a line in SHA256SUMS: nothing tells whether it is whole", a.Name)
	}
}
