package courtesy

import (
	"context"
	"testing"
	"time"
)

func TestParseIO(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]IO{
		"": {}, "none": {}, "idle": {classIdle, 0}, "best-effort": {classBestEffort, 4},
		"best-effort:0": {classBestEffort, 0}, "best-effort:7": {classBestEffort, 7},
	} {
		if got, err := ParseIO(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"idle:1", "best-effort:8", "best-effort:-1", "best-effort:", "best-effort:07", "real-time", "Idle", ":"} {
		if got, err := ParseIO(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

// What passes a limiter never comes to more than the rate, and the last bytes.
func TestLimiter(t *testing.T) {
	t.Parallel()
	l := NewLimiter(context.Background(), 1000, func() {})
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		after time.Duration // the one before
		n     int
		wait  time.Duration
	}{
		{0, 500, 0}, {0, 250, 500 * time.Millisecond}, {0, 4000, 750 * time.Millisecond},
		{time.Second, 1, 3750 * time.Millisecond},
		{time.Hour, 1000, 0}, {0, 1000, time.Second}, // nothing was saved up
	} {
		now = now.Add(c.after)
		if got := l.take(now, c.n); got != c.wait {
			t.Errorf("%d bytes wait %v, want %v", c.n, got, c.wait)
		}
	}
}

func TestLimiterWaits(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	beats := 0
	l := NewLimiter(ctx, 1, func() {
		if beats++; beats == 2 {
			cancel()
		}
	})
	l.Wait(3600)
	l.Wait(1) // would take an hour, but that somebody ends it
	if beats != 2 {
		t.Errorf("got %d signs of life, want 2", beats)
	}
	var none *Limiter
	none.Wait(1 << 30)
}
