package tinybackup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/notify"
	"tinybackup/internal/notify/notifytest"
	"tinybackup/internal/source"
)

// A heard is a job at 2:30 whose messages and pings go to servers of the test.
type heard struct {
	t      *testing.T
	env    Env
	job    Job
	now    time.Time
	web    *notifytest.Web // gets messages, as JSON, at a path that is a secret
	checks *notifytest.Web // gets pings
	screen bytes.Buffer

	gotCalls, gotPings int // that a test has looked at
}

// The secrets of the tests.
const (
	hookKey = "S3cr3tH00kK3y"
	checkID = "f0a1b2c3-1111-2222-3333-444455556666"
)

func newHeard(t *testing.T, edit func(*Options)) *heard {
	t.Helper()
	h := &heard{t: t, web: notifytest.NewWeb(t, nil), checks: notifytest.NewWeb(t, notifytest.Healthchecks(checkID))}
	var source, dest string
	h.env, source, dest = memoryEnv(t, &memoryScheduler{name: "cron"})
	h.job = testJob(t, h.env.Dirs, "0000000a")
	h.job.Time, h.job.StateDir = "2:30", filepath.Join(h.env.Dirs.State, h.job.ID)
	h.job.LogFile = filepath.Join(h.env.Dirs.Log, "notes.log")
	o := &h.job.Options
	o.Source, o.Dest, o.Name = source, dest, "notes"
	o.Notify = []ServiceURL{h.url(h.web)}
	o.Ping = ServiceURL(h.checks.URL + "/" + checkID)
	if edit != nil {
		edit(o)
	}
	h.now = time.Date(2026, 11, 22, 2, 30, 0, 0, h.job.Installed.Location())
	h.env.Now = func() time.Time { return h.now }
	h.env.Log = slog.New(screenHandler{w: &h.screen, level: slog.LevelWarn})
	h.env.notify = notify.Client{Sleep: func(context.Context, time.Duration) error { return nil }}
	if err := h.job.Write(h.env.Dirs); err != nil {
		t.Fatal(err)
	}
	return h
}

// url is that of a webhook.
func (h *heard) url(web *notifytest.Web) ServiceURL {
	return ServiceURL("generic+" + web.URL + "/" + hookKey + "?template=json")
}

// start starts the job at a time of day, days after the last one.
func (h *heard) start(days int, clock string) (Report, error) {
	h.t.Helper()
	at, err := time.ParseInLocation("15:04", clock, h.now.Location())
	if err != nil {
		h.t.Fatal(err)
	}
	y, m, d := h.now.AddDate(0, 0, days).Date()
	h.now = time.Date(y, m, d, at.Hour(), at.Minute(), 0, 0, h.now.Location())
	return RunJob(h.t.Context(), h.env, h.job, RunOnce{})
}

// titles are what the messages since the last look say, without name and host.
func (h *heard) titles() string {
	var all []string
	calls := h.web.Calls()
	for _, c := range calls[h.gotCalls:] {
		title := c.JSON("title")
		all = append(all, strings.TrimSuffix(title, ": notes on "+Env{}.hostName()))
	}
	h.gotCalls = len(calls)
	return strings.Join(all, ", ")
}

// pings are the signals of those since the last look: "start, 1".
func (h *heard) pings() string {
	var all []string
	calls := h.checks.Calls()
	for _, c := range calls[h.gotPings:] {
		all = append(all, strings.TrimPrefix(strings.TrimPrefix(c.Path, "/"+checkID), "/"))
	}
	h.gotPings = len(calls)
	return strings.Join(all, ", ")
}

// expect compares what was told since the last look.
func (h *heard) expect(when, titles, pings string) {
	h.t.Helper()
	if got := h.titles(); got != titles {
		h.t.Errorf("%s: got messages %q, want %q", when, got, titles)
	}
	if got := h.pings(); got != pings {
		h.t.Errorf("%s: got pings %q, want %q", when, got, pings)
	}
}

// last is the text of the newest message.
func (h *heard) last() string {
	h.t.Helper()
	calls := h.web.Calls()
	if len(calls) == 0 {
		h.t.Fatal("no message")
	}
	return calls[len(calls)-1].JSON("message")
}

