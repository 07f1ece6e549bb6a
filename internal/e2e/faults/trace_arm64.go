//go:build linux

package faults

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	generalSet = 1     // NT_PRSTATUS
	callSet    = 0x404 // NT_ARM_SYSTEM_CALL: the number of the call
)

// registers are those of a stopped thread.
type registers struct{ unix.PtraceRegsArm64 }

func (r *registers) read(tid int) error {
	return unix.PtraceGetRegSetArm64(tid, generalSet, &r.PtraceRegsArm64)
}

// write gives the thread these registers. One that was killed meanwhile needs none.
func (r *registers) write(tid int) {
	_ = unix.PtraceSetRegSetArm64(tid, generalSet, &r.PtraceRegsArm64)
}

func (r *registers) result() uint64              { return r.Regs[0] }
func (r *registers) setResult(v uint64)          { r.Regs[0] = v }
func (r *registers) setArgument(i int, v uint64) { r.Regs[i] = v }

// skipCall makes of the call that begins one that does not exist.
func skipCall(tid int) {
	nr := int32(-1)
	iov := unix.Iovec{Base: (*byte)(unsafe.Pointer(&nr)), Len: uint64(unsafe.Sizeof(nr))}
	_, _, _ = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SETREGSET, uintptr(tid), callSet, uintptr(unsafe.Pointer(&iov)), 0, 0)
}

func init() {
	shapes[unix.SYS_FSTATAT] = below("newfstatat", false)
}
