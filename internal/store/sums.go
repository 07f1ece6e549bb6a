package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
)

// sumsWait is how long SetSums waits for another process that edits SHA256SUMS, which
// takes it a few fsyncs.
const sumsWait = time.Minute

var (
	errBusy   = errors.New("another process has been editing it for a minute")
	errDigest = errors.New("not a SHA-256 digest in lower-case hex")
)

// Sums implements Store.
func (l *Local) Sums(ctx context.Context) (map[string]string, error) {
	if err := l.begin(ctx, "read"); err != nil {
		return nil, err
	}
	data, _, err := readRegular(l.path(sumsName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return parseSums(data), nil
}

// SetSums implements Store. An existing file keeps its permissions and its owner: somebody
// may have opened it to others, and a run of root in the destination of a user must not
// take it away from the user's own. A new one is as private as the archives, for the digest of a
// small file tells what is in it.
func (l *Local) SetSums(ctx context.Context, set map[string]string, drop []string) error {
	const op = "write"
	if err := checkSums(op, set); err != nil {
		return err
	}
	if err := l.begin(ctx, op); err != nil {
		return err
	}
	if len(set) == 0 && len(drop) == 0 {
		return nil
	}
	if err := l.ensureSide(); err != nil {
		return err
	}
	path, lockPath := l.path(sumsName), l.side(sumsLock)
	lock, err := l.acquire(ctx, lockPath, sumsWait)
	if err != nil {
		return err
	}
	if lock == nil {
		return fail("lock", lockPath, errBusy)
	}
	defer release(lock) // the kernel does it otherwise; nothing is lost if this fails

	old, info, err := readRegular(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if info != nil && l.planted(info) {
		info = nil
	}
	edited := editSums(old, set, drop)
	switch {
	case bytes.Equal(edited, old):
		return nil
	case len(edited) > 0:
		return l.replace(l.side(sumsTemp), path, edited, info)
	}
	if err := l.calls.remove(path); err != nil {
		return fail("remove", path, err)
	}
	return l.calls.syncDir(l.dir)
}

// checkSums refuses what can't be a line of SHA256SUMS.
func checkSums(op string, set map[string]string) error {
	for name, digest := range set {
		if err := checkName(op, name); err != nil {
			return err
		}
		if raw, err := hex.DecodeString(digest); err != nil || len(raw) != 32 || digest != strings.ToLower(digest) {
			return fail(op, name, errDigest)
		}
	}
	return nil
}

// parseSums returns what a SHA256SUMS file says: archive name to digest.
func parseSums(data []byte) map[string]string {
	sums := map[string]string{}
	for line := range bytes.Lines(data) {
		if name, digest, ok := parseSum(line); ok {
			sums[name] = digest
		}
	}
	return sums
}

// editSums returns old without the lines of the names in drop and with those in set.
func editSums(old []byte, set map[string]string, drop []string) []byte {
	var b bytes.Buffer
	done := map[string]bool{}
	for line := range bytes.Lines(old) {
		name, was, ok := parseSum(line)
		digest, wanted := set[name]
		switch {
		case ok && slices.Contains(drop, name):
		case ok && wanted && done[name]: // a second line for one file could only disagree
		case ok && wanted && was != digest:
			b.WriteString(formatSum(name, digest))
			done[name] = true
		default:
			b.Write(line)
			done[name] = done[name] || ok
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if done[name] {
			continue
		}
		if n := b.Len(); n > 0 && b.Bytes()[n-1] != '\n' {
			b.WriteByte('\n')
		}
		b.WriteString(formatSum(name, set[name]))
	}
	return b.Bytes()
}

// formatSum returns the line of sha256sum(1) for a file, in text mode. As in coreutils
// since 9.0, backslash, newline and carriage return in a name are escaped, which a
// backslash at the start of the line announces.
func formatSum(name, digest string) string {
	escaped := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name)
	if escaped != name {
		return `\` + digest + "  " + escaped + "\n"
	}
	return digest + "  " + name + "\n"
}

// parseSum takes a line apart, with or without its end. ok is false for anything but a
// SHA-256 line, in text or binary mode, about a file in this very directory.
func parseSum(line []byte) (name, digest string, ok bool) {
	s := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
	s, escaped := strings.CutPrefix(s, `\`)
	const hexLen = 64
	if len(s) < hexLen+2 || s[hexLen] != ' ' || s[hexLen+1] != ' ' && s[hexLen+1] != '*' {
		return "", "", false
	}
	digest, name = strings.ToLower(s[:hexLen]), s[hexLen+2:]
	if _, err := hex.DecodeString(digest); err != nil {
		return "", "", false
	}
	if escaped {
		if name, ok = unescape(name); !ok {
			return "", "", false
		}
	}
	return name, digest, checkName("read", name) == nil
}

// unescape undoes the escaping of formatSum.
func unescape(s string) (string, bool) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		if after == "" {
			return "", false
		}
		switch after[0] {
		case '\\':
			b.WriteByte('\\')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		default:
			return "", false
		}
		s = after[1:]
	}
}
