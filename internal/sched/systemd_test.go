package sched

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeSystemctl is systemctl with units that are as they were last set.
type fakeSystemctl struct {
	dir     string
	states  map[string]string // "enabled active" of a unit
	calls   []string
	env     []string
	answers map[string]Output // by the command's first word, in its place
	missing bool
}

func (f *fakeSystemctl) exec(_ context.Context, p Program) (Output, error) {
	f.env = p.Env
	args := slices.DeleteFunc(slices.Clone(p.Args), func(arg string) bool { return strings.HasPrefix(arg, "--no-") })
	f.calls = append(f.calls, strings.Join(args, " "))
	args = slices.DeleteFunc(args, func(arg string) bool { return arg == "--user" })
	if f.missing {
		return Output{}, exec.ErrNotFound
	}
	if out, ok := f.answers[args[0]]; ok {
		return out, nil
	}
	switch args[0] {
	case "enable", "disable":
		f.states[args[1]] = args[0] + "d inactive"
	case "restart":
		f.states[args[1]] = strings.Replace(f.states[args[1]], "inactive", "active", 1)
	case "show":
		if args[1] == "--property=Version" {
			return Output{Stdout: "Version=252\n"}, nil
		}
		var out Output
		for _, unit := range args[2:] {
			load, enabled, active, next := "loaded", "disabled", "inactive", ""
			if _, err := os.Stat(filepath.Join(f.dir, unit)); err != nil {
				load = "not-found"
			}
			_, _ = fmt.Sscan(f.states[unit], &enabled, &active)
			if active == "active" {
				next = "Sun 2026-11-22 01:30:00 UTC"
			}
			out.Stdout += fmt.Sprintf("Id=%s\nLoadState=%s\nActiveState=%s\nUnitFileState=%s\nNeedDaemonReload=no\nNextElapseUSecRealtime=%s\n\n", unit, load, active, enabled, next)
		}
		return out, nil
	}
	return Output{}, nil
}

// newSystemd is one that was booted, with a directory for its units that does not exist yet.
func newSystemd(t *testing.T) (*Systemd, *fakeSystemctl) {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := &fakeSystemctl{dir: filepath.Join(root, "units"), states: map[string]string{}}
	return &Systemd{UnitDir: f.dir, StampDir: root, LockPath: filepath.Join(root, "lock"), Runner: Runner{Exec: f.exec}, Root: root}, f
}

func systemdEntry(t *testing.T, job string) Entry {
	t.Helper()
	return Entry{Job: job, Binary: "/usr/local/bin/tinybackup", Spec: parse(t, "30 2 * * *"), Next: atNow.Add(time.Minute)}
}

const ownService = "# Written by tinybackup: `tinybackup uninstall 3f2a91c0` removes it.\n" + `[Unit]
Description=Backup of tinybackup job 3f2a91c0
Documentation=man:tinybackup(1)

[Service]
Type=oneshot
ExecStart="/usr/local/bin/tinybackup" run --job 3f2a91c0
SuccessExitStatus=3 4
UnsetEnvironment=TINYBACKUP_DIR XDG_CONFIG_HOME XDG_STATE_HOME
Nice=19
`

func ownTimer(what, event string) string {
	return "# Written by tinybackup: `tinybackup uninstall 3f2a91c0` removes it.\n[Unit]\nDescription=" + what + ` tinybackup job 3f2a91c0
Documentation=man:tinybackup(1)

[Timer]
OnCalendar=` + event + `
Persistent=true
AccuracySec=1s
Unit=tinybackup-3f2a91c0.service

[Install]
WantedBy=timers.target
`
}

