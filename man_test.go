package main_test

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tinybackup/tinybackup"
)

// help is what a command line with --help prints.
func help(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	env := tinybackup.NewEnv()
	env.Stdout, env.Stderr = &out, &out
	if code := tinybackup.Main(context.Background(), env, append(args, "--help")); code != 0 {
		t.Fatalf("tinybackup %q --help: exit %d\n%s", args, code, &out)
	}
	return out.String()
}

var (
	helpCommand = regexp.MustCompile(`(?m)^  ([a-z]+)(?:, ([a-z]+))?  +\S`)
	helpOption  = regexp.MustCompile(`(?m)^  --([a-z-]+)`)
	manOption   = regexp.MustCompile(`Fl -([a-z-]*[a-z])`)
)

// matches are the first groups of all matches of a pattern, sorted, each once.
func matches(pattern *regexp.Regexp, text string) []string {
	var found []string
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// manual is the man page cut into its sections: .Sh and .Ss alike, by title.
func manual(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("man/tinybackup.1")
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]string)
	title := ""
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, ".S"); ok && (rest[0] == 'h' || rest[0] == 's') {
			title = strings.TrimSpace(rest[1:])
			continue
		}
		sections[title] += line
	}
	return sections
}

// listed are the options that a section of the manual explains: those of its list.
func listed(section string) []string {
	var items []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, ".It Fl ") {
			items = append(items, matches(manOption, line)...)
		}
	}
	slices.Sort(items)
	return items
}

// TestManual holds the man page to what the program says of itself: each command
// has a section, and each section exactly the options of its command.
func TestManual(t *testing.T) {
	sections := manual(t)
	top := help(t)
	commands, _, _ := strings.Cut(top, "Options of every command:")
	common := listed(sections["Options of every command"])
	if got, want := common, matches(helpOption, top); !slices.Equal(got, want) {
		t.Errorf("options of every command: the man page has %q, the program %q", got, want)
	}
	backup := listed(sections["Options of the backup"])
	known := slices.Clone(common)
	names := helpCommand.FindAllStringSubmatch(commands, -1)
	if len(names) < 9 {
		t.Fatalf("found %d commands in the help: %q", len(names), top)
	}
	for _, m := range names {
		name, alias := m[1], m[2]
		section, there := sections[name]
		if !there {
			t.Errorf("command %s has no section in the man page", name)
			continue
		}
		if alias != "" && !strings.Contains(section, "\n.Cm "+alias+" .\n") {
			t.Errorf("command %s: the man page does not tell its alias %s", name, alias)
		}
		want := matches(helpOption, help(t, name))
		got := append(listed(section), common...)
		if name == "run" || name == "install" {
			got = append(got, backup...)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("command %s: the man page has the options\n%q, the program\n%q", name, got, want)
		}
		known = append(known, want...)
	}
	// Also what is mentioned in passing must exist.
	for title, text := range sections {
		for _, option := range matches(manOption, text) {
			if !slices.Contains(known, option) && option != "keep-" {
				t.Errorf("section %s: the man page has --%s, the program does not", title, option)
			}
		}
	}
}

// TestManualSections wants all that a manual page is looked up for.
func TestManualSections(t *testing.T) {
	sections := manual(t)
	for _, title := range []string{
		"NAME", "SYNOPSIS", "DESCRIPTION", "TIME SPECIFICATIONS", "ROTATION", "ARCHIVES", "ENVIRONMENT", "FILES",
		"EXIT STATUS", "EXAMPLES", "WHAT A CRASH LEAVES", "SEE ALSO", "CAVEATS",
	} {
		if strings.TrimSpace(sections[title]) == "" {
			t.Errorf("the man page has no section %s", title)
		}
	}
	for _, status := range []string{"0", "1", "2", "3", "4", "5", "128+"} {
		if !strings.Contains(sections["EXIT STATUS"], "\n.It "+status) {
			t.Errorf("the man page does not tell of exit status %s", status)
		}
	}
}
