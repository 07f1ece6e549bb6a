package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// A manifest is JSON lines, compressed with zstd: first the header (all but the frames) as a zstd frame of its own, so
// that it can be read without the rest; then a line for each frame,
//
//	[off,len,raw,"sha256","key","content","first"]
//
// last {"end":true,"frames":N,"sha256":"…"}, the checksum of every byte before that line. Where a name is not UTF-8,
// which JSON cannot say, {"base64":"…"} stands in place of the string.

// Limits for a manifest that somebody else made.
const (
	maxManifest = 512 << 20 // bytes, decoded
	maxFrames   = 4 << 20   // 16 TiB in frames of 4 MiB
	maxLine     = 16 << 20  // bytes; names of a megabyte are possible, in tar as on disk
)

// endLine is the last line.
type endLine struct {
	End    bool   `json:"end"`
	Frames int    `json:"frames"`
	SHA256 string `json:"sha256"`
}

// headerLine is a Manifest with the strings that need not be UTF-8 replaced.
type headerLine struct {
	*bareManifest
	Archive  text      `json:"archive"`
	Source   text      `json:"source,omitempty"`
	Warnings []text    `json:"warnings,omitempty"`
	File     *fileLine `json:"file,omitempty"`
}

type bareManifest Manifest

// fileLine is FileMeta as JSON. The time is split because a file may carry one that RFC 3339 cannot say.
type fileLine struct {
	Mode   string     `json:"mode"` // octal, as in chmod
	UID    uint32     `json:"uid"`
	GID    uint32     `json:"gid"`
	User   text       `json:"user,omitempty"`
	Group  text       `json:"group,omitempty"`
	Mtime  [2]int64   `json:"mtime"` // seconds since 1970, nanoseconds
	Xattrs []attrLine `json:"xattrs,omitempty"`
	Size   int64      `json:"size"`
}

type attrLine struct {
	Name  text   `json:"name"`
	Value []byte `json:"value"`
}

