package s3test

import "syscall"

// endWithUs makes a process that is started end when its parent does, however that ends.
func endWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
