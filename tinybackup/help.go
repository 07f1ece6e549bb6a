package tinybackup

import (
	"strings"
	"unicode/utf8"
)

// helpWidth is how wide help is: a terminal's 80 columns, and easy to read.
const helpWidth = 80

// A helpOption is an option as help shows it.
type helpOption struct {
	name, value, text string
}

// A helpGroup is some options under a title.
type helpGroup struct {
	title   string
	options []helpOption
}

// mainHelp is what --help says before a command.
func mainHelp(commands []command, common helpGroup) string {
	var b strings.Builder
	b.WriteString("Tinybackup backs up a file, a directory or a block device, and schedules itself.\n\n")
	b.WriteString("Usage: tinybackup COMMAND [options] [arguments]\n\nCommands:\n")
	width := 0
	names := make([]string, len(commands))
	for i, c := range commands {
		names[i] = strings.Join(append([]string{c.name}, c.aliases...), ", ")
		width = max(width, utf8.RuneCountInString(names[i]))
	}
	for i, c := range commands {
		writeColumns(&b, names[i], width, c.short)
	}
	b.WriteString("\n")
	writeGroup(&b, common)
	b.WriteString(`
Examples:
  tinybackup run ~/notes /mnt/stick
  tinybackup install --time 2:00am --keep-daily 7 ~/notes /mnt/stick
  tinybackup statusof
  tinybackup restore /mnt/stick ~/notes-again

tinybackup COMMAND --help tells more of a command; man tinybackup tells all.`)
	return b.String()
}

// commandHelp is what COMMAND --help says.
func commandHelp(c command, groups []helpGroup) string {
	var b strings.Builder
	for i, usage := range c.usage {
		lead := "Usage: "
		if i > 0 {
			lead = "   or: "
		}
		b.WriteString(lead + "tinybackup " + c.name + usage + "\n")
	}
	b.WriteString("\n" + wrap(c.long, helpWidth, "") + "\n")
	for _, g := range groups {
		if len(g.options) > 0 {
			b.WriteString("\n")
			writeGroup(&b, g)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// writeGroup writes the options of a group.
func writeGroup(b *strings.Builder, g helpGroup) {
	b.WriteString(g.title + ":\n")
	// One very long name must not push all texts to the right.
	const widest = 24
	width := 0
	for _, o := range g.options {
		if n := utf8.RuneCountInString(o.label()); n <= widest {
			width = max(width, n)
		}
	}
	for _, o := range g.options {
		writeColumns(b, o.label(), width, o.text)
	}
}

// label is how the option is typed.
func (o helpOption) label() string {
	if o.value == "" {
		return "--" + o.name
	}
	return "--" + o.name + " " + o.value
}

// writeColumns writes a label and, width columns on, its text.
func writeColumns(b *strings.Builder, label string, width int, text string) {
	indent := strings.Repeat(" ", width+4)
	b.WriteString("  " + label)
	if n := utf8.RuneCountInString(label); n > width {
		b.WriteString("\n" + indent)
	} else {
		b.WriteString(strings.Repeat(" ", width-n+2))
	}
	b.WriteString(wrap(text, helpWidth-len(indent), indent) + "\n")
}

// wrap breaks text at spaces so that no line is longer than width characters, and
// begins each but the first with indent. A word that is longer stays whole.
func wrap(text string, width int, indent string) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n"+indent)
}
