package tinybackup

import (
	"slices"
	"strings"
)

// editINI makes text, which parseINI has read with these lines, say now instead of
// was, which are the same sections in the same order. Lines of keys that say the
// same stay as they are, byte for byte, and so do comments, blank lines and the
// order: a key that is new comes to the end of its section.
func editINI(text []byte, lines iniLines, was, now []iniText) []byte {
	e := newINIEdit(text)
	for i, section := range now {
		old := was[i]
		keys := slices.Clone(section.keys)
		for key := range lines.of[section.name] {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
		for _, key := range keys {
			if !slices.Equal(old.values[key], section.values[key]) {
				e.set(key, lines.of[section.name][key], lines.end[section.name], old.values[key], section.values[key])
			}
		}
	}
	return e.text()
}

// An iniEdit is a file that is being changed, line by line.
type iniEdit struct {
	lines []string         // with their ends; line N is at N-1
	gone  map[int]bool     // by number
	after map[int][]string // by number: what comes after the line; 0 is before all
}

func newINIEdit(text []byte) *iniEdit {
	e := &iniEdit{lines: strings.SplitAfter(string(text), "\n"), gone: make(map[int]bool), after: make(map[int][]string)}
	if last := len(e.lines) - 1; e.lines[last] == "" {
		e.lines = e.lines[:last]
	}
	return e
}

// set makes a key, which stands in the lines at of a section that ends in the line
// end, have the values now instead of was. Of a list, what is the same at its
// beginning and at its end stays.
func (e *iniEdit) set(key string, at []int, end int, was, now []string) {
	first, last := 0, 0
	if len(at) == len(was) {
		for first < min(len(was), len(now)) && was[first] == now[first] {
			first++
		}
		for last < min(len(was), len(now))-first && was[len(was)-1-last] == now[len(now)-1-last] {
			last++
		}
	}
	place := end // what is new comes behind it
	switch {
	case first > 0:
		place = at[first-1]
	case len(at) > 0:
		place = at[0] - 1
	}
	middle := at[first : len(at)-last]
	for i, value := range now[first : len(now)-last] {
		if i < len(middle) {
			place = middle[i]
			e.replace(place, value)
		} else {
			e.after[place] = append(e.after[place], key+" = "+value)
		}
	}
	for _, line := range middle[min(len(middle), len(now)-last-first):] {
		e.gone[line] = true
	}
}

// replace gives a line another value: what is before that stays.
func (e *iniEdit) replace(line int, value string) {
	old := e.lines[line-1]
	key, rest, _ := strings.Cut(old, "=")
	space := rest[:len(rest)-len(strings.TrimLeft(rest, " \t"))]
	e.lines[line-1] = key + "=" + space + value + lineEnd(old)
}

// lineEnd is what ends a line.
func lineEnd(line string) string {
	switch {
	case strings.HasSuffix(line, "\r\n"):
		return "\r\n"
	case strings.HasSuffix(line, "\n"):
		return "\n"
	}
	return ""
}

// text is the file as it is now.
func (e *iniEdit) text() []byte {
	var b strings.Builder
	add := func(number int, end string) {
		for _, line := range e.after[number] {
			b.WriteString(line + end)
		}
	}
	add(0, "\n")
	for i, line := range e.lines {
		number := i + 1
		end := lineEnd(line)
		if end == "" && len(e.after[number]) > 0 {
			end = "\n"
			line += end
		}
		if !e.gone[number] {
			b.WriteString(line)
		}
		add(number, end)
	}
	return []byte(b.String())
}
