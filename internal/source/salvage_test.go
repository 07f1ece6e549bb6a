package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A medium is a source that can't be read everywhere.
type medium struct {
	*listing
	data   []byte
	bad    map[int]bool // sectors
	errno  error
	reads  int // of a sector
	alive  int
	source *Source
}

// newMedium is a file, or what passes for a device, of so many sectors.
func newMedium(t *testing.T, device bool, sectors int) *medium {
	t.Helper()
	m := &medium{listing: &listing{}, bad: map[int]bool{}, errno: unix.EIO}
	for i := range sectors {
		m.data = append(m.data, bytes.Repeat([]byte{byte(i%251) + 1}, salvageSize)...)
	}
	m.data = m.data[:len(m.data)-100]
	path := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(path, m.data, 0o600))
	var err error
	m.source, err = Open(path, Options{PieceSize: 4 << 20, Warn: m.warn, Alive: func() { m.alive++ }})
	must(t, err)
	if device {
		m.source.Kind = Device
		m.source.device, err = os.Open(path)
		must(t, err)
	}
	m.source.pread = m.pread
	t.Cleanup(func() { m.source.Close() })
	return m
}

// pread reads up to the first bad sector, as the kernel does.
func (m *medium) pread(_ int, p []byte, off int64) (int, error) {
	if len(p) <= salvageSize {
		m.reads++
	}
	n := min(len(p), max(len(m.data)-int(off), 0))
	for i := int(off) / salvageSize; i*salvageSize < int(off)+n; i++ {
		if m.bad[i] {
			n = max(i*salvageSize-int(off), 0)
			if n == 0 {
				return -1, m.errno
			}
		}
	}
	return copy(p[:n], m.data[off:]), nil
}

// read reads all pieces.
func (m *medium) read(t *testing.T) (got []byte, err error) {
	t.Helper()
	for s, serr := range m.source.Segments(t.Context()) {
		must(t, serr)
		if _, err := s.Entry.Content(); err != nil {
			t.Fatal(err)
		}
		got, err = s.AppendRaw(got, m.warn)
		s.Done()
		if err != nil {
			return got, err
		}
		if len(got) > 32<<20 { // nobody looks at it
			got = got[:0]
		}
	}
	return got, nil
}

// lost are the sectors that warnings name.
func (m *medium) lost(t *testing.T) (sectors []int) {
	t.Helper()
	for _, w := range m.warnings {
		var n, off int64
		if _, err := fmt.Sscanf(w.Text, "%d bytes at %d can't be read and are stored as zeros: input/output error", &n, &off); err != nil {
			t.Fatalf("warning %q: %v", w.Text, err)
		}
		if w.Class != Unreadable || w.Path != m.source.Path || w.Lost != n || n <= 0 {
			t.Errorf("warning %+v, want an unreadable range of %s", w, m.source.Path)
		}
		for at := off; at < off+n; at += salvageSize - at%salvageSize {
			sectors = append(sectors, int(at/salvageSize))
		}
	}
	return sectors
}

func span(from, to int) (all []int) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

// What can be read is, and what can't is zeros, named and counted.
func TestSalvage(t *testing.T) {
	t.Parallel()
	const n = 2500 // sectors, in three pieces
	for name, c := range map[string]struct {
		bad   []int
		reads int // of single sectors, at most
	}{
		"nothing":                  {nil, 0},
		"one sector":               {[]int{7}, 1025},
		"the first":                {[]int{0}, 1025},
		"the last":                 {[]int{n - 1}, 500},
		"three places":             {[]int{3, 4, 1023, 1024, 2000}, 2500},
		"every second one":         {[]int{100, 102, 104, 106, 108, 110, 112, 114, 116, 118, 120, 122, 124, 126, 128, 130, 132, 134, 136}, 1025},
		"a range":                  {span(200, 700), 700},
		"a range over two pieces":  {span(900, 1300), 1400},
		"a piece":                  {span(1024, 2048), 60},
		"all but the end":          {span(0, n-300), 400},
		"the end":                  {span(300, n), 120},
		"all but the last of each": {slices.Concat(span(0, 1023), span(1024, 2047), span(2048, n-1)), 120},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMedium(t, true, n)
			want := bytes.Clone(m.data)
			for _, i := range c.bad {
				m.bad[i] = true
				clear(want[i*salvageSize : min((i+1)*salvageSize, len(want))])
			}
			got, err := m.read(t)
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, want the %d without the bad ones", len(got), len(want))
			}
			if lost := m.lost(t); !slices.Equal(lost, c.bad) {
				t.Errorf("lost %v, want %v", lost, c.bad)
			}
			if m.reads > c.reads {
				t.Errorf("%d reads of single sectors, want at most %d", m.reads, c.reads)
			}
			if m.alive == 0 {
				t.Error("no sign of life")
			}
		})
	}
}

