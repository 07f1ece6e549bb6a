package tinybackup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// What ECMA-48 and xterm have to draw anew without a flicker: the screen is kept,
// and every line is overwritten in its place.
const (
	enterScreen  = "\x1b[?1049h\x1b[?25l" // another screen, without a cursor
	leaveScreen  = "\x1b[?25h\x1b[?1049l"
	cursorHome   = "\x1b[H"
	clearLineEnd = "\x1b[K" // from the cursor on
	clearBelow   = "\x1b[J" // this, and all lines below
)

// watchEvery is how often statusof --watch looks.
const watchEvery = 2 * time.Second

// watchStatus shows the status until it is interrupted, which is how it ends.
func watchStatus(ctx context.Context, env Env, which Selection) error {
	if !isTerminal(env.Stdout) {
		return &UsageError{Msg: "--watch wants a terminal", Hint: "leave it out; or give --json"}
	}
	if _, err := io.WriteString(env.Stdout, enterScreen); err != nil {
		return err
	}
	timer := time.NewTicker(watchEvery)
	defer timer.Stop()
	err := watchLoop(ctx, env, which, timer.C)
	if _, leave := io.WriteString(env.Stdout, leaveScreen); err == nil {
		err = leave
	}
	return err
}

// watchLoop draws at once and at every tick.
func watchLoop(ctx context.Context, env Env, which Selection, tick <-chan time.Time) error {
	for {
		text, err := statusText(ctx, env, which)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		width, height := terminalSize(env.Stdout)
		if _, err := io.WriteString(env.Stdout, frame(text, width, height)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
	}
}

// statusText is what statusof prints, below what time it is.
func statusText(ctx context.Context, env Env, which Selection) (string, error) {
	s, err := StatusOf(ctx, env, which)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "tinybackup, %s; Ctrl-C ends this\n\n", env.Now().Format("Mon 2006-01-02 15:04:05"))
	env.Stdout = &b
	if len(s.Jobs) == 1 && !which.isZero() {
		err = s.Jobs[0].printDetail(env)
	} else {
		err = s.print(env)
	}
	return b.String(), err
}

// frame is what draws text over what was there before, cut to the size of the
// screen: a line too long, or one too many, would make it scroll.
func frame(text string, width, height int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > height {
		more := len(lines) - height + 1
		lines = append(lines[:height-1], fmt.Sprintf("… and %s", plural(int64(more), "line", "lines")))
	}
	var b strings.Builder
	b.WriteString(cursorHome)
	for i, line := range lines {
		// Cleared before it is written: behind the last column, there is none to clear.
		if i < len(lines)-1 {
			b.WriteString(clearLineEnd + cut(line, width) + "\n")
		} else {
			b.WriteString(clearBelow + cut(line, width))
		}
	}
	return b.String()
}
