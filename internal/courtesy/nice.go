package courtesy

import "golang.org/x/sys/unix"

// raise makes a process, or on Linux a thread, nice(1) to n, unless it is nicer already:
// at(1) starts what is in its later queues like that.
func raise(id, n int) error {
	got, err := unix.Getpriority(unix.PRIO_PROCESS, id)
	if err != nil {
		return err
	}
	if niceOf(got) >= n {
		return nil
	}
	return unix.Setpriority(unix.PRIO_PROCESS, id, n)
}
