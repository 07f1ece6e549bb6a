package tinybackup

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestJobLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log", "notes.log")
	now := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	for _, text := range []string{"one", "two"} {
		l, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(l.handler(slog.LevelInfo, func() time.Time { return now }).WithAttrs([]slog.Attr{slog.String("job", "notes")}))
		log.Debug("not seen")
		log.Info(text, "n", 1)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	want := "time=2026-11-21T02:30:00.000Z level=INFO msg=one job=notes n=1\n" +
		"time=2026-11-21T02:30:00.000Z level=INFO msg=two job=notes n=1\n"
	if err != nil || string(got) != want {
		t.Errorf("got %v:\n%swant:\n%s", err, got, want)
	}
}

// Lines that others add meanwhile, such as of a ping that got nowhere, stay, in a log
// that is new as in one that was there.
func TestJobLogIsShared(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notes.log")
	want := ""
	for range 2 {
		l, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"begin\n", "told by another\n", "end\n"} {
			w := io.Writer(l)
			if line == "told by another\n" {
				w = appender(path)
			}
			if _, err := io.WriteString(w, line); err != nil {
				t.Fatal(err)
			}
			want += line
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("got %v:\n%swant:\n%s", err, got, want)
	}
}

// A log that is full is cut, and old ones go, all before the process ends.
func TestJobLogIsCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "notes.log")
	line := []byte(strings.Repeat("x", 1<<20-1) + "\n")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	for range logMegabytes + 1 {
		if _, err := l.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "notes-*.log"))
	if err != nil || len(files) != 1 {
		t.Fatalf("old logs: got %v, %v, want one", files, err)
	}
	old, err := os.Stat(files[0])
	if err != nil || old.Size() != logMegabytes<<20 {
		t.Errorf("the old log: got %v, %v, want 10 MiB", old.Size(), err)
	}
}

// slog drops the errors of its handlers: the log tells the first one when it is closed.
func TestJobLogError(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "log")
	path := filepath.Join(dir, "notes.log")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	slog.New(l.handler(slog.LevelInfo, time.Now)).Info("x")
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names %s", err, path)
	}
}
