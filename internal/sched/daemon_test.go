package sched

import (
	"os"
	"path/filepath"
	"testing"
)

// tree makes the files in a new directory and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestDaemonState(t *testing.T) {
	const pid1 = "1 (systemd) S 0 1 1"
	for _, test := range []struct {
		name  string
		d     daemon
		files map[string]string
		want  daemonState
	}{
		{"nothing to look at", cronDaemon, nil, unknown},
		{"only others", cronDaemon, map[string]string{"proc/1/stat": pid1, "proc/7/stat": "7 (crony) S 1", "proc/self/stat": "8 (cron) S 1"}, stopped},
		{"pid file", cronDaemon, map[string]string{"proc/1/stat": pid1, "run/crond.pid": "7\n", "proc/7/stat": "7 (cron) S 1"}, running},
		{"pid file without newline", cronDaemon, map[string]string{"proc/1/stat": pid1, "var/run/crond.pid": "7", "proc/7/stat": "7 (crond) S 1"}, running},
		{"no pid file", cronDaemon, map[string]string{"proc/1/stat": pid1, "proc/7/stat": "7 (crond) S 1"}, running},
		{"stale pid file", cronDaemon, map[string]string{"proc/1/stat": pid1, "run/crond.pid": "7\n", "proc/7/stat": "7 (bash) S 1"}, stopped},
		{"stale pid file, another cron", cronDaemon, map[string]string{"proc/1/stat": pid1, "run/crond.pid": "7\n", "proc/7/stat": "7 (bash) S 1", "proc/9/stat": "9 (cron) S 1"}, running},
		{"dead", cronDaemon, map[string]string{"proc/1/stat": pid1, "run/crond.pid": "7\n", "proc/7/stat": "7 (cron) Z 1"}, stopped},
		{"broken pid files", cronDaemon, map[string]string{"proc/1/stat": pid1, "run/crond.pid": "", "run/cron.pid": "-1", "var/run/cron.pid": "x"}, stopped},
		{"odd name", cronDaemon, map[string]string{"proc/1/stat": pid1, "proc/7/stat": "7 (a) (cron) S 1"}, stopped},
		{"half a stat", cronDaemon, map[string]string{"proc/1/stat": pid1, "proc/7/stat": "7 (cron"}, stopped},
		{"busybox", cronDaemon, map[string]string{"proc/1/stat": pid1, "proc/7/stat": "7 (busybox) S 1", "proc/7/cmdline": "/bin/busybox\x00crond\x00-f\x00"}, running},
		{"busybox link", cronDaemon, map[string]string{"proc/1/stat": pid1, "proc/7/stat": "7 (busybox) S 1", "proc/7/cmdline": "/usr/sbin/crond\x00"}, running},
		{"another busybox", cronDaemon, map[string]string{"proc/1/stat": pid1, "proc/7/stat": "7 (busybox) S 1", "proc/7/cmdline": "busybox\x00vi\x00crond\x00"}, stopped},
		{"systemd-cron", cronDaemon, map[string]string{"proc/1/stat": pid1, "run/systemd/system/x": "", "lib/systemd/system/cron.target": ""}, running},
		{"systemd-cron without systemd", cronDaemon, map[string]string{"proc/1/stat": pid1, "lib/systemd/system/cron.target": ""}, stopped},
		{"systemd without it", cronDaemon, map[string]string{"proc/1/stat": pid1, "run/systemd/system/x": ""}, stopped},
		{"processes hidden", cronDaemon, map[string]string{"proc/77/stat": "77 (sh) S 1"}, unknown},
		{"atd", atDaemon, map[string]string{"proc/1/stat": pid1, "run/atd.pid": "7\n", "proc/7/stat": "7 (atd) S 1"}, running},
		{"atd without pid file", atDaemon, map[string]string{"proc/1/stat": pid1, "proc/7/stat": "7 (atd) S 1"}, stopped},
		{"atd gone", atDaemon, map[string]string{"proc/1/stat": pid1, "run/atd.pid": "4194305\n"}, stopped},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.d.state(tree(t, test.files)); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}
