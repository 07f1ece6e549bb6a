package tinybackup

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// sharedText puts a file of shared options beside the jobs of dirs.
func sharedText(t *testing.T, dirs Dirs, text string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(dirs.Jobs), sharedName)
	if err := writeWhole(path, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return path
}

// variables are an environment of these variables alone.
func variables(vars ...string) func(string) string {
	return func(name string) string {
		for _, kv := range vars {
			if value, is := strings.CutPrefix(kv, name+"="); is {
				return value
			}
		}
		return ""
	}
}

// The command line comes before the environment, that before the shared file, and
// that before the defaults. The rules of the rotation come from one of them.
func TestLayers(t *testing.T) {
	t.Parallel()
	const shared = "[options]\nkeep-daily = 7\nlock-wait = 1h\njitter = 2m\nexclude = *.o\nexclude = *.a\nverify = true\n"
	for name, c := range map[string]struct {
		typed Options
		given []string
		env   []string
		want  Options
	}{
		"the file alone": {want: Options{KeepDaily: 7, LockWait: Duration(time.Hour), Jitter: Duration(2 * time.Minute), Exclude: []string{"*.o", "*.a"}, Verify: true}},
		"the environment over it": {
			env:  []string{"TINYBACKUP_LOCK_WAIT=5m", "TINYBACKUP_VERIFY=false", "TINYBACKUP_EXCLUDE=a b\nc\n", "TINYBACKUP_JITTER="},
			want: Options{KeepDaily: 7, LockWait: Duration(5 * time.Minute), Jitter: Duration(2 * time.Minute), Exclude: []string{"a b", "c"}},
		},
		"the command line over all": {
			typed: Options{LockWait: Duration(time.Second), Exclude: []string{"x"}}, given: []string{"lock-wait", "exclude", "jitter"},
			env:  []string{"TINYBACKUP_LOCK_WAIT=5m", "TINYBACKUP_JITTER=1m"},
			want: Options{KeepDaily: 7, LockWait: Duration(time.Second), Exclude: []string{"x"}, Verify: true},
		},
		"one policy": {
			typed: Options{Keep: 3}, given: []string{"keep"}, env: []string{"TINYBACKUP_KEEP_WEEKLY=2"},
			want: Options{Keep: 3, LockWait: Duration(time.Hour), Jitter: Duration(2 * time.Minute), Exclude: []string{"*.o", "*.a"}, Verify: true},
		},
		"one policy of the environment": {
			env:  []string{"TINYBACKUP_KEEP_WEEKLY=2"},
			want: Options{KeepWeekly: 2, LockWait: Duration(time.Hour), Jitter: Duration(2 * time.Minute), Exclude: []string{"*.o", "*.a"}, Verify: true},
		},
		"no file":         {typed: Options{Config: "none"}, given: []string{"config"}, want: Options{Config: "none"}},
		"no file, either": {env: []string{"TINYBACKUP_CONFIG=none"}, want: Options{Config: "none"}},
		"what is of one backup or one run": {
			typed: Options{Config: "none"}, given: []string{"config"},
			env:  []string{"TINYBACKUP_NAME=x", "TINYBACKUP_SOURCE=/x", "TINYBACKUP_DEST=/x", "TINYBACKUP_YES=true", "TINYBACKUP_DRY_RUN=true", "TINYBACKUP_TIME=noon"},
			want: Options{Config: "none"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := Env{Dirs: testDirs(t), getenv: variables(c.env...)}
			sharedText(t, env.Dirs, shared)
			given := make(map[string]bool)
			for _, key := range c.given {
				given[key] = true
			}
			got, _, err := env.layered(c.typed, given)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

// What is wrong in a variable or in the shared file is said with its name or its line.
func TestLayersRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ shared, env, want, hint string }{
		"bad variable":        {"", "TINYBACKUP_KEEP=many", `TINYBACKUP_KEEP: count "many"`, ""},
		"bad flag":            {"", "TINYBACKUP_VERIFY=yes", `TINYBACKUP_VERIFY: `, ""},
		"bad choice":          {"", "TINYBACKUP_CATCH_UP=twice", `TINYBACKUP_CATCH_UP: invalid value twice`, ""},
		"keeps nothing":       {"", "TINYBACKUP_KEEP=0", "TINYBACKUP_KEEP: --keep 0 would keep no archive", "--keep all"},
		"bad combination":     {"", "TINYBACKUP_BLOCK_SIZE=4", "TINYBACKUP_BLOCK_SIZE: block size 4 B", "--block-size"},
		"second of a list":    {"", "TINYBACKUP_EXCLUDE=a\n\nb", "TINYBACKUP_EXCLUDE: an --exclude pattern is empty", ""},
		"no file":             {"", "TINYBACKUP_CONFIG=/none/such", `config file "/none/such": no such file`, "--config none"},
		"unknown key":         {"[options]\nkep = 3\n", "", `tinybackup.ini:2: unknown key "kep"`, "did you mean keep?"},
		"of one backup":       {"[options]\n\nname = x\n", "", `tinybackup.ini:3: unknown key "name"`, ""},
		"source":              {"[options]\nsource = /x\n", "", `:2: unknown key "source"`, ""},
		"another":             {"[options]\nconfig = /x\n", "", `:2: unknown key "config"`, ""},
		"unknown section":     {"[job]\n", "", `:1: unknown section [job]`, "[options] and [Telegram]"},
		"bad value":           {"[options]\nkeep = many\n", "", `:2: keep: count "many"`, ""},
		"bad for Check":       {"[options]\n# x\nblock-size = 5KiB\n", "", `tinybackup.ini:3: block size 5.0 KiB`, ""},
		"relative":            {"[options]\nexclude-from = x\n", "", `:2: "x" is not absolute`, "whole path"},
		"Telegram: no chat":   {"[Telegram]\nbot_token = 1:a\n", "", `:2: [Telegram] has no chat_id`, ""},
		"Telegram: no token":  {"[Telegram]\nchat_id = 1\n", "", `:2: the bot_token of [Telegram] is not`, "@BotFather"},
		"Telegram: bad token": {"[Telegram]\nchat_id = 1\nbot_token = hello\n", "", `:3: the bot_token`, ""},
		"Telegram: unknown":   {"[Telegram]\nbot = 1\n", "", `:2: unknown key "bot"`, "bot_token, chat_id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := Env{Dirs: testDirs(t), getenv: variables(c.env)}
			if c.shared != "" {
				sharedText(t, env.Dirs, c.shared)
			}
			run := runCommand{Args: pairArgs{Source: "/src", Dest: "/dst"}}
			_, err := run.options(env, &invocation{})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(hintOf(err), c.hint) {
				t.Errorf("got %v, hint %q\nwant %s, hint %q", err, hintOf(err), c.want, c.hint)
			}
		})
	}
}

// A file that decides what is run must be its owner's; one with secrets, for the
// owner alone to read.
func TestSharedFilePermissions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"plain":            {"[options]\nkeep = 3\n", 0o644, ""},
		"others may write": {"[options]\nkeep = 3\n", 0o664, "open to others (mode 0664)"},
		"secret":           {"[Telegram]\nbot_token = 1:a\nchat_id = 1\n", 0o600, ""},
		"open secret":      {"[Telegram]\nbot_token = 1:a\nchat_id = 1\n", 0o644, "open to others (mode 0644)"},
		"nothing set":      {"[Telegram]\nbot_token =\nchat_id = ''\n", 0o644, ""},
	} {
		dirs := testDirs(t)
		path := sharedText(t, dirs, c.text)
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := readShared("", dirs.Jobs)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(hintOf(err), "chmod 600")) {
			t.Errorf("%s: got %v, hint %q, want %q", name, err, hintOf(err), c.want)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give a file away")
	}
	dirs := testDirs(t)
	if err := os.Chown(sharedText(t, dirs, "[options]\n"), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := readShared("", dirs.Jobs); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
		t.Errorf("a stranger's file: got %v", err)
	}
}

