//go:build linux

package e2e

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A world is what a bad command finds: a source with a file, an empty destination.
type world struct {
	p             *program
	dir, src, dst string
	as            int // the user who types; 0 is root
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := newDir(t)
	w := &world{p: newProgram(t), dir: dir, src: mkdir(t, dir, "src"), dst: mkdir(t, dir, "dst")}
	write(t, filepath.Join(w.src, "a.txt"), "a")
	return w
}

// user lets a user without rights type, to whom all in the world belongs.
func (w *world) user(t *testing.T, uid int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	w.as = uid
	w.p.env = []string{"TINYBACKUP_DIR=" + filepath.Join(w.dir, "tb")}
	id := strconv.Itoa(uid)
	tool(t, "chown", "-R", id+":"+id, w.dir)
}

// try runs a command line in which {src} and its like stand for the world's paths.
func (w *world) try(t *testing.T, args ...string) outcome {
	t.Helper()
	words := strings.NewReplacer("{src}", w.src, "{dst}", w.dst, "{dir}", w.dir)
	args = slices.Clone(args)
	for i := range args {
		args[i] = words.Replace(args[i])
	}
	cmd := w.p.command(args...)
	if w.as != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(w.as), Gid: uint32(w.as)}}
	}
	return finish(t, cmd)
}

// A bad input: a command line, and what is to come of it.
type bad struct {
	name  string
	setup func(*testing.T, *world)
	args  string // words, separated by "|"
	code  int
	says  string // the error names the thing
	hint  string // the hint says what to type; "-" if there need be none
}

// file is a setup that writes a file into the world.
func file(name, text string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		write(t, filepath.Join(w.dir, name), strings.NewReplacer("{src}", w.src, "{dst}", w.dst).Replace(text))
	}
}

// closed is a setup in which a user without rights types, and the mode of a path
// keeps them out.
func closed(path string, mode uint32) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		w.user(t, 4242)
		check(t, syscall.Chmod(filepath.Join(w.dir, path), mode))
	}
}

// lockedUp is a setup with an archive that a user without rights may not read, or the
// files of a pattern; an empty pattern is the archive.
func lockedUp(pattern string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		w.p.exits(t, 0, "run", w.src, w.dst)
		w.user(t, 4242)
		paths, err := filepath.Glob(filepath.Join(w.dst, cmp.Or(pattern, "src-*")))
		check(t, err)
		for _, path := range paths {
			tool(t, "chown", "0:0", path)
			check(t, os.Chmod(path, 0o600))
		}
		if len(paths) != 1 {
			t.Fatalf("%s: %q", pattern, paths)
		}
	}
}

