package archive

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// aclEntry is an entry of a POSIX ACL; tags are those of linux/posix_acl.h.
type aclEntry struct {
	tag, perm uint16
	id        uint32
}

const (
	aclUserObj  = 1
	aclUser     = 2
	aclGroupObj = 4
	aclGroup    = 8
	aclMask     = 16
	aclOther    = 32
)

// aclBinary turns the text that tar programs store (acl(5), entries parted by commas or newlines, with an owner's
// number in a fourth field as star and bsdtar write it) into the value of the extended attribute on Linux. The
// number of a user or group comes from id, or else from the fourth field.
func aclBinary(text string, id func(group bool, name string) (uint32, bool)) ([]byte, error) {
	var entries []aclEntry
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		line, _, _ = strings.Cut(line, "#") // "#effective:r--"
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		entry, err := parseACLEntry(strings.Split(line, ":"), id)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		entries = append(entries, entry)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%q: no entries", text)
	}
	// The kernel wants them in this order (posix_acl_valid).
	slices.SortFunc(entries, func(a, b aclEntry) int { return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id)) })
	out := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		out = binary.LittleEndian.AppendUint16(out, e.tag)
		out = binary.LittleEndian.AppendUint16(out, e.perm)
		out = binary.LittleEndian.AppendUint32(out, e.id)
	}
	return out, nil
}

func parseACLEntry(f []string, id func(group bool, name string) (uint32, bool)) (aclEntry, error) {
	e := aclEntry{id: math.MaxUint32}
	if len(f) == 2 { // "mask:rwx"
		f = []string{f[0], "", f[1]}
	}
	if len(f) < 3 || len(f) > 4 {
		return e, fmt.Errorf("%d fields", len(f))
	}
	named := f[1] != ""
	switch f[0] {
	case "user", "u":
		e.tag = aclUserObj
		if named {
			e.tag = aclUser
		}
	case "group", "g":
		e.tag = aclGroupObj
		if named {
			e.tag = aclGroup
		}
	case "mask", "m":
		e.tag = aclMask
	case "other", "o":
		e.tag = aclOther
	default:
		return e, fmt.Errorf("unknown kind %q", f[0])
	}
	for _, c := range f[2] {
		bit, ok := map[rune]uint16{'r': 4, 'w': 2, 'x': 1, '-': 0}[c]
		if !ok {
			return e, fmt.Errorf("permissions %q", f[2])
		}
		e.perm |= bit
	}
	if e.tag != aclUser && e.tag != aclGroup {
		return e, nil
	}
	var ok bool
	if e.id, ok = id(e.tag == aclGroup, f[1]); ok {
		return e, nil
	}
	if len(f) == 4 {
		if n, err := strconv.ParseUint(f[3], 10, 32); err == nil {
			e.id = uint32(n)
			return e, nil
		}
	}
	return e, fmt.Errorf("%q is not known here", f[1])
}