// The values of old files are quoted or not, and a chat is a number or a name.
func TestTelegram(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"bot_token = 12:A-b_c\nchat_id = 345":           "telegram://12:A-b_c@telegram?chats=345",
		"bot_token=\"12:A-b_c\"\nchat_id=\"-100345\"":   "telegram://12:A-b_c@telegram?chats=-100345",
		"bot_token = '12:A-b_c'\nchat_id = '@anna'":     "telegram://12:A-b_c@telegram?chats=%40anna",
		"chat_id = @anna\nbot_token = 12:A-b_c  ":       "telegram://12:A-b_c@telegram?chats=%40anna",
		"bot_token = ' 12:A-b_c '\nchat_id = \" 345 \"": "telegram://12:A-b_c@telegram?chats=345",
		"":                         "",
		"bot_token = \nchat_id = ": "",
	} {
		var bot telegram
		if _, err := readINI("x", []byte("[Telegram]\n"+text), iniSection{name: telegramSection, data: &bot}); err != nil {
			t.Fatal(err)
		}
		if got, err := bot.url(); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
		if o := (Options{Notify: []ServiceURL{ServiceURL(want)}}); want != "" && o.checkNotify() != nil {
			t.Errorf("%q: nobody takes %s: %v", text, want, o.checkNotify())
		}
	}
}

