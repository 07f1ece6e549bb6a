//go:build linux && (amd64 || arm64)

package faults

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Outcome is how a program ended.
type Outcome struct {
	Code           int // its exit status; 128 and the number of the signal that killed it
	Stdout, Stderr string
	Calls          []Call // all that counted
	Killed         bool   // by an Action
}

// Run starts cmd and waits for its end. Of its file-system calls, and those of its
// children, the ones about files in dirs count: before each, decide is asked what is
// to become of it. The thread that calls waits meanwhile, others go on. What the
// program leaves running is killed. cmd must not have been started; its standard
// input is empty and its output is in the Outcome.
func Run(cmd *exec.Cmd, dirs []string, decide func(Call) Action) (Outcome, error) {
	// Ptrace(2) goes by threads: the one that starts the program gets to see all of it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	output := [2]*os.File{}
	for i, name := range []string{"stdout", "stderr"} {
		fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
		if err != nil {
			return Outcome{}, os.NewSyscallError("memfd_create", err)
		}
		output[i] = os.NewFile(uintptr(fd), name)
		defer output[i].Close()
	}
	cmd.Stdout, cmd.Stderr = output[0], output[1]
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return Outcome{}, err
	}
	t := tracer{root: cmd.Process.Pid, dirs: dirs, decide: decide, threads: make(map[int]*thread)}
	err := errors.Join(t.run(), cmd.Process.Release())
	for i, into := range []*string{&t.outcome.Stdout, &t.outcome.Stderr} {
		text, rerr := io.ReadAll(io.NewSectionReader(output[i], 0, 1<<20))
		*into, err = string(text), errors.Join(err, rerr)
	}
	return t.outcome, err
}

// A tracer follows a program and its children.
type tracer struct {
	root    int
	dirs    []string
	decide  func(Call) Action
	threads map[int]*thread
	ended   bool // the program; what is left of it is killed
	outcome Outcome
}

// A thread that was seen.
type thread struct {
	action Action // what becomes of the call that it is in
	counts bool
	n      int // the number of that call
	before registers
}

const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACEEXEC |
	unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK

func (t *tracer) run() error {
	var ws unix.WaitStatus
	if _, err := wait(t.root, &ws); err != nil {
		return fmt.Errorf("wait for the program: %w", err)
	}
	if err := unix.PtraceSetOptions(t.root, options); err != nil {
		return fmt.Errorf("ptrace: %w", err)
	}
	t.threads[t.root] = &thread{}
	resume(t.root, 0)
	for {
		tid, err := wait(-1, &ws)
		switch {
		case err == unix.ECHILD:
			return nil
		case err != nil:
			return fmt.Errorf("wait: %w", err)
		case ws.Exited() || ws.Signaled():
			t.gone(tid, ws)
		default:
			t.stopped(tid, ws)
		}
	}
}

// wait waits for one of the threads that this thread traces. With __WNOTHREAD those of
// other threads do not count, and with __WCLONE no ordinary children: a thread may
// have started others than ours (wait(2)).
func wait(tid int, ws *unix.WaitStatus) (int, error) {
	for {
		got, err := unix.Wait4(tid, ws, unix.WCLONE|unix.WNOTHREAD, nil)
		if err != unix.EINTR {
			return got, err
		}
	}
}

// resume lets a thread go on to its next call. One that was killed meanwhile is no
// error: its end is waited for like that of any other.
func resume(tid, signal int) { _ = unix.PtraceSyscall(tid, signal) }

func (t *tracer) gone(tid int, ws unix.WaitStatus) {
	delete(t.threads, tid)
	if tid != t.root {
		return
	}
	t.ended = true
	t.outcome.Code = ws.ExitStatus()
	if ws.Signaled() {
		t.outcome.Code = 128 + int(ws.Signal())
	}
	t.kill()
}

// kill ends the program and all that it has started.
func (t *tracer) kill() {
	for tid := range t.threads {
		_ = unix.Kill(tid, unix.SIGKILL) // of any thread, to its process
	}
}

