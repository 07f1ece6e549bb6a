package tinybackup

import (
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A progressLine shows how far a run is on the last line of a screen: how much
// of what, how fast, and how long it will take.
type progressLine struct {
	screen *screen

	mu    sync.Mutex
	phase string
	bar   *progressbar.ProgressBar
}

// Show draws one step. It is an Env's Progress.
func (l *progressLine) Show(p Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bar == nil || l.phase != p.Phase {
		l.close()
		l.phase = p.Phase
		l.bar = progressbar.NewOptions64(p.Total,
			progressbar.OptionSetWriter(barWriter{l.screen}),
			progressbar.OptionSetDescription(p.Phase),
			progressbar.OptionShowBytes(true),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetWidth(20),
			progressbar.OptionSpinnerType(14),
		)
	}
	if p.Total >= 0 && p.Total != l.bar.GetMax64() {
		l.bar.ChangeMax64(max(p.Total, p.Done))
	}
	// A line that cannot be drawn is no reason to stop a backup.
	_ = l.bar.Set64(p.Done)
}

// Close takes the line away.
func (l *progressLine) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.close()
}

func (l *progressLine) close() {
	if l.bar == nil {
		return
	}
	_ = l.bar.Exit()
	l.bar = nil
	l.screen.mu.Lock()
	defer l.screen.mu.Unlock()
	if l.screen.bar {
		l.screen.bar = false
		_, _ = l.screen.w.Write([]byte(clearLine))
	}
}
