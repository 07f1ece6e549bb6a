package tinybackup

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// listCommand are the options of list.
type listCommand struct {
	Name  string `long:"name" value-name:"NAME" description:"only the archives called NAME"`
	Files bool   `long:"files" description:"show what is in ARCHIVE, or in the newest one in DEST"`
	At    string `long:"at" value-name:"TIME" description:"with --files: the newest archive up to this time"`
	JSON  bool   `long:"json" description:"print one JSON object; with --files, one for each file"`
	identityOption
	Access
	Args struct {
		Dest string `positional-arg-name:"DEST | ARCHIVE"`
	} `positional-args:"yes"`
}

func (c *listCommand) execute(ctx context.Context, env Env, inv *invocation) (err error) {
	if c.Args.Dest == "" {
		return &UsageError{Msg: "list wants a destination", Hint: "tinybackup list DEST"}
	}
	if c.At != "" && !c.Files {
		return &UsageError{Msg: "--at goes with --files", Hint: "tinybackup list --files --at TIME DEST"}
	}
	if len(c.Identity) > 0 && !c.Files {
		return &UsageError{Msg: "--identity goes with --files", Hint: "tinybackup list --files --identity FILE DEST; without --files, none is needed"}
	}
	if c.Access, err = env.accessTo(c.Args.Dest, c.Access, inv.given); err != nil {
		return err
	}
	if c.Files {
		return c.files(ctx, env)
	}
	l, err := List(ctx, env, ListOptions{Dest: c.Args.Dest, Name: c.Name, Access: c.Access})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(env, l)
	}
	return l.print(env)
}

