//go:build linux && (amd64 || arm64)

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tinybackup/internal/e2e/faults"
)

// A lab is a directory in which one command is broken again and again, each time
// from the same beginning: the destination, and what the program remembers, are
// below dir; the source is beside it, and nobody changes it.
type lab struct {
	t         *testing.T
	p         *program
	args      []string // the command that is broken
	dir       string
	saved     string // dir as it is at the beginning
	source    string
	dest      string
	begun     map[string]string // the archives at the beginning, by name: their SHA-256
	keep      int               // archives that stay under the policy of the command
	complete  map[string]bool   // archives that were unpacked and compared, by SHA-256: as the source is
	trees     map[string]node   // of the source
	unpackDir string
	key       string // reads the archives, if they are encrypted
	spool     string // of cron and at, if the command has to do with them; it goes back to its beginning, too
}

// newLab is a lab with a source.
func newLab(t *testing.T) *lab {
	t.Helper()
	root := newDir(t)
	l := &lab{
		t: t, p: newProgram(t), dir: filepath.Join(root, "lab"), saved: filepath.Join(root, "saved"), unpackDir: filepath.Join(root, "out"),
		source: mkdir(t, root, "notes"), keep: 14, complete: make(map[string]bool),
	}
	l.dest = mkdir(t, l.dir, "dst")
	l.p.env = []string{"TINYBACKUP_DIR=" + filepath.Join(l.dir, "tb")}
	for i := range 4 {
		write(t, filepath.Join(mkdir(t, l.source, "texts"), fmt.Sprint(i)), strings.Repeat(fmt.Sprintln("text", i), 50*i))
	}
	check(t, os.WriteFile(filepath.Join(l.source, "noise"), noise(150<<10, 1), 0o640))
	check(t, os.Symlink("noise", filepath.Join(l.source, "link")))
	check(t, os.Link(filepath.Join(l.source, "noise"), filepath.Join(l.source, "twice")))
	return l
}

// save makes the beginning of what is there now.
func (l *lab) save() {
	l.t.Helper()
	tool(l.t, "cp", "-a", l.dir, l.saved)
	if l.spool != "" {
		tool(l.t, "cp", "-a", l.spool, l.saved+".spool")
	}
	l.trees = tree(l.t, l.source)
	l.begun = l.archives()
}

// reset goes back to the beginning. The directories themselves stay: one of them may
// be a mounted file system.
func (l *lab) reset() {
	l.t.Helper()
	tool(l.t, "sh", "-ec", `find "$1" -mindepth 1 -depth ! -path "$1/dst" ! -path "$1/tb" ! -name lost+found -delete; cp -a "$2/." "$1"`, "sh", l.dir, l.saved)
	if l.spool != "" {
		tool(l.t, "sh", "-ec", `find "$1" -mindepth 1 -delete; cp -a "$2/." "$1"`, "sh", l.spool, l.saved+".spool")
	}
}

// run runs the command from the beginning on, with decide.
func (l *lab) run(decide func(faults.Call) faults.Action) faults.Outcome {
	l.t.Helper()
	l.reset()
	return l.trace(decide)
}

func (l *lab) trace(decide func(faults.Call) faults.Action) faults.Outcome {
	l.t.Helper()
	dirs := []string{l.dir, l.source}
	if l.spool != "" {
		dirs = append(dirs, l.spool)
	}
	o, err := faults.Run(l.p.command(l.args...), dirs, decide)
	if err != nil {
		l.t.Fatal(err)
	}
	return o
}

func asItIs(faults.Call) faults.Action { return faults.Action{} }

// archives are the names in the destination that are an archive's, and the SHA-256
// of each.
func (l *lab) archives() map[string]string {
	l.t.Helper()
	sums := make(map[string]string)
	for _, name := range archives(l.t, l.dest) {
		data, err := os.ReadFile(filepath.Join(l.dest, name))
		sum := sha256.Sum256(data)
		sums[name] = hex.EncodeToString(sum[:])
		if err != nil { // of a disk that lost something
			sums[name] = err.Error()
		}
	}
	return sums
}

// isComplete unpacks an archive with tar and compares. One that cannot be unpacked
// is an error: such an archive must never have a name.
func (l *lab) isComplete(name, sum string) (bool, error) {
	l.t.Helper()
	if is, known := l.complete[sum]; known {
		return is, nil
	}
	check(l.t, os.RemoveAll(l.unpackDir))
	check(l.t, os.Mkdir(l.unpackDir, 0o755))
	archive := filepath.Join(l.dest, name)
	if l.key != "" {
		plain := l.unpackDir + ".tar.zst"
		if err := command("age", "-d", "-i", l.key, "-o", plain, archive); err != nil {
			return false, err
		}
		archive = plain
	}
	if err := command("tar", "--numeric-owner", "-C", l.unpackDir, "-xpf", archive); err != nil {
		return false, err
	}
	got := tree(l.t, filepath.Join(l.unpackDir, filepath.Base(l.source)))
	is := len(got) == len(l.trees)
	for path, want := range l.trees {
		for key := range want {
			is = is && (key == "blocks" || got[path][key] == want[key])
		}
	}
	l.complete[sum] = is
	return is, nil
}