// A job takes from the shared file, at each time that it is read, what its own file
// does not say; and what it took is not written into that.
func TestJobTakesShared(t *testing.T) {
	t.Parallel()
	dirs, j := ownJob(t, strings.NewReplacer("keep = 14\n", "", "verify = false\n", "verify = false\nreread = true\n").Replace(ownFile))
	const shared = "[options]\nkeep-daily = 7\nverify = true\nreread = true\nhook-timeout = 1m\nexclude = y\n"
	sharedText(t, dirs, shared)
	load := func() Job {
		t.Helper()
		j, err := LoadJob(dirs, j.ID)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	before := readText(t, j.Path)
	j = load()
	o := j.Options
	if o.Keep != 0 || o.KeepDaily != 7 || o.Verify || !o.Reread || o.HookTimeout != Duration(time.Minute) || len(o.Exclude) != 3 {
		t.Errorf("got %+v", o)
	}
	j.Options.Jitter = Duration(time.Hour)
	if err := j.Write(dirs); err != nil {
		t.Fatal(err)
	}
	if got, want := readText(t, j.Path), strings.Replace(before, "reread = true\n", "reread = true\njitter = 1h\n", 1); got != want {
		t.Errorf("rewritten: got\n%s\nwant\n%s", got, want)
	}
	// Written anew, it says what the shared file must not overrule.
	if err := os.Remove(j.Path); err != nil {
		t.Fatal(err)
	}
	if err := j.Write(dirs); err != nil {
		t.Fatal(err)
	}
	text := readText(t, j.Path)
	for _, line := range []string{"verify = false\n", "reread = true\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("written anew, it lacks %q:\n%s", line, text)
		}
	}
	for _, key := range []string{"keep", "hook-timeout"} {
		if strings.Contains(text, "\n"+key) {
			t.Errorf("written anew, it has %s of the shared file:\n%s", key, text)
		}
	}
	if got := load(); !sameJob(got, j) {
		t.Errorf("got  %+v\nwant %+v", got, j)
	}
	sharedText(t, dirs, "[options]\nkeep = 2\n")
	if o := load().Options; o.Keep != 2 || o.KeepDaily != 0 || o.HookTimeout != 0 {
		t.Errorf("with another shared file: got %+v", o)
	}
	sharedText(t, dirs, "[options]\nkep = 2\n")
	if _, err := LoadJob(dirs, j.ID); err == nil || !strings.Contains(err.Error(), "tinybackup.ini:2: unknown key") {
		t.Errorf("with a bad shared file: got %v", err)
	}
}

