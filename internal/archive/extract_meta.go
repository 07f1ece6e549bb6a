package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// entryMeta are the properties of an entry: all but its name, type and content.
type entryMeta struct {
	mode         uint32 // permissions, setuid, setgid, sticky
	uid, gid     int64
	user, group  string // empty if unknown
	mtime, atime time.Time
	xattrs       map[string]string
	acls         map[string]string // in acl(5)'s text form, by the name of the extended attribute
}

// tarMeta takes the properties out of a header.
func tarMeta(h *tar.Header) *entryMeta {
	m := &entryMeta{mode: uint32(h.Mode & 0o7777), uid: int64(h.Uid), gid: int64(h.Gid), user: h.Uname, group: h.Gname,
		mtime: h.ModTime, atime: h.AccessTime}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrRecord); ok {
			if m.xattrs == nil {
				m.xattrs = make(map[string]string)
			}
			if strings.Contains(name, "%") { // GNU tar's way to have a "=" in a key (xattr_decode_keyword)
				name = strings.NewReplacer("%3D", "=", "%25", "%").Replace(name)
			}
			m.xattrs[name] = value
		}
	}
	for name, key := range aclRecords {
		if text, ok := h.PAXRecords[key]; ok && m.xattrs[name] == "" {
			if m.acls == nil {
				m.acls = make(map[string]string)
			}
			m.acls[name] = text
		}
	}
	return m
}

// fileMeta takes the properties out of a manifest.
func fileMeta(f *FileMeta) *entryMeta {
	m := &entryMeta{mode: f.Mode, uid: int64(f.UID), gid: int64(f.GID), user: f.User, group: f.Group, mtime: f.ModTime}
	for name, value := range f.Xattrs {
		if m.xattrs == nil {
			m.xattrs = make(map[string]string)
		}
		m.xattrs[name] = string(value)
	}
	return m
}

// sameFile tells whether what exists is what the archive holds, as far as size and time say.
func sameFile(in *dirHandle, name string, h *tar.Header) bool {
	fi, err := in.lstat(name)
	return err == nil && fi.Mode().IsRegular() && fi.Size() == h.Size && fi.ModTime().Equal(h.ModTime)
}

// applyFile sets all but the times of an open file: owner, extended attributes (chown takes away capabilities), and
// the mode last (chown takes away setuid, and without write permission no attribute can be set).
func (m *maker) applyFile(f *os.File, path string, meta *entryMeta) error {
	mode := m.chown(path, meta, func(uid, gid int) error { return f.Chown(uid, gid) }, f.Stat)
	err := m.setXattrs(path, meta, func(name, value string) error { return fsetxattr(int(f.Fd()), name, []byte(value)) })
	if err != nil {
		return err
	}
	return m.soften("chmod", path, retry(func() error { return unix.Fchmod(int(f.Fd()), mode) }))
}

// applyDir sets all properties of a directory.
func (m *maker) applyDir(d *dirHandle, path string, meta *entryMeta) error {
	m.chown(path, meta, func(uid, gid int) error { return d.f.Chown(uid, gid) }, nil)
	err := m.setXattrs(path, meta, func(name, value string) error { return fsetxattr(d.fd, name, []byte(value)) })
	if err != nil {
		return err
	}
	// Before the mode, which may forbid to look up even "."; chmod leaves mtime alone.
	if err := m.setTimes(d, ".", path, meta); err != nil {
		return err
	}
	return m.soften("chmod", path, retry(func() error { return unix.Fchmod(d.fd, meta.mode) }))
}

// applyName sets the properties of what can't be opened: a symbolic link, a FIFO, a device node.
func (m *maker) applyName(in *dirHandle, name, path string, meta *entryMeta, chmod bool) error {
	lstat := func() (fs.FileInfo, error) { return in.lstat(name) }
	mode := m.chown(path, meta, func(uid, gid int) error { return retry(func() error { return in.root.Lchown(name, uid, gid) }) }, lstat)
	err := m.setXattrs(path, meta, func(attr, value string) error { return setxattrAt(in, name, attr, []byte(value)) })
	if err != nil {
		return err
	}
	if chmod {
		// os.Root follows a link, but this is a name that we made a moment ago.
		if err := m.soften("chmod", path, retry(func() error { return in.root.Chmod(name, goMode(mode)) })); err != nil {
			return err
		}
	}
	return m.setTimes(in, name, path, meta)
}