// Encode returns the manifest as ReadManifest takes it. It refuses one that ReadManifest would refuse, and the public
// part of one, which EncodeSealed takes.
func (m *Manifest) Encode() ([]byte, error) {
	if m.Sealed != nil {
		return nil, errors.New("manifest: it is only the public part of one")
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if len(m.Frames) > maxFrames {
		return nil, fmt.Errorf("manifest: %d frames, more than %d: use a larger block size", len(m.Frames), maxFrames)
	}
	header, err := m.encodeHead()
	if err != nil {
		return nil, err
	}
	head, err := zstdFrame(header)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	out := bytes.NewBuffer(head)
	z, err := zstdWriter(out)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	sum.Write(header)
	w := &countWriter{w: bufio.NewWriterSize(io.MultiWriter(z, sum), 64<<10), n: int64(len(header)), longest: int64(len(header))}

	var line []byte
	for i := range m.Frames {
		if line, err = m.Frames[i].appendLine(line[:0]); err != nil {
			return nil, fmt.Errorf("manifest: frame %d: %w", i, err)
		}
		w.line(line)
	}
	if err := w.w.Flush(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	end, err := json.Marshal(endLine{true, len(m.Frames), hex.EncodeToString(sum.Sum(nil))})
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	w.line(end)
	if w.longest > maxLine || w.n > maxManifest {
		return nil, fmt.Errorf("manifest: %d bytes, with a line of %d: too large", w.n, w.longest)
	}
	if err := w.w.Flush(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return out.Bytes(), nil
}

// ReadManifest decodes what Encode or EncodeSealed made; of the latter it returns the public part. Anything else is an
// error that says what is wrong: a manifest is taken whole or not at all. Memory stays within a few times maxManifest
// whatever the data.
func ReadManifest(data []byte) (*Manifest, error) {
	z, err := zstdReader(bytes.NewReader(data), 16<<20)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer z.Close()
	in := &lineReader{r: bufio.NewReaderSize(io.LimitReader(z, maxManifest+1), 64<<10)}
	sum := sha256.New()

	line, err := in.next()
	if err != nil {
		return nil, err
	}
	m, err := parseHeader(line)
	if err != nil {
		return nil, err
	}
	if m.Sealed != nil {
		if err := in.end(); err != nil {
			return nil, err
		}
		if err := m.check(); err != nil {
			return nil, err
		}
		_, err = m.SealedPart(data)
		return m, err
	}
	for {
		sum.Write(line)
		if line, err = in.next(); err != nil {
			return nil, err
		}
		if line[0] != '[' {
			break
		}
		if len(m.Frames) == maxFrames {
			return nil, fmt.Errorf("manifest: more than %d frames", maxFrames)
		}
		f, err := parseFrame(line)
		if err != nil {
			return nil, fmt.Errorf("manifest: frame %d: %w", len(m.Frames), err)
		}
		m.Frames = append(m.Frames, f)
	}

	var end endLine
	if err := json.Unmarshal(line, &end); err != nil || !end.End {
		return nil, fmt.Errorf("manifest: line %d is neither a frame nor the end", len(m.Frames)+2)
	}
	if end.Frames != len(m.Frames) {
		return nil, fmt.Errorf("manifest: %d frames, its last line says %d", len(m.Frames), end.Frames)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != end.SHA256 {
		return nil, fmt.Errorf("manifest: sha256 is %s, its last line says %q", got, end.SHA256)
	}
	if err := in.end(); err != nil {
		return nil, err
	}
	return m, m.check()
}

// headerLine returns m without its frames, ready for JSON.
func (m *Manifest) headerLine() headerLine {
	bare := bareManifest(*m)
	h := headerLine{bareManifest: &bare, Archive: text(m.Archive), Source: text(m.Source)}
	for _, w := range m.Warnings {
		h.Warnings = append(h.Warnings, text(w))
	}
	if f := m.File; f != nil {
		h.File = &fileLine{
			Mode: strconv.FormatUint(uint64(f.Mode), 8), UID: f.UID, GID: f.GID, User: text(f.User), Group: text(f.Group),
			Mtime: [2]int64{f.ModTime.Unix(), int64(f.ModTime.Nanosecond())}, Size: f.Size,
		}
		for name, value := range f.Xattrs {
			h.File.Xattrs = append(h.File.Xattrs, attrLine{text(name), value})
		}
		slices.SortStableFunc(h.File.Xattrs, func(a, b attrLine) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	}
	return h
}

// parseHeader reads the first line.
func parseHeader(line []byte) (*Manifest, error) {
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return nil, fmt.Errorf("manifest: header: %w", err)
	}
	// Before the rest: another version may have put anything there.
	if v.Version != ManifestVersion {
		return nil, (&Manifest{Version: v.Version}).check()
	}
	var bare bareManifest
	h := headerLine{bareManifest: &bare}
	if err := json.Unmarshal(line, &h); err != nil {
		return nil, fmt.Errorf("manifest: header: %w", err)
	}
	m := Manifest(bare)
	m.Archive, m.Source = string(h.Archive), string(h.Source)
	for _, w := range h.Warnings {
		m.Warnings = append(m.Warnings, string(w))
	}
	if f := h.File; f != nil {
		mode, err := strconv.ParseUint(f.Mode, 8, 32)
		if err != nil {
			return nil, fmt.Errorf("manifest: file mode %q", f.Mode)
		}
		if f.Mtime[1] < 0 || f.Mtime[1] > 999999999 {
			return nil, fmt.Errorf("manifest: file time with %d nanoseconds", f.Mtime[1])
		}
		m.File = &FileMeta{
			Mode: uint32(mode), UID: f.UID, GID: f.GID, User: string(f.User), Group: string(f.Group),
			ModTime: time.Unix(f.Mtime[0], f.Mtime[1]).UTC(), Size: f.Size,
		}
		for _, a := range f.Xattrs {
			if m.File.Xattrs == nil {
				m.File.Xattrs = make(map[string][]byte)
			}
			m.File.Xattrs[string(a.Name)] = a.Value
		}
	}
	return &m, nil
}

// appendLine adds the frame's line, without the newline, to b.
func (f *Frame) appendLine(b []byte) ([]byte, error) {
	b = append(b, '[')
	for _, n := range []int64{f.Off, f.Len, f.Raw} {
		b = append(strconv.AppendInt(b, n, 10), ',')
	}
	for i, sum := range [][32]byte{f.SHA256, f.Key, f.Content} {
		b = append(b, '"')
		if i == 0 || sum != [32]byte{} {
			b = hex.AppendEncode(b, sum[:])
		}
		b = append(b, '"', ',')
	}
	first, err := json.Marshal(text(f.First))
	if err != nil {
		return nil, err
	}
	return append(append(b, first...), ']'), nil
}

// parseFrame is the inverse of appendLine.
func parseFrame(line []byte) (f Frame, err error) {
	var sum, key, content string
	var first text
	row := []any{&f.Off, &f.Len, &f.Raw, &sum, &key, &content, &first}
	want := len(row)
	if err := json.Unmarshal(line, &row); err != nil {
		return f, err
	}
	// A null makes encoding/json put nil in the place of the pointer.
	if len(row) != want || slices.Contains(row, nil) {
		return f, fmt.Errorf("not a list of %d values", want)
	}
	if f.SHA256, err = parseHash(sum); err != nil {
		return f, fmt.Errorf("sha256: %w", err)
	}
	if key != "" {
		if f.Key, err = parseHash(key); err != nil {
			return f, fmt.Errorf("key: %w", err)
		}
	}
	if content != "" {
		if f.Content, err = parseHash(content); err != nil {
			return f, fmt.Errorf("content: %w", err)
		}
	}
	f.First = string(first)
	return f, nil
}

// text is a string that survives JSON whatever its bytes.
type text string

type base64Text struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON writes a string, or {"base64":"…"} if it is not UTF-8.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(base64Text{[]byte(t)})
}

// UnmarshalJSON reads either form.
func (t *text) UnmarshalJSON(data []byte) error {
	if data[0] != '{' {
		return json.Unmarshal(data, (*string)(t))
	}
	var b base64Text
	err := json.Unmarshal(data, &b)
	*t = text(b.Base64)
	return err
}

// lineReader cuts a manifest into lines.
type lineReader struct {
	r     *bufio.Reader
	total int64
	line  []byte
}

// next returns the next line with its newline, valid until the call after. The end of the data is an error.
func (l *lineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		l.line = append(l.line, part...)
		l.total += int64(len(part))
		switch {
		case len(l.line) > maxLine || l.total > maxManifest:
			return nil, fmt.Errorf("manifest: more than %d bytes, or a line of more than %d", maxManifest, maxLine)
		case err == nil:
			return l.line, nil
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil, errors.New("manifest: truncated")
		case err != bufio.ErrBufferFull:
			return nil, fmt.Errorf("manifest: %w", err)
		}
	}
}

// end returns an error unless all lines were read.
func (l *lineReader) end() error {
	_, err := l.r.ReadByte()
	switch err {
	case io.EOF:
		return nil
	case nil:
		return errors.New("manifest: data after its last line")
	}
	return fmt.Errorf("manifest: %w", err)
}

// countWriter writes lines and remembers how much. Errors are bufio's, which keeps them until Flush.
type countWriter struct {
	w          *bufio.Writer
	n, longest int64
}

func (c *countWriter) line(b []byte) {
	c.w.Write(b)
	c.w.WriteByte('\n')
	c.n += int64(len(b)) + 1
	c.longest = max(c.longest, int64(len(b))+1)
}
