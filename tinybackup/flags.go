package tinybackup

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jessevdk/go-flags"
)

// This file and ini.go are the only ones that know go-flags, which reads both the
// command line and the INI files. All they know of our options is in their struct
// tags.

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
		if others := commandsWith(p, word); others != "" {
			return &UsageError{Msg: "unknown option --" + word, Hint: "--" + word + " is an option of tinybackup " + others}
		}
		dashes := "--"
		if len(word) == 1 {
			dashes = "-"
		}
		return &UsageError{Msg: fmt.Sprintf("unknown option %s%s", dashes, word), Hint: propose("--", nearest(word, names), help)}
	}
	return &UsageError{Msg: plainQuotes(fe.Message), Hint: help}
}

// commandsWith names the commands that have the option called name.
func commandsWith(p *flags.Parser, name string) string {
	var found []string
	for _, c := range p.Commands() {
		for _, group := range allGroups(c.Group) {
			for _, opt := range group.Options() {
				if opt.LongName == name && name != "" {
					found = append(found, c.Name)
				}
			}
		}
	}
	return strings.Join(found, ", ")
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
