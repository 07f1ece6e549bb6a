package sftp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	firstTries = 3                // to connect, before anything has ever worked
	laterTries = 8                // of what a connection broke: three quarters of a minute
	maxPause   = 15 * time.Second // between two of them
)

// await runs f, and no longer waits for it when ctx is done: then f runs on until the
// connection ends, so it may touch nothing but what it returns.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}

// do runs f with a connection, and once more with another one when the connection broke: so f
// must be such that it can be repeated. again says that an earlier attempt may have done all of
// it. op and key are for the error.
func do[T any](ctx context.Context, d *Driver, op, key string, f func(c *conn, again bool) (T, error)) (T, error) {
	var zero T
	pause := d.opt.Pause
	for try := 1; ; try++ {
		value, err, final := once(ctx, d, try > 1, f)
		switch {
		case ctx.Err() != nil:
			return zero, d.fail(op, key, context.Cause(ctx))
		case err == nil || final:
			return value, d.fail(op, key, err)
		case try >= d.tries():
			return zero, d.fail(op, key, fmt.Errorf("the connection failed %d times: %w", try, err))
		}
		select {
		case <-ctx.Done():
			return zero, d.fail(op, key, context.Cause(ctx))
		case <-d.closed:
			return zero, d.fail(op, key, errClosed)
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

var errClosed = errors.New("the destination is closed")

// once runs f with a connection. final says that another one would not help.
func once[T any](ctx context.Context, d *Driver, again bool, f func(c *conn, again bool) (T, error)) (value T, err error, final bool) {
	c, err := d.connected(ctx)
	if err != nil {
		return value, err, isAnswer(err)
	}
	value, err = await(ctx, func() (T, error) { return f(c, again) })
	if err == nil || ctx.Err() != nil || isAnswer(err) || c.ask(ctx) {
		return value, err, true
	}
	d.drop(c)
	return value, err, false
}