// A job may name its shared file, or want none.
func TestJobNamesShared(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{"none": "14", "/none/such": "config file \"/none/such\": no such file", "x": `:21: config: "x" is not absolute`} {
		dirs, j := ownJob(t, strings.Replace(ownFile, "keep = 14\n", "", 1))
		sharedText(t, dirs, "[options]\nkeep = 3\n")
		if err := writeWhole(j.Path, []byte(readText(t, j.Path)+"config = "+config+"\n")); err != nil {
			t.Fatal(err)
		}
		got, err := LoadJob(dirs, j.ID)
		if err == nil && want == "14" && got.Options.Keep == 14 {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %s", config, got.Options.Keep, err, want)
		}
		// It is the shared file that cannot be read, not the job's.
		if errors.As(err, new(*os.PathError)) {
			t.Errorf("%s: the error says that the job's file cannot be read", config)
		}
	}
}

// What a job now says against the shared file comes into its file, also if it is the
// default.
func TestJobSaysDefault(t *testing.T) {
	t.Parallel()
	dirs, j := ownJob(t, strings.Replace(ownFile, "verify = false\n", "", 1))
	sharedText(t, dirs, "[options]\nverify = true\n")
	j, err := LoadJob(dirs, j.ID)
	if err != nil || !j.Options.Verify {
		t.Fatal(j.Options.Verify, err)
	}
	j.Options.Verify, j.inherited, j.own = false, nil, []string{"verify"}
	if err := j.Write(dirs); err != nil {
		t.Fatal(err)
	}
	if back, err := LoadJob(dirs, j.ID); err != nil || !sameJob(back, j) || !strings.Contains(readText(t, j.Path), "compress = zstd\nverify = false\n# the end\n") {
		t.Errorf("got %+v, %v, of\n%s", back, err, readText(t, j.Path))
	}
}

// An old file has its chat told of a job, with those of the other section.
func TestJobTelegram(t *testing.T) {
	t.Parallel()
	dirs, j := ownJob(t, ownFile)
	token := "12345:" + strings.Repeat("aB-c_", 7)
	sharedText(t, dirs, "[options]\nnotify = ntfy://ntfy.sh/x\n[Telegram]\nchat_id = -100345\nbot_token = '"+token+"'\n")
	want := []ServiceURL{"ntfy://ntfy.sh/x", ServiceURL("telegram://" + token + "@telegram?chats=-100345")}
	if got, err := LoadJob(dirs, j.ID); err != nil || !slices.Equal(got.Options.Notify, want) {
		t.Errorf("got %d services, %v", len(got.Options.Notify), err)
	}
	path := sharedText(t, dirs, "[options]\nnotify = telegram:///t0ken\n[Telegram]\nchat_id = 1\nbot_token = "+token+"\n")
	_, err := LoadJob(dirs, j.ID)
	if err == nil || !strings.Contains(err.Error(), path+":2: --notify") || strings.Contains(err.Error(), "t0ken") {
		t.Errorf("a URL that is none: got %v", err)
	}
}

// A shared file that cannot be used still says whom to tell of that.
func TestBrokenSharedTellsTelegram(t *testing.T) {
	t.Parallel()
	dirs, j := ownJob(t, ownFile)
	sharedText(t, dirs, "[Telegram]\nbot_token = '12345:"+strings.Repeat("aB-c_", 7)+"'\nchat_id = \"@anna\"\n[options]\nkep = 3\n")
	if _, err := LoadJob(dirs, j.ID); err == nil {
		t.Fatal("a bad key was taken")
	}
	got, ok := glance(dirs, j.ID)
	if want := ServiceURL("telegram://12345:" + strings.Repeat("aB-c_", 7) + "@telegram?chats=%40anna"); !ok || !slices.Equal(got.Options.Notify, []ServiceURL{want}) {
		t.Errorf("got %v and %d services", ok, len(got.Options.Notify))
	}
}