// contains complains of what a text lacks.
func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %q:\n%s", what, part, text)
		}
	}
}

// gone moves the source away, and gives what brings it back.
func (h *heard) gone() (back func()) {
	h.t.Helper()
	source := h.job.Options.Source
	rename := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			h.t.Fatal(err)
		}
	}
	rename(source, source+".gone")
	return func() { rename(source+".gone", source) }
}

// pretend makes the destination look like one of archives, for a test that makes none.
func (h *heard) pretend() {
	h.t.Helper()
	if err := os.Mkdir(filepath.Join(h.job.Options.Dest, ".tinybackup"), 0o700); err != nil {
		h.t.Fatal(err)
	}
}

// Night after night: what is told is what has changed.
func TestMessagesOfAJob(t *testing.T) {
	t.Parallel()
	h := newHeard(t, nil)
	must := func(_ Report, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.start(0, "02:30"))
	h.expect("a success", "", "start, ")
	calls := h.checks.Calls()
	if a, b := calls[0].Query.Get("rid"), calls[1].Query.Get("rid"); a == "" || a != b {
		t.Errorf("rid: got %q and %q", a, b)
	}
	contains(t, "the ping of a success", calls[1].Body, `msg="run started"`, "1 archive kept")
	must(h.start(0, "02:45")) // cron asks
	h.expect("nothing to do", "", "")

	back := h.gone()
	_, err := h.start(1, "02:30")
	if err == nil {
		t.Fatal("no source, and no error")
	}
	h.expect("the first failure", titleFailed, "start, 1")
	contains(t, "the message", h.last(),
		"source \""+h.job.Options.Source+"\": no such file", "What to do: check the spelling", "job 0000000a, ", " -> "+h.job.Options.Dest,
		"Began: Mon 2026-11-23 02:30 CET", "Next try: Mon 2026-11-23 02:35", "Log: "+h.job.LogFile, `level=INFO msg="run started"`)
	contains(t, "the ping of a failure", h.checks.Calls()[3].Body, "level=ERROR", "failed: source ")
	_, _ = h.start(0, "02:35")
	h.expect("the second try", "", "start, 1")
	_, _ = h.start(1, "02:30")
	h.expect("the second night", "", "start, 1")
	_, _ = h.start(1, "02:30")
	h.expect("the third night", titleStill, "start, 1")
	back()
	must(h.start(1, "02:30"))
	h.expect("well again", titleRecovered, "start, ")
	contains(t, "the recovery", h.last(), ".tar.zst: ", "2 archives kept", "Backup: job 0000000a")
	must(h.start(1, "02:30"))
	h.expect("and on", "", "start, ")

	must(h.start(3, "02:30"))
	h.expect("two nights off", titleMissed, "start, ")
	contains(t, "what was missed", h.last(), "2 runs were missed, from Sat 2026-11-28 02:30 to Sun 2026-11-29 02:30")
	if text := h.screen.String(); strings.Contains(text, "told") {
		t.Errorf("on the screen: %s", text)
	}
	if _, err := os.Lstat(h.job.outboxPath()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an outbox is left: %v", err)
	}
}

// Warnings are told when they are others than before.
func TestMessagesOfWarnings(t *testing.T) {
	t.Parallel()
	h := newHeard(t, nil)
	h.pretend()
	for i, night := range []struct {
		warnings string
		err      error
		want     string
	}{
		{"", nil, ""},
		{"a is unreadable", nil, titleWarnings},
		{"a is unreadable", nil, ""},
		{"a is unreadable,b changed", nil, titleWarnings},
		{"", nil, ""},
		{"b changed", nil, titleWarnings},
		{"", errors.New("the disk is on fire"), titleFailed},
		{"b changed", nil, titleRecovered},
		{"b changed", nil, ""},
	} {
		h.env.backup = func(context.Context, Env, Options, string) (Report, error) {
			r := Report{Name: "notes", Archive: "notes-1.tar.zst", Start: h.now, End: h.now.Add(time.Second)}
			if night.warnings != "" {
				r.Warnings = strings.Split(night.warnings, ",")
				r.WarningCount = len(r.Warnings)
			}
			return r, night.err
		}
		_, _ = h.start(min(i, 1), "02:30")
		want := "start, "
		if night.err != nil {
			want += "1"
		}
		h.expect(fmt.Sprint(h.now.Day(), " ", night.warnings, night.err), night.want, want)
		if night.want == titleWarnings || night.want == titleRecovered {
			contains(t, "the message", h.last(), "- "+strings.Split(night.warnings, ",")[0])
		}
	}
}