func (t *tracer) stopped(tid int, ws unix.WaitStatus) {
	th, known := t.threads[tid]
	if !known {
		th = &thread{}
		t.threads[tid] = th
		if t.ended || t.outcome.Killed {
			_ = unix.Kill(tid, unix.SIGKILL)
		}
	}
	switch sig := ws.StopSignal(); {
	case sig == unix.SIGTRAP|0x80:
		if t.call(tid, th); !th.counts || th.action.kind != hangs || t.ended || t.outcome.Killed {
			resume(tid, 0)
		}
	case ws.TrapCause() > 0, // it has forked, or has become another program
		sig == unix.SIGSTOP && !known: // how a new thread begins
		resume(tid, 0)
	default:
		resume(tid, int(sig))
	}
}

// callInfo is struct ptrace_syscall_info (ptrace(2), PTRACE_GET_SYSCALL_INFO). Of a call
// that ends, nr is the result.
type callInfo struct {
	op   uint8 // 1: a call begins, 2: it ends
	_    [3]byte
	_    uint32
	_, _ uint64
	nr   uint64
	args [6]uint64
	_    uint64
}

func (t *tracer) call(tid int, th *thread) {
	var info callInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid),
		unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	switch {
	case errno != 0 || t.ended || t.outcome.Killed: // it was killed
	case info.op == 1:
		t.begins(tid, th, info)
	case info.op == 2 && th.counts:
		th.counts = false
		t.outcome.Calls[th.n-1].Failed = th.action.kind == happens && int64(info.nr) < 0
		t.ends(tid, th)
	}
}

func (t *tracer) begins(tid int, th *thread, info callInfo) {
	c, ok := describe(tid, info.nr, info.args)
	if !ok || !c.among(t.dirs) {
		return
	}
	c.N = len(t.outcome.Calls) + 1
	t.outcome.Calls = append(t.outcome.Calls, c)
	th.counts, th.n, th.action = true, c.N, t.decide(c)
	switch th.action.kind {
	case killBefore:
		t.outcome.Killed = true
		t.kill()
	case fails, isSkipped:
		skipCall(tid)
	case isShort:
		if th.before.read(tid) == nil {
			half := th.before
			half.setArgument(c.length, c.bytes/2)
			half.write(tid)
		}
	}
}

func (t *tracer) ends(tid int, th *thread) {
	switch th.action.kind {
	case killAfter:
		t.outcome.Killed = true
		t.kill()
	case fails:
		setResult(tid, -int64(th.action.errno))
	case isSkipped:
		setResult(tid, 0)
	case isShort: // the kernel keeps what was in a register, and the program may count on it
		var now registers
		if now.read(tid) == nil {
			result := now.result()
			now = th.before
			now.setResult(result)
			now.write(tid)
		}
	}
}

func setResult(tid int, result int64) {
	var r registers
	if r.read(tid) == nil {
		r.setResult(uint64(result))
		r.write(tid)
	}
}

const atCWD = uint64(0xffffffffffffff9c) // AT_FDCWD, -100

// fdPath is what a descriptor of a thread is open on.
func fdPath(tid int, fd uint64) string {
	path, err := os.Readlink("/proc/" + strconv.Itoa(tid) + "/fd/" + strconv.Itoa(int(int32(fd))))
	if err != nil {
		return ""
	}
	return path
}

// pathBelow is the path at an address of a thread, as seen from a directory that it
// has open.
func pathBelow(tid int, dirfd, address uint64) string {
	path := text(tid, address)
	if len(path) > 0 && path[0] == '/' {
		return path
	}
	dir := ""
	if int32(dirfd) == unix.AT_FDCWD {
		dir, _ = os.Readlink("/proc/" + strconv.Itoa(tid) + "/cwd")
	} else {
		dir = fdPath(tid, dirfd)
	}
	if path == "" {
		return dir
	}
	return dir + "/" + path
}

// text reads a string of a thread.
func text(tid int, address uint64) string {
	buf := make([]byte, unix.PathMax)
	// Not beyond its page: the next one may not be there.
	for done := 0; done < len(buf); {
		n := min(4096-int(address+uint64(done))%4096, len(buf)-done)
		local := unix.Iovec{Base: &buf[done]}
		local.SetLen(n)
		got, err := unix.ProcessVMReadv(tid, []unix.Iovec{local},
			[]unix.RemoteIovec{{Base: uintptr(address) + uintptr(done), Len: n}}, 0)
		if err != nil || got <= 0 {
			break
		}
		if end := bytes.IndexByte(buf[done:done+got], 0); end >= 0 {
			return string(buf[:done+end])
		}
		done += got
	}
	return ""
}
