package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"gopkg.in/natefinch/lumberjack.v2"
)

// A job's log is cut into files of logMegabytes, and logFiles old ones are kept.
const (
	logMegabytes = 10
	logFiles     = 5
)

// logLevels are the levels of --log-level.
var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

// A jobLog is the log file of a job while one run has it open, under the job's lock.
type jobLog struct {
	file *lumberjack.Logger
	mu   sync.Mutex
	made bool  // the file is there
	err  error // the first error of writing
}

// openLog opens a job's log. It makes its directory; the file comes with the
// first line. Nothing in it is compressed: lumberjack does that behind the back
// of a process that may have ended by then.
func openLog(path string) (*jobLog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return &jobLog{file: &lumberjack.Logger{
		Filename:   path,
		MaxSize:    logMegabytes,
		MaxBackups: logFiles,
		LocalTime:  true,
	}}, nil
}

// Write writes whole lines. An error is kept for Close: slog would lose it.
func (l *jobLog) Write(p []byte) (int, error) {
	l.make()
	n, err := l.file.Write(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && err != nil {
		l.err = err
	}
	return n, err
}

// make makes the file if there is none: lumberjack appends to one that it finds, but
// writes over what others add to one that it has made.
func (l *jobLog) make() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made {
		return
	}
	l.made = true
	// What is wrong lumberjack will say.
	if f, err := os.OpenFile(l.file.Filename, os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		_ = f.Close()
	}
}

// Close closes the file. Its error is the first one of writing, or that of closing.
func (l *jobLog) Close() error {
	err := l.file.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return fmt.Errorf("log %q: %w", l.file.Filename, cause(l.err))
	}
	return err
}

// handler is what turns facts into lines of the log: time, level, fact, key=value.
// now is the clock that stamps them.
func (l *jobLog) handler(level slog.Level, now func() time.Time) slog.Handler {
	return clockHandler{now: now, Handler: slog.NewTextHandler(l, &slog.HandlerOptions{Level: level})}
}

// A clockHandler stamps records with an Env's clock instead of the machine's.
type clockHandler struct {
	slog.Handler
	now func() time.Time
}

func (h clockHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Time = h.now()
	return h.Handler.Handle(ctx, r)
}

func (h clockHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return clockHandler{Handler: h.Handler.WithAttrs(attrs), now: h.now}
}

func (h clockHandler) WithGroup(name string) slog.Handler {
	return clockHandler{Handler: h.Handler.WithGroup(name), now: h.now}
}

// A screenHandler shows facts to a person, one line each, with the same words as
// the log: "tinybackup: warning: …".
type screenHandler struct {
	w     io.Writer
	level slog.Level
	attrs string // already formatted
}

func (h screenHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h screenHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString("tinybackup: ")
	switch {
	case r.Level >= slog.LevelError:
		b.WriteString("error: ")
	case r.Level >= slog.LevelWarn:
		b.WriteString("warning: ")
	case r.Level < slog.LevelInfo:
		b.WriteString("debug: ")
	}
	b.WriteString(oneLine(r.Message))
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(formatAttr(a))
		return true
	})
	b.WriteByte('\n')
	_, err := io.WriteString(h.w, b.String())
	return err
}

func (h screenHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += formatAttr(a)
	}
	return h
}

// WithGroup does not exist for a person.
func (h screenHandler) WithGroup(string) slog.Handler { return h }

// formatAttr is " key=value", the value quoted if it would not be one word.
func formatAttr(a slog.Attr) string {
	if a.Equal(slog.Attr{}) {
		return ""
	}
	v := a.Value.Resolve()
	text := v.String()
	if v.Kind() == slog.KindTime {
		text = v.Time().Format(time.RFC3339)
	}
	if strings.ContainsAny(text, " \t\"=") || oneLine(text) != text || text == "" {
		text = strconv.Quote(text)
	}
	return " " + a.Key + "=" + text
}

// oneLine is text without anything that would move a cursor or end the line: a
// file may be called anything.
func oneLine(text string) string {
	for i, r := range text {
		if !unicode.IsPrint(r) || (r == utf8.RuneError && text[i] != '\xef') {
			quoted := strconv.Quote(text)
			return quoted[1 : len(quoted)-1]
		}
	}
	return text
}

// A teeHandler tells several handlers the same facts.
type teeHandler []slog.Handler

func (t teeHandler) Enabled(ctx context.Context, level slog.Level) bool {
	for _, h := range t {
		if h.Enabled(ctx, level) {
			return true
		}
	}
	return false
}

func (t teeHandler) Handle(ctx context.Context, r slog.Record) error {
	var errs error
	for _, h := range t {
		if h.Enabled(ctx, r.Level) {
			errs = errors.Join(errs, h.Handle(ctx, r.Clone()))
		}
	}
	return errs
}

func (t teeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	all := make(teeHandler, len(t))
	for i, h := range t {
		all[i] = h.WithAttrs(attrs)
	}
	return all
}

func (t teeHandler) WithGroup(name string) slog.Handler {
	all := make(teeHandler, len(t))
	for i, h := range t {
		all[i] = h.WithGroup(name)
	}
	return all
}