// A list whose only value is empty has none, whatever the shared file has; and keeps
// that when it is written anew.
func TestJobWantsEmptyList(t *testing.T) {
	t.Parallel()
	dirs, j := ownJob(t, strings.NewReplacer("exclude = *.o\n", "exclude =\n", "exclude = \"*.a\"\n", "", "exclude = /cache/\n", "").Replace(ownFile))
	sharedText(t, dirs, "[options]\nexclude = x\n")
	for _, how := range []string{"as typed", "rewritten", "written anew"} {
		got, err := LoadJob(dirs, j.ID)
		if err != nil || len(got.Options.Exclude) != 0 {
			t.Fatalf("%s: got %q, %v", how, got.Options.Exclude, err)
		}
		if how == "rewritten" {
			if err := os.Remove(j.Path); err != nil {
				t.Fatal(err)
			}
		}
		if err := got.Write(dirs); err != nil {
			t.Fatal(err)
		}
	}
}

// The shared file is one beside a directory of jobs: a job's file that lies about has
// none.
func TestJobElsewhereHasNoShared(t *testing.T) {
	t.Parallel()
	dirs, j := ownJob(t, strings.Replace(ownFile, "keep = 14\n", "", 1))
	dir := t.TempDir()
	path := filepath.Join(dir, "about", j.ID+".ini")
	if err := writeWhole(path, []byte(readText(t, j.Path))); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(filepath.Join(dir, sharedName), []byte("[options]\nkeep = 3\n")); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadJob(dirs, path); err != nil || got.Options.Keep != DefaultKeep {
		t.Errorf("got %v, %v, want the default", got.Options.Keep, err)
	}
}

// Every option of the backup that is not of one run is a key of a job's file, and
// comes back from there.
func TestEveryOptionIsAKey(t *testing.T) {
	t.Parallel()
	samples := map[string]string{
		"stall-timeout": "90m", "timeout": "6h", "ionice": "idle", "bwlimit": "10MiB", "on-battery": "wait",
		"catch-up": "none", "compress": "xz:3", "block-size": "1MiB", "keep-within": "30d", "config": "none", "name": "x", "snapshot": "lvm",
		"notify": "ntfy://ntfy.sh/x", "notify-on": "start", "ping": "https://hc-ping.com/x", "s3-keys": "AKIA:secret", "copy-to": "/x y keep=2"}
	keys, zero := new(Options).fields()
	if len(keys) < 20 {
		t.Fatalf("found %q", keys)
	}
	for _, key := range keys {
		value := samples[key]
		if value == "" {
			value = sampleOf(zero[key])
		}
		dirs, _ := ownJob(t, strings.Replace(ownFile, "keep = 14\n", "", 1))
		path := filepath.Join(dirs.Jobs, "00000001.ini")
		lines := slices.DeleteFunc(strings.SplitAfter(readText(t, path), "\n"), func(line string) bool { return strings.HasPrefix(line, key+" ") })
		if err := writeWhole(path, []byte(strings.Join(lines, "")+key+" = "+value+"\n")); err != nil {
			t.Fatal(err)
		}
		j, err := LoadJob(dirs, "00000001")
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		if _, fields := j.Options.fields(); fields[key].IsZero() {
			t.Errorf("%s = %s is read as nothing", key, value)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := j.Write(dirs); err != nil {
			t.Fatal(err)
		}
		if back, err := LoadJob(dirs, "00000001"); err != nil || !sameJob(back, j) {
			t.Errorf("%s: got %+v, %v\nwant %+v", key, back, err, j)
		}
	}
}

// sampleOf is a value for an option that nothing is wrong with.
func sampleOf(field reflect.Value) string {
	switch field.Interface().(type) {
	case bool:
		return "true"
	case string, []string:
		return "/x"
	case Duration:
		return "1m"
	}
	return "2"
}