// files shows what is in an archive, as ls -l would.
func (c *listCommand) files(ctx context.Context, env Env) (err error) {
	var at time.Time
	if c.At != "" {
		if at, err = parseMoment(c.At, env.Now().Location()); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(env.Stdout)
	err = ListFiles(ctx, env, Choice{From: c.Args.Dest, Name: c.Name, At: at, Identity: env.identityFiles(c.Identity), Access: c.Access}, func(e FileEntry) error {
		if c.JSON {
			return json.NewEncoder(out).Encode(e)
		}
		link := ""
		if e.Link != "" {
			link = " -> " + oneLine(e.Link)
		}
		_, err := fmt.Fprintf(out, "%s %-8s %-8s %11s %s %s%s\n", e.Mode, e.User, e.Group, grouped(e.Size),
			e.ModTime.In(env.Now().Location()).Format(clockFormat), oneLine(e.Path), link)
		return err
	})
	return errors.Join(err, out.Flush())
}

// print shows the archives as a table, and why rotation would not do as it says.
func (l Listing) print(env Env) error {
	if len(l.Archives) == 0 {
		fmt.Fprintf(env.Stdout, "there are no archives in %s\n", oneLine(l.Dest))
		return nil
	}
	for rest := l.Archives; len(rest) > 0; { // each name by itself: they may be of any length
		n := 1
		for n < len(rest) && rest[n].Series == rest[0].Series {
			n++
		}
		if err := printVerdicts(env, rest[:n]); err != nil {
			return err
		}
		if rest = rest[n:]; len(rest) > 0 {
			fmt.Fprintln(env.Stdout)
		}
	}
	for name, why := range sortedPairs(l.Refused) {
		fmt.Fprintf(env.Stdout, "rotation of %s would remove nothing: %s\n", oneLine(name), oneLine(why))
	}
	return nil
}

// sortedPairs goes through a map in the order of its keys.
func sortedPairs(m map[string]string) func(func(string, string) bool) {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return func(yield func(string, string) bool) {
		for _, key := range keys {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}

// verdictColumns are those of printVerdicts. When an archive was made is in its name.
var verdictColumns = []column{
	{head: "ARCHIVE"}, {head: "SIZE", right: true}, {head: "OWN", right: true}, {head: "ENTRIES", right: true}, {head: "ROTATION", wraps: true},
}

// printVerdicts shows archives and what rotation makes of them.
func printVerdicts(env Env, all []Verdict) error {
	var rows [][]string
	for _, v := range all {
		verb := "remove"
		if v.Keep {
			verb = "keep"
		}
		text := verb + ": " + strings.Join(v.Reasons, ", ")
		if v.Incomplete {
			text += "; incomplete: some files could not be read"
		}
		if v.Doubt != "" {
			text += "; " + v.Doubt
		}
		entries, size, own := "-", "-", "-"
		if v.Entries > 0 {
			entries = grouped(v.Entries)
		}
		if v.Size > 0 {
			size, own = Size(v.Size).String(), Size(v.Own).String()
		}
		rows = append(rows, []string{oneLine(v.Archive), size, own, entries, oneLine(text)})
	}
	return printTable(env.Stdout, verdictColumns, rows)
}

// print says in one line what a run did; with DryRun in some what it would do.
func (r Report) print(env Env) error {
	if r.DryRun {
		return r.printPlan(env)
	}
	env.say("%s", r.summary())
	if r.Snapshot != nil {
		env.say("%s", oneLine(r.Snapshot.String()))
	}
	for _, p := range r.Parts {
		env.say("%s", oneLine(p.String()))
	}
	if r.Lost > 0 {
		env.say("%s could not be read, and are zeros in the archive", plural(r.Lost, "byte", "bytes"))
	}
	for _, c := range r.Copies {
		env.say("%s", oneLine(c.String()))
		if c.Hint != "" {
			env.say("%smend it: %s", wrapIndent, oneLine(c.Hint))
		}
	}
	return nil
}

// summary is what a run did, in one line.
func (r Report) summary() string {
	retained := ""
	if n := len(r.Retained); n > 0 {
		retained = fmt.Sprintf(", %d retained by the destination", n)
	}
	if r.CopiesOnly {
		return fmt.Sprintf("%s: copied after %s; it was stored by the run before", oneLine(r.Archive), took(r.Duration()))
	}
	return fmt.Sprintf("%s: %s, %s, stored in %s after %s; %s kept (%s), %d removed%s",
		oneLine(r.Archive), plural(r.Entries, "entry", "entries"), Size(r.Raw), Size(r.Written), took(r.Duration()),
		plural(int64(r.Kept), "archive", "archives"), Size(r.KeptBytes), len(r.Removed), retained)
}

// printPlan says what a run would do.
func (r Report) printPlan(env Env) error {
	if r.Before != "" {
		fmt.Fprintf(env.Stdout, "would run     %s\n", oneLine(r.Before))
	}
	fmt.Fprintf(env.Stdout, "would read    %s: %s, %s\n", oneLine(r.Source), plural(r.Entries, "entry", "entries"), Size(r.Read))
	if r.Snapshot != nil {
		fmt.Fprintf(env.Stdout, "              %s\n", oneLine(r.Snapshot.String()))
	}
	for _, p := range r.Parts {
		fmt.Fprintf(env.Stdout, "              %s\n", oneLine(p.String()))
	}
	fmt.Fprintf(env.Stdout, "would write   %s\n", oneLine(joinDest(r.Dest, r.Archive)))
	for _, name := range r.Removed {
		fmt.Fprintf(env.Stdout, "would remove  %s\n", oneLine(joinDest(r.Dest, name)))
	}
	if r.Unrotated != "" {
		fmt.Fprintf(env.Stdout, "would remove nothing: %s\n", oneLine(r.Unrotated))
	}
	for _, line := range r.copyLines() {
		fmt.Fprintln(env.Stdout, line)
	}
	if r.After != "" {
		fmt.Fprintf(env.Stdout, "would run     %s\n", oneLine(r.After))
	}
	if len(r.Plan) > 0 {
		fmt.Fprintln(env.Stdout)
		if err := printVerdicts(env, r.Plan); err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout)
	}
	_, err := fmt.Fprintln(env.Stdout, "nothing is changed: --dry-run")
	return err
}

// plural counts things.
func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(n) + " " + many
}

// grouped writes a number with commas between its thousands.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// took is how long something took, for a person.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Minute).String()
}
