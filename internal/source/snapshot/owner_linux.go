package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// An owner is the process that a snapshot belongs to. Its number alone would not
// tell: numbers are used again, and there are many processes 7 in containers.
type owner struct {
	pid   int
	start uint64 // clock ticks from the boot to its start
	space uint64 // inode of the namespace that pid is a number in
	boot  string // the first digits of the boot's id
}

// me is this process.
func me() (owner, error) {
	boot, err := bootID()
	if err != nil {
		return owner{}, err
	}
	space, err := pidSpace()
	if err != nil {
		return owner{}, err
	}
	o := owner{pid: os.Getpid(), space: space, boot: boot}
	o.start, err = startOf(o.pid)
	return o, err
}

// String is the owner in letters that a tag of LVM and a file may have.
func (o owner) String() string {
	return fmt.Sprintf("%d.%d.%d.%s", o.pid, o.start, o.space, o.boot)
}

// parseOwner reads what String wrote, and nothing else.
func parseOwner(text string) (owner, bool) {
	var o owner
	parts := strings.Split(text, ".")
	if len(parts) != 4 {
		return o, false
	}
	var err [3]error
	o.pid, err[0] = strconv.Atoi(parts[0])
	o.start, err[1] = strconv.ParseUint(parts[1], 10, 64)
	o.space, err[2] = strconv.ParseUint(parts[2], 10, 64)
	o.boot = parts[3]
	return o, err == [3]error{} && len(o.boot) == bootDigits && o.String() == text
}

// gone says that the owner has certainly ended. Of one in another container nobody
// here can tell.
func (o owner) gone() bool {
	boot, err := bootID()
	if err != nil {
		return false
	}
	if boot != o.boot {
		return true
	}
	if space, err := pidSpace(); err != nil || space != o.space {
		return false
	}
	start, err := startOf(o.pid)
	return errors.Is(err, errGone) || err == nil && start != o.start
}

const bootDigits = 8

func bootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	if len(text) < bootDigits {
		return "", fmt.Errorf("boot id %q", text)
	}
	return string(text[:bootDigits]), nil
}

func pidSpace() (uint64, error) {
	info, err := os.Stat("/proc/self/ns/pid")
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Ino, nil
}

var errGone = errors.New("the process has ended")

// startOf is when a process started. The error of one that has ended is errGone.
func startOf(pid int) (ticks uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0, errGone
	}
	if err != nil {
		return 0, err
	}
	// proc_pid_stat(5): PID (NAME) STATE …; the name may hold blanks and brackets.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	if fields[0] == "Z" || fields[0] == "X" { // dead, and its parent has not looked yet
		return 0, errGone
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
