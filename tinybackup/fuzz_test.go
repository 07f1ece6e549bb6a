package tinybackup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Any text is a job's file, or is refused in words; what was read is written and read
// again as the same.
func FuzzJobText(f *testing.F) {
	const head = "[job]\ntime = 30 2 * * *\nscheduler = cron\ninstalled = 2026-11-21T09:07:11+01:00 Europe/Berlin\n[options]\nsource = /src\ndest = /dst\nname = notes\n"
	for _, more := range []string{
		"", "keep = 3\nkeep-daily = 7\nexclude = \"a \\\" b\"\n", "compress = xz:9\nblock-size = 4MiB\n", "grace = 2h\njitter = 10m\ncatch-up = none\n",
		"\x00", "\xff\xfe", "[job]\n", "exclude =\n", "lock-wait = 99999999h\n", "name = ../x\n", "log = /x\nstate = y\n", "# comment\r\n; another\r\n",
	} {
		f.Add(head + more)
		f.Add(more + head)
	}
	f.Fuzz(func(t *testing.T, text string) {
		dirs := testDirs(t)
		path := filepath.Join(dirs.Jobs, "00000001.ini")
		if err := os.MkdirAll(dirs.Jobs, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := LoadJob(dirs, "00000001")
		if err != nil {
			return
		}
		if _, err := j.Spec(); err != nil {
			return
		}
		if err := j.Write(dirs); err != nil {
			return // a text that no file of ours holds
		}
		back, err := LoadJob(dirs, "00000001")
		if err != nil || !sameJob(back, j) {
			t.Errorf("%q: read as\n%+v\nwritten and read again:\n%+v, %v", text, j, back, err)
		}
	})
}

// Any text is a file of shared options, or is refused in words that name its line.
func FuzzSharedText(f *testing.F) {
	for _, text := range []string{
		"", "[options]\nkeep = 3\nexclude = x\n", "[Telegram]\nbot_token = 1:a\nchat_id = '@b'\n", "[Telegram]\nbot_token='\n", "[options]\nname = x\n",
		"[options]\nexclude =\nafter = \"\\x00\"\n", "[options]\nexclude-from = x\n[options]\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		dirs := testDirs(t)
		path := filepath.Join(filepath.Dir(dirs.Jobs), sharedName)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := readShared("", dirs.Jobs)
		if err != nil {
			if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is refused by %q", text, err)
			}
			return
		}
		o := Options{Source: "/src", Dest: "/dst", Keep: 7}
		o.under(origins{"keep": nil}, s.options, s.where)
		if o.Source != "/src" || o.Dest != "/dst" || o.Name != "" || o.Config != "" || o.Yes || o.Keep != 7 || o.KeepDaily != 0 {
			t.Errorf("%q gave %+v", text, o)
		}
	})
}

// Any bytes are a book of slots, or the history tells instead: never an error, and the
// slot of a day to come is owed when it comes.
func FuzzSlots(f *testing.F) {
	for _, text := range []string{
		"", "{}", `{"settled":"2026-11-21T02:30:00Z","tries":0,"failed_slots":0,"check":"00000000"}`, `{"settled":"9999-12-31T23:59:59Z"}`,
		`{"settled":"0000-01-01T00:00:00Z","tries":9223372036854775807}`, "[]", "null", `{"settled":null}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		j := testJob(t, testDirs(t), "00000001")
		if err := os.MkdirAll(j.StateDir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(j.slotsPath(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		book, err := j.slots()
		if err != nil {
			t.Fatal(err)
		}
		spec, err := j.Spec()
		if err != nil {
			t.Fatal(err)
		}
		slot, _ := spec.Next(time.Date(2027, 3, 1, 12, 0, 0, 0, j.Installed.Location()))
		if turn := j.owed(spec, book, slot); !turn.Slot.Equal(slot) {
			t.Errorf("%q: at %v is owed: %+v", text, slot, turn)
		}
	})
}
