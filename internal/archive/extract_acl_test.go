//go:build linux

package archive

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// testIDs knows a user and a group.
func testIDs(group bool, name string) (uint32, bool) {
	id, ok := map[string]uint32{"alice": 1000, "staff": 50, "1234": 1234}[name]
	return id, ok && group == (name == "staff") || name == "1234"
}

// TestACLTextIsWhatTheSystemTakes compares with what setfacl makes of the same text.
func TestACLTextIsWhatTheSystemTakes(t *testing.T) {
	t.Parallel()
	needTools(t, "setfacl")
	file := filepath.Join(t.TempDir(), "f")
	for _, test := range []struct{ text, same string }{
		{"user::rwx,group::r-x,other::r--,user:1234:rwx,mask::rwx", ""},
		{"user::rw-\nuser:1234:r--\ngroup::r--\nmask::r--\nother::---\n", ""},
		{"other::---\nmask::rw-\nuser:9:r--\t#effective:r--\ngroup:7:-wx #effective:-w-\nuser:1234:rwx\nuser::rw-\ngroup::r--\n", ""},
		{"u::rw-,g::r--,o::r--,m::rwx,u:1234:x", ""},
		{"user::rw-,user:alice:rwx,group::r--,group:staff:r--,mask::rwx,other::r--", "user::rw-,user:1000:rwx,group::r--,group:50:r--,mask::rwx,other::r--"},
		{"user::rw-,user:gone:rwx:4321,group::r--,mask:rwx,other:r--", "user::rw-,user:4321:rwx,group::r--,mask::rwx,other::r--"},
	} {
		same := test.same
		if same == "" {
			same = test.text
		}
		noError(t, os.WriteFile(file, nil, 0o644))
		noError(t, os.Remove(file))
		noError(t, os.WriteFile(file, nil, 0o644))
		pipe(t, []byte(strings.ReplaceAll(same, ",", "\n")), "setfacl", "-n", "--set-file=-", file)
		want := make([]byte, 1024)
		n, err := unix.Getxattr(file, "system.posix_acl_access", want)
		noError(t, err)
		got, err := aclBinary(test.text, func(group bool, name string) (uint32, bool) {
			if id, ok := testIDs(group, name); ok {
				return id, true
			}
			if name == "7" || name == "9" {
				return uint32(name[0] - '0'), true
			}
			return 0, false
		})
		if err != nil || string(got) != string(want[:n]) {
			t.Errorf("%q:\n got %x, %v\nwant %x", test.text, got, err, want[:n])
		}
	}
}

func TestACLTextErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "no entries",
		" \n#\n":                 "no entries",
		"user":                   "1 fields",
		"user:::rwx:":            "5 fields",
		"owner::rwx":             `unknown kind "owner"`,
		"user::rwz":              `permissions "rwz"`,
		"user:nobody-here:rwx":   `"nobody-here" is not known here`,
		"user:nobody-here:rwx:x": `"nobody-here" is not known here`,
		"group:alice:rwx":        `"alice" is not known here`,
	} {
		if got, err := aclBinary(text, testIDs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %x, %v; want %s", text, got, err, want)
		}
	}
}

func FuzzACLText(f *testing.F) {
	f.Add("user::rw-,user:alice:rwx,group::r--,group:staff:r--,mask::rwx,other::r--")
	f.Add("u::rw-\nuser:gone:rwx:4321 # comment\nmask:rwx")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := aclBinary(text, testIDs)
		if err == nil && (len(got) < 12 || len(got)%8 != 4) {
			t.Errorf("%q gives %x", text, got)
		}
	})
}
