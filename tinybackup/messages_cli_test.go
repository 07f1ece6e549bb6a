package tinybackup

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tinybackup/internal/notify/notifytest"
)

// main runs a command line, and gives its exit status and what it printed.
func (h *heard) main(args ...string) (status int, stdout, stderr string) {
	h.t.Helper()
	var out, err bytes.Buffer
	env := h.env
	env.Stdout, env.Stderr = &out, &err
	status = Main(h.t.Context(), env, args)
	h.noSecrets(strings.Join(args[:1], " "), out.String()+err.String())
	return status, out.String(), err.String()
}

// rewrite replaces text in the job's file.
func (h *heard) rewrite(old, now string) {
	h.t.Helper()
	text, err := os.ReadFile(h.job.Path)
	if err != nil || !strings.Contains(string(text), old) {
		h.t.Fatalf("job file: %v, no %q in %s", err, old, text)
	}
	if err := os.WriteFile(h.job.Path, []byte(strings.Replace(string(text), old, now, 1)), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// A job that cannot be started is told of once, and when it can again.
func TestMessagesOfBadJobFile(t *testing.T) {
	t.Parallel()
	h := newHeard(t, nil)
	run := []string{"run", "--job", h.job.ID}
	if code, _, stderr := h.main(run...); code != 0 {
		t.Fatalf("exit status %d: %s", code, stderr)
	}
	h.expect("a good file", "", "start, ")

	h.rewrite("name = notes", "nmae = notes\nname = notes")
	for range 3 {
		if code, _, stderr := h.main(run...); code != 2 || !strings.Contains(stderr, "unknown key") {
			t.Fatalf("exit status %d: %s", code, stderr)
		}
	}
	h.expect("an unknown key", titleUnable, "2")
	contains(t, "the message", h.last(), h.job.Path+`:`, `unknown key "nmae"`, "What to do: did you mean name?", "job 0000000a")
	h.rewrite("nmae = notes", "keep = many")
	_, _, _ = h.main(run...)
	h.expect("another mistake", titleUnable, "2")

	h.rewrite("keep = many\n", "")
	_, _, _ = h.main(run...)
	h.expect("mended", titleAble, "")
	_, _, _ = h.main(run...)
	h.expect("and on", "", "")

	// By hand, the one who asks reads it.
	h.rewrite("name = notes", "nmae = notes")
	_, _, _ = h.main("run", "--now", "--job", h.job.ID)
	_, _, _ = h.main("run", "--job", h.job.ID, "--keep", "3")
	_, _, _ = h.main("run", "--check", "--job", h.job.ID)
	h.expect("by hand", "", "")

	// A file that others may write to says nothing about whom to tell.
	if err := os.Chmod(h.job.Path, 0o666); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := h.main(run...); code != 1 {
		t.Errorf("open to others: exit status %d", code)
	}
	h.expect("open to others", "", "")
	h.noSecretsOnDisk()
}

// Of a bad URL among good ones, the good ones hear; and whom the shared options name.
func TestMessagesOfBadURL(t *testing.T) {
	t.Parallel()
	h := newHeard(t, nil)
	h.rewrite("notify = ", "notify = telegram://"+hookKey+"@telegram?chats=x\nnotify = ")
	if code, _, stderr := h.main("run", "--job", h.job.ID); code != 2 || !strings.Contains(stderr, "--notify: telegram: invalid telegram token: ***") {
		t.Errorf("exit status %d: %s", code, stderr)
	}
	h.expect("a bad URL", titleUnable, "2")

	h = newHeard(t, func(o *Options) { o.Notify, o.Ping = nil, "" })
	shared := "[options]\nnotify = " + string(h.url(h.web)) + "\n"
	if err := os.WriteFile(filepath.Join(filepath.Dir(h.env.Dirs.Jobs), "tinybackup.ini"), []byte(shared), 0o600); err != nil {
		t.Fatal(err)
	}
	h.rewrite("time = 2:30", "time = never")
	for range 2 {
		if code, _, _ := h.main("run", "--job", h.job.ID); code != 2 {
			t.Errorf("exit status %d", code)
		}
	}
	h.expect("told by the shared options", titleUnable, "")
	if err := os.WriteFile(filepath.Join(filepath.Dir(h.env.Dirs.Jobs), "tinybackup.ini"), []byte(shared+"kepe = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.rewrite("time = never", "time = 2:30")
	_, _, _ = h.main("run", "--job", h.job.ID)
	h.expect("though these are the ones with the mistake", titleUnable, "")
	contains(t, "the message", h.last(), "tinybackup.ini:3", `unknown key "kepe"`)
}

// A run by hand tells what came of it, too.
func TestMessagesByHand(t *testing.T) {
	t.Parallel()
	h := newHeard(t, nil)
	o := h.job.Options
	args := []string{"run", "--notify", string(o.Notify[0]), "--ping", string(o.Ping), "--name", "notes"}
	if code, _, stderr := h.main(append(args, o.Source, o.Dest)...); code != 0 {
		t.Fatalf("exit status %d: %s", code, stderr)
	}
	h.expect("a success", "", "start, ")
	if code, _, _ := h.main(append(args, "--notify-on", "success", "--verify", o.Source, o.Dest)...); code != 0 {
		t.Errorf("exit status %d", code)
	}
	h.expect("a success that is to be told", titleStored, "start, ")
	contains(t, "the message", h.last(), ".tar.zst: ", "Backup: "+o.Source+" -> "+o.Dest)
	if code, _, _ := h.main(append(args, "--dry-run", o.Source, o.Dest)...); code != 0 {
		t.Errorf("exit status %d", code)
	}
	h.expect("--dry-run", "", "")
	back := h.gone()
	code, _, stderr := h.main(append(args, o.Source, o.Dest)...)
	back()
	if code != 1 || strings.Contains(stderr, "told") {
		t.Errorf("exit status %d: %s", code, stderr)
	}
	h.expect("a failure", titleFailed, "start, 1")

	// Nobody there: a line on the screen, and the same exit status.
	h.web.Close()
	h.checks.Close()
	code, _, stderr = h.main(append(args, "--notify-on", "success", o.Source, o.Dest)...)
	if code != 0 || !strings.Contains(stderr, "warning: generic was not told: ") || !strings.Contains(stderr, "warning: ping was not told: ") {
		t.Errorf("exit status %d: %s", code, stderr)
	}
}

func TestNotifyOptions(t *testing.T) {
	t.Parallel()
	h := newHeard(t, nil)
	o := h.job.Options
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--notify", "telegram://" + hookKey + "@telegram?chats=x"}, "--notify: telegram: invalid telegram token: ***"},
		{[]string{"--notify", "telegrm://" + hookKey}, "hint: did you mean telegram://?"},
		{[]string{"--notify", hookKey}, "--notify: this is no URL of a service"},
		{[]string{"--notify", "smtp://a:" + hookKey + "@mail.example.org/"}, "--notify: smtp: fromAddress missing"},
		{[]string{"--ping", hookKey}, "--ping: this is no http:// or https:// URL"},
		{[]string{"--notify-on", "failure,bad"}, `--notify-on: "bad" is none of failure, warning, recovery, success, start`},
		{[]string{"--notify-progress", "51"}, "--notify-progress 51 is not between 1 and 50"},
		{[]string{"--notify-progress=-1"}, "--notify-progress -1 is not"},
	} {
		for _, command := range [][]string{{"run"}, {"install", "--time", "2:30"}} {
			args := append(append(command, c.args...), o.Source, o.Dest)
			if code, _, stderr := h.main(args...); code != 2 || !strings.Contains(stderr, c.want) {
				t.Errorf("%q: exit status %d, want %q in: %s", args, code, c.want, stderr)
			}
		}
	}
	for text, want := range map[string]Events{"failure": EventFailure, "start, success": EventStart | EventSuccess, "warning,recovery": EventWarning | EventRecovery} {
		var e Events
		if err := e.UnmarshalFlag(text); err != nil || e != want {
			t.Errorf("%s: got %v, %v", text, e, err)
		}
		var again Events
		if err := again.UnmarshalFlag(e.String()); err != nil || again != e {
			t.Errorf("%s: got %v again, %v", text, again, err)
		}
	}
}

// What install prints of a job that changes does not show what is secret.
func TestNotifyInstall(t *testing.T) {
	t.Parallel()
	h := newHeard(t, nil)
	o := h.job.Options
	if err := os.Remove(h.job.Path); err != nil {
		t.Fatal(err)
	}
	install := []string{"install", "--time", "2:30", "--scheduler", "cron", "--notify-on", "failure", "--notify", string(o.Notify[0]), o.Source, o.Dest}
	for _, c := range []struct {
		more []string
		want string
	}{
		{nil, ""},
		{[]string{"--ping", string(o.Ping)}, "changed    ping: is set now\n"},
		{nil, "changed    ping: is not set any more\n"},
		{[]string{"--ping", string(o.Ping)}, ""},
		{[]string{"--ping", string(o.Ping) + "/slug", "--json"}, `"ping: another than before"`},
	} {
		code, stdout, stderr := h.main(append(append([]string{}, install...), c.more...)...)
		if code != 0 || !strings.Contains(stdout, c.want) {
			t.Fatalf("exit status %d, want %q: %s%s", code, c.want, stdout, stderr)
		}
	}
	jobs, _, err := Jobs(h.env.Dirs)
	if err != nil || len(jobs) != 1 {
		t.Fatalf("jobs: %v, %v", jobs, err)
	}
	got := jobs[0].Options
	if got.Notify[0] != o.Notify[0] || got.Ping != o.Ping+"/slug" || got.NotifyOn != EventFailure {
		t.Errorf("got %q, %q, %v", string(got.Notify[0]), string(got.Ping), got.NotifyOn)
	}
	if info, err := os.Stat(jobs[0].Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("job file: %v, %v", info.Mode(), err)
	}
	printed, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	h.noSecrets("options as JSON", string(printed))
}

func TestNotifyTest(t *testing.T) {
	t.Parallel()
	h := newHeard(t, func(o *Options) { o.NotifyOn = EventFailure })
	other := notifytest.NewWeb(t, nil)
	h.rewrite("notify = ", "notify = "+string(h.url(other))+"\nnotify = ")
	code, stdout, stderr := h.main("notify", "--test", h.job.ID)
	if code != 0 || strings.Count(stdout, " ok\n") != 3 || !strings.Contains(stdout, "generic 2 ") || stderr != "" {
		t.Errorf("exit status %d: %s%s", code, stdout, stderr)
	}
	h.expect("a test", "Test", "")
	if len(other.Calls()) != 1 || len(h.checks.Calls()) != 1 {
		t.Errorf("calls: %d and %d, want one each", len(other.Calls()), len(h.checks.Calls()))
	}

	h.web.Respond(func(notifytest.Call) notifytest.Answer {
		return notifytest.Answer{Status: 403, Type: "text/plain", Body: "go away, " + hookKey}
	})
	code, stdout, stderr = h.main("notify", "--test", "1")
	if code != 1 || !strings.Contains(stdout, "failed: 403 Forbidden: go away, ***") || !strings.Contains(stderr, "not everybody could be told") {
		t.Errorf("exit status %d: %s%s", code, stdout, stderr)
	}
	var out struct {
		OK   bool
		Jobs []TestedJob
	}
	code, stdout, _ = h.main("notify", "--test", "--json", h.job.ID)
	if err := json.Unmarshal([]byte(stdout), &out); err != nil || code != 1 || out.OK || len(out.Jobs[0].Services) != 3 || out.Jobs[0].Services[1].OK || !out.Jobs[0].Services[2].OK {
		t.Errorf("exit status %d, %v: %s", code, err, stdout)
	}

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"notify"}, "notify wants --test"},
		{[]string{"notify", "--test"}, "notify --test wants a job"},
		{[]string{"notify", "--test", "ffffffff"}, "ffffffff"},
	} {
		if code, _, stderr := h.main(c.args...); code != 2 || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit status %d: %s", c.args, code, stderr)
		}
	}
	quiet := newHeard(t, func(o *Options) { o.Notify, o.Ping = nil, "" })
	if code, _, stderr := quiet.main("notify", "--test", quiet.job.ID); code != 2 || !strings.Contains(stderr, "tells nobody") {
		t.Errorf("exit status %d: %s", code, stderr)
	}
}
