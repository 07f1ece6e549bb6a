package tinybackup

import (
	"os"
	"path/filepath"
	"strings"

	"tinybackup/internal/rotate"
)

// DefaultKeep is how many archives stay when no --keep option is given.
const DefaultKeep rotate.Count = 14

// DefaultBlockSize is the size of the pieces that devices and large files are
// cut into when neither BlockSize nor the codec says otherwise.
const DefaultBlockSize Size = 4 << 20

// Options say what a backup is: one struct for the command line, for a job's
// file and for a program that embeds this package. The zero value of a field
// means what its comment says; Resolve fills in the defaults.
//
// The tags are those of the command line: a field's long name is its option and
// its key in a job's file. A field tagged no-ini is of one run, never of a job; one
// tagged own is of one backup, never of a file for many; one tagged secret is for
// nobody but the owner to see.
type Options struct {
	// Source is the file, directory or block device to back up: absolute after Resolve.
	Source string `ini-name:"source" own:"yes"`
	// Dest is where archives go: a directory, absolute after Resolve; or a place on
	// another machine, such as s3://BUCKET/PREFIX or sftp://HOST/PATH.
	Dest string `ini-name:"dest" own:"yes"`

	// Name is what the archives of this backup begin with. Empty: the base name
	// of Source without leading dots ("root" for "/").
	Name string `long:"name" own:"yes" value-name:"NAME" description:"what the archives are called (default: the base name of SOURCE)"`

	// Keep and its sisters say how many archives stay: the newest N, and the
	// newest of each of the last N hours, days, weeks, months and years that have
	// one. Zero: that rule keeps nothing. When all of them and KeepWithin are
	// zero, Keep becomes DefaultKeep; rotate.All keeps everything.
	Keep        rotate.Count `long:"keep" value-name:"N" description:"keep the newest N archives, or all (default: 14 if no other --keep is given)"`
	KeepHourly  rotate.Count `long:"keep-hourly" value-name:"N" description:"keep the newest of each of the last N hours"`
	KeepDaily   rotate.Count `long:"keep-daily" value-name:"N" description:"keep the newest of each of the last N days"`
	KeepWeekly  rotate.Count `long:"keep-weekly" value-name:"N" description:"keep the newest of each of the last N weeks"`
	KeepMonthly rotate.Count `long:"keep-monthly" value-name:"N" description:"keep the newest of each of the last N months"`
	KeepYearly  rotate.Count `long:"keep-yearly" value-name:"N" description:"keep the newest of each of the last N years"`
	// KeepWithin keeps all that is younger than this, counted from the newest.
	KeepWithin rotate.Span `long:"keep-within" value-name:"SPAN" description:"keep all archives younger than SPAN, such as 30d or 2y6m"`

	// CopyTo are further destinations, which get the archives from Dest.
	CopyTo []Copy `long:"copy-to" value-name:"DEST" description:"also copy the archives to DEST; 'DEST keep=N ...' for another policy there; may be repeated"`

	// Compress is the codec and its level. Zero: zstd at its default level.
	Compress Compression `long:"compress" value-name:"CODEC[:LEVEL]" description:"zstd, xz, gzip or none (default: zstd)"`

	// Encrypt are those who can read the archives: public keys of age or ssh, or files
	// with such in lines, which each run reads. Empty: the archives are not encrypted.
	Encrypt []string `long:"encrypt" value-name:"RECIPIENT|FILE" description:"encrypt to this public key of age or ssh, or to those in FILE; may be repeated"`

	// Exclude are patterns of paths that are left out, ExcludeFrom files with one
	// such pattern per line.
	Exclude     []string `long:"exclude" value-name:"GLOB" description:"leave out what matches; may be repeated"`
	ExcludeFrom []string `long:"exclude-from" value-name:"FILE" description:"leave out what matches a line of FILE; may be repeated"`
	// ExcludeCaches leaves out directories with a valid CACHEDIR.TAG.
	ExcludeCaches bool `long:"exclude-caches" description:"leave out directories marked by a CACHEDIR.TAG"`
	// OneFileSystem does not descend into other file systems mounted below Source.
	OneFileSystem bool `long:"one-file-system" description:"do not descend into other file systems"`

	// BlockSize is the size in bytes of the pieces that devices and large files
	// are cut into. Zero: what suits the codec.
	BlockSize Size `long:"block-size" value-name:"SIZE" description:"size of the pieces of devices and large files (default: what suits the codec)"`
	// AllBlocks reads the blocks of a device that its file systems call free, too.
	// Otherwise they are zeros in the image.
	AllBlocks bool `long:"all-blocks" description:"read a device's free blocks, too, instead of storing zeros"`
	// Bmap also stores a map of the blocks that a device's file systems use, for
	// bmaptool. Nothing comes of it for other sources.
	Bmap bool `long:"bmap" description:"of a device: also make ARCHIVE.bmap, for bmaptool"`
	// Live images a device although it is mounted for writing.
	Live bool `long:"live" description:"image a device although it is mounted for writing"`
	// Snapshot says what is read of a source in use: "none" (also if empty) the source
	// itself, "lvm" or "btrfs" a snapshot of that kind, and it is an error if there is
	// none to be had; "auto" a snapshot if there is.
	Snapshot string `long:"snapshot" value-name:"none|auto|lvm|btrfs" choice:"none" choice:"auto" choice:"lvm" choice:"btrfs" description:"read one moment of the source, from a snapshot (default: none)"`
	// SnapshotSize is how many bytes of an LVM volume may change until its snapshot is
	// worthless. Zero: a tenth of the volume, at least 1 GiB, and at most what is free.
	SnapshotSize Size `long:"snapshot-size" value-name:"SIZE" description:"how much may change while an LVM snapshot is read (default: 10 %)"`

	// Verify also decodes the new archive before anything is rotated.
	Verify bool `long:"verify" description:"decode the new archive again before older ones may go"`
	// Reread reads all of the source, also what has not changed since the last backup.
	Reread bool `long:"reread" description:"read everything, also what has not changed since the last backup"`
	// LockWait is how long to wait for another run that writes the same archives.
	// Zero: not at all.
	LockWait Duration `long:"lock-wait" value-name:"TIME" description:"wait this long for another run to finish, such as 10m"`
	// StallTimeout is after how long without progress the run is ended. Zero:
	// DefaultStallTimeout.
	StallTimeout Limit `long:"stall-timeout" value-name:"TIME" description:"end a run that makes no progress for so long, or never (default: 2h)"`
	// Timeout is how long the run may take, waiting for other runs included. Zero: as
	// long as it makes progress.
	Timeout Limit `long:"timeout" value-name:"TIME" description:"end a run that takes longer (default: never)"`

	// Nice makes the whole process, from then on, as nice(1) as this, from 0 to 19,
	// unless it is nicer already. Zero: not at all.
	Nice int `long:"nice" value-name:"N" description:"leave processors to others: 0 (not at all) to 19 (all)"`
	// IONice is how the whole process stands with disks from then on, as
	// courtesy.ParseIO takes it. Empty: as before.
	IONice string `long:"ionice" value-name:"CLASS" description:"leave disks to others: idle, best-effort[:0-7] or none (Linux)"`
	// BWLimit is how many bytes a second are read of the source at most, and how many
	// written to the destination or read back from there. Zero: as many as can be.
	BWLimit Size `long:"bwlimit" value-name:"SIZE" description:"read and write at most SIZE a second, such as 10MiB"`
	// OnBattery says what a job does that is due when the machine runs on a battery:
	// "run" (also if empty), or "wait" until it does not.
	OnBattery string `long:"on-battery" value-name:"run|wait" choice:"run" choice:"wait" description:"whether a job begins on battery power (default: run)"`

	// Before is a command line of /bin/sh that is run first: without its success
	// nothing is backed up. After is one that is run at last, however the run went,
	// once Before was tried. Empty: none.
	Before string `long:"before" value-name:"COMMAND" description:"run COMMAND first; if it fails, nothing is backed up"`
	After  string `long:"after" value-name:"COMMAND" description:"run COMMAND at last, however the backup went"`
	// HookTimeout is how long each of them may take. Zero: DefaultHookTimeout.
	HookTimeout Duration `long:"hook-timeout" value-name:"TIME" description:"how long --before and --after may take (default: 1h)"`

	// CatchUp says what becomes of a slot of a job that passed while nothing could
	// run: "once" (also if empty) lets one run make up for all such, "none" none.
	CatchUp string `long:"catch-up" value-name:"once|none" choice:"once" choice:"none" description:"whether a missed run is made up for (default: once)"`
	// Grace is how long after a slot it may still be made up for. Zero: until half
	// an hour before the next.
	Grace Duration `long:"grace" value-name:"TIME" description:"how late a missed run may still begin (default: until the next is near)"`
	// Jitter bounds how much later than its slots a job begins: by a part of it that
	// is always the same for a host and a job. Zero: not at all.
	Jitter Duration `long:"jitter" value-name:"TIME" description:"begin up to so much later, another time on each machine"`

	// Notify are the services that messages go to, as URLs of shoutrrr; NotifyOn says
	// what of. Zero: failures, new warnings and recoveries.
	Notify   []ServiceURL `long:"notify" secret:"yes" value-name:"URL" description:"send messages to this service: telegram://, smtp://, ntfy:// and so on; may be repeated"`
	NotifyOn Events       `long:"notify-on" value-name:"WHAT,…" description:"what of: failure, warning, recovery, success, start (default: the first three)"`
	// NotifyProgress has a message sent at every so many per cent of a backup. Zero: none.
	NotifyProgress int `long:"notify-progress" value-name:"N" description:"also send a message at the start, at every N per cent, and at the end"`
	// Ping is the URL of a dead-man's switch, in the protocol of healthchecks.io.
	Ping ServiceURL `long:"ping" secret:"yes" value-name:"URL" description:"ping a check, as of healthchecks.io, when a backup begins and ends"`

	Access

	// Config is a file with options for many backups, which count where these here
	// say nothing. Empty: tinybackup.ini beside the directory of the jobs, if there
	// is one; "none": none. Jobs and the command line heed it, Run does not.
	Config string `long:"config" value-name:"FILE" own:"yes" description:"take options that are not given from FILE, or none"`

	// Yes lets a rotation remove unusually many archives, once.
	Yes bool `long:"yes" no-ini:"yes" description:"let rotation remove unusually many archives"`
	// DryRun reports what would be read, written and removed, and does none of it.
	DryRun bool `long:"dry-run" no-ini:"yes" description:"say what would be done, and do nothing"`
	// Noop is another name of DryRun.
	Noop bool `long:"noop" no-ini:"yes" description:"the same as --dry-run"`
}

