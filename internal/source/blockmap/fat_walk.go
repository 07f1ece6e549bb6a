package blockmap

import "errors"

// fatDir is a directory that is to be looked at.
type fatDir struct{ first, parent int64 } // clusters; parent 0: the root

// Attributes of a directory's entry.
const (
	fatLabel = 0x08
	fatIsDir = 0x10
	fatLong  = 0x0f // a part of a long name
)

const fatEntry = 32 // bytes

// maxFATDirs bounds memory: so many directories may wait to be looked at.
const maxFATDirs = 1 << 20

var errFATDir = errors.New("its directories are damaged: fsck.fat has to look at it")

// walk follows every file and directory through the table. FAT has no checksums:
// that all of them end where their size says, and none meets another, is what
// shows that sizes and table belong together.
func (f *fat) walk() error {
	f.claimed = make([]uint64, (f.clusters+2+63)/64)
	var todo []fatDir
	if f.wide {
		todo = append(todo, fatDir{f.u32(44), -1})
	} else {
		b, err := read(f.r, f.data-f.rootLen, f.rootLen)
		if err != nil {
			return err
		}
		if todo, err = f.entries(b, 0, todo); err != nil {
			return err
		}
	}
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		var err error
		if todo, err = f.dir(d, todo); err != nil {
			return err
		}
	}
	return nil
}

// dir looks at a directory, and adds those in it to todo.
func (f *fat) dir(d fatDir, todo []fatDir) ([]fatDir, error) {
	self := d.first
	if d.parent < 0 {
		self = 0 // FAT32's root is 0 to those in it
	}
	buf := make([]byte, f.cluster)
	begun := false
	_, err := f.chain(d.first, func(c int64) error {
		if err := readInto(f.r, buf, f.offset(c)); err != nil {
			return err
		}
		b := buf
		if !begun && d.parent >= 0 {
			if !f.dots(b, d) {
				return errFATDir
			}
			b = b[2*fatEntry:]
		}
		begun = true
		var err error
		todo, err = f.entries(b, self, todo)
		return err
	})
	return todo, err
}

// dots says whether a directory begins with itself and the one that it is in.
func (f *fat) dots(b []byte, d fatDir) bool {
	self, up := b[:fatEntry], b[fatEntry:2*fatEntry]
	parent := f.first(up)
	return string(self[:11]) == ".          " && string(up[:11]) == "..         " &&
		self[11]&fatIsDir != 0 && up[11]&fatIsDir != 0 && f.first(self) == d.first &&
		(parent == d.parent || d.parent == 0 && f.wide && parent == f.u32(44))
}

// first is the cluster where an entry's content begins.
func (f *fat) first(entry []byte) int64 {
	c := int64(le.Uint16(entry[26:]))
	if f.wide {
		c |= int64(le.Uint16(entry[20:])) << 16
	}
	return c
}

// entries follows the files in a piece of the directory self.
func (f *fat) entries(b []byte, self int64, todo []fatDir) ([]fatDir, error) {
	for ; len(b) >= fatEntry; b = b[fatEntry:] {
		attr := b[11] & 0x3f
		if b[0] == 0 || b[0] == 0xe5 || attr == fatLong {
			continue // never used, deleted, or a part of a name
		}
		first, size := f.first(b), int64(le.Uint32(b[28:]))
		switch {
		case attr&(fatLabel|fatIsDir) == fatLabel|fatIsDir || b[0] == '.':
			return nil, errFATDir
		case attr&fatLabel != 0:
		case attr&fatIsDir != 0 && len(todo) == maxFATDirs:
			return nil, errors.New("it has too many directories")
		case attr&fatIsDir != 0:
			todo = append(todo, fatDir{first, self})
		case size == 0 && first == 0:
		default:
			n, err := f.chain(first, func(int64) error { return nil })
			if err != nil {
				return nil, err
			}
			if n != (size+f.cluster-1)/f.cluster {
				return nil, errFATDir
			}
		}
	}
	return todo, nil
}

// chain visits the clusters from c on, none of which may belong to anything else.
func (f *fat) chain(c int64, visit func(int64) error) (n int64, err error) {
	for {
		if c < 2 || c >= f.clusters+2 || f.claimed[c/64]&(1<<(c%64)) != 0 {
			return n, errFATDir
		}
		f.claimed[c/64] |= 1 << (c % 64)
		n++
		if err := visit(c); err != nil {
			return n, err
		}
		next := f.entry(c)
		if next >= f.last() {
			return n, nil
		}
		c = int64(next) // what says free, reserved or bad is no cluster
	}
}
