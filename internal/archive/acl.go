package archive

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// aclRecords are the PAX records in which GNU tar, star and bsdtar look for what
// Linux keeps in these extended attributes.
var aclRecords = map[string]string{
	"system.posix_acl_access":  "SCHILY.acl.access",
	"system.posix_acl_default": "SCHILY.acl.default",
}

// Tags of the entries of an ACL (linux/posix_acl.h).
var aclTags = map[uint16]string{1: "user:", 2: "user:", 4: "group:", 8: "group:", 16: "mask:", 32: "other:"}

// aclText turns the value of such an attribute (linux/posix_acl_xattr.h:
// little-endian, a version and entries of tag, permissions and id) into the
// text of acl(5), owners by number: a name that is not known where it is
// extracted would make the whole ACL invalid. It returns "" for what it does
// not know.
func aclText(value string) string {
	const version, entrySize = 2, 8
	b := []byte(value)
	if len(b) < 4 || binary.LittleEndian.Uint32(b) != version || (len(b)-4)%entrySize != 0 {
		return ""
	}
	var entries []string
	for b = b[4:]; len(b) > 0; b = b[entrySize:] {
		tag, perm := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		word, ok := aclTags[tag]
		if !ok {
			return ""
		}
		if tag == 2 || tag == 8 {
			word += strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b[4:])), 10)
		}
		bits := []byte("---")
		for i, c := range []byte("rwx") {
			if perm&(4>>i) != 0 {
				bits[i] = c
			}
		}
		entries = append(entries, word+":"+string(bits))
	}
	return strings.Join(entries, ",")
}
