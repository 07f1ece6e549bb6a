package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Inode numbers of btrfs (linux/btrfs_tree.h): that of each subvolume's root, and
// that of the empty directory that a snapshot has in place of a subvolume.
const (
	inoSubvolume = 256
	inoEmpty     = 2
)

// dirPrefix begins the names of our snapshots; the owner and a number follow.
const dirPrefix = ".tinybackup-"

// IsSnapshot says whether a directory is a snapshot of ours, or, in a snapshot, where
// one is.
func IsSnapshot(name string, ino uint64) bool {
	_, ours := ownerOf(name)
	return ours && (ino == inoSubvolume || ino == inoEmpty)
}

// ownerOf reads the owner in a snapshot's name.
func ownerOf(name string) (owner, bool) {
	text, found := strings.CutPrefix(name, dirPrefix)
	dot := strings.LastIndexByte(text, '.')
	if !found || dot < 0 {
		return owner{}, false
	}
	if _, err := strconv.ParseUint(text[dot+1:], 16, 32); err != nil {
		return owner{}, false
	}
	return parseOwner(text[:dot])
}

// btrfsWay snapshots a subvolume, into a directory at its own top: nowhere else can
// be relied on to be the same file system.
type btrfsWay struct {
	Options
	source string
	top    string // of the subvolume
	mounts map[string]string
	made   unix.Stat_t
}

// findBtrfs plans a snapshot of the subvolume that the source at path lies in.
func findBtrfs(path string, info fs.FileInfo, o Options) (*Plan, error) {
	top := path
	if !info.IsDir() {
		top = filepath.Dir(path)
	}
	dev := info.Sys().(*syscall.Stat_t).Dev
	for {
		var st unix.Stat_t
		if err := unix.Lstat(top, &st); err != nil {
			return nil, &os.PathError{Op: "stat", Path: top, Err: err}
		}
		if uint64(st.Dev) != uint64(dev) {
			return nil, &Error{
				Why: fmt.Sprintf("%q lies in a part of a subvolume that is mounted by itself, without the top", path),
				Try: "mount the whole subvolume somewhere, and back up the directory there",
			}
		}
		if st.Ino == inoSubvolume {
			break
		}
		if top == "/" {
			return nil, &Error{Why: fmt.Sprintf("%q lies in no subvolume whose top can be seen", path)}
		}
		top = filepath.Dir(top)
	}
	if err := o.mayMake(); err != nil {
		return nil, err
	}
	if err := unix.Access(top, unix.W_OK); err != nil {
		return nil, &Error{Why: fmt.Sprintf("no snapshot can be put into %q: %v", top, err), Try: "leave --snapshot out: what is mounted read-only does not change"}
	}
	return &Plan{Kind: KindBtrfs, Origin: top, Way: &btrfsWay{Options: o, source: path, top: top}}, nil
}

func (w *btrfsWay) Take(ctx context.Context, s *Snapshot) error {
	owner, err := me()
	if err != nil {
		return err
	}
	if w.mounts, err = below(w.source); err != nil {
		return err
	}
	rel, err := filepath.Rel(w.top, w.source)
	if err != nil {
		return err
	}
	s.Name = filepath.Join(w.top, fmt.Sprintf("%s%s.%08x", dirPrefix, owner, rand.Uint32()))
	s.Path = filepath.Join(s.Name, rel)
	if err := asItWas(w.top, func() error { return createSnapshot(w.top, filepath.Base(s.Name)) }); err != nil {
		return &Error{Why: fmt.Sprintf("snapshot of %q: %v", w.top, err), Try: "see what dmesg says"}
	}
	err = unix.Lstat(s.Name, &w.made)
	if err == nil {
		err = holds(s.Path, w.source)
	}
	if err != nil {
		return errors.Join(err, s.Close(ctx))
	}
	return nil
}

// check fails if somebody has removed the snapshot while it was read; by itself it
// stays what it was.
func (w *btrfsWay) Check(_ context.Context, s *Snapshot) (float64, error) {
	var st unix.Stat_t
	err := unix.Lstat(s.Name, &st)
	if err == nil && (st.Ino != w.made.Ino || st.Dev != w.made.Dev) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return 0, &Error{Why: fmt.Sprintf("snapshot %q has gone while it was read: %v", s.Name, err), Try: "see who removes snapshots here"}
	}
	return 0, nil
}

func (w *btrfsWay) Remove(_ context.Context, s *Snapshot) error {
	return w.removeDir(filepath.Base(s.Name))
}

func (w *btrfsWay) removeDir(name string) error {
	err := insist(w.pause, func() error {
		return asItWas(w.top, func() error { return destroySnapshot(w.top, name) })
	})
	if err != nil {
		path := filepath.Join(w.top, name)
		return leftError(path, "btrfs subvolume delete "+path, err)
	}
	return nil
}

// instead sends the walk to what is mounted, and to subvolumes below that of the
// source, in whose place the snapshot has empty directories.
func (w *btrfsWay) Instead(rel string, ino uint64) string {
	if point := w.mounts[rel]; point != "" {
		return point
	}
	if ino == inoEmpty {
		return filepath.Join(w.source, rel)
	}
	return ""
}

// sweep removes what has one of our names, is a subvolume, and whose owner is
// certainly gone.
func (w *btrfsWay) Sweep(context.Context) (removed []string, err error) {
	entries, err := os.ReadDir(w.top)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, e := range entries {
		o, ours := ownerOf(e.Name())
		if !ours || !o.gone() {
			continue
		}
		path := filepath.Join(w.top, e.Name())
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil || st.Ino != inoSubvolume {
			continue
		}
		if err := w.removeDir(e.Name()); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, path)
	}
	return removed, errors.Join(errs...)
}

// asItWas does something that adds or removes an entry of a directory, and gives
// the directory its time of modification back: to the eyes of others nothing has
// changed. What somebody else changes in that moment is still seen by the time of
// change (ctime), which nobody can set, and by which the next backup goes.
func asItWas(dir string, do func() error) error {
	var before unix.Stat_t
	if err := unix.Stat(dir, &before); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, before.Mtim}
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, dir, times, 0) // costs the next run some work, at worst
	return nil
}

// The requests of linux/btrfs.h, and what they take. Snapshots are made and removed
// by the directory they are entries of.
const (
	snapCreateV2   = 0x50009417 // BTRFS_IOC_SNAP_CREATE_V2
	snapDestroy    = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
	subvolReadOnly = 1 << 1     // BTRFS_SUBVOL_RDONLY
)

type volArgsV2 struct {
	fd      int64
	transid uint64
	flags   uint64
	unused  [4]uint64
	name    [4040]byte
}

type volArgs struct {
	fd   int64
	name [4088]byte
}

func createSnapshot(top, name string) error {
	dir, err := os.Open(top)
	if err != nil {
		return err
	}
	defer dir.Close()
	args := volArgsV2{fd: int64(dir.Fd()), flags: subvolReadOnly}
	copy(args.name[:len(args.name)-1], name)
	return ioctl(dir, snapCreateV2, unsafe.Pointer(&args))
}

func destroySnapshot(top, name string) error {
	dir, err := os.Open(top)
	if err != nil {
		return err
	}
	defer dir.Close()
	var args volArgs
	copy(args.name[:len(args.name)-1], name)
	return ioctl(dir, snapDestroy, unsafe.Pointer(&args))
}

func ioctl(f *os.File, request uintptr, args unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(args))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}
