package tinybackup

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/jessevdk/go-flags"
)

// This file is the only one that knows go-flags, which reads both the command
// line and the job files. All it knows of our options is in their struct tags.

// An invocation is what a command line asks for.
type invocation struct {
	command string          // its full name, even if an alias was typed
	given   map[string]bool // the long names of the options that were typed
	help    string          // the text to print instead, for --help
}

// parseArgs reads a command line into the options of the commands. An error is a
// *UsageError.
func parseArgs(args []string, common *commonOptions, commands []command) (invocation, error) {
	p := flags.NewNamedParser("tinybackup", flags.HelpFlag|flags.PassDoubleDash)
	if _, err := p.AddGroup("Options of every command", "", common); err != nil {
		return invocation{}, err
	}
	for _, c := range commands {
		command, err := p.AddCommand(c.name, c.short, c.long, c.data)
		if err != nil {
			return invocation{}, err
		}
		command.Aliases = c.aliases
	}
	rest, err := p.ParseArgs(args)
	var fe *flags.Error
	if errors.As(err, &fe) && fe.Type == flags.ErrHelp {
		return invocation{help: helpText(p, commands)}, nil
	}
	if err != nil {
		return invocation{}, explainArgs(p, args, err)
	}
	inv := invocation{command: p.Active.Name, given: make(map[string]bool)}
	if len(rest) > 0 {
		return inv, &UsageError{
			Msg:  fmt.Sprintf("%s: one argument too many: %q", inv.command, rest[0]),
			Hint: "tinybackup " + inv.command + " --help",
		}
	}
	for _, group := range allGroups(p.Command.Group, p.Active.Group) {
		for _, opt := range group.Options() {
			if opt.IsSet() && !opt.IsSetDefault() {
				inv.given[opt.LongName] = true
			}
		}
	}
	return inv, nil
}

// helpText is the help for the command that was typed, or for all.
func helpText(p *flags.Parser, commands []command) string {
	common := helpGroups(p.Groups()...)[0]
	common.options = append(common.options, helpOption{name: "help", text: "show this help, or that of a command"})
	if p.Active == nil {
		return mainHelp(commands, common)
	}
	var groups []helpGroup
	for _, g := range helpGroups(p.Active.Group) {
		if g.title == p.Active.ShortDescription {
			g.title = "Options"
		}
		groups = append(groups, g)
	}
	groups = append(groups, common)
	for _, c := range commands {
		if c.name == p.Active.Name {
			return commandHelp(c, groups)
		}
	}
	return "" // Active is one of commands
}

// helpGroups takes what help needs out of groups, and out of those below them.
func helpGroups(groups ...*flags.Group) []helpGroup {
	var all []helpGroup
	for _, g := range allGroups(groups...) {
		if g.ShortDescription == "Help Options" { // go-flags' own
			continue
		}
		h := helpGroup{title: g.ShortDescription}
		for _, opt := range g.Options() {
			if opt.LongName != "" {
				h.options = append(h.options, helpOption{name: opt.LongName, value: opt.ValueName, text: opt.Description})
			}
		}
		all = append(all, h)
	}
	return all
}

// explainArgs makes our own error of one of go-flags, with a hint.
func explainArgs(p *flags.Parser, args []string, err error) error {
	help := "tinybackup --help"
	if p.Active != nil {
		help = "tinybackup " + p.Active.Name + " --help"
	}
	var fe *flags.Error
	if !errors.As(err, &fe) {
		return &UsageError{Msg: plainQuotes(err.Error()), Hint: help}
	}
	var names []string
	switch fe.Type {
	case flags.ErrCommandRequired:
		return &UsageError{Msg: "no command given", Hint: help}
	case flags.ErrUnknownCommand:
		for _, c := range p.Commands() {
			names = append(append(names, c.Name), c.Aliases...)
		}
		word := firstWord(args)
		return &UsageError{Msg: fmt.Sprintf("unknown command %q", word), Hint: propose("tinybackup ", nearest(word, names), help)}
	case flags.ErrUnknownFlag:
		word := quotedBy(fe.Message)
		groups := allGroups(p.Command.Group)
		if p.Active != nil {
			groups = allGroups(p.Command.Group, p.Active.Group)
		}
		for _, group := range groups {
			for _, opt := range group.Options() {
				names = append(names, opt.LongName)
			}
		}
		dashes := "--"
		if len(word) == 1 {
			dashes = "-"
		}
		return &UsageError{Msg: fmt.Sprintf("unknown option %s%s", dashes, word), Hint: propose("--", nearest(word, names), help)}
	}
	return &UsageError{Msg: plainQuotes(fe.Message), Hint: help}
}

