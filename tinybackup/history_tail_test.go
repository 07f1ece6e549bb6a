package tinybackup

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNewest reads histories of all lengths backwards, and gets what reading them
// forwards gives.
func TestNewest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	line := func(i int, pad int) string {
		data, err := json.Marshal(HistoryEntry{Result: ResultOK, Archive: fmt.Sprint(i), Error: strings.Repeat("x", pad)})
		if err != nil {
			t.Fatal(err)
		}
		return string(data) + "\n"
	}
	long := ""
	for i := range 200 {
		long += line(i, i*7%300)
	}
	edge := "" // a line that begins where a chunk does
	for len(edge)+500 < historyChunk {
		edge += line(1, 0)
	}
	edge += line(2, historyChunk-len(edge)-len(line(2, 1))+1)
	for name, text := range map[string]string{
		"empty":               "",
		"no newline":          strings.TrimSuffix(line(1, 0), "\n"),
		"one":                 line(1, 0),
		"two":                 line(1, 0) + line(2, 0),
		"whole, no newline":   line(1, 0) + strings.TrimSuffix(line(2, 0), "\n"),
		"torn":                line(1, 0) + line(2, 0) + `{"result":"ok"`,
		"torn and went on":    line(1, 0) + "{\"resu\n" + line(2, 0) + "\n\n",
		"foreign":             "hello\n" + line(1, 0) + "{}\n",
		"longer than a chunk": line(1, 3*historyChunk) + line(2, 0) + line(3, 2*historyChunk),
		"many":                long,
		"many, torn":          long + long[:100],
		"at the edge":         edge + edge,
	} {
		h := History{dir: filepath.Join(dir, name)}
		if err := os.MkdirAll(h.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.path(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		want, err := h.Last(-1)
		if err != nil {
			t.Fatal(err)
		}
		var got []HistoryEntry
		for e, err := range h.Newest() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		slices.Reverse(got)
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: got %d entries\n%.300v\nwant %d\n%.300v", name, len(got), got, len(want), want)
		}
	}
	for range (History{dir: filepath.Join(dir, "none")}).Newest() {
		t.Error("a history that is not there has entries")
	}
	count := 0
	for _, err := range (History{dir: dir}).Newest() {
		count++
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "history.jsonl"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, err := range (History{dir: dir}).Newest() {
		if count++; err == nil {
			t.Error("a history that is a directory could be read")
		}
	}
	if count != 1 {
		t.Errorf("%d pairs, want the one error", count)
	}
}