func TestSameWarnings(t *testing.T) {
	t.Parallel()
	grew := func(from, to int) string {
		return fmt.Sprintf("a.log: %s%d bytes are stored, it has %d", source.Grew, from, to)
	}
	for _, c := range []struct {
		now, before []string
		want        bool
	}{
		{nil, nil, true},
		{[]string{"a", "b"}, []string{"b", "a"}, true},
		{[]string{"a", "b"}, []string{"a"}, false},
		{[]string{"a1: is gone"}, []string{"a2: is gone"}, false},
		{[]string{grew(1, 2)}, []string{grew(3, 4)}, true},
		{[]string{grew(1, 2)}, []string{"b" + grew(1, 2)}, false},
		{[]string{"a", "b", "c", "d", "e", "f"}, []string{"a", "b", "c", "d", "e"}, true}, // the history has no more
	} {
		if got := sameWarnings(Report{Warnings: c.now}, c.before); got != c.want {
			t.Errorf("%q and %q: got %v", c.now, c.before, got)
		}
	}
}

func TestMessagesAsChosen(t *testing.T) {
	t.Parallel()
	h := newHeard(t, func(o *Options) {
		o.NotifyOn, o.Ping, o.NotifyProgress = EventSuccess|EventStart, "", 25
		o.Notify = o.Notify[:1]
	})
	h.env.backup = func(_ context.Context, env Env, _ Options, _ string) (Report, error) {
		for done := int64(0); done <= 100; done += 5 {
			env.Progress(Progress{Phase: phaseReading, Done: done << 20, Total: 100 << 20})
			// What is sent beside the run has no order but this.
			waitUntil(t, func() bool { return len(h.web.Calls()) >= 1+int(min(done, 99))/25 })
		}
		env.Progress(Progress{Phase: "checking", Done: 50, Total: 100})
		return Report{Name: "notes", Archive: "a"}, nil
	}
	if _, err := h.start(0, "02:30"); err != nil {
		t.Fatal(err)
	}
	h.expect("a success", titleStarted+", 25 %, 50 %, 75 %, "+titleStored, "")
	contains(t, "progress", h.web.Calls()[1].JSON("message"), "25.0 MiB of 100.0 MiB")
	h.env.backup = func(context.Context, Env, Options, string) (Report, error) { return Report{}, errors.New("no") }
	_, _ = h.start(1, "02:30")
	h.expect("a failure", titleStarted, "")
}

// waitUntil waits for something that another goroutine does.
func waitUntil(t *testing.T, so func() bool) {
	t.Helper()
	for end := time.Now().Add(scriptPatience); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come")
		}
	}
}

