//go:build linux

package e2e

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the scripts get into what they want")

// TestScript runs what a person would type. In a script, beside testscript's own:
//
//	exits N CMD…      CMD must exit with status N
//	archives DIR N    DIR holds N archives
//	jobid VAR         the id of the one job there is
//	second            wait until the clock shows another second: archives' names have them
//	damage FILE       change a byte in the middle of the file that a pattern matches
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Join(work, "bin")+":"+os.Getenv("PATH"))
			e.Setenv("BIN", filepath.Join(work, "bin", "tinybackup"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("TZ", "UTC")
			e.Setenv("TINYBACKUP_DIR", filepath.Join(e.WorkDir, "tb"))
			e.Defer(func() { // a script that fails leaves its service behind
				cmd := exec.Command(filepath.Join(work, "bin", "tinybackup"), "stop", "--now")
				cmd.Env = e.Vars
				_ = cmd.Run()
			})
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "archives": scriptArchives, "jobid": scriptJobID, "second": scriptSecond, "damage": scriptDamage,
		},
	})
}

func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	default:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s: got exit %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func scriptArchives(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var found []string
	for _, e := range entries {
		if stamp.MatchString(e.Name()) {
			found = append(found, e.Name())
		}
	}
	if len(found) != want {
		ts.Fatalf("archives in %s: got %q, want %d", args[0], found, want)
	}
}

func scriptJobID(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(ts.MkAbs("tb/jobs/*.ini"))
	ts.Check(err)
	if len(files) != 1 {
		ts.Fatalf("jobs: got %q, want one", files)
	}
	ts.Setenv(args[0], strings.TrimSuffix(filepath.Base(files[0]), ".ini"))
}

func scriptSecond(ts *testscript.TestScript, _ bool, _ []string) { nextSecond() }

func scriptDamage(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no file matches %s", args[0])
	}
	data, err := os.ReadFile(files[0])
	ts.Check(err)
	data[len(data)/2] ^= 0xff
	ts.Check(os.WriteFile(files[0], data, 0o600))
}
