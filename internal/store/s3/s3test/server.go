// Package s3test starts a real S3 server (versitygw) for tests, and a proxy that counts
// requests and breaks them.
//
//	server := s3test.Start(t)                // a new, empty bucket; ends with the test
//	server.Dest("host/notes")                // s3+http://127.0.0.1:PORT/BUCKET/host/notes
//	server.Env()                             // AWS_ACCESS_KEY_ID=… and the like, for a program
//	server.ID, server.Secret                 // the same, for s3.Keys
//	server.Files("host/notes")               // the directory that the objects are in
//
//	proxy := server.Proxy(t)                 // the same bucket, seen through a proxy
//	proxy.Dest("host/notes")
//	proxy.Break(func(n int, r *http.Request) *s3test.Fault { … })
//	proxy.Count()                            // requests and bytes, so far
//
// In a script of testscript: put server.Env() and DEST=server.Dest("x") into the
// environment. The server listens on loopback, is shared by the tests of a process that
// run at the same time, and ends with the last of them.
package s3test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	accessKey = "AKIATINYBACKUPTEST"
	secretKey = "only-for-tests/of+tinybackup"
)

// Server is a bucket of a server that is running.
type Server struct {
	Addr       string // host:port
	Bucket     string
	ID, Secret string // what lets one in
	Versions   bool   // buckets may keep versions
	root       string // the directory of all buckets
}

// running is the server of this process, if a test needs one.
var running struct {
	mu      sync.Mutex
	users   int
	buckets int
	gateway *gateway
}

// Start returns a new bucket.
func Start(t testing.TB) *Server {
	t.Helper()
	path, ok := program()
	if !ok {
		t.Skip("versitygw is not installed: see testdata/setup.sh")
	}
	r := &running
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users == 0 {
		g, err := startGateway(path)
		if err != nil {
			t.Fatal(err)
		}
		r.gateway = g
	}
	r.users++
	t.Cleanup(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.users--; r.users == 0 {
			r.gateway.stop()
		}
	})
	r.buckets++
	s := &Server{Addr: r.gateway.addr, Bucket: fmt.Sprintf("backups-%d", r.buckets), ID: accessKey, Secret: secretKey, Versions: r.gateway.versions, root: r.gateway.buckets}
	if err := os.Mkdir(s.Files(""), 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// Dest is the destination with the prefix.
func (s *Server) Dest(prefix string) string { return destination(s.Addr, s.Bucket, prefix) }

func destination(addr, bucket, prefix string) string {
	return strings.TrimSuffix("s3+http://"+addr+"/"+bucket+"/"+prefix, "/")
}

// Env is what lets a program in, which then looks at no other keys.
func (s *Server) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.ID, "AWS_SECRET_ACCESS_KEY=" + s.Secret, "AWS_SESSION_TOKEN=", "AWS_EC2_METADATA_DISABLED=true"}
}

// Files is the directory that the server keeps the objects with the prefix in, as files;
// those that a test puts there are objects, too.
func (s *Server) Files(prefix string) string { return filepath.Join(s.root, s.Bucket, prefix) }

// gateway is the process.
type gateway struct {
	addr     string
	dir      string
	buckets  string
	versions bool
	process  *os.Process
	ended    chan struct{}
	output   bytes.Buffer // once it has ended
}

// program finds what testdata/setup.sh installs, also where a test has changed HOME.
func program() (string, bool) {
	if path, err := exec.LookPath("versitygw"); err == nil {
		return path, true
	}
	homes := []string{os.Getenv("HOME")}
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		homes = append(homes, u.HomeDir)
	}
	for _, home := range homes {
		if path := filepath.Join(home, "go/bin/versitygw"); executable(path) {
			return path, true
		}
	}
	return "", false
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func startGateway(path string) (g *gateway, err error) {
	for range 5 { // somebody else may take the port before the server does
		if g, err = launch(path); err == nil {
			return g, nil
		}
	}
	return nil, err
}

func launch(path string) (*gateway, error) {
	dir, err := os.MkdirTemp("", "tinybackup-s3-")
	if err != nil {
		return nil, err
	}
	g := &gateway{dir: dir, buckets: filepath.Join(dir, "buckets"), ended: make(chan struct{})}
	if g.addr, err = freeAddress(); err == nil {
		err = os.Mkdir(g.buckets, 0o755)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	// Where files have no attributes the server keeps what belongs to an object beside.
	side, option := filepath.Join(dir, "side"), "--sidecar"
	if g.versions = hasAttributes(dir); g.versions {
		option = "--versioning-dir"
	}
	if err := os.Mkdir(side, 0o755); err != nil {
		return nil, err
	}
	args := []string{"--port", g.addr, "--quiet", "posix", option, side}
	cmd := exec.Command(path, append(args, g.buckets)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "ROOT_ACCESS_KEY=" + accessKey, "ROOT_SECRET_KEY=" + secretKey}
	cmd.Stdout, cmd.Stderr = &g.output, &g.output
	cmd.SysProcAttr = endWithUs()
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the server ends with the thread that started it
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed in the end
			close(g.ended)
		}
	}()
	if err := <-started; err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	g.process = cmd.Process
	if err := g.ready(); err != nil {
		g.stop()
		return nil, fmt.Errorf("%s: %w: %s", path, err, g.output.String())
	}
	return g, nil
}

// ready waits until the server answers.
func (g *gateway) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.addr+"/", nil)
		if err != nil {
			return err
		}
		req.Close = true
		if resp, err := http.DefaultClient.Do(req); err == nil {
			return resp.Body.Close()
		}
		select {
		case <-g.ended:
			return fmt.Errorf("it ended")
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (g *gateway) stop() {
	_ = g.process.Kill() // unless it ended by itself
	<-g.ended
	os.RemoveAll(g.dir)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// hasAttributes reports whether files in the directory may have extended attributes.
func hasAttributes(dir string) bool {
	return unix.Setxattr(dir, "user.tinybackup-test", []byte("1"), 0) == nil
}