// Resolve makes the paths absolute, resolves symbolic links in them and fills in
// the defaults. Paths that do not exist stay as they are, cleaned: Check and the
// run itself say what is missing. The error is that of os.Getwd.
func (o *Options) Resolve() error {
	o.DryRun = o.DryRun || o.Noop
	o.Noop = false
	var err error
	if o.Source, err = resolveSource(o.Source); err != nil {
		return err
	}
	if o.Dest, err = resolvePath(o.Dest); err != nil {
		return err
	}
	if o.Config, err = resolveConfig(o.Config); err != nil {
		return err
	}
	for i, name := range o.ExcludeFrom {
		if o.ExcludeFrom[i], err = resolvePath(name); err != nil {
			return err
		}
	}
	if err := o.resolveRecipients(); err != nil {
		return err
	}
	if err := o.Access.resolve(); err != nil {
		return err
	}
	if err := o.resolveCopies(); err != nil {
		return err
	}
	o.fillDefaults()
	return nil
}

// fillDefaults gives the fields that are zero what their comments promise.
func (o *Options) fillDefaults() {
	o.fillName()
	if o.Policy().IsZero() {
		o.Keep = DefaultKeep
	}
	if o.Compress.Codec == "" {
		o.Compress.Codec = "zstd"
	}
}