// A run that was killed, and one that another run is in the way of.
func TestMessagesOfNoRun(t *testing.T) {
	t.Parallel()
	h := newHeard(t, nil)
	h.pretend()
	h.env.backup = func(context.Context, Env, Options, string) (Report, error) { panic("killed") }
	func() {
		defer func() { _ = recover() }()
		_, _ = h.start(0, "02:30")
	}()
	h.titles()
	h.pings()
	h.env.backup = func(context.Context, Env, Options, string) (Report, error) { return Report{Archive: "a"}, nil }
	if _, err := h.start(0, "02:36"); err != nil {
		t.Fatal(err)
	}
	h.expect("after a kill", titleFailed+", "+titleRecovered, "start, ")
	contains(t, "the message", h.web.Calls()[len(h.web.Calls())-2].JSON("message"), "the run was interrupted")

	lock, err := lockFile(t.Context(), filepath.Join(h.job.StateDir, "run.lock"), "a run", 0)
	if err != nil {
		t.Fatal(err)
	}
	for night, want := range []string{titleSkipped, "", ""} {
		if _, err := h.start(1, "02:30"); !errors.As(err, new(*BusyError)) {
			t.Fatalf("night %d: got %v, want a *BusyError", night, err)
		}
		h.expect(fmt.Sprint("skipped in night ", night), want, "")
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.start(1, "02:30"); err != nil {
		t.Fatal(err)
	}
	h.titles()
	h.pings()
	h.env.backup = func(context.Context, Env, Options, string) (Report, error) {
		return Report{}, &BusyError{Msg: "locked"}
	}
	_, _ = h.start(1, "02:30")
	h.expect("the archives are locked", titleSkipped, "start, 4")
	h.env.backup = func(context.Context, Env, Options, string) (Report, error) { return Report{Archive: "a"}, nil }
	_, _ = h.start(1, "02:30")
	h.titles()
	h.pings()
	h.env.backup = func(context.Context, Env, Options, string) (Report, error) {
		return Report{}, &BusyError{Msg: "not now", NotNow: true}
	}
	_, _ = h.start(1, "02:30")
	h.expect("put off by its own hook", "", "start")
}

// What cannot be sent changes nothing of the run, waits, and is seen.
func TestMessagesWait(t *testing.T) {
	t.Parallel()
	h := newHeard(t, nil)
	if _, err := h.start(0, "02:30"); err != nil {
		t.Fatal(err)
	}
	h.pings()
	down := func(c notifytest.Call) notifytest.Answer {
		// By now the run has given back its locks.
		if _, locked := isLocked(filepath.Join(h.job.StateDir, "run.lock")); locked && !strings.HasSuffix(c.Path, "/start") {
			t.Error("the job is locked while messages are sent")
		}
		// And who kills us now loses no message.
		if box, err := readOutbox(h.job.outboxPath()); (err != nil || len(box.Waiting) == 0) && !strings.HasSuffix(c.Path, "/start") {
			t.Errorf("outbox while messages are sent: %+v, %v", box, err)
		}
		return notifytest.Answer{Status: 503, Type: "text/plain", Body: "no way to " + c.Path}
	}
	h.web.Respond(down)
	h.checks.Respond(down)
	back := h.gone()
	_, err := h.start(1, "02:30")
	var hint *HintError
	if !errors.As(err, &hint) || exitStatus(t.Context(), err) != exitFailed {
		t.Errorf("got %v", err)
	}
	h.expect("down", "Backup failed, Backup failed, Backup failed", "start, start, start, 1, 1, 1")
	contains(t, "the screen", h.screen.String(), "warning: generic could not be told: 503 Service Unavailable: no way to /***\n", "warning: ping could not be told")

	// Asked again at once, nobody is bothered; and the next failure is not told, but
	// tries what waits.
	_, _ = h.start(0, "02:31")
	h.expect("a minute later", "", "")
	h.screen.Reset()
	_, _ = h.start(0, "02:35")
	h.expect("the second try", "Backup failed, Backup failed, Backup failed", "start, start, start, 1, 1, 1")
	if strings.Contains(h.screen.String(), "told") {
		t.Errorf("told twice on the screen: %s", h.screen.String())
	}

	s, err := StatusOf(t.Context(), h.env, Selection{Refs: []string{h.job.ID}})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Jobs[0].Messages) != 2 {
		t.Fatalf("status: got %+v", s.Jobs[0].Messages)
	}
	got := s.Jobs[0].Messages[0]
	if got.Service != "generic" || got.OK || got.Waiting != 1 || got.Since.Format("02 15:04") != "23 02:30" || got.Why != "503 Service Unavailable: no way to /***" {
		t.Errorf("status: got %+v", got)
	}
	var out bytes.Buffer
	h.env.Stdout = &out
	if err := s.Jobs[0].printDetail(h.env); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(s)
	h.noSecrets("statusof", out.String()+string(text))
	contains(t, "statusof", strings.Join(strings.Fields(out.String()), " "), "tells generic: fails since Mon 2026-11-23 02:30: 503", "; 1 message waits")

	h.web.Respond(nil)
	h.checks.Respond(notifytest.Healthchecks(checkID))
	back()
	if _, err := h.start(1, "02:30"); err != nil {
		t.Fatal(err)
	}
	h.expect("up again", "Backup failed, Backups succeed again", "start, 1, 1, ")
	contains(t, "the message from before", h.web.Calls()[len(h.web.Calls())-2].JSON("message"), "Began: Mon 2026-11-23 02:30")
	if _, err := os.Lstat(h.job.outboxPath()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an outbox is left: %v", err)
	}
	log, err := os.ReadFile(h.job.LogFile)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "the log", string(log), `msg="generic could not be told: 503 `, `msg="generic is told again, after `)
	h.noSecretsOnDisk()
}