var badInputs = []bad{
	// what is backed up
	{"missing source", nil, "run|{dir}/nope|{dst}", 1, "/nope", ""},
	{"empty source path", nil, "run||{dst}", 2, "source", ""},
	{"empty source directory", func(t *testing.T, w *world) { mkdir(t, w.dir, "empty") }, "run|{dir}/empty|{dst}", 1, "/empty", ""},
	{"install of an empty directory", func(t *testing.T, w *world) { mkdir(t, w.dir, "empty") }, "install|--time|2:00|{dir}/empty|{dst}", 1, "/empty", "mount"},
	{"unreadable source", closed("src", 0), "run|{src}|{dst}", 1, "/src", ""},
	{"unreadable file", closed("src/a.txt", 0), "run|{src}/a.txt|{dst}", 1, "/src/a.txt", ""},
	{"source is a character device", nil, "run|/dev/null|{dst}", 2, "/dev/null", ""},
	{"source on another machine", nil, "run|sftp://host/dir|{dst}", 2, "sftp://host/dir", ""},

	// where it goes
	{"missing destination", nil, "run|{src}|{dir}/nope", 1, "/nope", "mkdir"},
	{"destination is a file", file("file", ""), "run|{src}|{dir}/file", 2, "/file", ""},
	{"destination is not writable", closed("dst", 0o555), "run|{src}|{dst}", 1, "/dst", ""},
	{"destination is read-only", func(t *testing.T, w *world) { mount(t, w.dst, "ro") }, "run|{src}|{dst}", 1, "/dst", ""},
	{"destination is full", func(t *testing.T, w *world) {
		mount(t, w.dst, "size=256k")
		write(t, filepath.Join(w.src, "noise"), string(noise(2<<20, 1)))
	}, "run|{src}|{dst}", 1, "no space left", ""},
	{"destination on another machine", nil, "run|{src}|s3://b", 2, "s3://b", "3 to 63"},
	{"keys in a destination", nil, "run|{src}|s3://id:secret@bucket", 2, "keys do not belong", "PROFILE"},
	{"source is the destination", nil, "run|{src}|{src}", 2, "/src", ""},

	// what it is called
	{"name with a slash", nil, "run|--name|a/b|{src}|{dst}", 2, "a/b", ""},
	{"name with a newline", nil, "run|--name|a\nb|{src}|{dst}", 2, `a\nb`, ""},
	{"name with a dash in front", nil, "run|--name=-x|{src}|{dst}", 2, "-x", ""},
	{"name with a dot in front", nil, "install|--time|2:00|--name|.x|{src}|{dst}", 2, ".x", ""},
	{"name too long", nil, "run|--name|" + strings.Repeat("n", 250) + "|{src}|{dst}", 2, "nnn", ""},

	// options
	{"no command", nil, "", 2, "no command", "--help"},
	{"unknown command", nil, "instal|{src}|{dst}", 2, "instal", "install"},
	{"unknown option", nil, "run|--kep|3|{src}|{dst}", 2, "--kep", "--keep"},
	{"no destination", nil, "run|{src}", 2, "destination", ""},
	{"too many arguments", nil, "run|{src}|{dst}|more", 2, "more", ""},
	{"negative count", nil, "run|--keep=-1|{src}|{dst}", 2, "-1", "-"},
	{"count is no number", nil, "run|--keep|many|{src}|{dst}", 2, "many", "-"},
	{"keep nothing", nil, "run|--keep|0|{src}|{dst}", 2, "--keep 0", "--keep all"},
	{"bad span", nil, "run|--keep-within|3q|{src}|{dst}", 2, "3q", "-"},
	{"unknown codec", nil, "run|--compress|lzma|{src}|{dst}", 2, "lzma", "-"},
	{"level too high", nil, "run|--compress|xz:10|{src}|{dst}", 2, "xz:10", "-"},
	{"bad block size", nil, "run|--block-size|3|{src}|{dst}", 2, "3", ""},
	{"bad duration", nil, "run|--lock-wait|soon|{src}|{dst}", 2, "soon", "-"},
	{"bad pattern", nil, "run|--exclude|[|{src}|{dst}", 2, "[", ""},
	{"missing pattern file", nil, "run|--exclude-from|{dir}/nope|{src}|{dst}", 1, "/nope", ""},
	{"unknown log level", nil, "--log-level|loud|run|{src}|{dst}", 2, "loud", "-"},

	// when
	{"no time", nil, "install|{src}|{dst}", 2, "time", "--time"},
	{"empty time", nil, "install|--time||{src}|{dst}", 2, "time", "--time"},
	{"wrong time", nil, "install|--time|whenever|{src}|{dst}", 2, "whenever", ""},
	{"hour 26", nil, "install|--time|30 26 * * *|{src}|{dst}", 2, "26", ""},
	{"impossible day", nil, "install|--time|30 2 31 2 *|{src}|{dst}", 2, "30 2 31 2 *", ""},
	{"six fields", nil, "install|--time|0 30 2 * * *|{src}|{dst}", 2, "0 30 2 * * *", ""},
	{"past", nil, "install|--once|--time|3:00pm 27.04.2020|{src}|{dst}", 2, "3:00pm 27.04.2020", ""},
	{"time that cron cannot express", nil, "install|--scheduler|cron|--time|+7 minutes|{src}|{dst}", 2, "cron", "--scheduler service"},
	{"unknown scheduler", nil, "install|--scheduler|crno|--time|2:00|{src}|{dst}", 2, "crno", "-"},

	// who starts it
	{"atd does not run", nil, "install|--scheduler|at|--time|2:00|{src}|{dst}", 1, "at", "--scheduler"},
	{"cron does not run", nil, "install|--scheduler|cron|--time|2:00|{src}|{dst}", 1, "cron", "--scheduler"},
	{"at.deny", func(t *testing.T, w *world) { w.user(t, 4243) }, "install|--scheduler|at|--time|2:00|{src}|{dst}", 1, "at", "at.deny"},
	{"cron.deny", func(t *testing.T, w *world) { w.user(t, 4243) }, "install|--scheduler|cron|--time|2:00|{src}|{dst}", 1, "cron", "cron.deny"},

	// jobs
	{"same archives from elsewhere", func(t *testing.T, w *world) {
		job(t, w)
		write(t, filepath.Join(mkdir(t, w.dir, "other", "src"), "b"), "b")
	}, "install|--scheduler|service|--time|3:00|{dir}/other/src|{dst}", 2, `"src"`, "--name"},
	{"run of an unknown job", nil, "run|--job|deadbeef", 2, "deadbeef", "statusof"},
	{"run of what is no id", nil, "run|--job|mine", 2, "mine", "statusof"},
	{"status of an unknown job", nil, "statusof|deadbeef", 2, "deadbeef", "statusof"},
	{"uninstall of an unknown job", nil, "uninstall|deadbeef", 2, "deadbeef", "statusof"},
	{"uninstall of nothing", nil, "uninstall", 2, "uninstall", ""},
	{"malformed list", file("list", "# jobs\n{src};02:30;src\n{src};2500;late\n"), "install|--scheduler|service|--from|{dir}/list|{dst}", 2, "list:3", ""},
	{"list with two alike", file("list", "{src};02:30;src\n{src};03:30;src\n"), "install|--scheduler|service|--from|{dir}/list|{dst}", 2, "list:2", "a name and a time of its own"},
	{"missing list", nil, "install|--from|{dir}/nope|{dst}", 1, "/nope", ""},

	// getting it back
	{"list of a missing directory", nil, "list|{dir}/nope", 1, "/nope", ""},
	{"restore from nothing", nil, "restore|{dst}|{dir}/to", 1, "/dst", ""},
	{"restore of a missing archive", nil, "restore|{dst}/src-20200101T000000Z.tar.zst|{dir}/to", 1, "src-20200101T000000Z.tar.zst", ""},
	{"restore of a missing path", backup, "restore|{dst}|{dir}/to|nope", 1, "nope", ""},
	{"restore from before the first", backup, "restore|--at|2001-01-01|{dst}|{dir}/to", 1, "2001", ""},
	{"restore at no time", backup, "restore|--at|whenever|{dst}|{dir}/to", 2, "whenever", ""},
	{"verify of nothing", nil, "verify|{dst}", 1, "/dst", ""},
	{"verify of somebody else's archive", lockedUp(""), "verify|{dst}", 1, "permission denied", "the user who made it"},
	{"verify with somebody else's manifest", lockedUp(".tinybackup/*.manifest"), "verify|{dst}", 1, "permission denied", "the user who made it"},
}