func unitFiles(t *testing.T, s *Systemd) map[string]string {
	t.Helper()
	files, err := os.ReadDir(s.UnitDir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(s.UnitDir, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[file.Name()] = string(text)
	}
	return found
}

func TestSystemdAddRetryRemove(t *testing.T) {
	t.Parallel()
	s, f := newSystemd(t)
	ctx := t.Context()
	if entries, err := s.List(ctx); len(entries) != 0 || err != nil || len(f.calls) != 0 {
		t.Errorf("List of none: got %v, %v, with %q", entries, err, f.calls)
	}
	e := systemdEntry(t, ownJob)
	if err := s.Retry(ctx, e); err == nil {
		t.Error("Retry of a job that is not there: got no error")
	}
	if err := s.Add(ctx, e); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"tinybackup-3f2a91c0.service": ownService, "tinybackup-3f2a91c0.timer": ownTimer("Times of", "*-*-* 02:30:00 UTC")}
	if got := unitFiles(t, s); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the units: got %s, want %s", got, want)
	}
	if err := s.Retry(ctx, e); err != nil {
		t.Fatal(err)
	}
	want["tinybackup-3f2a91c0-retry.timer"] = ownTimer("Next try of", "2026-11-21 09:04:00 UTC") // 09:03:03, rounded up
	if got := unitFiles(t, s); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the units with a retry: got %s, want %s", got, want)
	}
	if info, err := os.Stat(s.path("tinybackup-3f2a91c0.service")); err != nil || info.Mode() != 0o644 {
		t.Errorf("mode: got %v, %v, want 0644", info.Mode(), err)
	}
	entries, err := s.List(ctx)
	if err != nil || len(entries) != 1 {
		t.Fatalf("List: got %v, %v, want one", entries, err)
	}
	line, err := s.Line(e)
	if err != nil {
		t.Fatal(err)
	}
	next := time.Date(2026, 11, 22, 1, 30, 0, 0, time.UTC)
	if got := entries[0]; got.Job != ownJob || got.Binary != e.Binary || got.Text != line || got.Fault != nil || got.Running || !got.Next.Equal(next) || got.Where != "unit tinybackup-3f2a91c0.timer" {
		t.Errorf("List: got %+v", got)
	}
	f.calls = nil
	stamp := filepath.Join(s.StampDir, "stamp-tinybackup-3f2a91c0.timer")
	if err := os.WriteFile(stamp, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Remove(ctx, "00000001"); n != 0 || err != nil || len(f.calls) != 0 {
		t.Errorf("Remove of another job: got %d, %v, with %q", n, err, f.calls)
	}
	if n, err := s.Remove(ctx, ownJob); n != 1 || err != nil {
		t.Errorf("Remove: got %d, %v", n, err)
	}
	if got := unitFiles(t, s); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if _, err := os.Stat(stamp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("when the timer elapsed is still noted: %v", err)
	}
	const timers = " tinybackup-3f2a91c0.timer tinybackup-3f2a91c0-retry.timer"
	wantCalls := []string{"disable" + timers, "stop" + timers, "daemon-reload", "reset-failed tinybackup-3f2a91c0.service"}
	if !slices.Equal(f.calls, wantCalls) {
		t.Errorf("Remove called %q, want %q", f.calls, wantCalls)
	}
}

