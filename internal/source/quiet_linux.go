package source

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tinybackup/internal/source/blockmap"
)

// A quiet is what shows that nobody writes to a device that is in use: all of it that
// is mounted is mounted read-only, was put away in order before, and stays like that;
// all else of it is held, so that nobody begins.
type quiet struct {
	held    []*os.File
	mounted []partition
	heads   [][]byte // the beginning of each, with what a mount for writing changes
}

// A partition of a device, or the device itself.
type partition struct {
	number string // of its device, as "8:1"
	sys    string // its directory in /sys
	off    int64  // on the device, in bytes
}

// headSize is how many bytes of a file system hold its superblock: ext has it at
// 1024 (docs.kernel.org/filesystems/ext4), FAT at 0.
const headSize = 4096

// Mounts are where the device at path, or a partition of it, is mounted.
func Mounts(path string) ([]Mount, error) {
	parts, err := partitionsOf(path)
	if err != nil {
		return nil, err
	}
	return mountsOf(parts)
}

// partitionsOf is the device itself, and its partitions as the kernel knows them.
func partitionsOf(path string) ([]partition, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	number := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
	sys, err := filepath.EvalSymlinks("/sys/dev/block/" + number)
	if err != nil {
		return nil, err
	}
	parts := []partition{{number: number, sys: sys}}
	below, err := filepath.Glob(sys + "/*/partition")
	if err != nil {
		return nil, err
	}
	for _, file := range below {
		p := partition{sys: filepath.Dir(file)}
		number, err := os.ReadFile(filepath.Join(p.sys, "dev"))
		if err != nil {
			return nil, err
		}
		start, err := os.ReadFile(filepath.Join(p.sys, "start"))
		if err != nil {
			return nil, err
		}
		sectors, err := strconv.ParseInt(strings.TrimSpace(string(start)), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s/start: %w", p.sys, err)
		}
		p.number, p.off = strings.TrimSpace(string(number)), sectors*512 // whatever the device's own sectors
		parts = append(parts, p)
	}
	return parts, nil
}

// mountsOf reads where partitions are mounted, as far as this process sees that.
func mountsOf(parts []partition) ([]Mount, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []Mount
	for line := range strings.Lines(string(text)) {
		// proc_pid_mountinfo(5): ID PARENT MAJOR:MINOR ROOT POINT OPTIONS … - TYPE SOURCE SUPEROPTIONS
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 5 || len(right) < 3 {
			continue
		}
		for _, p := range parts {
			if left[2] == p.number {
				options := strings.Split(right[2], ",")
				mounts = append(mounts, Mount{Point: PlainMount(left[4]), ReadOnly: options[0] == "ro", number: p.number})
			}
		}
	}
	return mounts, nil
}

// findQuiet finds out that nobody can write to the device, which is in use; else the
// error is an *InUseError that says why. flushErr is why its cache may be an old one.
func (s *Source) findQuiet(flushErr error) (_ *quiet, err error) {
	used := &InUseError{Path: s.Path}
	parts, err := partitionsOf(s.Path)
	if err == nil {
		used.Mounts, err = mountsOf(parts)
	}
	switch {
	case err != nil:
		used.Why = err.Error()
		return nil, used
	case len(used.Mounts) == 0:
		used.Why = "not by a mount that can be seen from here"
		return nil, used
	case !readOnly(used.Mounts):
		return nil, used
	case flushErr != nil:
		used.Why = fmt.Sprintf("its cache could not be emptied, as root may: %v", flushErr)
		return nil, used
	}
	q := &quiet{}
	defer func() {
		if err != nil {
			err = errors.Join(err, q.close())
		}
	}()
	for i, p := range parts {
		divided := i == 0 && len(parts) > 1 // a disk is in use if a partition is
		if why := q.take(p, used.Mounts, divided); why != "" {
			used.Why = why
			return nil, used
		}
	}
	// First these: what is found out from here on is of no earlier moment.
	if q.heads, err = s.headsOf(q.mounted); err != nil {
		used.Why = err.Error()
		return nil, used
	}
	if used.Why = s.uncleanOf(q.mounted); used.Why != "" {
		return nil, used
	}
	return q, nil
}

func readOnly(mounts []Mount) bool {
	for _, m := range mounts {
		if !m.ReadOnly {
			return false
		}
	}
	return true
}

// take notes a partition that is mounted, and holds one that is not; why it can't, if
// something else uses it.
func (q *quiet) take(p partition, mounts []Mount, divided bool) (why string) {
	name := filepath.Base(p.sys)
	if holders, err := os.ReadDir(filepath.Join(p.sys, "holders")); err != nil || len(holders) > 0 {
		return name + " is part of something else, such as LVM or RAID"
	}
	for _, m := range mounts {
		if m.number == p.number {
			q.mounted = append(q.mounted, p)
			return ""
		}
	}
	if divided {
		return ""
	}
	f, err := os.OpenFile("/dev/"+strings.ReplaceAll(name, "!", "/"), os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		return fmt.Sprintf("%s is in use, too, or can't be held: %v", name, err)
	}
	q.held = append(q.held, f)
	return ""
}

// uncleanOf says why a file system that is mounted may not be what its blocks say.
func (s *Source) uncleanOf(mounted []partition) (why string) {
	sector, err := sectorSize(s.device)
	if err != nil {
		return err.Error()
	}
	found := blockmap.Find(s.live(), s.Size, sector)
	for _, p := range mounted {
		why = "it is mounted read-only, and in no partition that is known"
		for _, part := range found.Parts {
			if part.Off == p.off {
				why = part.Whole
			}
		}
		if why != "" {
			return "read-only, but " + why
		}
	}
	return ""
}

// headsOf reads the beginning of each partition.
func (s *Source) headsOf(parts []partition) ([][]byte, error) {
	var heads [][]byte
	for _, p := range parts {
		head := make([]byte, headSize)
		if _, err := s.device.ReadAt(head, p.off); err != nil {
			return nil, err
		}
		heads = append(heads, head)
	}
	return heads, nil
}

// still says why the device is not quiet any more, or was not all the time: a mount
// for writing counts up in the superblock, also if it is read-only again by now.
func (q *quiet) still(s *Source) error {
	used := &InUseError{Path: s.Path, Why: "it was mounted for writing while it was read"}
	parts, err := partitionsOf(s.Path)
	if err == nil {
		used.Mounts, err = mountsOf(parts)
	}
	if err == nil && readOnly(used.Mounts) {
		err = flushDevice(s.device)
	} else if err == nil {
		return used
	}
	var heads [][]byte
	if err == nil {
		heads, err = s.headsOf(q.mounted)
	}
	if err != nil {
		used.Why = "whether it is still mounted read-only is not known: " + err.Error()
		return used
	}
	for i := range heads {
		if !bytes.Equal(heads[i], q.heads[i]) {
			return used
		}
	}
	return nil
}

// close lets go of what is held. It may be called for none.
func (q *quiet) close() (err error) {
	if q == nil {
		return nil
	}
	for _, f := range q.held {
		err = errors.Join(err, f.Close())
	}
	q.held = nil
	return err
}
