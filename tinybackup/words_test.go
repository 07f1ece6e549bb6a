package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestShellQuote(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"/home/anna/notes", "a b", "it's", "$HOME", "`id`", "a\nb", "-x", "", "ü", `"`, `\`, "a;b", "*"} {
		got, err := exec.Command("sh", "-c", "printf %s "+shellQuote(word)).Output()
		if err != nil || string(got) != word {
			t.Errorf("%q is quoted %s, which a shell reads as %q, %v", word, shellQuote(word), got, err)
		}
	}
	if got := shellQuote("/plain/path-1.2_x"); got != "/plain/path-1.2_x" {
		t.Errorf("got %s, want no quotes where none are needed", got)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"run", "install", "create", "uninstall", "delete", "statusof", "status", "list", "backups", "start", "stop"}
	for word, want := range map[string]string{
		"instal": "install", "isntall": "install", "unistall": "uninstall", "stat": "start", "lst": "list",
		"statusfo": "statusof", "sotp": "stop", "backup": "backups", "xyz": "", "": "", "frobnicate": "",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain":            "plain",
		`quoted "x" \ ü`:   `quoted "x" \ ü`,
		"a\nb":             `a\nb`,
		"a\x1b[2Jb":        `a\x1b[2Jb`,
		"\xff":             `\xff`,
		"real \ufffd":      "real \ufffd",
		"a\u202eb":         `a\u202eb`,
		"tab\there \"q\"":  `tab\there \"q\"`,
		"nbsp\u00a0is odd": `nbsp\u00a0is odd`,
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	killed, cancel := context.WithCancelCause(t.Context())
	cancel(&SignalError{syscall.SIGTERM})
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want int
		text string
	}{
		{t.Context(), nil, 0, ""},
		{t.Context(), errors.New("x"), 1, "tinybackup: error: x\n"},
		{t.Context(), &HintError{Err: errors.New("x"), Hint: "y"}, 1, "tinybackup: error: x\ntinybackup: hint: y\n"},
		{t.Context(), &UsageError{Msg: "x", Hint: "y"}, 2, "tinybackup: error: x\ntinybackup: hint: y\n"},
		{t.Context(), fmt.Errorf("w: %w", &UsageError{Msg: "x", Hint: "y"}), 2, "tinybackup: error: w: x\ntinybackup: hint: y\n"},
		{t.Context(), errWarnings, 3, ""},
		{t.Context(), &BusyError{Msg: "x"}, 4, "tinybackup: error: x\n"},
		{t.Context(), &ProblemError{}, 5, ""},
		{t.Context(), &ProblemError{Msg: "x"}, 5, "tinybackup: error: x\n"},
		{t.Context(), errors.Join(errors.New("x"), errors.New("y\x1b")), 1, "tinybackup: error: x\ntinybackup: error: y\\x1b\n"},
		{killed, context.Canceled, 143, "tinybackup: error: ended by signal: terminated\n"},
		{killed, fmt.Errorf("write: %w", context.Cause(killed)), 143, "tinybackup: error: ended by signal: terminated\n"},
		{killed, nil, 0, ""},
	} {
		var b strings.Builder
		if got := finish(c.ctx, &b, c.err); got != c.want || b.String() != c.text {
			t.Errorf("%v: got %d, %q, want %d, %q", c.err, got, b.String(), c.want, c.text)
		}
	}
}

func TestScreenHandler(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	log := slog.New(screenHandler{w: &b, level: slog.LevelInfo}).With("job", "notes")
	log.Debug("not seen")
	log.Info("begins", "n", 3)
	log.Warn("changed while it was read", "path", "a b\n", "empty", "")
	log.Error("bad")
	want := "tinybackup: begins job=notes n=3\n" +
		"tinybackup: warning: changed while it was read job=notes path=\"a b\\n\" empty=\"\"\n" +
		"tinybackup: error: bad job=notes\n"
	if b.String() != want {
		t.Errorf("got:\n%swant:\n%s", b.String(), want)
	}
}

func TestAnchor(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	// The hour that is there twice: the offset tells which one is meant.
	first := time.Date(2026, 10, 25, 0, 30, 0, 1, time.UTC).In(berlin)
	for _, want := range []time.Time{first, first.Add(time.Hour), first.UTC()} {
		got, err := parseAnchor(formatAnchor(want))
		if err != nil || !got.Equal(want) || got.Location().String() != want.Location().String() {
			t.Errorf("%s: got %v, %v, want %v", formatAnchor(want), got, err, want)
		}
	}
	for _, text := range []string{"", "2026-11-21", "2026-11-21T02:30:00 UTC", "x UTC"} {
		if got, err := parseAnchor(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestSameZone(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"UTC", "Etc/UTC", true}, {"Europe/Berlin", "Europe/Paris", true}, {"Europe/Berlin", "Europe/London", false},
		{"Africa/Algiers", "Europe/Berlin", false}, {"UTC", "Europe/London", false},
	} {
		if got := sameZone(zoneNamed(c.a), zoneNamed(c.b), from); got != c.want {
			t.Errorf("%s and %s: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
	for name, want := range map[string]string{"": "UTC", "UTC": "UTC", "/usr/share/zoneinfo/Asia/Tokyo": "Asia/Tokyo", "No/Such": "UTC"} {
		if got := zoneNamed(name).String(); got != want {
			t.Errorf("TZ=%q: got %s, want %s", name, got, want)
		}
	}
}

// An error that ended both what was done and what was to put that right is told once.
func TestSameErrorTwice(t *testing.T) {
	lost := errors.New("another run has taken the lock")
	err := errors.Join(lost, lost, errors.New("and this"))
	var told strings.Builder
	finish(t.Context(), &told, err)
	if got, want := told.String(), "tinybackup: error: another run has taken the lock\ntinybackup: error: and this\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := inOneLine(err), "another run has taken the lock; and this"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
