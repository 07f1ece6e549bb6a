package tinybackup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tinybackup/internal/courtesy"
	"tinybackup/internal/rotate"
)

// A UsageError is a request that cannot be met as it was put: exit status 2.
type UsageError struct {
	Msg  string // what is wrong, naming the thing
	Hint string // what to type instead; may be empty
}

func (e *UsageError) Error() string { return e.Msg }

// A HintError is a failure that a person can do something about: exit status 1.
type HintError struct {
	Err  error
	Hint string // what to do
}

func (e *HintError) Error() string { return e.Err.Error() }

// Unwrap is Err.
func (e *HintError) Unwrap() error { return e.Err }

// A BusyError says that somebody else is at it: exit status 4.
type BusyError struct {
	Msg    string
	Hint   string // may be empty
	NotNow bool   // nobody else is: the backup's own before hook asks for another time
}

func (e *BusyError) Error() string { return e.Msg }

// A ProblemError is the answer "no, not all is well" of a command that asks:
// exit status 5. What is wrong has been printed as the command's output.
type ProblemError struct{ Msg string }

func (e *ProblemError) Error() string { return e.Msg }

// The smallest and the largest BlockSize: smaller pieces cost more than they
// save, larger ones are held in memory once per core.
const (
	minBlockSize Size = 64 << 10
	maxBlockSize Size = 256 << 20
)

// Check refuses every bad value and combination, and a source or destination
// that cannot be used, before anything is opened or changed. It expects options
// that are resolved. What is wrong with the words is a *UsageError, what is
// wrong with the machine a *HintError.
func (o Options) Check() error {
	if err := o.checkWords(); err != nil {
		return err
	}
	if o.Before == "" { // which may mount the source, or write it
		if err := checkSource(o.Source); err != nil {
			return err
		}
	}
	if !isRemote(o.Dest) {
		if err := checkDest(o.Dest); err != nil {
			return err
		}
	}
	for _, name := range o.ExcludeFrom {
		if err := checkReadableFile(name); err != nil {
			return &HintError{Err: err, Hint: "--exclude-from wants a file with one pattern per line"}
		}
	}
	_, err := o.recipients()
	return err
}

// checkWords is the part of Check that does not look at the disk.
func (o Options) checkWords() error {
	switch {
	case o.Source == "":
		return &UsageError{Msg: "the source is empty", Hint: "give a file, a directory or a block device"}
	case o.Dest == "":
		return &UsageError{Msg: "the destination is empty", Hint: "give " + destHint}
	case isURL(o.Source), isRemote(o.Source):
		return &UsageError{Msg: fmt.Sprintf("source %q is not on this machine", o.Source), Hint: "give a file, a directory or a block device"}
	case isURL(o.Dest) && !isRemote(o.Dest):
		return &UsageError{Msg: fmt.Sprintf("destination %q is of no kind that is known", o.Dest), Hint: "give " + destHint}
	case strings.ContainsRune(o.Source+o.Dest, 0):
		return &UsageError{Msg: "a path contains a NUL character"}
	case o.Source == o.Dest:
		return &UsageError{Msg: fmt.Sprintf("source and destination are both %q", o.Source), Hint: "give another directory for the archives"}
	}
	if isRemote(o.Dest) {
		if err := checkRemote(o.Dest); err != nil {
			return err
		}
	}
	if err := o.checkCopies(); err != nil {
		return err
	}
	if err := rotate.CheckSeries(o.Name); err != nil {
		return &UsageError{Msg: err.Error(), Hint: "give another name with --name NAME"}
	}
	if err := o.checkSnapshot(); err != nil {
		return err
	}
	if o.BlockSize != 0 && (o.BlockSize < minBlockSize || o.BlockSize > maxBlockSize || o.BlockSize%4096 != 0) {
		return &UsageError{
			Msg:  fmt.Sprintf("block size %v is not between 64KiB and 256MiB or not a multiple of 4KiB", o.BlockSize),
			Hint: "leave --block-size out, or give one such as 4MiB",
		}
	}
	for _, glob := range o.Exclude {
		if glob == "" {
			return &UsageError{Msg: "an --exclude pattern is empty", Hint: "give a pattern such as '*.tmp'"}
		}
	}
	if strings.ContainsRune(o.Before+o.After, 0) {
		return &UsageError{Msg: "a command of --before or --after contains a NUL character"}
	}
	for _, d := range []struct {
		name string
		time Duration
	}{{"lock-wait", o.LockWait}, {"grace", o.Grace}, {"jitter", o.Jitter}, {"hook-timeout", o.HookTimeout}} {
		if d.time < 0 {
			return &UsageError{Msg: "--" + d.name + " is negative"}
		}
	}
	for _, l := range []struct {
		name  string
		limit Limit
	}{{"stall-timeout", o.StallTimeout}, {"timeout", o.Timeout}} {
		if l.limit != 0 && l.limit != Never && l.limit < Limit(time.Second) {
			return &UsageError{Msg: "--" + l.name + " is less than a second", Hint: "give a time such as 30m or 6h, or never"}
		}
	}
	if err := o.checkCourtesy(); err != nil {
		return err
	}
	if o.CatchUp != "" && o.CatchUp != "once" && o.CatchUp != "none" {
		return &UsageError{Msg: fmt.Sprintf("catch-up %q", o.CatchUp), Hint: "--catch-up is once or none"}
	}
	if o.Grace > 0 && o.CatchUp == "none" {
		return &UsageError{Msg: "--grace is for runs that are made up for, and --catch-up none makes up for none", Hint: "leave one of them out"}
	}
	if err := o.checkEncrypt(); err != nil {
		return err
	}
	if err := o.Access.check(); err != nil {
		return err
	}
	return o.checkNotify()
}

