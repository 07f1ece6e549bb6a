package sftp

import (
	"context"
	"time"
)

// connected returns the connection, a new one if there is none.
func (s *server) connected(ctx context.Context) (*conn, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.lock.Lock()
	c, closed := s.c, s.isClosed()
	s.lock.Unlock()
	if closed {
		return nil, &refused{errClosed}
	}
	if c != nil {
		return c, nil
	}
	c, err := connect(ctx, s.opt, s.a)
	if err != nil {
		return nil, err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.isClosed() {
		c.close()
		return nil, &refused{errClosed}
	}
	s.c = c
	s.made++
	return c, nil
}

// drop ends a connection that broke; the next request makes another one.
func (s *server) drop(c *conn) {
	c.close()
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.c == c {
		s.c = nil
	}
}

// close ends the connection, for good.
func (s *server) close() {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.isClosed() {
		return
	}
	close(s.closed)
	if s.c != nil {
		s.c.close()
		s.c = nil
	}
}

// tries is how often something is tried: a server that never answered is soon given up.
func (s *server) tries() int {
	if s.connections() == 0 {
		return firstTries
	}
	return laterTries
}

// connections is how many were made.
func (s *server) connections() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.made
}

func (s *server) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// clock is how far the server's clock is ahead of ours, if that is known.
func (s *server) clock() (ahead time.Duration, known bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.ahead, s.hasAhead
}

// sawTime learns how far the server's clock is ahead from the time of a file that was written
// between two times of ours. The protocol tells whole seconds.
func (s *server) sawTime(written, before, after time.Time) {
	ahead := written.Add(time.Second / 2).Sub(before.Add(after.Sub(before) / 2))
	if ahead.Abs() < time.Second {
		ahead = 0 // no difference that could be told
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.ahead, s.hasAhead = ahead, true
}
