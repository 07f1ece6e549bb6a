package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// find is Find, with all options filled in.
func find(ctx context.Context, path string, o Options) (*Plan, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() == os.ModeDevice {
		if o.Mode == Btrfs {
			return nil, &Error{Why: fmt.Sprintf("%q is a device, of which btrfs has no snapshot", path), Try: "give --snapshot lvm, if it is a logical volume"}
		}
		dev := info.Sys().(*syscall.Stat_t).Rdev
		return findLVM(ctx, path, fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)), nil, o)
	}
	m, err := mountOf(path)
	if err != nil {
		return nil, err
	}
	switch {
	case m.fsType == "btrfs" && o.Mode == LVM:
		return nil, &Error{Why: fmt.Sprintf("%q is on btrfs, which cannot be mounted a second time from a copy of its volume", path), Try: "give --snapshot btrfs"}
	case m.fsType == "btrfs":
		return findBtrfs(path, info, o)
	case o.Mode == Btrfs:
		return nil, &Error{Why: fmt.Sprintf("%q is on %s, not on btrfs", path, m.fsType), Try: "leave --snapshot out, or give --snapshot auto"}
	}
	return findLVM(ctx, path, m.dev, &m, o)
}

// volumeID is the UUID of the logical volume that is the device MAJOR:MINOR, or "".
func volumeID(sys, dev string) string {
	text, err := os.ReadFile(filepath.Join(sys, "dev/block", dev, "dm/uuid"))
	if err != nil {
		return "" // no device of the device mapper
	}
	// LVM-, the volume group's UUID and the volume's, of 32 letters each.
	id, found := strings.CutPrefix(strings.TrimSpace(string(text)), "LVM-")
	if !found || len(id) != 64 {
		return ""
	}
	return id[32:]
}

// holds says whether a snapshot has at path what the source is. Not the same inode:
// whoever renames a new file over the old one may just have done so.
func holds(path, source string) error {
	var there, here unix.Stat_t
	if err := unix.Stat(path, &there); err != nil {
		return fmt.Errorf("the snapshot does not hold %q: %w", source, err)
	}
	if err := unix.Stat(source, &here); err != nil {
		return &os.PathError{Op: "stat", Path: source, Err: err}
	}
	if there.Mode&unix.S_IFMT != here.Mode&unix.S_IFMT {
		return fmt.Errorf("the snapshot does not hold %q, but something else in its place", source)
	}
	return nil
}