// sums are the lines of SHA256SUMS, by name.
func (l *lab) sums() (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(l.dest, "SHA256SUMS"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	sums := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || len(sum) != 64 || !strings.HasSuffix(line, "\n") {
			return nil, fmt.Errorf("SHA256SUMS has a line %q", line)
		}
		sums[name] = sum
	}
	return sums, err
}

// left is what a killed process has left in the directories of ours: all that is not
// there when nothing has happened.
func (l *lab) left() []string {
	l.t.Helper()
	var left []string
	err := filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		for _, sign := range []string{".new-", ".tmp", ".temp", ".partial", "progress"} {
			if strings.Contains(name, sign) {
				left = append(left, path)
			}
		}
		if of, is := strings.CutSuffix(name, ".manifest"); is {
			if _, err := os.Lstat(filepath.Join(l.dest, of)); err != nil {
				left = append(left, path)
			}
		}
		return nil
	})
	check(l.t, err)
	return left
}

// wrong is what one run has done wrong, or not. It is said with where.
func (l *lab) wrong(where string, errs ...error) {
	l.t.Helper()
	if err := errors.Join(errs...); err != nil {
		figures.Lock()
		figures.lost++
		figures.Unlock()
		l.t.Errorf("%s: %v", where, err)
	}
}

// changes are the numbers of the calls that change something, and how many calls
// there are at all, of a run that nothing happens to.
func changes(calls []faults.Call) (numbers []int) {
	n := 0
	for _, c := range calls {
		if c.Changes {
			n++
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// atChange does a to the kth call that changes something.
func atChange(k int, a faults.Action) func(faults.Call) faults.Action {
	return func(c faults.Call) faults.Action {
		if c.Changes {
			if k--; k == 0 {
				return a
			}
		}
		return faults.Action{}
	}
}

// shortName is a call as it is said in an error.
func (l *lab) shortName(c faults.Call) string {
	text := fmt.Sprintf("call %d, %s %s", c.N, c.Name, strings.TrimPrefix(c.Path, l.dir+"/"))
	if c.To != "" {
		text += " -> " + strings.TrimPrefix(c.To, l.dir+"/")
	}
	return text
}

// where is which call was broken, and how.
func (l *lab) where(o faults.Outcome, n int, a faults.Action) string {
	if n < 1 || n > len(o.Calls) {
		return "nothing broken"
	}
	return fmt.Sprintf("%s: %v", l.shortName(o.Calls[n-1]), a)
}

// errorsOf are what can become of a call, short of the program's end.
func errorsOf(c faults.Call) []faults.Action {
	var errnos []syscall.Errno
	switch name := strings.TrimRight(c.Name, "2"); name {
	case "read", "pread64", "getdents64":
		errnos = []syscall.Errno{syscall.EIO, syscall.EINTR}
	case "write", "pwrite64", "ftruncate", "fallocate", "copy_file_range":
		errnos = []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EINTR}
	case "fsync", "fdatasync", "renameat", "rename", "linkat", "link", "symlinkat", "mkdirat", "mkdir":
		errnos = []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EINTR}
	case "sync_file_range", "ioctl":
		errnos = []syscall.Errno{syscall.EIO, syscall.ENOSPC}
	case "openat", "open":
		errnos = []syscall.Errno{syscall.EIO, syscall.EMFILE, syscall.EINTR}
		if c.Creates {
			errnos = append(errnos, syscall.ENOSPC, syscall.EDQUOT)
		}
	case "flock":
		errnos = []syscall.Errno{syscall.EIO, syscall.EINTR, syscall.ENOLCK}
	default:
		errnos = []syscall.Errno{syscall.EIO, syscall.EINTR}
	}
	var actions []faults.Action
	for _, errno := range errnos {
		actions = append(actions, faults.Fail(errno))
	}
	if c.CanBeShort() {
		actions = append(actions, faults.Short)
	}
	return actions
}

// A fault is one of the errors that a call can have.
type fault struct{ call, choice int }

// errorsIn are all errors that calls can have.
func errorsIn(calls []faults.Call) (all []fault) {
	for _, c := range calls {
		for i := range errorsOf(c) {
			all = append(all, fault{c.N, i})
		}
	}
	return all
}

// eachError runs the command with each of the faults, and has the outcome looked at.
func (l *lab) eachError(all []fault, look func(o faults.Outcome, f fault, a faults.Action)) {
	l.t.Helper()
	for _, f := range all {
		var a faults.Action
		o := l.run(func(c faults.Call) faults.Action {
			if c.N == f.call {
				can := errorsOf(c) // threads take turns: it may be another call than before
				a = can[f.choice%len(can)]
				return a
			}
			return faults.Action{}
		})
		tally("errors injected", 1)
		look(o, f, a)
	}
}

// names are the keys of a map, sorted.
func names[V any](m map[string]V) []string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
