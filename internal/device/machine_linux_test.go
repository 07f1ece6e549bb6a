package device

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A pretended machine: /sys and /proc in a directory.
type pretended struct {
	t     *testing.T
	dir   string
	nodes map[string]fileNumbers // by path
}

func newPretended(t *testing.T) *pretended {
	return &pretended{t: t, dir: t.TempDir(), nodes: make(map[string]fileNumbers)}
}

func (p *pretended) machine() machine {
	return machine{
		sys: filepath.Join(p.dir, "sys"), proc: filepath.Join(p.dir, "proc"),
		stat: func(path string) (fileNumbers, error) {
			for at := path; ; at = filepath.Dir(at) {
				if n, ok := p.nodes[at]; ok && (at == path || n.is == "") {
					return n, nil
				}
				if at == "/" || at == "." {
					return fileNumbers{}, errors.New("not there")
				}
			}
		},
	}
}

func (p *pretended) write(path, text string) {
	p.t.Helper()
	path = filepath.Join(p.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pretended) link(to, path string) {
	p.t.Helper()
	path = filepath.Join(p.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(p.dir, to), path); err != nil {
		p.t.Fatal(err)
	}
}

// device adds a block device; a partition's dir is below that of its disk.
func (p *pretended) device(dir, number string, files map[string]string) {
	p.t.Helper()
	name := filepath.Base(dir)
	dir = filepath.Join("sys/devices", dir)
	p.write(filepath.Join(dir, "dev"), number+"\n")
	for file, text := range files {
		p.write(filepath.Join(dir, file), text)
	}
	p.link(dir, filepath.Join("sys/dev/block", number))
	p.link(dir, filepath.Join("sys/class/block", name))
	p.nodes["/dev/"+name] = fileNumbers{on: "0:5", is: number}
}

// laptop is a machine with its system on LVM, a card whose second partition is part of
// a volume group, too, a stick with the archives, a RAID, and a disk with a btrfs.
func laptop(t *testing.T) *pretended {
	p := newPretended(t)
	p.device("pci/sda", "8:0", map[string]string{"removable": "0\n", "device/vendor": "ATA     \n", "device/model": "Good  Disk 9 \n"})
	p.device("pci/sda/sda1", "8:1", map[string]string{"partition": "1\n", "size": "2048\n"})
	p.device("pci/sda/sda2", "8:2", map[string]string{"partition": "2\n", "size": "409600\n", "holders/dm-0": ""})
	p.device("pci/sda/sda10", "8:10", map[string]string{"partition": "10\n", "size": "4096\n"})
	p.device("virtual/dm-0", "254:0", map[string]string{"dm/name": "vg-root\n", "slaves/sda2": ""})
	p.device("mmc/mmcblk0", "179:0", map[string]string{"device/type": "SD\n", "device/name": "SC32G\n"})
	p.device("mmc/mmcblk0/mmcblk0p1", "179:1", map[string]string{"partition": "1\n", "size": "8\n"})
	p.device("mmc/mmcblk0/mmcblk0p2", "179:2", map[string]string{"partition": "2\n", "size": "8\n", "holders/dm-1": ""})
	p.device("virtual/dm-1", "254:1", map[string]string{"dm/name": "data-more\n", "slaves/mmcblk0p2": ""})
	p.device("usb/sdb", "8:16", map[string]string{"removable": "1\n"})
	p.device("usb/sdb/sdb1", "8:17", map[string]string{"partition": "1\n", "size": "2048\n"})
	p.device("usb/sdc", "8:32", nil)
	p.device("usb/sdd", "8:48", nil)
	p.device("usb/sde", "8:64", nil)
	p.device("usb/sde/sde1", "8:65", map[string]string{"partition": "1\n", "size": "2048\n"})
	p.device("virtual/md0", "9:0", map[string]string{"slaves/sdc": ""})
	p.device("virtual/loop0", "7:0", map[string]string{"loop/backing_file": "/media/stick/file system.img\n"})
	p.device("virtual/loop1", "7:1", map[string]string{"loop/backing_file": "/dev/sde\n"})
	p.nodes["/"] = fileNumbers{on: "254:0"}
	p.nodes["/media/stick"] = fileNumbers{on: "8:17"}
	p.nodes["/mnt/loop"] = fileNumbers{on: "7:0"}
	p.nodes["/srv"] = fileNumbers{on: "0:40"}
	p.nodes["/var/swapfile"] = fileNumbers{on: "254:0"}
	p.write("proc/self/mountinfo", strings.Join([]string{
		"1 0 254:0 / / rw - ext4 /dev/mapper/vg-root rw",
		"2 1 8:1 / /boot rw,relatime shared:1 - ext4 /dev/sda1 rw",
		"3 1 8:17 / /media/stick rw - ext4 /dev/sdb1 rw",
		"4 1 7:0 / /mnt/loop rw - ext4 /dev/loop0 rw",
		"5 1 0:40 /@srv /srv rw - btrfs /dev/sdd rw",
		`6 1 0:40 /@home /srv/my\040home rw - btrfs /dev/sdd rw`,
		"7 1 0:22 / /run rw - tmpfs tmpfs rw",
		"",
	}, "\n"))
	p.write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/var/swapfile                           file\t1\t0\t-2\n/dev/mmcblk0p1                           partition\t1\t0\t-2\n")
	return p
}

func TestUses(t *testing.T) {
	p := laptop(t)
	m := p.machine()
	keep := []Keep{{"/", "the running system"}, {"/mnt/loop/archive", "the archive"}}
	for _, c := range []struct {
		name string
		want []string
	}{
		{"sda", []string{"holds the running system", "is mounted at /, /boot", "has swap in /var/swapfile", "is a part of dm-0 (vg-root)"}},
		{"sda1", []string{"is mounted at /boot"}},
		{"sda2", []string{"holds the running system", "is mounted at /", "has swap in /var/swapfile", "is a part of dm-0 (vg-root)"}},
		{"sda10", nil},
		{"dm-0", []string{"holds the running system", "is mounted at /", "has swap in /var/swapfile"}},
		{"mmcblk0", []string{"has swap in /dev/mmcblk0p1", "is a part of dm-1 (data-more)"}},
		{"mmcblk0p2", []string{"is a part of dm-1 (data-more)"}},
		{"sdb", []string{"holds the archive", "is mounted at /media/stick, /mnt/loop"}}, // by way of a loop device
		{"loop0", []string{"holds the archive", "is mounted at /mnt/loop"}},
		{"sdc", nil}, // the kernel has it for the RAID, and says so when it is opened
		{"md0", nil},
		{"sdd", []string{"is mounted at /srv, /srv/my home"}},
		{"sde", []string{"is what loop1 shows"}},
		{"sde1", nil},
	} {
		if got := append(m.holds(c.name, keep), m.uses(c.name)...); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if !m.holding("/srv/x")["sdd"] {
		t.Error("what is on a btrfs is not on its disk")
	}
	if got := m.holding("/nowhere"); len(got) != 0 && !got["dm-0"] {
		t.Errorf("what is nowhere is on %v", got)
	}
}

func TestDescribe(t *testing.T) {
	m := laptop(t).machine()
	for name, want := range map[string]string{
		"sda": "ATA Good Disk 9", "sda2": "ATA Good Disk 9", "mmcblk0": "SD SC32G", "sdb": "", "dm-1": "data-more", "loop1": "/dev/sde",
	} {
		if got := m.model(name); got != want {
			t.Errorf("model of %s: got %q, want %q", name, got, want)
		}
	}
	want := []Part{{"sda1", 1 << 20}, {"sda2", 200 << 20}, {"sda10", 2 << 20}}
	if got := m.parts("sda"); !slices.Equal(got, want) {
		t.Errorf("partitions: got %v, want %v", got, want)
	}
	if m.disk("mmcblk0p2") != "mmcblk0" || m.disk("sda") != "sda" || m.disk("dm-0") != "dm-0" {
		t.Error("the disk of a partition is wrong")
	}
}

// TestElsewhere finds what is mounted for others only.
func TestElsewhere(t *testing.T) {
	p := laptop(t)
	p.write("proc/77/mountinfo", "9 1 8:65 / /inside rw - ext4 /dev/sde1 rw\n")
	p.write("proc/77/comm", "box\n")
	p.write("proc/78/mountinfo", "9 1 8:65 / /inside rw - ext4 /dev/sde1 rw\n")
	for _, pid := range []string{"77", "78"} {
		path := filepath.Join(p.dir, "proc", pid, "ns/mnt")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("mnt:[1]", path); err != nil {
			t.Fatal(err)
		}
	}
	m := p.machine()
	want := []string{"is mounted at /inside for process 77 (box)"}
	if got := m.mountedElsewhere("sde"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := m.mountedElsewhere("sdb"); got != nil {
		t.Errorf("a disk that nobody else has mounted: got %q", got)
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		`/a\040b`: "/a b", `/a\134b`: `/a\b`, `/a\`: `/a\`, `/a\9`: `/a\9`, `\011\012`: "\t\n", "/": "/",
	} {
		if got := unescape(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
