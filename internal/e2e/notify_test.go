//go:build linux

package e2e

import (
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/notify/notifytest"
)

// The secrets of the tests: they may stand in job files, and nowhere else.
const (
	botToken     = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
	mailPassword = "s3cr3t/p4ssw0rd"
	checkID      = "f0a1b2c3-1111-2222-3333-444455556666"
)

// The listeners of a job: each a server of the test that speaks the protocol of the
// real one.
type listeners struct {
	telegram *notifytest.Far
	mail     *notifytest.Mail
	checks   *notifytest.Web
}

func newListeners(t *testing.T) *listeners {
	t.Helper()
	return &listeners{
		telegram: notifytest.NewFar(t, "api.telegram.org", notifytest.Telegram(botToken)),
		mail:     notifytest.NewMail(t, "pi", mailPassword),
		checks:   notifytest.NewWeb(t, notifytest.Healthchecks(checkID)),
	}
}

// env are the variables that have a program find the listeners, and install write
// them into a job.
func (l *listeners) env() []string {
	return append(l.telegram.Env(),
		"TINYBACKUP_NOTIFY=telegram://"+botToken+"@telegram?chats=@ops\nsmtp://pi:"+url.QueryEscape(mailPassword)+"@"+l.mail.Addr+"/?from=pi@example.org&to=ops@example.org",
		"TINYBACKUP_PING="+l.checks.URL+"/"+checkID)
}

// messages are the titles that Telegram was given, without name and host.
func (l *listeners) messages() (all []string) {
	for _, c := range l.telegram.Calls() {
		title, _, _ := strings.Cut(c.JSON("text"), ": ")
		all = append(all, strings.TrimPrefix(title, "<b>"))
	}
	return all
}

// signals are what was pinged; of the start of a run that has not ended, nothing.
func (l *listeners) signals(t *testing.T) (all []string) {
	t.Helper()
	started := ""
	for _, c := range l.checks.Calls() {
		signal := strings.TrimPrefix(strings.TrimPrefix(c.Path, "/"+checkID), "/")
		rid := c.Query.Get("rid")
		switch {
		case signal == "start":
			started = rid
			continue
		case rid == "" || rid != started:
			t.Errorf("ping %q has rid %q, its start %q", signal, rid, started)
		}
		all = append(all, signal)
	}
	return all
}

// secretIn names a secret that a text shows, or "".
func secretIn(text string) string {
	number, key, _ := strings.Cut(botToken, ":")
	for _, s := range []string{key, number, mailPassword, url.QueryEscape(mailPassword), checkID} {
		if strings.Contains(text, s) {
			return s
		}
	}
	return ""
}

