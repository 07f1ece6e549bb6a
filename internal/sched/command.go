package sched

import (
	"errors"
	"strconv"
	"strings"
)

// Command is the shell command of a job's entry: '/usr/local/bin/tinybackup' run --job 3f2a91c0
//
// It is the only mark by which an entry is known as ours. The binary, and a job that is a path, are quoted for a POSIX shell.
func Command(binary, job string) string {
	if strings.HasPrefix(job, "/") {
		job = quote(job)
	}
	return quote(binary) + " run --job " + job
}

// ParseCommand undoes Command. It is true only for a line that Command makes of an absolute binary and a valid job:
// nothing before it, nothing after it, no other quoting or spacing.
func ParseCommand(line string) (binary, job string, ok bool) {
	binary, rest, ok := unquote(line)
	if !ok {
		return "", "", false
	}
	job, ok = strings.CutPrefix(rest, " run --job ")
	if !ok {
		return "", "", false
	}
	if strings.HasPrefix(job, "'") {
		if job, rest, ok = unquote(job); !ok || rest != "" {
			return "", "", false
		}
	}
	if checkCommand(binary, job) != nil || Command(binary, job) != line {
		return "", "", false
	}
	return binary, job, true
}

// checkCommand refuses what no scheduler can take in one line.
func checkCommand(binary, job string) error {
	switch {
	case !strings.HasPrefix(binary, "/"):
		return &BackendError{Op: "schedule " + strconv.Quote(binary), Err: errors.New("the program's path is not absolute"), hint: "start it by its full path"}
	case hasControl(binary):
		return &BackendError{Op: "schedule " + strconv.Quote(binary), Err: errors.New("the program's path has a control character"), hint: "move the binary, e.g. to /usr/local/bin/tinybackup"}
	case !isID(job) && !strings.HasPrefix(job, "/"):
		return &BackendError{Op: "schedule " + strconv.Quote(job), Err: errors.New("a job is 8 hex digits or the absolute path of its file")}
	case hasControl(job):
		return &BackendError{Op: "schedule " + strconv.Quote(job), Err: errors.New("the job file's path has a control character"), hint: "use a plainer TINYBACKUP_DIR"}
	}
	return nil
}

// isID tells a job's id, 8 hex digits in lower case.
func isID(job string) bool {
	return len(job) == 8 && strings.Trim(job, "0123456789abcdef") == ""
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// quote makes one word of s for a POSIX shell (POSIX.1-2024, Shell Command Language, 2.2.2).
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// unquote reads the word that quote has made off the front of s.
func unquote(s string) (word, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, "'")
	if !ok {
		return "", "", false
	}
	for {
		part, after, ok := strings.Cut(s, "'")
		if !ok {
			return "", "", false
		}
		word += part
		next, more := strings.CutPrefix(after, `\''`)
		if !more {
			return word, after, true
		}
		word += "'"
		s = next
	}
}