// chown sets the owner, if that is wanted, and returns the mode that is right afterwards: without setuid and setgid,
// if that would mean another owner than the archive's.
func (m *maker) chown(path string, meta *entryMeta, chown func(uid, gid int) error, stat func() (fs.FileInfo, error)) uint32 {
	uid, gid := m.ids(meta)
	if m.root || m.keepOwner {
		if uid < 0 || gid < 0 || uid >= math.MaxUint32 || gid >= math.MaxUint32 {
			m.warn("chown", path, fmt.Errorf("owner %d, group %d: no such numbers", uid, gid))
		} else if err := chown(int(uid), int(gid)); err != nil {
			m.warn("chown", path, fmt.Errorf("to %d:%d: %w", uid, gid, bare(err)))
		}
	}
	if meta.mode&(unix.S_ISUID|unix.S_ISGID) == 0 || stat == nil {
		return meta.mode
	}
	mode := meta.mode &^ (unix.S_ISUID | unix.S_ISGID)
	fi, err := stat()
	if err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			if int64(st.Uid) == uid {
				mode |= meta.mode & unix.S_ISUID
			}
			if int64(st.Gid) == gid {
				mode |= meta.mode & unix.S_ISGID
			}
		}
	}
	if mode != meta.mode {
		m.warn("chmod", path, fmt.Errorf("mode %04o only, not %04o: its owner is not %d:%d", mode, meta.mode, uid, gid))
	}
	return mode
}

// ids returns the owner's numbers here: those of the names, if they exist.
func (m *maker) ids(meta *entryMeta) (uid, gid int64) {
	uid, gid = meta.uid, meta.gid
	if m.numericOwner {
		return uid, gid
	}
	if id, ok := m.users.id(meta.user); ok {
		uid = id
	}
	if id, ok := m.groups.id(meta.group); ok {
		gid = id
	}
	return uid, gid
}

// setXattrs sets extended attributes and ACLs. The error is one that ends the extraction.
func (m *maker) setXattrs(path string, meta *entryMeta, set func(name, value string) error) error {
	all := meta.xattrs
	if len(meta.acls) > 0 {
		if all = maps.Clone(all); all == nil {
			all = make(map[string]string)
		}
		for name, text := range meta.acls {
			value, err := aclBinary(text, m.aclID)
			if err != nil {
				m.warn("set ACL of", path, err)
				continue
			}
			all[name] = string(value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		err := set(name, all[name])
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOTSUP) || errors.Is(err, errors.ErrUnsupported):
			// Once for each kind, not for a million files. Those of users have any name.
			kind := name
			if strings.HasPrefix(name, "user.") {
				kind = "user"
			}
			if !m.noXattrs[kind] {
				m.noXattrs[kind] = true
				m.warn("set attribute of", path, fmt.Errorf("%s: not supported here; further ones are not reported", name))
			}
		// ext4 says ENOSPC of a value that is larger than the inode has room for.
		case errors.Is(err, unix.EIO) || errors.Is(err, unix.EROFS):
			return fmt.Errorf("attribute %s: %w", name, err)
		default:
			m.warn("set attribute of", path, fmt.Errorf("%s: %w", name, err))
		}
	}
	return nil
}

// setTimes sets the times of name, itself if it is a link.
func (m *maker) setTimes(in *dirHandle, name, path string, meta *entryMeta) error {
	atime := meta.atime
	if atime.IsZero() {
		atime = time.Now()
	}
	var ts [2]unix.Timespec
	var err [2]error
	ts[0], err[0] = unix.TimeToTimespec(atime)
	ts[1], err[1] = unix.TimeToTimespec(meta.mtime)
	if err := errors.Join(err[:]...); err != nil {
		m.warn("set times of", path, fmt.Errorf("%v: %w", meta.mtime.UTC(), err))
		return nil
	}
	return m.soften("set times of", path, retry(func() error { return unix.UtimesNanoAt(in.fd, name, ts[:], unix.AT_SYMLINK_NOFOLLOW) }))
}

// soften makes a warning of an error, unless it is one that ends the extraction.
func (m *maker) soften(op, path string, err error) error {
	if err = bare(err); err == nil || isFatal(err) {
		return err
	}
	m.warn(op, path, err)
	return nil
}

// aclID is the number for a name in an ACL.
func (m *maker) aclID(group bool, name string) (uint32, bool) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), true
	}
	names := m.users
	if group {
		names = m.groups
	}
	id, ok := names.id(name)
	return uint32(id), ok
}

// goMode turns st_mode's permission bits into Go's.
func goMode(mode uint32) fs.FileMode {
	out := fs.FileMode(mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if mode&bit != 0 {
			out |= flag
		}
	}
	return out
}

// idCache turns names into numbers, and asks the system once for each.
type idCache struct {
	lookup func(name string) (string, error)
	known  map[string]int64 // -1 for a name that does not exist
}

func newIDCaches() (users, groups *idCache) {
	users = &idCache{known: make(map[string]int64), lookup: func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	}}
	groups = &idCache{known: make(map[string]int64), lookup: func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	}}
	return users, groups
}

func (c *idCache) id(name string) (int64, bool) {
	if name == "" {
		return 0, false
	}
	id, ok := c.known[name]
	if !ok {
		id = -1
		if s, err := c.lookup(name); err == nil {
			if n, err := strconv.ParseUint(s, 10, 32); err == nil {
				id = int64(n)
			}
		}
		c.known[name] = id
	}
	return id, id >= 0
}
