package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tinybackup/internal/source"
)

const tarBlock = 512

// tarEnd ends a tar archive (POSIX pax, "two consecutive blocks of zeros").
var tarEnd = make([]byte, 2*tarBlock)

// xattrRecord is the prefix of the PAX records that GNU tar, star and bsdtar
// keep extended attributes in.
const xattrRecord = "SCHILY.xattr."

// maxLateContent bounds what is held in memory of a file that was taken for a
// hard link until its other names turned out to be gone.
const maxLateContent = 64 * mib

// tarEncoder turns segments of a tree into the bytes of a PAX archive. It is
// safe for concurrent use.
type tarEncoder struct {
	top    string // the directory that all entries are under
	owners owners
}

// appendSegment appends the segment's part of the archive: headers where an
// entry starts, its data, padding where it ends. An entry that can't be read
// is left out, with a warning. The count is of entries that start.
func (t *tarEncoder) appendSegment(buf []byte, s source.Segment, warn func(source.Warning)) ([]byte, int, error) {
	e := s.Entry
	if s.First {
		if first, ok := e.HardLink(); ok {
			h := t.header(e, e.Stat, tar.TypeLink)
			h.Linkname = t.name(first)
			buf, err := appendHeader(buf, h)
			return buf, 1, err
		}
	}
	if e.Type() != unix.S_IFREG {
		return t.appendHeaderOnly(buf, e, warn)
	}
	c, err := e.Content()
	if err != nil {
		if s.First {
			e.LeftOut()
			warn(source.Problem(e.Path, err))
		}
		return buf, 0, nil
	}
	entries := 0
	if s.First {
		if s.Last && s.Len != c.Size { // a late content, or a small file that changed
			if storedSize(c) > maxLateContent {
				e.LeftOut()
				warn(source.Warning{Class: source.Changed, Path: e.Path, Text: "left out: its other names went away while it was read"})
				return buf, 0, nil
			}
			s.Len = c.Size
		}
		h := t.header(e, c.Stat, tar.TypeReg)
		h.Size = c.Size
		addXattrs(h, e, warn)
		if c.Extents != nil {
			buf, err = appendSparseHeader(buf, h, c.Extents)
		} else {
			buf, err = appendHeader(buf, h)
		}
		if err != nil {
			return buf, 0, err
		}
		e.Stored()
		entries = 1
	}
	buf = s.AppendData(buf, warn)
	if s.Last {
		buf = pad(buf, storedSize(c))
	}
	return buf, entries, nil
}

// storedSize is how many bytes of data a file has in the archive.
func storedSize(c *source.Content) int64 {
	if c.Extents == nil {
		return c.Size
	}
	n := int64(0)
	for _, x := range c.Extents {
		n += x.Len
	}
	return n
}

func (t *tarEncoder) appendHeaderOnly(buf []byte, e *source.Entry, warn func(source.Warning)) ([]byte, int, error) {
	types := map[uint32]byte{
		unix.S_IFDIR: tar.TypeDir, unix.S_IFLNK: tar.TypeSymlink, unix.S_IFIFO: tar.TypeFifo,
		unix.S_IFCHR: tar.TypeChar, unix.S_IFBLK: tar.TypeBlock,
	}
	flag, ok := types[e.Type()]
	if !ok {
		warn(source.Warning{Class: source.Note, Path: e.Path, Text: fmt.Sprintf("left out: file type %#o", e.Type())})
		return buf, 0, nil
	}
	h := t.header(e, e.Stat, flag)
	switch flag {
	case tar.TypeSymlink:
		target, err := e.Target()
		if err != nil {
			e.LeftOut()
			warn(source.Problem(e.Path, err))
			return buf, 0, nil
		}
		h.Linkname = target
	case tar.TypeChar, tar.TypeBlock:
		h.Devmajor, h.Devminor = e.Major(), e.Minor()
	}
	addXattrs(h, e, warn)
	buf, err := appendHeader(buf, h)
	e.Stored()
	return buf, 1, err
}

func (t *tarEncoder) name(path string) string {
	if path == "" {
		return t.top
	}
	return t.top + "/" + path
}

func (t *tarEncoder) header(e *source.Entry, st source.Stat, flag byte) *tar.Header {
	h := &tar.Header{
		Typeflag: flag, Name: t.name(e.Path), Mode: int64(st.Mode & 0o7777),
		Uid: int(st.UID), Gid: int(st.GID), Uname: t.owners.user(st.UID), Gname: t.owners.group(st.GID),
		// Not the access time: it differs from run to run although nothing changed.
		ModTime: st.ModTime(),
		// Without it, archive/tar rounds times to seconds.
		Format: tar.FormatPAX,
	}
	if flag == tar.TypeDir {
		h.Name += "/"
	}
	return h
}

// xattrKey writes the name of an attribute as GNU tar does: a record's key ends at
// its first "=".
var xattrKey = strings.NewReplacer("%", "%25", "=", "%3D")

func addXattrs(h *tar.Header, e *source.Entry, warn func(source.Warning)) {
	all, err := e.Xattrs()
	if err != nil {
		w := source.Problem(e.Path, err)
		w.Text = "extended attributes: " + w.Text
		warn(w)
	}
	for name, value := range all {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+xattrKey.Replace(name)] = value
		if record, ok := aclRecords[name]; ok && aclText(value) != "" {
			h.PAXRecords[record] = aclText(value)
		}
	}
}

// appender is a slice as a writer.
type appender struct{ buf []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	return len(p), nil
}

