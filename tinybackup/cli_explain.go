package tinybackup

import (
	"context"
	"strings"
)

// explainCommand are the options of explain.
type explainCommand struct {
	Once bool `long:"once" description:"as a single run"`
	JSON bool `long:"json" description:"print one JSON object"`
	Args struct {
		Time []string `positional-arg-name:"TIME"`
	} `positional-args:"yes"`
}

func (c *explainCommand) execute(ctx context.Context, env Env) error {
	const hint = "tinybackup explain '30 2 * * 1-5'"
	switch {
	case len(c.Args.Time) == 0, len(c.Args.Time) == 1 && strings.TrimSpace(c.Args.Time[0]) == "":
		return &UsageError{Msg: "explain wants a time", Hint: hint}
	case len(c.Args.Time) > 1: // an unquoted * has become the names of files
		return &UsageError{Msg: "explain wants one time, in quotes", Hint: hint}
	}
	x, err := Explain(ctx, env, c.Args.Time[0], c.Once)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(env, x)
	}
	x.print(env)
	return nil
}

// print shows the explanation, quiet or not: it is what was asked for.
func (x Explanation) print(env Env) {
	env.quiet = false
	env.sayFact("time", x.Schedule+" ("+x.Zone+")")
	for i, t := range x.Next {
		label := ""
		if i == 0 {
			label = "next runs"
		}
		env.sayFact(label, t.Format(timeFormat(x.Next)))
	}
	for _, note := range x.Notes {
		env.sayFact("note", note)
	}
	for _, s := range x.Schedulers {
		env.sayFact(s.Name, s.text(x))
	}
	if x.Auto == "" {
		env.sayFact("auto", "no scheduler works here")
	}
}

// text says how the scheduler would run the time, and whether auto would take it.
func (s ExplanationScheduler) text(x Explanation) string {
	if s.Why != "" {
		return "no: " + s.Why
	}
	text := s.When
	switch {
	case s.Name == "at" && x.Once:
		text += " (UTC)"
	case s.Name == "at":
		text += " (UTC), and each run queues the next"
	case text == "":
		text = "at these times"
	}
	if s.Here != "" {
		text += "; but " + s.Here
	}
	if s.Name == x.Auto {
		text += " <- auto"
	}
	return text
}

// sayFact prints a line of the form "  label      text", broken where it would be
// too long.
func (e Env) sayFact(label, text string) {
	const width = 9
	indent := strings.Repeat(" ", width+4)
	e.say("  %-*s  %s", width, label, wrap(oneLine(text), helpWidth-len(indent), indent))
}