// TestTold has a job fail and come back, as the service starts it: one message of
// each, by Telegram and by mail, and a ping of every run.
func TestTold(t *testing.T) {
	t.Parallel()
	c := hourly()
	l := newListeners(t)
	p := newProgram(t).on(c)
	p.env = append(p.env, l.env()...)
	stopped(t, p)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")
	var in installed
	p.json(t, &in, "install", "--scheduler", "service", "--time", "30 * * * *", source, dest)
	p.exits(t, 0, "start")

	slots(t, c, dest, 30, 1)
	waitFor(t, 20*time.Second, "the ping of a success", func() bool { return len(l.signals(t)) > 0 })
	check(t, os.Rename(source, source+".gone"))
	waitFor(t, c.lasts(2*time.Hour)+20*time.Second, "a message of a failure", func() bool { return len(l.messages()) > 0 })
	waitFor(t, c.lasts(2*time.Hour)+20*time.Second, "a second try", func() bool { return len(l.signals(t)) > 2 })
	check(t, os.Rename(source+".gone", source))
	waitFor(t, c.lasts(8*time.Hour)+20*time.Second, "a message that all is well", func() bool { return len(l.messages()) > 1 && len(l.mail.Letters()) > 1 })
	p.exits(t, 0, "stop")

	if got := strings.Join(l.messages(), ", "); got != "Backup failed, Backups succeed again" {
		t.Errorf("messages: got %q", got)
	}
	letters := l.mail.Letters()
	if len(letters) != 2 {
		t.Fatalf("letters: got %d, want 2", len(letters))
	}
	for i, parts := range [][]string{
		{"Backup failed: notes on ", "source \"" + source + "\": no such file or directory\n", "\nWhat to do: check the spelling", "\nNext try: ", `level=INFO msg="run started"`},
		{"Backups succeed again: notes on ", ".tar.zst: 2 entries, "},
	} {
		subject, text, err := letters[i].Read()
		if err != nil || !strings.HasPrefix(subject, parts[0]) {
			t.Errorf("letter %d: its subject is %q, want %q (%v)", i+1, subject, parts[0], err)
		}
		for _, part := range parts[1:] {
			if !strings.Contains(text, part) {
				t.Errorf("letter %d lacks %q:\n%s", i+1, part, text)
			}
		}
	}
	signals := l.signals(t)
	if signals[0] != "" || signals[1] != "1" || signals[len(signals)-1] != "" {
		t.Errorf("pings: got %q, want a success, failures and a success", signals)
	}
	noSecretBelow(t, p.dir(), "jobs")
	noSecretBelow(t, dest)
}

// noSecretBelow looks through all files below a directory, but for those in except.
func noSecretBelow(t *testing.T, dir string, except ...string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		for _, name := range except {
			if d.Name() == name {
				return fs.SkipDir
			}
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if s := secretIn(string(text)); s != "" {
			t.Errorf("%s shows %s:\n%s", path, s, text)
		}
		return err
	}))
}

// TestSecrets looks for the URLs of services wherever somebody else could read them:
// in what is scheduled, said and kept, and in the command lines of all processes
// while a service keeps a run waiting.
func TestSecrets(t *testing.T) {
	inside(t)
	need(t, "crontab", "at", "atd", "faketime")
	standIn(t, "cron") // not parallel: others look at root's crontab
	newClock(time.Now(), 1).daemon(t, "/run/atd.pid", "atd", "-f", "-b", "1")
	l := newListeners(t)
	for _, scheduler := range []string{"cron", "at"} {
		dir := newDir(t)
		source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
		write(t, filepath.Join(source, "a.txt"), "a")
		p := newProgram(t)
		bare := p.env
		p.env = append(bare[:len(bare):len(bare)], l.env()...)
		said := ""
		say := func(code int, args ...string) {
			t.Helper()
			o := p.exits(t, code, args...)
			said += o.stdout + o.stderr
		}
		say(0, "install", "--scheduler", scheduler, "--time", "2:30", source, dest)
		p.env[len(p.env)-1] += "/slug" // another check: the change is told
		say(0, "install", "--scheduler", scheduler, "--time", "2:30", source, dest)
		p.env = append(bare[:len(bare):len(bare)], l.telegram.Env()...)
		id := jobIn(t, p)

		// Refused by all, and slowly: who looks meanwhile sees nothing.
		began, looked := make(chan bool, 100), make(chan bool)
		l.checks.Respond(func(c notifytest.Call) notifytest.Answer {
			began <- true
			<-looked
			return notifytest.Answer{Status: 400, Type: "text/plain", Body: "bad: " + c.Path}
		})
		l.telegram.Respond(func(c notifytest.Call) notifytest.Answer {
			return notifytest.Answer{Status: 400, Body: `{"description":"bad: ` + c.Path + `"}`}
		})
		l.mail.Refuse(func(command string) string {
			if command == "AUTH" {
				return "535 not with " + mailPassword
			}
			return ""
		})
		check(t, os.Rename(source, source+".gone"))
		run := begin(t, p.command("run", "--debug", "--now", "--job", id))
		<-began
		if s := secretIn(commandLines(t)); s != "" {
			t.Errorf("a process shows %s", s)
		}
		close(looked)
		o := run.wait(t)
		if said += o.stdout + o.stderr; o.code != 1 || strings.Count(o.stderr, " could not be told: ") != 3 {
			t.Errorf("run: exit status %d: %s", o.code, o.stderr)
		}
		say(1, "notify", "--test", id)
		say(1, "notify", "--test", "--json", id)
		for _, args := range [][]string{{}, {id}, {id, "--json"}, {"--prometheus"}} {
			say(5, append([]string{"statusof"}, args...)...)
		}
		check(t, os.Rename(source+".gone", source))
		say(0, "run", "--now", "--json", "--job", id)
		say(0, "repair", "--json")
		said += crontab(t)
		for _, line := range waiting(t) {
			said += tool(t, "at", "-c", strings.Fields(line)[0])
		}
		if s := secretIn(said); s != "" {
			t.Errorf("%s: what is said and scheduled shows %s:\n%s", scheduler, s, said)
		}
		noSecretBelow(t, p.dir(), "jobs")
		noSecretBelow(t, dest)
		noSecretBelow(t, "/var/spool/cron")
		say(0, "uninstall", "--all")
	}
}

