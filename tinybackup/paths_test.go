package tinybackup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDirsOf(t *testing.T) {
	t.Parallel()
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  map[string]string
		euid int
		want Dirs
	}{
		"root": {nil, 0, Dirs{"/etc/tinybackup/jobs", "/var/lib/tinybackup", "/var/log/tinybackup", true}},
		"root has no XDG directories": {map[string]string{"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, 0,
			Dirs{"/etc/tinybackup/jobs", "/var/lib/tinybackup", "/var/log/tinybackup", true}},
		"user": {map[string]string{"HOME": "/home/anna"}, 1000,
			Dirs{"/home/anna/.config/tinybackup/jobs", "/home/anna/.local/state/tinybackup", "/home/anna/.local/state/tinybackup/log", true}},
		"user without HOME": {nil, 1000,
			Dirs{"/home/anna/.config/tinybackup/jobs", "/home/anna/.local/state/tinybackup", "/home/anna/.local/state/tinybackup/log", true}},
		"XDG directories that are the default": {map[string]string{"XDG_CONFIG_HOME": "/home/anna/.config", "XDG_STATE_HOME": "/home/anna/.local/state/"}, 1000,
			Dirs{"/home/anna/.config/tinybackup/jobs", "/home/anna/.local/state/tinybackup", "/home/anna/.local/state/tinybackup/log", true}},
		"another config": {map[string]string{"XDG_CONFIG_HOME": "/c"}, 1000,
			Dirs{"/c/tinybackup/jobs", "/home/anna/.local/state/tinybackup", "/home/anna/.local/state/tinybackup/log", false}},
		"another state": {map[string]string{"XDG_STATE_HOME": "/s"}, 1000,
			Dirs{"/home/anna/.config/tinybackup/jobs", "/s/tinybackup", "/s/tinybackup/log", false}},
		"another home, which cron does not know of": {map[string]string{"HOME": "/tmp/h"}, 1000,
			Dirs{"/tmp/h/.config/tinybackup/jobs", "/tmp/h/.local/state/tinybackup", "/tmp/h/.local/state/tinybackup/log", false}},
		"a relative XDG directory counts as unset": {map[string]string{"XDG_CONFIG_HOME": "c"}, 1000,
			Dirs{"/home/anna/.config/tinybackup/jobs", "/home/anna/.local/state/tinybackup", "/home/anna/.local/state/tinybackup/log", true}},
		"a relative home": {map[string]string{"HOME": "h"}, 1000,
			Dirs{"/.config/tinybackup/jobs", "/.local/state/tinybackup", "/.local/state/tinybackup/log", false}},
		"one directory for all": {map[string]string{"TINYBACKUP_DIR": "/stick/tb"}, 0,
			Dirs{"/stick/tb/jobs", "/stick/tb/state", "/stick/tb/log", false}},
		"one relative directory": {map[string]string{"TINYBACKUP_DIR": "tb"}, 1000,
			Dirs{cwd + "/tb/jobs", cwd + "/tb/state", cwd + "/tb/log", false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := DirsOf(func(key string) string { return c.env[key] }, c.euid, "/home/anna")
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := os.MkdirAll(filepath.Join(real, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ source, dest, wantSource, wantDest, wantName string }{
		{link, link + "/missing/deep", real, real + "/missing/deep", "real"},
		{link + "/.ssh", real + "/../real", real + "/.ssh", real, "ssh"},
		{"/", "s3://bucket/x", "/", "s3://bucket/x", "root"},
		{dir + "/no/such", "/", dir + "/no/such", "/", "such"},
		{"", "", "", "", ""},
	} {
		o := Options{Source: c.source, Dest: c.dest, Noop: true}
		if err := o.Resolve(); err != nil {
			t.Fatal(err)
		}
		if o.Source != c.wantSource || o.Dest != c.wantDest || o.Name != c.wantName {
			t.Errorf("%q to %q: got %q, %q, name %q, want %q, %q, name %q", c.source, c.dest, o.Source, o.Dest, o.Name, c.wantSource, c.wantDest, c.wantName)
		}
		if !o.DryRun || o.Noop || o.Keep != DefaultKeep || o.Compress.Codec != "zstd" {
			t.Errorf("defaults: got %+v", o)
		}
		again := o
		if err := again.Resolve(); err != nil || again.Source != o.Source || again.Dest != o.Dest || again.Name != o.Name {
			t.Errorf("resolved twice: got %+v, %v, want %+v", again, err, o)
		}
	}
}

// A stick is still the same stick after a reboot only by the name that its
// user gave: a link in /dev/disk, not the /dev/sdX it points to today.
func TestResolveKeepsDeviceNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link, file := filepath.Join(dir, "stick"), filepath.Join(dir, "file")
	for name, target := range map[string]string{link: "/dev/null", file: "/dev/shm"} {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	for source, want := range map[string]string{
		link:               link,
		"/dev/../dev/null": "/dev/null",
		file:               "/dev/shm", // below /dev, and no device
	} {
		o := Options{Source: source, Dest: "/"}
		if err := o.Resolve(); err != nil || o.Source != want {
			t.Errorf("%s: got %q, %v, want %q", source, o.Source, err, want)
		}
	}
}

// The crontab is the user's, whatever the environment says: so is its lock.
func TestCrontabLock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		euid        int
		home        string
		file, other string
	}{
		{0, "/root", "/var/lib/tinybackup/crontab.lock", "/root"},
		{1000, "/home/anna", "/home/anna/.local/state/tinybackup/crontab.lock", "/home/anna"},
	} {
		if file, other := crontabLock(c.euid, c.home); file != c.file || other != c.other {
			t.Errorf("user %d: got %q and %q, want %q and %q", c.euid, file, other, c.file, c.other)
		}
	}
}
