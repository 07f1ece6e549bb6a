package sftptest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy passes TCP connections on to a server, counts what passes, and breaks them.
type Proxy struct {
	Addr string

	to       string
	listener net.Listener
	sent     atomic.Int64
	received atomic.Int64
	opened   atomic.Int64
	cutAfter atomic.Int64
	cuts     atomic.Int64
	rate     atomic.Int64

	mu     sync.Mutex
	conns  map[net.Conn]bool
	silent atomic.Bool
}

// NewProxy listens on loopback, until the test ends. A client must Trust its address.
func NewProxy(t testing.TB, s *Server) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), to: s.Addr, listener: l, conns: map[net.Conn]bool{}}
	s.Trust(t, p.Addr)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.Cut()
		all.Wait()
	})
	return p
}

// Sent and Received are how many bytes went to the server and came from it, Connections how
// many connections there were, Cuts how many of them were cut by CutAfter.
func (p *Proxy) Sent() int64        { return p.sent.Load() }
func (p *Proxy) Received() int64    { return p.received.Load() }
func (p *Proxy) Connections() int64 { return p.opened.Load() }
func (p *Proxy) Cuts() int64        { return p.cuts.Load() }

// CutAfter cuts the connection once, after n more bytes that pass in either direction; what
// goes beyond them is lost. Negative: never. Once it is cut, the next is not.
func (p *Proxy) CutAfter(n int64) {
	if n < 0 {
		n = 0
	} else {
		n++ // zero is never
	}
	p.cutAfter.Store(n)
}

// Slow lets so many bytes pass in a second in each direction; zero: as many as will.
func (p *Proxy) Slow(bytesPerSecond int64) { p.rate.Store(bytesPerSecond) }

// Silence holds back all that comes from now on, and tells neither side.
func (p *Proxy) Silence(on bool) { p.silent.Store(on) }

// Refuse takes no more connections.
func (p *Proxy) Refuse() { p.listener.Close() }

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
		delete(p.conns, c)
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	p.opened.Add(1)
	p.hold(client, true)
	p.hold(server, true)
	defer p.hold(client, false)
	defer p.hold(server, false)
	var both sync.WaitGroup
	pass := func(to, from net.Conn, count *atomic.Int64) {
		defer to.Close()
		defer from.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			if rate := p.rate.Load(); rate > 0 {
				time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
			}
			for p.silent.Load() && p.holds(from) {
				time.Sleep(time.Millisecond)
			}
			keep, cut := p.passes(n)
			m, werr := to.Write(buf[:keep])
			count.Add(int64(m))
			if err != nil || werr != nil || cut {
				return
			}
		}
	}
	both.Go(func() { pass(server, client, &p.sent) })
	both.Go(func() { pass(client, server, &p.received) })
	both.Wait()
}

// passes says how many of n bytes pass before the cut.
func (p *Proxy) passes(n int) (keep int, cut bool) {
	for {
		left := p.cutAfter.Load()
		if left == 0 {
			return n, false
		}
		if int64(n) < left {
			if p.cutAfter.CompareAndSwap(left, left-int64(n)) {
				return n, false
			}
			continue
		}
		if p.cutAfter.CompareAndSwap(left, 0) {
			p.cuts.Add(1)
			return int(left - 1), true
		}
	}
}

func (p *Proxy) hold(c net.Conn, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on {
		p.conns[c] = true
	} else {
		delete(p.conns, c)
	}
}

func (p *Proxy) holds(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns[c]
}
