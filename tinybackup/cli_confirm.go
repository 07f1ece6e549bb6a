package tinybackup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
)

// errNotConfirmed says that a person did not agree.
var errNotConfirmed = errors.New("not confirmed: nothing was written")

// ask shows what will be lost, and wants the device's name typed: a plain yes is
// typed too easily. The error is errNotConfirmed, or the context's.
func (e Env) ask(ctx context.Context, over Overwrite) error {
	fmt.Fprint(e.Stderr, over.text())
	answer := make(chan string, 1)
	go func() { // reading from a terminal can't be interrupted
		line, _ := bufio.NewReader(e.Stdin).ReadString('\n') // what ends early is another answer
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case typed := <-answer:
		if typed != over.Name && typed != over.Path {
			return errNotConfirmed
		}
		return nil
	}
}

// text is the question, its last line without an end.
func (o Overwrite) text() string {
	var b strings.Builder
	what := []string{Size(o.Size).String()}
	if o.Model != "" {
		what = append([]string{oneLine(o.Model)}, what...)
	}
	if o.Removable {
		what = append(what, "removable")
	}
	fmt.Fprintf(&b, "%s: %s\n", o.Path, strings.Join(what, ", "))
	for _, p := range o.Parts {
		fmt.Fprintf(&b, "  %-10s %10s\n", p.Name, Size(p.Size))
	}
	from := ""
	if o.Source != "" {
		from = " of " + oneLine(o.Source)
	}
	fmt.Fprintf(&b, "%s: %s%s\n", oneLine(o.Archive), Size(o.Image), from)
	for _, note := range o.Notes {
		fmt.Fprintln(&b, wrap("note: "+oneLine(note), helpWidth, "  "))
	}
	fmt.Fprintf(&b, "All that is on %s will be lost. Type %s to go on: ", o.Path, o.Name)
	return b.String()
}
