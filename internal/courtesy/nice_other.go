//go:build !linux

package courtesy

import "errors"

// CanIO says that this system knows SetIO.
const CanIO = false

// SetNice makes this process nice(1) to n, from 0 to 19, unless it is nicer already.
func SetNice(n int) error { return raise(0, n) }

// SetIO gives this process another standing with disks: not here.
func SetIO(IO) error { return errors.ErrUnsupported }

// niceOf is the nice value of what getpriority(2) returns.
func niceOf(got int) int { return got }