// What somebody else has written under our names stays, and so do the units of a job of the same id in another place.
func TestSystemdLeavesOthers(t *testing.T) {
	t.Parallel()
	s, _ := newSystemd(t)
	ctx := t.Context()
	for _, text := range []string{"[Service]\nExecStart=/bin/true\n", strings.Replace(ownService, "--job 3f2a91c0", `--job "/other/jobs/3f2a91c0.ini"`, 1)} {
		files := map[string]string{"tinybackup-3f2a91c0.service": text, "tinybackup-other.service": "mine", "tinybackup-3f2a91c0.timer": "mine"}
		if err := os.MkdirAll(s.UnitDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var backend *BackendError
		if err := s.Add(ctx, systemdEntry(t, ownJob)); !errors.As(err, &backend) || backend.Hint() == "" {
			t.Errorf("Add over %q: got %v", text, err)
		}
		if n, err := s.Remove(ctx, ownJob); n != 0 || err != nil {
			t.Errorf("Remove of %q: got %d, %v", text, n, err)
		}
		if got := unitFiles(t, s); fmt.Sprint(got) != fmt.Sprint(files) {
			t.Errorf("the files: got %v, want %v", got, files)
		}
	}
}

// Remove works where systemd does not run, as in the image of a machine.
func TestSystemdRemoveUnbooted(t *testing.T) {
	t.Parallel()
	s, f := newSystemd(t)
	if err := s.Add(t.Context(), systemdEntry(t, ownJob)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.Root, "run")); err != nil {
		t.Fatal(err)
	}
	if entries, err := s.List(t.Context()); len(entries) != 1 || err != nil {
		t.Errorf("List: got %v, %v", entries, err)
	}
	f.calls = nil
	if n, err := s.Remove(t.Context(), ownJob); n != 1 || err != nil {
		t.Errorf("Remove: got %d, %v", n, err)
	}
	if want := []string{"disable tinybackup-3f2a91c0.timer"}; !slices.Equal(f.calls, want) {
		t.Errorf("called %q, want %q", f.calls, want)
	}
	if got := unitFiles(t, s); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestSystemdFaults(t *testing.T) {
	t.Parallel()
	s, f := newSystemd(t)
	if err := s.Add(t.Context(), systemdEntry(t, ownJob)); err != nil {
		t.Fatal(err)
	}
	const timer = "tinybackup-3f2a91c0.timer"
	for _, test := range []struct{ show, want string }{
		{"LoadState=bad-setting", timer + " cannot be loaded (bad-setting)"},
		{"LoadState=loaded\nNeedDaemonReload=yes", timer + " was changed, and systemd has not read it since: systemctl daemon-reload"},
		{"LoadState=loaded\nActiveState=failed", timer + " is not started (failed)"},
		{"LoadState=loaded\nActiveState=active\nUnitFileState=disabled", timer + " will not be started at the next boot (disabled)"},
		{"LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNextElapseUSecRealtime=", timer + " has no time to come"},
		{"LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNextElapseUSecRealtime=n/a", timer + " has no time to come"},
		{"LoadState=loaded\nActiveState=active\nSubState=elapsed\nUnitFileState=enabled\nNextElapseUSecRealtime=", timer + " has no time to come"},
		{"LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nNextElapseUSecRealtime=", "<nil>"},
		{"LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNextElapseUSecRealtime=Sun 2026-11-22 01:30:00 UTC", "<nil>"},
	} {
		f.answers = map[string]Output{"show": {Stdout: "Id=" + timer + "\n" + test.show + "\n\nId=tinybackup-3f2a91c0.service\nActiveState=inactive\n"}}
		entries, err := s.List(t.Context())
		if err != nil || len(entries) != 1 {
			t.Fatalf("List: got %v, %v", entries, err)
		}
		if got := fmt.Sprint(entries[0].Fault); got != test.want {
			t.Errorf("%q: got %q, want %q", test.show, got, test.want)
		}
	}
	// A timer has no next time while its service runs.
	f.answers = map[string]Output{"show": {Stdout: "Id=" + timer + "\nLoadState=loaded\nActiveState=active\n\nId=tinybackup-3f2a91c0.service\nActiveState=activating\n"}}
	if entries, err := s.List(t.Context()); err != nil || entries[0].Fault != nil {
		t.Errorf("while it runs: got %+v, %v", entries, err)
	}
	f.answers = map[string]Output{"show": {Stderr: "Running in chroot, ignoring command 'show'\n"}}
	if _, err := s.List(t.Context()); err == nil || !strings.Contains(err.Error(), "Running in chroot") {
		t.Errorf("without an answer: got %v", err)
	}
}

func TestSystemdCheck(t *testing.T) {
	s, f := newSystemd(t)
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/77")
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	check := func(wantErr, wantHint string) {
		t.Helper()
		err := s.Check(t.Context())
		var backend *BackendError
		switch {
		case wantErr == "" && err == nil:
		case !errors.As(err, &backend) || !strings.Contains(err.Error(), wantErr) || !strings.Contains(backend.Hint(), wantHint):
			t.Errorf("Check: got %v (%v), want %q (%q)", err, backend, wantErr, wantHint)
		}
	}
	check("", "")
	f.answers = map[string]Output{"show": {Stderr: "Running in chroot, ignoring command 'show'\n"}}
	check("it does not answer: Running in chroot", "--scheduler service")
	s.User = "anna"
	f.answers = map[string]Output{"show": {Stderr: "Failed to connect to bus: No medium found\n", Code: 1}}
	check("No medium found", "loginctl enable-linger anna")
	if !slices.Contains(f.env, "XDG_RUNTIME_DIR=/run/user/77") || !slices.Contains(f.env, "LC_ALL=C") || !slices.Contains(f.env, "TZ=UTC") {
		t.Errorf("the environment of systemctl: %q", f.env)
	}
	if !strings.HasPrefix(f.calls[len(f.calls)-1], "--user ") {
		t.Errorf("it called %q, want it with --user", f.calls)
	}
	f.missing = true
	check("systemctl is not installed", "--scheduler service")
	if err := os.RemoveAll(filepath.Join(s.Root, "run/systemd")); err != nil {
		t.Fatal(err)
	}
	check("not booted with it", "--scheduler cron, at or service")
}

func TestSystemdNote(t *testing.T) {
	t.Parallel()
	s, _ := newSystemd(t)
	if got := s.Note(); got != "" {
		t.Errorf("for root: got %q", got)
	}
	s.User = "anna"
	if got := s.Note(); !strings.Contains(got, "loginctl enable-linger") {
		t.Errorf("for a user: got %q", got)
	}
	linger := filepath.Join(s.Root, "var/lib/systemd/linger")
	if err := os.MkdirAll(linger, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(linger, "anna"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := s.Note(); got != "" {
		t.Errorf("for a user who lingers: got %q", got)
	}
}

func TestSystemdCommand(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ binary, job, want string }{
		{"/usr/bin/tb", ownJob, `"/usr/bin/tb" run --job 3f2a91c0`},
		{"/o p/a$b%c/tb", "/a b/$c%d\"e\\f'g/3f2a91c0.ini", `"/o p/a$b%%c/tb" run --job "/a b/$$c%%d\"e\\f'g/3f2a91c0.ini"`},
		{"/tb", "/ä ;${HOME}/3f2a91c0.ini", `"/tb" run --job "/ä ;$${HOME}/3f2a91c0.ini"`},
		{`/a"b/tb`, ownJob, ""}, {"/a'b/tb", ownJob, ""}, {`/a\b/tb`, ownJob, ""}, {"/a\xffb/tb", ownJob, ""}, {"/tb", "/\xff/3f2a91c0.ini", ""},
		{"tb", ownJob, ""}, {"/a\nb", ownJob, ""}, {"/tb", "/a\nb/3f2a91c0.ini", ""},
	} {
		got, err := systemdCommand(test.binary, test.job)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q %q: got %q, %v, want %q", test.binary, test.job, got, err, test.want)
		}
		if err != nil {
			continue
		}
		binary, job, ok := parseService(unitMark + "\nExecStart=" + got + "\n")
		if !ok || binary != test.binary || job != test.job {
			t.Errorf("%s reads back as %q, %q, %v", got, binary, job, ok)
		}
		for _, edited := range []string{" " + got, got + " --now", got + " ", strings.Replace(got, "run", "run -v", 1), "-" + got} {
			if _, _, ok := parseService(unitMark + "\nExecStart=" + edited + "\n"); ok {
				t.Errorf("%q is taken for ours", edited)
			}
		}
	}
}

func FuzzSystemdCommand(f *testing.F) {
	f.Add("/o p/a$b%c/tb", "/a b/$$c%%d\"e\\f'g/3f2a91c0.ini")
	f.Fuzz(func(t *testing.T, binary, job string) {
		command, err := systemdCommand(binary, job)
		if err != nil {
			return
		}
		gotBinary, gotJob, ok := parseService(unitMark + "\nExecStart=" + command + "\n")
		if !ok || gotBinary != binary || gotJob != job {
			t.Errorf("%q, %q as %s reads back as %q, %q, %v", binary, job, command, gotBinary, gotJob, ok)
		}
	})
}
