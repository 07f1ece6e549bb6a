package tinybackup

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/jessevdk/go-flags"
)

// An iniSection is a part of an INI file: its name and the struct it is read into.
type iniSection struct {
	name   string
	data   any  // pointer to a struct with our tags
	shared bool // of a file for many backups: without the keys that are of one alone
}

// iniLines say where the keys of a file stand.
type iniLines struct {
	of  map[string]map[string][]int // by section and key: the lines, counted from 1, one for each value
	end map[string]int              // by section: the last line with a key, or the header if there is none
}

// A lineError is what is wrong with a line of an INI file.
type lineError struct {
	line      int // counted from 1
	key       string
	msg, hint string
}

func (e *lineError) Error() string { return e.msg }

// iniKey is the key of a field in INI files, or "".
func iniKey(tag reflect.StructTag) string {
	if tag.Get("no-ini") != "" {
		return ""
	}
	if long := tag.Get("long"); long != "" {
		return long
	}
	return tag.Get("ini-name")
}

// keys are the options of a section by the key they have in the file, and the
// parser that reads them.
func (s iniSection) keys() (*flags.Parser, map[string]*flags.Option, []string, error) {
	p := flags.NewNamedParser("", flags.None)
	group, err := p.AddGroup(s.name, "", s.data)
	if err != nil {
		return nil, nil, nil, err
	}
	byKey := make(map[string]*flags.Option)
	var names []string
	for _, opt := range group.Options() {
		tag := reflect.StructTag(opt.Field().Tag)
		key := iniKey(tag)
		if key == "" || s.shared && tag.Get("own") != "" {
			continue
		}
		byKey[key] = opt
		names = append(names, key)
	}
	return p, byKey, names, nil
}

// readINI reads text into the sections' structs. An error is a *UsageError that
// names path and line.
func readINI(path string, text []byte, sections ...iniSection) (iniLines, error) {
	lines, err := parseINI(text, sections...)
	var bad *lineError
	if errors.As(err, &bad) {
		key := ""
		if bad.key != "" {
			key = bad.key + ": "
		}
		return lines, &UsageError{Msg: fmt.Sprintf("%s:%d: %s%s", path, bad.line, key, bad.msg), Hint: bad.hint}
	}
	return lines, err
}

// parseINI is readINI for text of whatever origin: an error of the text is a
// *lineError. go-flags would take a key twice, a key outside of any section and a
// field's Go name, and would not tell the line of an unknown section.
func parseINI(text []byte, sections ...iniSection) (iniLines, error) {
	lines := strings.Split(string(text), "\n")
	where := iniLines{of: make(map[string]map[string][]int), end: make(map[string]int)}
	fail := func(line int, hint, format string, args ...any) (iniLines, error) {
		return where, &lineError{line: line, msg: fmt.Sprintf(format, args...), hint: hint}
	}
	parts := make(map[string][]string, len(sections)) // section -> lines, all others empty
	byKey := make(map[string]map[string]*flags.Option)
	known := make(map[string][]string)
	var names []string
	var parsers []*flags.Parser
	for _, s := range sections {
		p, keys, order, err := s.keys()
		if err != nil {
			return where, err
		}
		parsers = append(parsers, p)
		byKey[s.name], known[s.name] = keys, order
		parts[s.name] = append(make([]string, 0, len(lines)+1), "["+s.name+"]")
		names = append(names, s.name)
		where.of[s.name] = make(map[string][]int)
	}
	section, keyOf := "", make([]string, len(lines)+1)
	for i, line := range lines {
		number := i + 1
		line = strings.TrimSpace(line)
		for _, name := range names {
			parts[name] = append(parts[name], "")
		}
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			section = strings.TrimSpace(strings.Trim(line, "[]"))
			if line != "["+section+"]" || !slices.Contains(names, section) {
				return fail(number, "the sections are ["+strings.Join(names, "] and [")+"]", "unknown section %s", line)
			}
			where.end[section] = number
			continue
		}
		key, _, found := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		switch {
		case !found:
			return fail(number, "a line is KEY = VALUE", "%q is no KEY = VALUE", line)
		case section == "":
			return fail(number, "put it below ["+strings.Join(names, "] or [")+"]", "%q is in no section", key)
		case byKey[section][key] == nil:
			hint := "the keys are " + strings.Join(known[section], ", ")
			if near := nearest(key, known[section]); near != "" {
				hint = "did you mean " + near + "?"
			}
			return fail(number, hint, "unknown key %q in section [%s]", key, section)
		}
		many := byKey[section][key].Field().Type.Kind() == reflect.Slice
		if first := where.of[section][key]; len(first) > 0 && !many {
			return fail(number, "remove one of them", "%q is already in line %d", key, first[0])
		}
		where.of[section][key] = append(where.of[section][key], number)
		where.end[section] = number
		keyOf[number] = key
		parts[section][number] = line
	}
	for i, s := range sections {
		err := flags.NewIniParser(parsers[i]).Parse(strings.NewReader(strings.Join(parts[s.name], "\n")))
		var ie *flags.IniError
		if errors.As(err, &ie) {
			line := int(ie.LineNumber) - 1 // the section's header stands before line 1
			return where, &lineError{line: line, key: keyOf[line], msg: plainQuotes(ie.Message)}
		}
		if err != nil {
			return where, err
		}
		emptyLists(s.data)
	}
	return where, nil
}

// emptyLists makes a list whose only value is the empty text one of no values: so
// a file can say that there are none.
func emptyLists(data any) {
	v := reflect.ValueOf(data).Elem()
	for i := range v.NumField() {
		list := v.Field(i)
		if list.Kind() == reflect.Slice && list.Len() == 1 && list.Index(0).IsZero() {
			list.SetZero()
		}
	}
}

// An iniText is a section as it is written.
type iniText struct {
	name   string
	keys   []string            // in order
	values map[string][]string // by key: one for each line, quoted
}

// text is the section as readINI reads the same. Fields that are zero are left
// out, but for the keys in force.
func (s iniSection) text(force ...string) (iniText, error) {
	_, byKey, names, err := s.keys()
	if err != nil {
		return iniText{}, err
	}
	t := iniText{name: s.name, values: make(map[string][]string)}
	for _, key := range names {
		value := reflect.ValueOf(byKey[key].Value())
		forced := slices.Contains(force, key)
		if value.IsZero() && !forced {
			continue
		}
		values := []reflect.Value{value}
		if value.Kind() == reflect.Slice {
			values = values[:0]
			for j := range value.Len() {
				values = append(values, value.Index(j))
			}
			if len(values) == 0 && forced {
				values = append(values, reflect.ValueOf(""))
			}
		}
		for _, v := range values {
			text := fmt.Sprint(v.Interface())
			if m, ok := v.Interface().(flags.Marshaler); ok {
				if text, err = m.MarshalFlag(); err != nil {
					return iniText{}, fmt.Errorf("%s: %w", key, err)
				}
			}
			t.values[key] = append(t.values[key], iniQuote(text))
		}
		t.keys = append(t.keys, key)
	}
	return t, nil
}

// writeINI writes sections.
func writeINI(b *strings.Builder, sections ...iniText) {
	for i, s := range sections {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "[%s]\n", s.name)
		for _, key := range s.keys {
			for _, value := range s.values[key] {
				fmt.Fprintf(b, "%s = %s\n", key, value)
			}
		}
	}
}
