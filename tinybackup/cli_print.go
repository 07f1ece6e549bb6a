package tinybackup

import (
	"fmt"
	"strings"
)

// print is install --print: what was asked for goes to standard output alone, so
// that it can be redirected, and what to do with it to standard error.
func (c *installCommand) print(env Env, inv *invocation, jobs []NewJob) error {
	if c.Print == "" {
		return &UsageError{Msg: "--image is for --print kubernetes", Hint: "leave it out"}
	}
	for _, other := range []string{"run", "json", "scheduler", "from"} {
		if inv.given[other] {
			return &UsageError{Msg: "--print and --" + other + " exclude each other", Hint: "--print installs nothing, and prints one job"}
		}
	}
	if c.Image != "" && c.Print != "kubernetes" {
		return &UsageError{Msg: "--image is for --print kubernetes", Hint: "leave it out"}
	}
	printed, err := Print(env, PrintOptions{Job: jobs[0], What: c.Print, Image: c.Image})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(env.Stdout, printed.Text); err != nil {
		return err
	}
	for _, text := range printed.Warnings {
		env.Log.Warn(text)
	}
	if env.quiet {
		return nil
	}
	for _, note := range printed.Notes {
		fmt.Fprintln(env.Stderr, "tinybackup: note: "+oneLine(note))
	}
	for _, step := range printed.Steps {
		fmt.Fprintln(env.Stderr, "tinybackup: hint: "+oneLine(strings.TrimSpace(step)))
	}
	return nil
}
