//go:build ignore

// Count runs a server behind a proxy that counts what is sent to it:
//
//	count SERVER ARGUMENT…
//
// An argument @ becomes the address that the server is to listen at. When it does,
// count prints two addresses: that of the proxy, and one where whoever connects is
// told how many bytes have gone to the server so far. It ends the server, and itself,
// at the end of its standard input.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"time"
)

func main() {
	if err := count(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
		os.Exit(1)
	}
}

func count(server string, args []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := free.Addr().String()
	free.Close()
	for i := range args {
		if args[i] == "@" {
			args[i] = addr
		}
	}
	cmd := exec.CommandContext(ctx, server, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for !answers(addr) {
		select {
		case err := <-ended:
			return fmt.Errorf("%s has ended: %v", server, err)
		case <-time.After(50 * time.Millisecond):
		}
	}

	var sent atomic.Int64
	proxy, err := listen(func(c net.Conn) { pass(c, addr, &sent) })
	if err != nil {
		return err
	}
	told, err := listen(func(c net.Conn) {
		fmt.Fprintln(c, sent.Load())
		c.Close()
	})
	if err != nil {
		return err
	}
	fmt.Println(proxy, told)
	io.Copy(io.Discard, os.Stdin)
	cancel()
	<-ended
	return nil
}

func answers(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// listen gives the address where each connection is handled.
func listen(handle func(net.Conn)) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
	return l.Addr().String(), nil
}

// pass connects a client with a server, and counts what the client sends.
func pass(client net.Conn, addr string, sent *atomic.Int64) {
	server, err := net.Dial("tcp", addr)
	if err != nil {
		client.Close()
		return
	}
	go func() {
		io.Copy(client, server)
		client.Close()
	}()
	io.Copy(counter{server, sent}, client)
	server.Close()
}

// A counter counts what is written.
type counter struct {
	io.Writer
	n *atomic.Int64
}

func (c counter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n.Add(int64(n))
	return n, err
}
