package courtesy

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// CanIO says that this system knows SetIO.
const CanIO = true

// SetNice makes this process nice(1) to n, from 0 to 19, unless it is nicer already.
func SetNice(n int) error {
	return eachThread(func(tid int) error { return raise(tid, n) })
}

// SetIO gives this process another standing with disks. Not every scheduler of disks
// heeds it.
func SetIO(io IO) error {
	if io.class == 0 {
		return nil
	}
	const whoProcess, classShift = 1, 13 // ioprio_set(2); a process there is a thread
	return eachThread(func(tid int) error {
		_, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, uintptr(tid), uintptr(io.class<<classShift|io.level))
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// niceOf is the nice value of what getpriority(2) returns: the system call itself,
// without a C library, gives 20 less that.
func niceOf(got int) int { return 20 - got }

// eachThread calls set for every thread of this process: on Linux, these priorities are
// a thread's own. What a thread starts later inherits them, so that it is done when no
// thread is new.
func eachThread(set func(tid int) error) error {
	done := make(map[int]bool)
	for more := true; more; {
		more = false
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, e := range entries {
			tid, err := strconv.Atoi(e.Name())
			if err != nil || done[tid] {
				continue
			}
			if err := set(tid); err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
				return err
			}
			done[tid], more = true, true
		}
	}
	return nil
}