// minBWLimit is the least BWLimit: with less, a backup would never come to its end.
const minBWLimit Size = 1 << 10

// checkCourtesy is the part of checkWords that is about other users of the machine.
func (o Options) checkCourtesy() error {
	switch _, err := courtesy.ParseIO(o.IONice); {
	case o.Nice < 0 || o.Nice > 19:
		return &UsageError{Msg: fmt.Sprintf("--nice %d is not between 0 and 19", o.Nice), Hint: "19 leaves the most to others"}
	case err != nil:
		return &UsageError{Msg: "--ionice " + err.Error()}
	case o.IONice != "" && o.IONice != "none" && !courtesy.CanIO:
		return &UsageError{Msg: "--ionice is for Linux only", Hint: "--nice and --bwlimit work here"}
	case o.BWLimit != 0 && o.BWLimit < minBWLimit:
		return &UsageError{Msg: fmt.Sprintf("--bwlimit %v is less than 1KiB a second", o.BWLimit), Hint: "give one such as 10MiB"}
	case o.OnBattery != "" && o.OnBattery != "run" && o.OnBattery != "wait":
		return &UsageError{Msg: fmt.Sprintf("on-battery %q", o.OnBattery), Hint: "--on-battery is run or wait"}
	case o.OnBattery == "wait" && !courtesy.CanTellPower:
		return &UsageError{Msg: "--on-battery wait is for Linux only", Hint: "leave it out: a job here runs on battery as well"}
	}
	return nil
}

// checkSource says whether path can be backed up: it is there, of a kind we
// know, and readable at its top.
func checkSource(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return sourceError(path, err)
	}
	switch mode := info.Mode(); {
	case mode.IsRegular(), mode.IsDir(), mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
	default:
		return &UsageError{
			Msg:  fmt.Sprintf("source %q is a %s", path, kindOf(mode)),
			Hint: "give a file, a directory or a block device",
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return sourceError(path, err)
	}
	if info.IsDir() {
		// Opening a directory does not need the permission to read it everywhere.
		if _, err = f.Readdirnames(1); err != nil && !isEOF(err) {
			f.Close()
			return sourceError(path, err)
		}
	}
	return f.Close()
}

// sourceError says why a source cannot be read, and what to do about it.
func sourceError(path string, err error) error {
	e := &HintError{Err: fmt.Errorf("source %q: %w", path, cause(err))}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Hint = "check the spelling; if it is on another disk, mount that first"
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "run tinybackup as a user who may read it"
	default:
		e.Hint = "see that it can be read"
	}
	return e
}

// checkDest says whether archives can be put into the directory dir.
func checkDest(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint := "if it is on another disk, mount that first; else: mkdir -p " + shellQuote(dir)
		if strings.Contains(dir, ":") { // USER@HOST:PATH, as scp and rsync have it
			hint = "on another machine it is spelled sftp://USER@HOST/PATH; on this one, " + hint
		}
		return &HintError{Err: fmt.Errorf("destination %q: %w", dir, fs.ErrNotExist), Hint: hint}
	case err != nil:
		return &HintError{Err: fmt.Errorf("destination %q: %w", dir, cause(err)), Hint: "see that its parent directories can be entered"}
	case !info.IsDir():
		return &UsageError{Msg: fmt.Sprintf("destination %q is a %s", dir, kindOf(info.Mode())), Hint: "give a directory for the archives: " + shellQuote(filepath.Dir(dir))}
	}
	if err := writable(dir); err != nil {
		return &HintError{Err: fmt.Errorf("destination %q is not writable: %w", dir, err), Hint: "run tinybackup as a user who may write there, or see that it is not mounted read-only"}
	}
	return nil
}

// checkReadableFile says whether path is a file that can be read.
func checkReadableFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("open %q: it is a %s", path, kindOf(info.Mode()))
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// kindOf names what kind of file a mode belongs to.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeCharDevice != 0:
		return "character device"
	case mode&fs.ModeDevice != 0:
		return "block device"
	}
	return "special file"
}

// cause is an error without the operation and the path that the caller names.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
