//go:build linux

package faults

import "golang.org/x/sys/unix"

// registers are those of a stopped thread.
type registers struct{ unix.PtraceRegs }

func (r *registers) read(tid int) error { return unix.PtraceGetRegs(tid, &r.PtraceRegs) }

// write gives the thread these registers. One that was killed meanwhile needs none.
func (r *registers) write(tid int) { _ = unix.PtraceSetRegs(tid, &r.PtraceRegs) }

func (r *registers) result() uint64     { return r.Rax }
func (r *registers) setResult(v uint64) { r.Rax = v }
func (r *registers) setArgument(i int, v uint64) {
	*[]*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9}[i] = v
}

// skipCall makes of the call that begins one that does not exist.
func skipCall(tid int) {
	var r registers
	if r.read(tid) == nil {
		r.Orig_rax = ^uint64(0)
		r.write(tid)
	}
}

// The calls that are called otherwise elsewhere, or that newer architectures do
// not have.
func init() {
	for nr, s := range map[uint64]shape{
		unix.SYS_NEWFSTATAT: below("newfstatat", false),
		unix.SYS_STAT:       {"stat", -1, 0, -1, -1, false},
		unix.SYS_LSTAT:      {"lstat", -1, 0, -1, -1, false},
		unix.SYS_MKDIR:      {"mkdir", -1, 0, -1, -1, true},
		unix.SYS_UNLINK:     {"unlink", -1, 0, -1, -1, true},
		unix.SYS_RMDIR:      {"rmdir", -1, 0, -1, -1, true},
		unix.SYS_CHMOD:      {"chmod", -1, 0, -1, -1, true},
		unix.SYS_CHOWN:      {"chown", -1, 0, -1, -1, true},
		unix.SYS_RENAME:     {"rename", -1, 0, 1, -1, true},
		unix.SYS_LINK:       {"link", -1, 0, 1, -1, true},
	} {
		shapes[nr] = s
	}
}