// job is a setup with a job for src at 2:00.
func job(t *testing.T, w *world) {
	w.p.exits(t, 0, "install", "--scheduler", "service", "--time", "2:00", w.src, w.dst)
}

// backup is a setup with an archive of src.
func backup(t *testing.T, w *world) {
	w.p.exits(t, 0, "run", w.src, w.dst)
}

// mount is a setup with a small file system of its own as the destination.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	inside(t)
	tool(t, "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir)
	t.Cleanup(func() { tool(t, "umount", dir) })
}

// TestBadInput gives every bad input one line that names the thing, a hint, a
// status, and leaves everything as it was.
func TestBadInput(t *testing.T) {
	inside(t) // some are about daemons that do not run
	need(t, "at", "crontab")
	for _, b := range badInputs {
		t.Run(b.name, func(t *testing.T) {
			w := newWorld(t)
			if b.setup != nil {
				b.setup(t, w)
			}
			var args []string
			if b.args != "" {
				args = strings.Split(b.args, "|")
			}
			before := left(t, w.dir)
			o := w.try(t, args...)
			if o.code != b.code {
				t.Errorf("exit: got %d, want %d", o.code, b.code)
			}
			if o.stdout != "" {
				t.Errorf("stdout: got %q, want none", o.stdout)
			}
			lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
			if !strings.HasPrefix(lines[0], "tinybackup: error: ") || !strings.Contains(lines[0], b.says) {
				t.Errorf("stderr: got %q, want an error that names %q", o.stderr, b.says)
			}
			switch {
			case len(lines) == 1 && b.hint == "-":
			case len(lines) == 2 && strings.HasPrefix(lines[1], "tinybackup: hint: ") && (b.hint == "-" || strings.Contains(lines[1], b.hint)):
			default:
				t.Errorf("stderr: got %q, want one error and a hint with %q", o.stderr, b.hint)
			}
			after := left(t, w.dir)
			for path := range after {
				if !before[path] {
					t.Errorf("left behind: %s", path)
				}
			}
			for path := range before {
				if !after[path] {
					t.Errorf("gone: %s", path)
				}
			}
		})
	}
}

