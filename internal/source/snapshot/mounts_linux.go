package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A mounted is a line of /proc/self/mountinfo.
type mounted struct {
	id     string
	dev    string // MAJOR:MINOR
	root   string // the directory of the file system that is mounted
	point  string // where
	fsType string
	source string // a device, as a rule
}

// mounts reads /proc/self/mountinfo.
func mounts() ([]mounted, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(text)), nil
}

// parseMounts reads lines like those of proc_pid_mountinfo(5):
// ID PARENT MAJOR:MINOR ROOT POINT OPTIONS … - TYPE SOURCE ….
func parseMounts(text string) []mounted {
	var all []mounted
	for line := range strings.Lines(text) {
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 6 || len(right) < 2 {
			continue
		}
		all = append(all, mounted{
			id: left[0], dev: left[2], root: unescape(left[3]), point: unescape(left[4]), fsType: right[0], source: unescape(right[1]),
		})
	}
	return all
}

// unescape is a path of /proc as it is: in those, blanks and backslashes are
// written in octal (getmntent(3)).
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// mountOf is the mount that path lies in.
func mountOf(path string) (mounted, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return mounted{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return mounted{}, err
	}
	all, err := mounts()
	if err != nil {
		return mounted{}, err
	}
	for line := range strings.Lines(string(info)) {
		id, found := strings.CutPrefix(line, "mnt_id:")
		for _, m := range all {
			if found && m.id == strings.TrimSpace(id) {
				return m, nil
			}
		}
	}
	return mounted{}, fmt.Errorf("%q is in no file system that /proc/self/mountinfo has", path)
}

// inside is where path lies in the file system of its mount, from its root.
func (m mounted) inside(path string) (string, error) {
	rel, err := filepath.Rel(m.point, path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%q is not below %q, where its file system is mounted", path, m.point)
	}
	return filepath.Join(m.root, rel), nil
}

// below are the mounts in the tree at path, by their paths below it.
func below(path string) (map[string]string, error) {
	all, err := mounts()
	if err != nil {
		return nil, err
	}
	found := make(map[string]string)
	for _, m := range all {
		if rel, ok := strings.CutPrefix(m.point, strings.TrimSuffix(path, "/")+"/"); ok && rel != "" {
			found[rel] = m.point
		}
	}
	return found, nil
}

// A view is a file system that is mounted for this process alone, for as long as fd
// is open: nothing has to be unmounted, whoever kills it.
type view struct{ fd int }

// openView mounts a device read-only, where nobody sees it. A readOnly device can't
// even be asked to replay a journal.
func openView(device, fsType string, readOnly bool) (view, error) {
	var flags []string
	if fsType == "xfs" {
		// Two file systems of one UUID, the other of which is mounted (xfs(5)).
		flags = append(flags, "nouuid")
		if readOnly {
			flags = append(flags, "norecovery")
		}
	}
	fd, err := mountDetached(device, fsType, flags)
	if err == unix.ENOSYS { // before Linux 5.2; or a container that knows no such call
		fd, err = mountAndHide(device, fsType, flags)
	}
	if err != nil {
		return view{}, fmt.Errorf("mount %s as %s: %w", device, fsType, err)
	}
	return view{fd}, nil
}

// path is where the view's root can be read; a slash has to follow.
func (v view) path() string { return fmt.Sprintf("/proc/self/fd/%d", v.fd) }

func (v view) close() error { return unix.Close(v.fd) }

const viewAttributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOATIME | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC

// mountDetached makes a mount that has no place in the tree (fsopen(2), fsmount(2)).
func mountDetached(device, fsType string, flags []string) (int, error) {
	fs, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", device); err != nil {
		return -1, err
	}
	for _, flag := range append(flags, "ro") {
		if err := unix.FsconfigSetFlag(fs, flag); err != nil {
			return -1, fmt.Errorf("option %s: %w", flag, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, viewAttributes)
}

// mountPrefix begins the names of the directories that mountAndHide uses.
const mountPrefix = "tinybackup-snapshot-"

// mountAndHide mounts onto a directory, and takes the mount out of the tree while it
// is open (umount2(2), MNT_DETACH).
func mountAndHide(device, fsType string, flags []string) (fd int, err error) {
	dir, err := os.MkdirTemp("", mountPrefix)
	if err != nil {
		return -1, err
	}
	defer os.Remove(dir)
	const quiet = unix.MS_RDONLY | unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC
	if err := unix.Mount(device, dir, fsType, quiet, strings.Join(flags, ",")); err != nil {
		return -1, err
	}
	fd, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if hideErr := unix.Unmount(dir, unix.MNT_DETACH); err == nil && hideErr != nil {
		unix.Close(fd)
		err = hideErr
	}
	return fd, err
}