// commandLines are those of all processes.
func commandLines(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(t, err)
	all := ""
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may be gone
		all += strings.ReplaceAll(string(text), "\x00", " ") + "\n"
	}
	if !strings.Contains(all, " run --debug ") {
		t.Fatalf("the run is not among the processes:\n%s", all)
	}
	return all
}

// TestToldSlowly has a service that hangs, in the bare environment of cron: it is in
// nobody's way, and the run ends all the same.
func TestToldSlowly(t *testing.T) {
	t.Parallel()
	hang := notifytest.NewWeb(t, func(notifytest.Call) notifytest.Answer { return notifytest.Answer{Hang: true} })
	web := notifytest.NewWeb(t, nil)
	p := newProgram(t)
	dir := newDir(t)
	source, dest := mkdir(t, dir, "notes"), mkdir(t, dir, "archives")
	write(t, filepath.Join(source, "a.txt"), "a")
	p.exits(t, 0, "install", "--scheduler", "service", "--time", "2:30", "--notify", "generic+"+hang.URL+"/x?template=json",
		"--notify", "generic+"+web.URL+"/x?template=json", "--notify-on", "success,failure", source, dest)
	job := jobIn(t, p)
	cmd := exec.Command("/bin/sh", "-c", "'"+p.path+"' run --now --job '"+filepath.Join(p.dir(), "jobs", job+".ini")+"'")
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin", "HOME=/root", "LOGNAME=root", "SHELL=/bin/sh"}
	run := begin(t, cmd)
	waitFor(t, 40*time.Second, "a message to the other", func() bool { return len(web.Calls()) > 0 && len(hang.Calls()) > 0 })
	if got := archives(t, dest); len(got) != 1 {
		t.Errorf("archives when it is told: %q", got)
	}
	// While the one hangs, the job is nobody's.
	if o := p.try(t, "statusof", job); strings.Contains(o.stdout, "is running") {
		t.Errorf("it runs while a service hangs: %s", o.stdout)
	}
	if o := run.wait(t); o.code != 0 || !strings.Contains(o.stderr, "generic could not be told: no answer ") {
		t.Errorf("exit status %d: %s", o.code, o.stderr)
	}
	if title := web.Calls()[0].JSON("title"); !strings.HasPrefix(title, "Backup stored: notes on ") {
		t.Errorf("title: %q", title)
	}
	o := p.try(t, "statusof", job)
	if text := strings.Join(strings.Fields(o.stdout), " "); !strings.Contains(text, " tells generic: fails since ") || !strings.Contains(text, "; 1 message waits tells generic 2 job ") {
		t.Errorf("statusof:\n%s", o.stdout)
	}
}