// propose is the hint to type prefix and name, or to read the help when nothing
// is near enough.
func propose(prefix, name, help string) string {
	if name == "" {
		return help
	}
	return "did you mean " + prefix + name + "?"
}

// firstWord is the first of args that is no option.
func firstWord(args []string) string {
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") {
			return arg
		}
	}
	return ""
}

// quotedBy takes out of a message of go-flags what it puts between ` and '.
func quotedBy(message string) string {
	_, word, _ := strings.Cut(message, "`")
	return word[:max(0, strings.LastIndex(word, "'"))]
}

// plainQuotes makes a message of go-flags look like ours.
func plainQuotes(message string) string {
	message = strings.NewReplacer("`", "", "'", "", "flag ", "option ", "Invalid", "invalid").Replace(message)
	// "invalid argument for option --x (expected tinybackup.Size): WHY": WHY says it all.
	if before, why, found := strings.Cut(message, "): "); found {
		if option, _, found := strings.Cut(before, " (expected"); found {
			return strings.TrimPrefix(option, "invalid argument for option ") + ": " + why
		}
	}
	return message
}

// allGroups are the groups and all that are below them.
func allGroups(groups ...*flags.Group) []*flags.Group {
	var all []*flags.Group
	for _, g := range groups {
		all = append(append(all, g), allGroups(g.Groups()...)...)
	}
	return all
}

// An iniSection is a part of an INI file: its name and the struct it is read into.
type iniSection struct {
	name string
	data any // pointer to a struct with our tags
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
		tag := opt.Field().Tag
		if tag.Get("no-ini") != "" {
			continue
		}
		key := opt.LongName
		if key == "" {
			key = tag.Get("ini-name")
		}
		byKey[key] = opt
		names = append(names, key)
	}
	return p, byKey, names, nil
}

// readINI reads text into the sections' structs. An error is a *UsageError that
// names path and line: go-flags would take a key twice, a key outside of any
// section and a field's Go name, and would not tell the line of an unknown section.
func readINI(path string, text []byte, sections ...iniSection) error {
	lines := strings.Split(string(text), "\n")
	fail := func(line int, hint, format string, args ...any) error {
		return &UsageError{Msg: fmt.Sprintf("%s:%d: ", path, line) + fmt.Sprintf(format, args...), Hint: hint}
	}
	parts := make(map[string][]string, len(sections)) // section -> lines, all others empty
	byKey := make(map[string]map[string]*flags.Option)
	known := make(map[string][]string)
	var names []string
	var parsers []*flags.Parser
	for _, s := range sections {
		p, keys, order, err := s.keys()
		if err != nil {
			return err
		}
		parsers = append(parsers, p)
		byKey[s.name], known[s.name] = keys, order
		parts[s.name] = append(make([]string, 0, len(lines)+1), "["+s.name+"]")
		names = append(names, s.name)
	}
	section, keyOf, seen := "", make([]string, len(lines)+1), make(map[string]int)
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
		if first := seen[section+"."+key]; first != 0 && !many {
			return fail(number, "remove one of them", "%q is already in line %d", key, first)
		}
		seen[section+"."+key] = number
		keyOf[number] = key
		parts[section][number] = line
	}
	for i, s := range sections {
		err := flags.NewIniParser(parsers[i]).Parse(strings.NewReader(strings.Join(parts[s.name], "\n")))
		var ie *flags.IniError
		if errors.As(err, &ie) {
			line := int(ie.LineNumber) - 1 // the section's header stands before line 1
			return fail(line, "", "%s: %s", keyOf[line], plainQuotes(ie.Message))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeINI writes the sections' structs so that readINI reads the same. Fields
// that are zero are left out.
func writeINI(b *strings.Builder, sections ...iniSection) error {
	for i, s := range sections {
		_, byKey, names, err := s.keys()
		if err != nil {
			return err
		}
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "[%s]\n", s.name)
		for _, key := range names {
			value := reflect.ValueOf(byKey[key].Value())
			if value.IsZero() {
				continue
			}
			values := []reflect.Value{value}
			if value.Kind() == reflect.Slice {
				values = values[:0]
				for j := range value.Len() {
					values = append(values, value.Index(j))
				}
			}
			for _, v := range values {
				text := fmt.Sprint(v.Interface())
				if m, ok := v.Interface().(flags.Marshaler); ok {
					if text, err = m.MarshalFlag(); err != nil {
						return fmt.Errorf("%s: %w", key, err)
					}
				}
				fmt.Fprintf(b, "%s = %s\n", key, iniQuote(text))
			}
		}
	}
	return nil
}