// left are the paths of all there is in a directory; what a user without rights
// left there, too.
func left(t *testing.T, dir string) map[string]bool {
	t.Helper()
	paths := make(map[string]bool)
	for _, line := range strings.Split(tool(t, "find", dir, "-printf", `%P %y %s\n`), "\n") {
		// Directories grow; a lock that is kept is part of a destination that is in use, and
		// so is the word of a run that failed.
		if fields := strings.Fields(line); len(fields) == 3 && fields[1] != "d" && !strings.HasSuffix(fields[0], ".lock") && !strings.HasSuffix(fields[0], ".status") {
			paths[line] = true
		}
	}
	return paths
}

// TestBadJobFile runs and shows jobs whose file somebody has spoilt.
func TestBadJobFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, old, text string
		mode            os.FileMode
		code            int
		says            string
	}{
		{"unknown key", "name = src", "name = src\ncolour = red", 0o600, 2, "colour"},
		{"unknown section", "\n[options]", "\n[option]", 0o600, 2, "[option]"},
		{"bad value", "name = src", "keep = lots", 0o600, 2, "lots"},
		{"bad time", "2:00", "26:00", 0o600, 2, "26:00"},
		{"bad scheduler", "service", "anacron", 0o600, 2, "anacron"},
		{"no source", "source = ", "# source = ", 0o600, 2, "source"},
		{"open to all", "name = src", "name = src", 0o644, 1, "0644"},
		{"open to the group", "name = src", "name = src", 0o660, 1, "0660"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var in installed
			w.p.json(t, &in, "install", "--scheduler", "service", "--time", "2:00", w.src, w.dst)
			path := in.Jobs[0].Path
			edit(t, path, c.old, c.text)
			check(t, os.Chmod(path, c.mode))
			o := w.p.exits(t, c.code, "run", "--job", in.Jobs[0].ID)
			if !strings.Contains(o.stderr, c.says) || !strings.Contains(o.stderr, in.Jobs[0].ID) {
				t.Errorf("run: got %q, want it to name the job and %q", o.stderr, c.says)
			}
			if got := archives(t, w.dst); len(got) != 0 {
				t.Errorf("archives: %q", got)
			}
			o = w.p.exits(t, 5, "statusof")
			if !strings.Contains(o.stdout+o.stderr, in.Jobs[0].ID) {
				t.Errorf("statusof does not tell of the job:\n%s%s", o.stdout, o.stderr)
			}
			w.p.exits(t, 0, "uninstall", in.Jobs[0].ID)
			if left, err := os.ReadDir(filepath.Dir(path)); err != nil || anyINI(left) {
				t.Errorf("jobs after uninstall: got %v (%v), want none", left, err)
			}
		})
	}
}

// TestUnreadable is a file that may not be read: it costs a warning, and the rest
// is stored, in an archive that is known to lack something.
func TestUnreadable(t *testing.T) {
	inside(t)
	need(t, "tar", "zstd")
	t.Parallel()
	w := newWorld(t)
	write(t, filepath.Join(w.src, "b.txt"), "b")
	closed("src/a.txt", 0)(t, w)
	o := w.try(t, "run", "{src}", "{dst}")
	if o.code != 3 || !strings.Contains(o.stderr, "tinybackup: warning: ") || !strings.Contains(o.stderr, "a.txt") {
		t.Errorf("run: got exit %d, stderr %q, want 3 and a warning about a.txt", o.code, o.stderr)
	}
	if got, want := tool(t, "tar", "-tf", newest(t, w.dst)), "src/\nsrc/b.txt\n"; got != want {
		t.Errorf("in the archive: got %q, want %q", got, want)
	}
	if o := w.try(t, "list", "{dst}"); !strings.Contains(o.stdout, "incomplete") {
		t.Errorf("list: got %q, want it to say incomplete", o.stdout)
	}
}
