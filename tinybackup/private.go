package tinybackup

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxOwnFile is more than any file of ours has that decides what is run: a larger
// one is something else.
const maxOwnFile = 1 << 20

// readOwn reads a file that decides what is run with our rights, such as a job's,
// and gives its permissions. It refuses one that somebody else could have written,
// and one with any of the permissions in closed.
func readOwn(what, path string, closed fs.FileMode) ([]byte, fs.FileMode, error) {
	// Not blocking: a FIFO in its place must not hang a run.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s %q is a %s", what, path, kindOf(info.Mode()))
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return nil, 0, &HintError{
			Err:  fmt.Errorf("%s %q belongs to user %d", what, path, st.Uid),
			Hint: "read it, then: chown " + fmt.Sprint(os.Geteuid()) + " " + shellQuote(path),
		}
	}
	perm := info.Mode().Perm()
	if perm&closed != 0 {
		return nil, perm, openToOthers(what, path, perm)
	}
	if info.Size() > maxOwnFile {
		return nil, perm, fmt.Errorf("%s %q: %d bytes are too many", what, path, info.Size())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxOwnFile))
	return text, perm, err
}

// openToOthers refuses a file that others could write to, or read secrets from.
func openToOthers(what, path string, perm fs.FileMode) error {
	return &HintError{
		Err:  fmt.Errorf("%s %q is open to others (mode %04o)", what, path, perm),
		Hint: "read it, then: chmod 600 " + shellQuote(path),
	}
}
