package tinybackup

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"syscall"
)

// shellQuote writes a word so that a POSIX shell reads it as it is. Words that
// need no quotes get none: hints are to be read as well as pasted.
func shellQuote(word string) string {
	plain := word != ""
	for i := 0; i < len(word); i++ {
		c := word[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("/._-+:,@", rune(c)) {
			plain = false
		}
	}
	if plain {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// nearest is the choice that looks most like word, or "" if none is near enough
// to be worth proposing.
func nearest(word string, choices []string) string {
	best, least := "", len(word)/2+1
	for _, choice := range choices {
		if d := distance(word, choice); d < least {
			best, least = choice, d
		}
	}
	return best
}

// distance is how many bytes must be put in, left out, exchanged or swapped with
// their neighbour to make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// isEOF says whether err is the end of what is read.
func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// writable says whether this process may make files in dir. It asks the kernel,
// which knows of read-only mounts and of access lists, and makes no file.
func writable(dir string) error {
	const wOK, xOK = 2, 1 // access(2); the syscall package does not name them
	return syscall.Access(dir, wOK|xOK)
}

// iniQuote writes a value of an INI file so that go-flags reads the same bytes:
// as it is, if that is plain to see, else in double quotes with Go's escapes.
func iniQuote(value string) string {
	plain := value != "" && value == strings.TrimSpace(value)
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' || c > '~' || strings.IndexByte("\"'`;#\\", c) >= 0 {
			plain = false
		}
	}
	if plain {
		return value
	}
	return strconv.Quote(value)
}
