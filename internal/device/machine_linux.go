package device

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A machine is where Linux tells of block devices and of what they are used for.
type machine struct {
	sys, proc string                                 // "/sys" and "/proc"
	stat      func(path string) (fileNumbers, error) // stat(2)
}

// fileNumbers are the numbers of devices that stat(2) gives: MAJOR:MINOR.
type fileNumbers struct {
	on string // the device that the file is on
	is string // the block device that it is; "" if it is none
}

// name is what the kernel calls the block device of a number; "" if it has none, as
// that of a file system that makes up its number.
func (m machine) name(number string) string {
	to, err := os.Readlink(filepath.Join(m.sys, "dev/block", number))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

// dir is what sysfs has of a device.
func (m machine) dir(name string) string {
	// A slash in a name is a "!" there, as in cciss!c0d0.
	dir, err := filepath.EvalSymlinks(filepath.Join(m.sys, "class/block", strings.ReplaceAll(name, "/", "!")))
	if err != nil {
		return ""
	}
	return dir
}

// text is a file of sysfs without the newline; "" if it is not there.
func text(elem ...string) string {
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// number is text as a number; 0 if it is none.
func number(elem ...string) int64 {
	n, err := strconv.ParseInt(text(elem...), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// disk is the disk that a partition is on; a disk is its own.
func (m machine) disk(name string) string {
	dir := m.dir(name)
	if text(dir, "partition") == "" {
		return name
	}
	return filepath.Base(filepath.Dir(dir))
}

// parts are the partitions of a disk, in the order of their numbers.
func (m machine) parts(name string) []Part {
	type numbered struct {
		Part
		n int64
	}
	var all []numbered
	dir := m.dir(name)
	entries, _ := os.ReadDir(dir) // none, if it can't be read
	for _, e := range entries {
		if n := number(dir, e.Name(), "partition"); n > 0 {
			// Of sectors of 512 bytes, whatever the disk has (Linux, block/genhd.c).
			all = append(all, numbered{Part{e.Name(), number(dir, e.Name(), "size") * 512}, n})
		}
	}
	slices.SortStableFunc(all, func(a, b numbered) int { return int(a.n - b.n) })
	var parts []Part
	for _, p := range all {
		parts = append(parts, p.Part)
	}
	return parts
}

// model is how a disk calls itself.
func (m machine) model(name string) string {
	dir := m.dir(m.disk(name))
	words := []string{text(dir, "device/vendor"), text(dir, "device/model")}
	if words[1] == "" { // a card in a reader of its own: mmc
		words = []string{text(dir, "device/type"), text(dir, "device/name")}
	}
	for _, other := range []string{"dm/name", "loop/backing_file"} {
		if words[1] == "" {
			words[1] = text(dir, other)
		}
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

// below adds a device and all that it is made of: the disk of a partition, what is
// under device mapper and RAID, and what holds the file of a loop device.
func (m machine) below(name string, found map[string]bool) {
	if name == "" || found[name] {
		return
	}
	found[name] = true
	dir := m.dir(name)
	if disk := m.disk(name); disk != name {
		m.below(disk, found)
	}
	slaves, _ := os.ReadDir(filepath.Join(dir, "slaves")) // a disk has none
	for _, s := range slaves {
		m.below(s.Name(), found)
	}
	if file := text(dir, "loop/backing_file"); file != "" {
		for name := range m.holding(file) {
			m.below(name, found)
		}
	}
}

// holding are the devices that a file or directory is on, or that it is.
func (m machine) holding(path string) map[string]bool {
	found := make(map[string]bool)
	n, err := m.stat(path)
	if err != nil {
		return found
	}
	if n.is != "" {
		m.below(m.name(n.is), found)
		return found
	}
	m.belowMount(mount{number: n.on, source: m.sourceOf(path)}, found)
	return found
}

// belowMount adds the devices of a mounted file system. One that makes up its number,
// as btrfs does, is known by the device that was mounted.
func (m machine) belowMount(at mount, found map[string]bool) {
	if name := m.name(at.number); name != "" {
		m.below(name, found)
		return
	}
	if !strings.HasPrefix(at.source, "/") {
		return
	}
	if n, err := m.stat(at.source); err == nil && n.is != "" {
		m.below(m.name(n.is), found)
	}
}

// A mount is a line of mountinfo.
type mount struct{ number, point, source string }

// mounts are those that a process sees; "self" is this one.
func (m machine) mounts(process string) []mount {
	data, err := os.ReadFile(filepath.Join(m.proc, process, "mountinfo"))
	if err != nil {
		return nil // it has ended, or is somebody else's
	}
	var all []mount
	for line := range strings.Lines(string(data)) {
		// proc_pid_mountinfo(5): ID PARENT MAJOR:MINOR ROOT POINT OPTIONS … - TYPE SOURCE …
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) > 4 && len(right) > 1 {
			all = append(all, mount{left[2], unescape(left[4]), unescape(right[1])})
		}
	}
	return all
}

// sourceOf is what is mounted where path is.
func (m machine) sourceOf(path string) string {
	source, length := "", -1
	for _, at := range m.mounts("self") {
		under := path == at.point || at.point == "/" || strings.HasPrefix(path, at.point+"/")
		if under && len(at.point) >= length { // of two at one point, the later covers the other
			source, length = at.source, len(at.point)
		}
	}
	return source
}

// unescape undoes what the kernel makes of blanks and backslashes: \040 and the like.
func unescape(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		code, err := strconv.ParseUint(after[:min(3, len(after))], 8, 8)
		if err != nil || len(after) < 3 {
			b.WriteByte('\\')
			s = after
			continue
		}
		b.WriteByte(byte(code))
		s = after[3:]
	}
}

// uses says what a device, or a partition of it, is used for, as far as can be seen:
// by this process' mounts, swap, device mapper and RAID, and loop devices.
func (m machine) uses(name string) []string {
	var why []string
	if points := m.mountedAt(name, "self"); len(points) > 0 {
		why = append(why, "is mounted at "+some(points))
	}
	swaps, _ := os.ReadFile(filepath.Join(m.proc, "swaps")) // without swap, there need not be one
	for line := range strings.Lines(string(swaps)) {
		if path, _, _ := strings.Cut(line, " "); strings.HasPrefix(path, "/") && m.holding(unescape(path))[name] {
			why = append(why, "has swap in "+unescape(path))
		}
	}
	for _, part := range append([]Part{{Name: name}}, m.parts(name)...) {
		holders, _ := os.ReadDir(filepath.Join(m.dir(part.Name), "holders"))
		for _, h := range holders {
			label := h.Name()
			if called := text(m.dir(label), "dm/name"); called != "" {
				label += " (" + called + ")"
			}
			why = append(why, "is a part of "+label)
		}
	}
	loops, _ := filepath.Glob(filepath.Join(m.sys, "class/block/loop*/loop/backing_file"))
	for _, file := range loops {
		n, err := m.stat(text(file))
		if err == nil && n.is != "" && (m.name(n.is) == name || m.disk(m.name(n.is)) == name) {
			why = append(why, "is what "+filepath.Base(filepath.Dir(filepath.Dir(file)))+" shows")
		}
	}
	return why
}

// mountedAt are the points at which a process sees a device mounted, or a partition
// of it, or what is made of them.
func (m machine) mountedAt(name, process string) []string {
	var points []string
	seen := make(map[string]map[string]bool) // by the mount's device
	for _, at := range m.mounts(process) {
		key := at.number + " " + at.source
		if seen[key] == nil {
			seen[key] = make(map[string]bool)
			m.belowMount(at, seen[key])
		}
		if seen[key][name] && !slices.Contains(points, at.point) {
			points = append(points, at.point)
		}
	}
	return points
}

// mountedElsewhere says which processes see a device mounted that this one does not:
// those of a container, as a rule. Of each set of mounts, one process is named.
func (m machine) mountedElsewhere(name string) []string {
	var why []string
	seen := make(map[string]bool)
	processes, _ := filepath.Glob(filepath.Join(m.proc, "[0-9]*", "mountinfo"))
	for _, file := range processes {
		dir := filepath.Dir(file)
		pid := filepath.Base(dir)
		space, err := os.Readlink(filepath.Join(dir, "ns/mnt"))
		if err != nil || seen[space] {
			continue
		}
		seen[space] = true
		if points := m.mountedAt(name, pid); len(points) > 0 {
			why = append(why, fmt.Sprintf("is mounted at %s for process %s (%s)", some(points), pid, text(dir, "comm")))
		}
	}
	return why
}

// some are the first of the names: containers mount one thing many times.
func some(names []string) string {
	const most = 4
	if len(names) > most {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("%d more places", len(names)-most))
	}
	return strings.Join(names, ", ")
}

// holds says why a device must never be written to: what of keep is on it.
func (m machine) holds(name string, keep []Keep) []string {
	var why []string
	for _, k := range keep {
		if m.holding(k.Path)[name] {
			why = append(why, "holds "+k.What)
		}
	}
	return why
}

// isBlock says whether a file is a block device.
func isBlock(mode fs.FileMode) bool {
	return mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0
}
