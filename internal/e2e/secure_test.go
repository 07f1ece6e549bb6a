//go:build linux

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// modesBelow are the permissions of all files and directories below dir.
func modesBelow(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	all := map[string]fs.FileMode{}
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		rel, _ := filepath.Rel(dir, path)
		if err == nil && d.Type()&fs.ModeSymlink == 0 {
			all[rel] = info.Mode().Perm()
		}
		return err
	}))
	return all
}

// TestPrivate looks at the permissions of everything that is written: for the owner
// alone, whatever the umask allows, and with what it forbids.
func TestPrivate(t *testing.T) {
	t.Parallel()
	for _, umask := range []string{"000", "022", "077"} {
		p := newProgram(t)
		dir := newDir(t)
		source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
		write(t, filepath.Join(source, "a.txt"), "a")
		shell := func(line string) {
			t.Helper()
			cmd := p.command()
			cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", "umask " + umask + "; TB='" + p.path + "'; " + line}
			if o := finish(t, cmd); o.code != 0 {
				t.Fatalf("%s: exit status %d: %s", line, o.code, o.stderr)
			}
		}
		shell(fmt.Sprintf("$TB install --scheduler service --time 2:30 --run %q %q", source, dest))
		shell("$TB start")
		stopped(t, p)
		shell("$TB statusof; $TB stop")
		write(t, filepath.Join(source, "b.txt"), "b")
		shell(fmt.Sprintf("$TB run --name other %q %q", source, dest))
		for _, where := range []string{p.dir(), dest} {
			for path, mode := range modesBelow(t, where) {
				if path != "." && mode&0o077 != 0 {
					t.Errorf("umask %s: %s in %s has mode %04o", umask, path, where, mode)
				}
			}
		}
		// What is restored has the modes of the archive, not more in the meantime.
		target := filepath.Join(dir, "back")
		shell(fmt.Sprintf("$TB restore --name other %q %q", dest, target))
		if got, want := fmt.Sprint(modesBelow(t, target)), fmt.Sprint(modesBelow(t, source)); got != want {
			t.Errorf("umask %s: restored with modes %s, want %s", umask, got, want)
		}
	}
}

// evil is a name that does harm wherever it is not quoted.
const evil = `it's "$(touch pwned)" ` + "`touch pwned`" + ` ; touch pwned & | > pwned * ~ \ #!{a,b} -rf`

// TestInjection has names and paths with all that shells, cron, at and INI files give a
// meaning to. Started as cron and at do it, the job backs up, and nothing else is run.
func TestInjection(t *testing.T) {
	inside(t)
	need(t, "crontab", "at", "atd", "faketime")
	standIn(t, "cron") // not parallel: others look at root's crontab
	newClock(time.Now(), 1).daemon(t, "/run/atd.pid", "atd", "-f", "-b", "1")
	for _, name := range []string{evil, strings.NewReplacer("'", "", `\`, "").Replace(evil), "-rf", "--job", " leading and trailing ", "x=y # z", "[job]", "\t", "naïve ☃", "new\nline", "per%cent"} {
		for _, scheduler := range []string{"cron", "at"} {
			dir := newDir(t)
			source, dest := mkdir(t, dir, "s"+name), mkdir(t, dir, name)
			write(t, filepath.Join(source, "a.txt"), "a")
			p := newProgram(t)
			p.env = []string{"TINYBACKUP_DIR=" + filepath.Join(dir, "tb"+name), "SECRET=of-the-environment"}
			args := []string{"install", "--scheduler", scheduler, "--time", "2:30", "--name", "n", source, dest}
			o := p.try(t, args...)
			if o.code == 2 && strings.ContainsAny(name, "\n\t%'") {
				// No line can carry it: that is said, and nothing is left.
				if !strings.Contains(o.stderr, "hint: ") || strings.Contains(crontab(t), "run --job") || len(waiting(t)) != 0 {
					t.Errorf("%q with %s: exit status %d: %s", name, scheduler, o.code, o.stderr)
				}
				continue
			}
			if o.code != 0 {
				t.Errorf("%q with %s: exit status %d: %s", name, scheduler, o.code, o.stderr)
				continue
			}
			line := ""
			if scheduler == "cron" {
				text := crontab(t)
				_, line, _ = strings.Cut(strings.SplitN(text, "\n", 2)[0], "* * * ")
				if strings.Contains(text, "of-the-environment") {
					t.Errorf("%q: the crontab has a secret: %s", name, text)
				}
			} else {
				line = tool(t, "at", "-c", strings.Fields(waiting(t)[0])[0])
				if strings.Contains(line, "of-the-environment") {
					t.Errorf("%q: at's job has a secret: %s", name, line)
				}
			}
			work := mkdir(t, dir, "work")
			cmd := exec.Command("/bin/sh", "-c", line+"\n")
			cmd.Dir, cmd.Env = work, []string{"PATH=/usr/bin:/bin", "HOME=" + work, "LOGNAME=root", "SHELL=/bin/sh"}
			if o := finish(t, cmd); o.code != 0 || o.stderr != "" {
				t.Errorf("%q, started as %s does: exit status %d: %s", name, scheduler, o.code, o.stderr)
			}
			p.exits(t, 0, "run", "--now", "--job", jobIn(t, p))
			if got := archives(t, dest); len(got) != 1 {
				t.Errorf("%q with %s: archives %q", name, scheduler, got)
			}
			for _, where := range []string{work, "/", dir, "/root"} {
				if _, err := os.Lstat(filepath.Join(where, "pwned")); err == nil {
					t.Fatalf("%q with %s: a command in a name was run, in %s", name, scheduler, where)
				}
			}
			p.run(t, "uninstall", "--all")
		}
	}
}

// jobIn is the id of p's one job.
func jobIn(t *testing.T, p *program) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(strings.NewReplacer(`\`, `\\`, "*", `\*`, "[", `\[`, "?", `\?`).Replace(p.dir()), "jobs", "*.ini"))
	if err != nil || len(files) != 1 {
		t.Fatalf("job files: %q, %v", files, err)
	}
	return strings.TrimSuffix(filepath.Base(files[0]), ".ini")
}
