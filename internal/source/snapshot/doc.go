// Package snapshot answers "how can a source in use be read as it was at one
// moment?": by a snapshot of its LVM logical volume, classic or thin, or of its
// btrfs subvolume.
//
// Find says how, and changes nothing. Take does it, and gives a path to read
// instead. Check says afterwards whether that was one moment all the time: a
// classic LVM snapshot has room for so many changes, and is worthless once it is
// full, although what is cached of it can still be read. Close removes it.
//
// A snapshot carries the process that made it in its tag or its name. What a
// killed process left is removed by the next Take; its mount has no name in the
// file system, and goes with the process.
//
// lvm2's commands do what concerns logical volumes; btrfs is asked directly.
package snapshot