// News is safe before anything is waited for: here, a server that is slow to hear that
// the run began.
func TestMessagesAreKeptFirst(t *testing.T) {
	t.Parallel()
	h := newHeard(t, nil)
	back := h.gone()
	defer back()
	h.checks.Respond(func(c notifytest.Call) notifytest.Answer {
		if !strings.HasSuffix(c.Path, "/start") {
			return notifytest.Answer{}
		}
		waitUntil(t, func() bool {
			box, err := readOutbox(h.job.outboxPath())
			return err == nil && len(box.Waiting) == 2
		})
		return notifytest.Answer{}
	})
	h.env.notify.Timeout = time.Hour
	if _, err := h.start(0, "02:30"); err == nil {
		t.Fatal("no error")
	}
	h.expect("then they are sent", titleFailed, "start, 1")
}

// What is lost is told of.
func TestMessagesLost(t *testing.T) {
	t.Parallel()
	h := newHeard(t, nil)
	if err := os.MkdirAll(h.job.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.job.outboxPath(), []byte(`{"waiting": [`), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := h.start(1, "02:30"); err != nil {
			t.Fatal(err)
		}
	}
	want := fmt.Sprintf("warning: messages that waited are lost: %q is damaged\n", h.job.outboxPath())
	if n := strings.Count(h.screen.String(), want); n != 1 {
		t.Errorf("told %d times, want once: %s", n, h.screen.String())
	}
}

// A start that has nothing to do sends what waits, when it is time.
func TestMessagesLater(t *testing.T) {
	t.Parallel()
	h := newHeard(t, func(o *Options) { o.Ping = "" })
	h.web.Respond(func(notifytest.Call) notifytest.Answer { return notifytest.Answer{Status: 401} })
	h.env.backup = func(context.Context, Env, Options, string) (Report, error) {
		return Report{WarningCount: 1, Warnings: []string{"w"}}, nil
	}
	_, _ = h.start(0, "02:30")
	h.expect("refused: not tried again", titleWarnings, "")
	for _, c := range []struct {
		clock string
		tried bool
	}{{"02:34", false}, {"02:35", true}, {"02:44", false}, {"02:45", true}, {"03:04", false}, {"03:05", true}} {
		_, _ = h.start(0, c.clock)
		want := ""
		if c.tried {
			want = titleWarnings
		}
		h.expect(c.clock, want, "")
	}
	// Something new is a reason to try what is old.
	h.env.backup = func(context.Context, Env, Options, string) (Report, error) {
		return Report{WarningCount: 1, Warnings: []string{"other"}}, nil
	}
	h.now = h.now.Add(time.Minute)
	if _, err := RunJob(t.Context(), h.env, h.job, RunOnce{Now: true}); err != nil {
		t.Fatal(err)
	}
	h.expect("something new, as all others would be refused", titleWarnings+", "+titleWarnings, "")
	h.web.Respond(nil)
	_, _ = h.start(0, "09:00")
	h.expect("it is let in", titleWarnings+", "+titleWarnings, "")
	contains(t, "the first", h.web.Calls()[h.gotCalls-2].JSON("message"), "- w\n")
	contains(t, "the second", h.last(), "- other\n")
	_, _ = h.start(0, "20:00")
	h.expect("and told once", "", "")

	// Who is not to be told any more is not waited for.
	h.web.Respond(func(notifytest.Call) notifytest.Answer { return notifytest.Answer{Status: 401} })
	h.env.backup = func(context.Context, Env, Options, string) (Report, error) { return Report{}, errors.New("no") }
	_, _ = h.start(1, "02:30")
	h.titles()
	h.job.Options.Notify, h.job.Options.Ping = nil, ServiceURL(h.checks.URL+"/"+checkID)
	_, _ = h.start(0, "02:35")
	h.expect("taken off the list", "", "start, 1")
	if box, err := readOutbox(h.job.outboxPath()); err != nil || !box.empty() {
		t.Errorf("outbox: %+v, %v", box, err)
	}
}