// Many dead ranges with good ones between them are no dead device.
func TestSalvageNotDead(t *testing.T) {
	t.Parallel()
	const piece = 16                // sectors
	const pieces = maxFailures + 40 // half of them dead, each of which costs two failures
	m := newMedium(t, true, pieces*piece)
	m.source.opt.PieceSize = piece * salvageSize
	want := bytes.Clone(m.data)
	for i := range pieces * piece {
		if m.bad[i] = i/piece%2 == 1; m.bad[i] {
			clear(want[i*salvageSize : min((i+1)*salvageSize, len(want))])
		}
	}
	got, err := m.read(t)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v, want all that is good", len(got), err)
	}
}

// An island in a dead range may be lost, but never given out as something else.
func TestSalvageIsland(t *testing.T) {
	t.Parallel()
	m := newMedium(t, true, 1000)
	for i := range 900 {
		m.bad[i] = i != 600
	}
	got, err := m.read(t)
	must(t, err)
	if !bytes.Equal(got[900*salvageSize:], m.data[900*salvageSize:]) {
		t.Error("what follows the range was not read")
	}
	lost := m.lost(t)
	if slices.Contains(lost, 600) != bytes.Equal(got[600*salvageSize:601*salvageSize], make([]byte, salvageSize)) {
		t.Error("the island is not what the warnings say")
	}
	if len(lost) < 899 || len(lost) > 900 {
		t.Errorf("lost %d sectors, want 899 or 900", len(lost))
	}
}

// A device that is dead or gone is an error, soon; a file is zeros from there on.
func TestSalvageGone(t *testing.T) {
	t.Parallel()
	const pieces = 400
	for _, errno := range []error{unix.EIO, unix.ENXIO, io.EOF} {
		m := newMedium(t, true, 4)
		m.data, m.errno = m.data[:2*salvageSize], errno
		m.source.Size = pieces << 20
		m.source.opt.PieceSize = 1 << 20
		m.source.top.Size = m.source.Size
		if errno != io.EOF {
			pread := m.source.pread
			m.source.pread = func(fd int, p []byte, off int64) (int, error) {
				if off >= int64(len(m.data)) {
					m.reads++
					return -1, errno
				}
				return pread(fd, p[:min(len(p), len(m.data)-int(off))], off)
			}
		}
		_, err := m.read(t)
		var gone *GoneError
		if !errors.As(err, &gone) || gone.Path != m.source.Path || gone.At < int64(len(m.data)) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: got %v, want that the device is gone", errno, err)
		}
		most := 2 * maxFailures
		if errno != unix.EIO { // it says so itself
			most = 4
		}
		if m.reads > most {
			t.Errorf("%v: %d reads until then, want at most %d", errno, m.reads, most)
		}
	}
	m := newMedium(t, false, 5000)
	for i := 100; i < 5000; i++ {
		m.bad[i] = true
	}
	got, err := m.read(t)
	must(t, err)
	if lost := m.lost(t); !slices.Equal(lost, span(100, 5000)) || !bytes.Equal(got[:100*salvageSize], m.data[:100*salvageSize]) {
		t.Errorf("a file: lost %d sectors, want 4900", len(lost))
	}
}

// Where the page cache can't be gone around, it is asked itself.
func TestSalvageNotDirect(t *testing.T) {
	t.Parallel()
	for _, device := range []bool{false, true} {
		m := newMedium(t, device, 64)
		m.bad[10], m.bad[63] = true, true
		pread, first, refused := m.source.pread, -1, 0
		m.source.pread = func(fd int, p []byte, off int64) (int, error) {
			if first == -1 {
				first = fd
			}
			if fd != first {
				refused++
				return -1, unix.EINVAL
			}
			return pread(fd, p, off)
		}
		got, err := m.read(t)
		must(t, err)
		want := bytes.Clone(m.data)
		clear(want[10*salvageSize : 11*salvageSize])
		clear(want[63*salvageSize:])
		if !bytes.Equal(got, want) {
			t.Errorf("device %v: what was read is not the source without what is bad", device)
		}
		if runtime.GOOS == "linux" && refused != 1 {
			t.Errorf("device %v: refused %d times, want once", device, refused)
		}
	}
}
