package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"tinybackup/internal/archive"
	"tinybackup/internal/device"
)

// An Overwrite is a device that is about to be overwritten, for a person to agree to.
// Sizes are bytes.
type Overwrite struct {
	Path      string // such as /dev/sdb
	Name      string // the last part of Path
	Model     string // as it calls itself; may be empty
	Size      int64
	Removable bool
	Parts     []OverwritePart // that are on it now

	Archive string   // what is written, by its name
	Source  string   // of what that was made; may be empty
	Image   int64    // how much of it is written
	Notes   []string // what else there is to know
}

// OverwritePart is a partition that will be lost.
type OverwritePart struct {
	Name string // such as sdb1
	Size int64
}

// checkNode refuses a target in /dev that is not there: a misspelled device would
// become a file in memory.
func checkNode(target string) error {
	path, err := resolvePath(target)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/dev/shm/") {
		return nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return &HintError{Err: fmt.Errorf("device %q: %w", target, fs.ErrNotExist), Hint: "lsblk shows the devices that are there"}
	}
	return nil
}

// isDevice says whether path is a block device.
func isDevice(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0
}

// A deviceRestore is an image on its way onto a device.
type deviceRestore struct {
	opened
	env    Env
	o      RestoreOptions
	report *RestoreReport
	dev    *device.Device
	seen   *imageScan // nil: the archive was not read yet
}

// restoreDevice writes the image onto the block device o.Target. Whatever is wrong
// with the device or with the archive is found before anything is written.
func (a opened) restoreDevice(ctx context.Context, env Env, o RestoreOptions, r *RestoreReport) (err error) {
	if a.kind == archive.KindDir {
		return &UsageError{
			Msg:  fmt.Sprintf("%q is a device, and archive %q holds a directory", o.Target, a.Name),
			Hint: "make a file system on the device, mount it, and restore to where it is mounted",
		}
	}
	if !o.Yes && o.Confirm == nil {
		return &UsageError{
			Msg:  fmt.Sprintf("%q is a device, and there is no terminal to ask whether to overwrite it", o.Target),
			Hint: "--yes overwrites it without asking",
		}
	}
	d := &deviceRestore{opened: a, env: env, o: o, report: r}
	if err := d.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.dev.Close()) }()
	return d.do(ctx)
}

// open has the device for this restore alone.
func (d *deviceRestore) open(ctx context.Context) (err error) {
	keep := []device.Keep{{Path: "/", What: "the running system"}}
	if isLocal(d.store) {
		keep = append(keep, device.Keep{Path: d.path(), What: "the archive"})
	}
	d.dev, err = device.Open(ctx, d.o.Target, keep)
	var refused *device.RefusedError
	switch {
	case errors.As(err, &refused) && refused.Busy:
		return &HintError{Err: err, Hint: "unmount what is mounted, and check that it is the right device: lsblk shows them"}
	case errors.As(err, &refused):
		return &HintError{Err: err, Hint: "a card may have a switch that protects it; lsblk shows the devices"}
	case errors.Is(err, fs.ErrPermission):
		return &HintError{Err: err, Hint: "run tinybackup as root"}
	case errors.Is(err, errors.ErrUnsupported):
		return &HintError{Err: err, Hint: "restore to a file, and write that onto the device with dd"}
	}
	return err
}

func (d *deviceRestore) do(ctx context.Context) error {
	// Whoever is asked need not wait for the archive to be read, unless what is said
	// depends on that.
	known := d.total() >= 0 && d.total() <= d.dev.Size
	if !known {
		if err := d.scan(ctx); err != nil {
			return err
		}
	}
	size, err := d.fit()
	if err != nil {
		return err
	}
	if err := d.confirm(ctx, size); err != nil {
		return err
	}
	if known {
		if err := d.scan(ctx); err != nil {
			return err
		}
	}
	if err := d.write(ctx, size); err != nil {
		return err
	}
	d.finish(size)
	return nil
}

// scan reads all of the archive, checks it, and looks at the image.
func (d *deviceRestore) scan(ctx context.Context) error {
	d.seen = &imageScan{limit: d.dev.Size, beyond: -1}
	res, err := archive.VerifyTo(ctx, d.src, d.manifest, d.codec, d.seen, d.env.teller("verifying", d.src.Size()))
	if err == nil && !d.sealed() { // of which each byte was authenticated
		err = d.compareSum(ctx, res.SHA256)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	return &HintError{
		Err:  fmt.Errorf("archive %q: %w; nothing was written to %s", d.Name, err, d.dev.Path),
		Hint: "tinybackup list " + shellQuote(d.store.String()) + " shows other archives; --at TIME takes an older one",
	}
}

// confirm asks, unless it was told not to.
func (d *deviceRestore) confirm(ctx context.Context, size int64) error {
	if d.o.Yes {
		return nil
	}
	dev := d.dev
	over := Overwrite{
		Path: dev.Path, Name: dev.Name, Model: dev.Model, Size: dev.Size, Removable: dev.Removable,
		Archive: d.Name, Image: size, Notes: slices.Concat(d.report.Notes, d.report.Warnings),
	}
	if d.manifest != nil {
		over.Source = d.manifest.Source
	}
	for _, p := range dev.Parts {
		over.Parts = append(over.Parts, OverwritePart(p))
	}
	return d.o.Confirm(ctx, over)
}

// write writes size bytes of the image.
func (d *deviceRestore) write(ctx context.Context, size int64) (err error) {
	stream, err := d.stream(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	tell := map[string]func(int64){
		device.Writing:   d.env.teller(device.Writing, size),
		device.Comparing: d.env.teller(device.Comparing, size),
	}
	err = d.dev.Write(ctx, &watched{ctx: ctx, r: stream, told: func(int64) {}}, size, func(phase string, n int64) { tell[phase](n) })
	var incomplete *device.IncompleteError
	if errors.As(err, &incomplete) {
		return &HintError{
			Err:  fmt.Errorf("%w; nothing on %s can be used now", err, d.dev.Path),
			Hint: "restore onto it again, or onto another one",
		}
	}
	return err
}

// finish says what there is to say of a device that is complete.
func (d *deviceRestore) finish(size int64) {
	r := d.report
	r.Target, r.Entries, r.Bytes, r.Compared = d.dev.Path, 1, size, true
	d.tellGPT()
	if err := d.dev.Reread(); err != nil {
		r.Notes = append(r.Notes, fmt.Sprintf("the kernel still goes by the old partitions (%v): unplug the device, and plug it in again", cause(err)))
	}
}

// tellGPT says what a GPT is like on a device that is not the one it was made for.
func (d *deviceRestore) tellGPT() {
	r := d.report
	if d.seen.gpt() > 0 && d.seen.gpt() != d.dev.Sector {
		r.warn("its GPT is made for sectors of %d bytes, and %s has such of %d: its partitions will not be found", d.seen.gpt(), d.dev.Path, d.dev.Sector)
	} else if d.seen.gpt() > 0 && d.seen.size != d.dev.Size {
		r.Notes = append(r.Notes, fmt.Sprintf("the copy of its partition table (GPT) is not at the end of %s: sgdisk -e %s puts it there", d.dev.Path, d.dev.Path))
	}
}

// warn adds a warning.
func (r *RestoreReport) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
	r.WarningCount++
}
