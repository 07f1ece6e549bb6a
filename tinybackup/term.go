package tinybackup

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// isTerminal says whether a person is likely to see what is written to w, or to
// have typed what is read from it.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalSize is how many columns and lines a terminal has: 80 and 24, if it does
// not say.
func terminalSize(w io.Writer) (width, height int) {
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 1 {
			return width, height
		}
	}
	return 80, 24
}

// A screen is standard error with a progress bar at its end: whoever writes a
// line to it gets the bar out of the way first.
type screen struct {
	mu  sync.Mutex
	w   io.Writer
	bar bool // a bar is on the last line
}

// clearLine goes to the beginning of the line and empties it: ECMA-48, which
// every terminal that gets a bar understands.
const clearLine = "\r\x1b[K"

// Write writes whole lines.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar {
		s.bar = false
		if _, err := io.WriteString(s.w, clearLine); err != nil {
			return 0, err
		}
	}
	return s.w.Write(p)
}

// barWriter is where the bar draws itself.
type barWriter struct{ s *screen }

func (b barWriter) Write(p []byte) (int, error) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.bar = true
	return b.s.w.Write(p)
}