func (o *Options) fillName() {
	if o.Name == "" && o.Source != "" {
		// A name must not begin with a dot, which would hide its archives.
		o.Name = strings.TrimLeft(filepath.Base(o.Source), ".")
		if o.Source == "/" {
			o.Name = "root"
		}
	}
}

// Policy is the part of the options that rotation goes by.
func (o Options) Policy() rotate.Policy {
	return rotate.Policy{
		Last:    o.Keep,
		Hourly:  o.KeepHourly,
		Daily:   o.KeepDaily,
		Weekly:  o.KeepWeekly,
		Monthly: o.KeepMonthly,
		Yearly:  o.KeepYearly,
		Within:  o.KeepWithin,
	}
}

// resolveSource is resolvePath, except that a device keeps the name it was
// called by: /dev/disk/by-id/… still means the same stick after a reboot, the
// /dev/sdb it points to now may be another one then.
func resolveSource(path string) (string, error) {
	resolved, err := resolvePath(path)
	if err != nil || !strings.HasPrefix(resolved, "/dev/") {
		return resolved, err
	}
	if info, err := os.Stat(resolved); err != nil || info.Mode()&os.ModeDevice == 0 {
		return resolved, nil
	}
	return filepath.Abs(path)
}

// resolvePath makes a path absolute and resolves the symbolic links in the part
// of it that exists. Places on other machines and empty paths stay as they are, but for
// slashes at their end; what is wrong with them Check says.
func resolvePath(path string) (string, error) {
	switch {
	case path != "" && isRemote(path):
		return trimRemote(path), nil
	case path == "", isURL(path):
		return path, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		if resolved, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(resolved, rest), nil
		}
		if dir == "/" {
			return path, nil
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

// resolveConfig is resolvePath, but for the word that says that there is no file.
func resolveConfig(path string) (string, error) {
	if path == sharedNone {
		return path, nil
	}
	return resolvePath(path)
}

// isURL says whether path names a place on another machine, such as s3://….
func isURL(path string) bool {
	scheme, _, found := strings.Cut(path, "://")
	if !found || scheme == "" {
		return false
	}
	for _, c := range strings.ToLower(scheme) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' && c != '-' {
			return false
		}
	}
	return true
}
