//go:build linux && (amd64 || arm64)

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tinybackup/internal/e2e/faults"
)

const loopSetCapacity = 0x4c07 // linux/loop.h: the device becomes as large as its file

// noisy is a loop device without a file system.
func noisy(t *testing.T, size int) (device, image string, data []byte) {
	t.Helper()
	image = filepath.Join(newDir(t), "disk.img")
	data = noise(size, 11)
	check(t, os.WriteFile(image, data, 0o600))
	return loop(t, image), image, data
}

// traced runs the program, and asks decide about its reads of a device.
func (p *program) traced(t *testing.T, device string, decide func(faults.Call) faults.Action, args ...string) faults.Outcome {
	t.Helper()
	o, err := faults.Run(p.command(args...), []string{device}, func(c faults.Call) faults.Action {
		if c.Name != "pread64" {
			return faults.Action{}
		}
		return decide(c)
	})
	check(t, err)
	return o
}

// image restores the newest archive of a destination and returns what it holds.
func (p *program) image(t *testing.T, dest string) []byte {
	t.Helper()
	path := filepath.Join(newDir(t), "back.img")
	p.exits(t, 0, "restore", dest, path)
	data, err := os.ReadFile(path)
	check(t, err)
	return data
}

// TestDeviceBadSectors images a device that gives errors in two places: these are zeros
// and named, all else is there. The next run, for which they can be read, has them.
func TestDeviceBadSectors(t *testing.T) {
	inside(t)
	need(t, "sha256sum")
	t.Parallel()
	device, _, data := noisy(t, 13<<20)
	p := newProgram(t)
	dest := newDir(t)
	bad := []struct{ off, n int64 }{{5<<20 + 8192, 12288}, {13<<20 - 4096, 4096}}
	o := p.traced(t, device, func(c faults.Call) faults.Action {
		for _, b := range bad {
			if c.Overlaps(b.off, b.n) {
				return faults.Fail(syscall.EIO)
			}
		}
		return faults.Action{}
	}, "run", "--json", "--name", "card", device, dest)
	var report struct {
		Lost       int64
		Incomplete bool
		Warnings   []string
	}
	check(t, json.Unmarshal([]byte(o.Stdout), &report))
	if o.Code != 3 || !report.Incomplete || report.Lost != 16384 || len(report.Warnings) != 2 {
		t.Errorf("got exit %d, %+v, want 3, two warnings, and 16384 bytes lost", o.Code, report)
	}
	want := bytes.Clone(data)
	for _, b := range bad {
		clear(want[b.off : b.off+b.n])
		if text := fmt.Sprintf("%s: %d bytes at %d can't be read and are stored as zeros: input/output error", device, b.n, b.off); !strings.Contains(o.Stderr, text) {
			t.Errorf("got %q, want %q", o.Stderr, text)
		}
	}
	if !bytes.Equal(p.image(t, dest), want) {
		t.Error("the image is not the device without what is bad")
	}
	p.exits(t, 0, "verify", dest)
	var again runReport
	p.json(t, &again, "run", "--json", "--name", "card", device, dest)
	if again.Reused == 0 || !bytes.Equal(p.image(t, dest), data) {
		t.Errorf("the next run: %d bytes reused, or not the device", again.Reused)
	}
}

// TestDeviceCut cuts the file under a loop device, so that the kernel has nothing to
// read from there on: real errors, and few of them are waited for. What stands just
// before them is stored, also where the kernel's cache has it in one unit with what
// is gone, as when somebody reads the device from its beginning.
func TestDeviceCut(t *testing.T) {
	inside(t)
	t.Parallel()
	const size, cut = 24 << 20, 17<<20 + 5*4096
	for _, warm := range []bool{false, true} {
		t.Run(fmt.Sprint("warm=", warm), func(t *testing.T) {
			device, image, data := noisy(t, size)
			check(t, os.Truncate(image, cut))
			p := newProgram(t)
			dest := newDir(t)
			reads := 0
			o := p.traced(t, device, func(c faults.Call) faults.Action {
				if warm {
					warm = false
					f, err := os.Open(device)
					check(t, err)
					defer f.Close()
					if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20)); err == nil {
						t.Error("all of the device can be read")
					}
				}
				if c.Overlaps(cut, size-cut) {
					reads++
				}
				return faults.Action{}
			}, "run", "--name", "card", device, dest)
			if o.Code != 3 || !strings.Contains(o.Stderr, fmt.Sprintf(" bytes at %d can't be read", cut)) {
				t.Errorf("got exit %d: %s", o.Code, o.Stderr)
			}
			if text := fmt.Sprintf("%s bytes could not be read", "7,319,552"); !strings.Contains(o.Stdout, text) || size-cut != 7319552 {
				t.Errorf("got %q, want it to say %q", o.Stdout, text)
			}
			clear(data[cut:])
			if !bytes.Equal(p.image(t, dest), data) {
				t.Error("the image is not what the device still holds, and zeros")
			}
			if reads > 80 {
				t.Errorf("%d reads of what is gone, want a few", reads)
			}
		})
	}
}

// TestDeviceGone takes the end of a device away while it is read, as when a stick is
// pulled out: nothing is stored.
func TestDeviceGone(t *testing.T) {
	inside(t)
	t.Parallel()
	device, image, _ := noisy(t, 24<<20)
	p := newProgram(t)
	dest := newDir(t)
	o := p.traced(t, device, func(c faults.Call) faults.Action {
		if c.Offset >= 9<<20 && image != "" {
			check(t, os.Truncate(image, 4<<20))
			image = ""
			f, err := os.Open(device)
			check(t, err)
			defer f.Close()
			check(t, unix.IoctlSetInt(int(f.Fd()), loopSetCapacity, 0))
		}
		return faults.Action{}
	}, "run", "--name", "card", device, dest)
	if o.Code != 1 || !strings.Contains(o.Stderr, "it was taken out, or has become smaller") || !strings.Contains(o.Stderr, "hint: ") {
		t.Errorf("got exit %d, want 1: %s", o.Code, o.Stderr)
	}
	if len(archives(t, dest)) > 0 || len(partials(t, dest)) > 0 {
		t.Errorf("left: %q, %q", archives(t, dest), partials(t, dest))
	}
}

// TestDeviceDead has a device answer with errors alone: it is given up soon.
func TestDeviceDead(t *testing.T) {
	inside(t)
	t.Parallel()
	device, _, _ := noisy(t, 8<<20)
	p := newProgram(t)
	dest := newDir(t)
	reads := 0
	o := p.traced(t, device, func(c faults.Call) faults.Action {
		reads++
		return faults.Fail(syscall.EIO)
	}, "run", "--block-size", "64KiB", "--name", "card", device, dest)
	if o.Code != 1 || !strings.Contains(o.Stderr, "input/output error") || !strings.Contains(o.Stderr, "ddrescue") || reads > 1000 {
		t.Errorf("got exit %d after %d reads, want 1 and a hint: %s", o.Code, reads, o.Stderr)
	}
	if len(archives(t, dest)) > 0 {
		t.Errorf("stored: %q", archives(t, dest))
	}
}
