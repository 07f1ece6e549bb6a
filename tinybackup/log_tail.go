package tinybackup

import (
	"bytes"
	"os"
)

// logTail is how much of a log is looked through for an error: its last lines.
const logTail = 64 << 10

// lastErrorLine is the last line about an error in a job's log, or "".
func lastErrorLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	size := min(info.Size(), logTail)
	text := make([]byte, size)
	if _, err := f.ReadAt(text, info.Size()-size); err != nil {
		return ""
	}
	for len(text) > 0 {
		i := bytes.LastIndexByte(text, '\n') + 1 // where the last line begins
		if line := text[i:]; bytes.Contains(line, []byte(" level=ERROR ")) && bytes.HasPrefix(line, []byte("time=")) {
			return string(line)
		}
		text = text[:max(0, i-1)]
	}
	return ""
}
