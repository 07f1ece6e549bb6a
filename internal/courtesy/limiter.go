package courtesy

import (
	"context"
	"sync"
	"time"
)

// A Limiter lets bytes pass at a rate, for any number of goroutines. None of it is
// saved up while nothing passes. A nil Limiter lets everything pass.
type Limiter struct {
	ctx   context.Context
	rate  float64 // bytes a second
	alive func()

	mu   sync.Mutex
	free time.Time // when the next bytes may pass
}

// NewLimiter is a limiter for so many bytes a second, more than 0. It calls alive at
// least once a second while somebody waits, and lets everything pass once ctx is done.
func NewLimiter(ctx context.Context, rate int64, alive func()) *Limiter {
	return &Limiter{ctx: ctx, rate: float64(rate), alive: alive}
}

// Wait waits until n more bytes may pass.
func (l *Limiter) Wait(n int) {
	if l == nil {
		return
	}
	for left := l.take(time.Now(), n); left > 0; left -= time.Second {
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(min(left, time.Second)):
			l.alive()
		}
	}
}

// take says how long n bytes have to wait at now: until those before them have passed.
func (l *Limiter) take(now time.Time, n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.Before(now) {
		l.free = now
	}
	wait := l.free.Sub(now)
	l.free = l.free.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	return wait
}