func appendHeader(buf []byte, h *tar.Header) ([]byte, error) {
	// A writer for each header, never closed: it writes no more than that.
	a := appender{buf}
	err := tar.NewWriter(&a).WriteHeader(h)
	if err != nil {
		return buf, fmt.Errorf("archive %q: %w", h.Name, err)
	}
	return a.buf, nil
}

// appendSparseHeader appends the headers and the map of a file with holes, in
// the format that GNU tar calls PAX 1.0 (GNU tar manual, "Storing Sparse
// Files"). archive/tar reads it, but does not write it (golang/go#13548), so
// the PAX records are made here, and the ustar header behind them by archive/tar.
func appendSparseHeader(buf []byte, h *tar.Header, data []source.Extent) ([]byte, error) {
	var sparse bytes.Buffer
	stored := int64(0)
	if n := len(data); n == 0 || data[n-1].Off+data[n-1].Len < h.Size {
		data = append(slices.Clip(data), source.Extent{Off: h.Size}) // as GNU tar ends a map before a last hole
	}
	fmt.Fprintf(&sparse, "%d\n", len(data))
	for _, x := range data {
		fmt.Fprintf(&sparse, "%d\n%d\n", x.Off, x.Len)
		stored += x.Len
	}
	for sparse.Len()%tarBlock != 0 {
		sparse.WriteByte(0)
	}

	records := maps.Clone(h.PAXRecords)
	if records == nil {
		records = map[string]string{}
	}
	maps.Copy(records, map[string]string{
		"GNU.sparse.major":    "1",
		"GNU.sparse.minor":    "0",
		"GNU.sparse.name":     h.Name,
		"GNU.sparse.realsize": strconv.FormatInt(h.Size, 10),
		"size":                strconv.FormatInt(stored+int64(sparse.Len()), 10),
		"mtime":               paxTime(h.ModTime),
		"uid":                 strconv.Itoa(h.Uid),
		"gid":                 strconv.Itoa(h.Gid),
		"uname":               h.Uname,
		"gname":               h.Gname,
	})
	var text []byte
	for _, key := range slices.Sorted(maps.Keys(records)) {
		text = append(text, paxRecord(key, records[key])...)
	}
	ext := &tar.Header{Typeflag: tar.TypeReg, Name: "PaxHeaders.0/sparse", Size: int64(len(text)), Mode: 0o644, Format: tar.FormatUSTAR}
	start := len(buf)
	buf, err := appendHeader(buf, ext)
	if err != nil {
		return buf, err
	}
	setType(buf[start:start+tarBlock], tar.TypeXHeader)
	buf = append(buf, text...)
	buf = pad(buf, int64(len(text)))

	// What the records say overrides these.
	main := &tar.Header{Typeflag: tar.TypeReg, Name: "GNUSparseFile.0/sparse", Mode: h.Mode,
		Uid: h.Uid & 0o7777777, Gid: h.Gid & 0o7777777, ModTime: time.Unix(max(0, h.ModTime.Unix()), 0), Format: tar.FormatUSTAR}
	main.Size = stored + int64(sparse.Len())
	if main.Size >= 1<<33 { // eleven octal digits hold no more
		main.Size = 0
	}
	if buf, err = appendHeader(buf, main); err != nil {
		return buf, err
	}
	return append(buf, sparse.Bytes()...), nil
}

// setType changes the type of a ustar header block and mends its checksum:
// archive/tar has no way to ask for an extended header.
func setType(block []byte, flag byte) {
	block[156] = flag
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// paxRecord is "LENGTH KEY=VALUE\n", where LENGTH counts itself too.
func paxRecord(key, value string) string {
	n := len(key) + len(value) + len(" =\n")
	size := n + len(strconv.Itoa(n))
	if size != n+len(strconv.Itoa(size)) {
		size++
	}
	return strconv.Itoa(size) + " " + key + "=" + value + "\n"
}

// paxTime is a time in seconds, with as many decimals as it has.
func paxTime(t time.Time) string {
	sec, ns := t.Unix(), t.Nanosecond()
	if ns == 0 {
		return strconv.FormatInt(sec, 10)
	}
	sign := ""
	if sec < 0 { // -1.25 is Unix second -2 and 750 ms
		sign, sec, ns = "-", -sec-1, 1e9-ns
	}
	return fmt.Sprintf("%s%d.%s", sign, sec, bytes.TrimRight(fmt.Appendf(nil, "%09d", ns), "0"))
}

// pad fills up to a whole block after n bytes of data.
func pad(buf []byte, n int64) []byte {
	if over := n % tarBlock; over != 0 {
		buf = append(buf, tarEnd[:tarBlock-over]...)
	}
	return buf
}

// owners turns numbers into names, asking the system once for each. A number
// without a name stands for itself.
type owners struct{ users, groups sync.Map }

func (o *owners) user(id uint32) string {
	return cached(&o.users, id, func(s string) string {
		if u, err := user.LookupId(s); err == nil {
			return u.Username
		}
		return ""
	})
}

func (o *owners) group(id uint32) string {
	return cached(&o.groups, id, func(s string) string {
		if g, err := user.LookupGroupId(s); err == nil {
			return g.Name
		}
		return ""
	})
}

func cached(m *sync.Map, id uint32, lookup func(string) string) string {
	if name, ok := m.Load(id); ok {
		return name.(string)
	}
	name := lookup(strconv.FormatUint(uint64(id), 10))
	m.Store(id, name)
	return name
}
