package tinybackup

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"os"
)

// historyChunk is how much of a history is read at a time, from its end: the
// newest runs are what is asked for, and a line has some hundred bytes.
const historyChunk = 8 << 10

// Newest goes through the entries from the newest to the oldest, and reads no more
// of the file than it has to. Lines that are none of ours, or torn, are passed
// over. No history is no error; one that cannot be read comes as the last pair.
func (h History) Newest() iter.Seq2[HistoryEntry, error] {
	return func(yield func(HistoryEntry, error) bool) {
		f, err := os.Open(h.path())
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(HistoryEntry{}, err)
			return
		}
		defer f.Close()
		for line, err := range linesBackward(f) {
			if err != nil {
				yield(HistoryEntry{}, err)
				return
			}
			var e HistoryEntry
			if json.Unmarshal(line, &e) == nil && e.Result != "" && !yield(e, nil) {
				return
			}
		}
	}
}

// linesBackward goes through the lines of a file from the last to the first,
// without their newlines. What is behind the last newline does not count.
func linesBackward(f *os.File) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		info, err := f.Stat()
		if err != nil {
			yield(nil, err)
			return
		}
		begin := info.Size() // of what has been read
		var have []byte      // the beginning of the lines that are still to come
		torn := true         // the last newline has not been met
		for begin > 0 {
			n := min(begin, historyChunk)
			begin -= n
			chunk := make([]byte, n, int(n)+len(have))
			if _, err := f.ReadAt(chunk, begin); err != nil {
				yield(nil, err)
				return
			}
			have = append(chunk, have...)
			for {
				i := bytes.LastIndexByte(have, '\n')
				if i < 0 {
					break
				}
				line := have[i+1:]
				have = have[:i]
				if !torn && !yield(line, nil) {
					return
				}
				torn = false
			}
		}
		if !torn {
			yield(have, nil)
		}
	}
}