// A message that one does not take, whatever is tried, does not keep others from it.
func TestMessagesRefused(t *testing.T) {
	t.Parallel()
	h := newHeard(t, func(o *Options) { o.Ping = "" })
	n := 0
	fails := func() {
		n++
		h.env.backup = func(context.Context, Env, Options, string) (Report, error) {
			return Report{WarningCount: 1, Warnings: []string{fmt.Sprint("w", n)}}, nil
		}
		h.now = h.now.Add(time.Minute)
		if _, err := RunJob(t.Context(), h.env, h.job, RunOnce{Now: true}); err != nil {
			t.Fatal(err)
		}
	}
	refuse := func(parts ...string) {
		h.web.Respond(func(c notifytest.Call) notifytest.Answer {
			for _, part := range parts {
				if strings.Contains(c.Body, part) {
					return notifytest.Answer{Status: 400, Type: "text/plain", Body: "no " + part}
				}
			}
			return notifytest.Answer{}
		})
	}
	refuse("w")
	fails()
	fails()
	fails()
	if box, err := readOutbox(h.job.outboxPath()); err != nil || len(box.Waiting) != 3 {
		t.Fatalf("outbox: %+v, %v", box, err)
	}
	h.titles()
	refuse("w1", "w3")
	fails() // w1, w4, w2, w3
	h.expect("the newest is taken", titleWarnings+", "+titleWarnings+", "+titleWarnings+", "+titleWarnings, "")
	contains(t, "the third try", h.web.Calls()[h.gotCalls-2].JSON("message"), "- w2\n")
	contains(t, "the last try", h.last(), "- w3\n")
	contains(t, "the screen", h.screen.String(), `generic does not take a message, which is given up: "Backup with warnings: notes on`, ": 400 Bad Request: no w3")
	if _, err := os.Lstat(h.job.outboxPath()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an outbox is left: %v", err)
	}
}

// Of several who get mail, one who cannot have it does not keep it from others, nor
// gets anybody the same one again.
func TestMessagesToSeveral(t *testing.T) {
	t.Parallel()
	mail := notifytest.NewMailOf(t, notifytest.MailRules{Nobody: "b@example.org"})
	h := newHeard(t, func(o *Options) {
		o.Ping, o.Notify = "", []ServiceURL{ServiceURL("smtp://" + mail.Addr + "/?from=pi@example.org&to=a@example.org,b@example.org,c@example.org")}
	})
	for i := range 3 {
		h.env.backup = func(context.Context, Env, Options, string) (Report, error) {
			return Report{WarningCount: 1, Warnings: []string{fmt.Sprint("w", i)}}, nil
		}
		h.now = h.now.Add(time.Minute)
		if _, err := RunJob(t.Context(), h.env, h.job, RunOnce{Now: true}); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]int)
		for _, l := range mail.Letters() {
			got[l.To[0]]++
		}
		if got["a@example.org"] != i+1 || got["c@example.org"] != i+1 || len(got) != 2 {
			t.Errorf("run %d: got %v", i, got)
		}
	}
	contains(t, "the screen", h.screen.String(), "warning: smtp 2 could not be told: b@example.org: the server said 550 5.1.1 nobody")
	box, err := readOutbox(h.job.outboxPath())
	if err != nil || box.waitingFor("smtp 2") != 3 || box.waitingFor("smtp") != 0 || box.waitingFor("smtp 3") != 0 {
		t.Errorf("outbox: %+v, %v", box, err)
	}
}

// noSecrets complains of a URL's parts in a text.
func (h *heard) noSecrets(what, text string) {
	h.t.Helper()
	for _, secret := range []string{hookKey, checkID} {
		if strings.Contains(text, secret) {
			h.t.Errorf("%s shows %s:\n%s", what, secret, text)
		}
	}
}

// noSecretsOnDisk looks through all files but the jobs'.
func (h *heard) noSecretsOnDisk() {
	h.t.Helper()
	for _, dir := range []string{h.env.Dirs.State, h.env.Dirs.Log, h.job.Options.Dest} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			h.noSecrets(path, string(text))
			return err
		})
		if err != nil {
			h.t.Fatal(err)
		}
	}
}
