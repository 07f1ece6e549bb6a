package tinybackup

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
)

// statusofCommand are the options of statusof.
type statusofCommand struct {
	Time string     `long:"time" value-name:"SPEC" description:"of the jobs of SOURCE and DEST, only the one at this time"`
	JSON bool       `long:"json" description:"print one JSON object"`
	Args selectArgs `positional-args:"yes"`
}

func (c *statusofCommand) execute(ctx context.Context, env Env) error {
	which, err := c.Args.selection(c.Time)
	if err != nil {
		return err
	}
	if c.Time != "" && which.Source == "" {
		return &UsageError{Msg: "--time needs a source and a destination", Hint: "give SOURCE DEST --time SPEC, or just an id"}
	}
	s, err := StatusOf(ctx, env, which)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(env, s)
	} else {
		err = s.print(env)
	}
	if err == nil && !s.OK {
		return &ProblemError{}
	}
	return err
}

// print shows the jobs as a table, and below it what is wrong with them.
func (s Status) print(env Env) error {
	if len(s.Jobs) == 0 {
		fmt.Fprintln(env.Stdout, "there are no jobs: tinybackup install --time 2:00am SOURCE DEST makes one")
	} else {
		t := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "#\tID\tNAME\tSOURCE\tDESTINATION\tTIME\tSCHEDULER\tNEXT\tLAST\tARCHIVES\tSIZE")
		for _, j := range s.Jobs {
			fmt.Fprintln(t, j.row())
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for _, j := range s.Jobs {
		name := j.ID
		if j.Name != "" {
			name += " (" + j.Name + ")"
		}
		for _, p := range j.Problems {
			fmt.Fprintf(env.Stdout, "job %s: %s\n", name, oneLine(p))
		}
	}
	for _, p := range s.Problems {
		fmt.Fprintln(env.Stdout, oneLine(p))
	}
	return nil
}

// row is the job's line of the table.
func (j JobStatus) row() string {
	if j.Name == "" { // its file cannot be used
		return fmt.Sprintf("%d\t%s\t?\t?\t?\t?\t?\t?\t?\t?\t?", j.Number, j.ID)
	}
	next := "-"
	switch {
	case j.Running:
		next = "running"
	case j.Done:
		next = "done"
	case !j.Next.IsZero():
		next = j.Next.Format(clockFormat)
	}
	last := "never"
	if j.Last != nil {
		last = j.Last.Start.Format(clockFormat) + " " + j.Last.Result
	}
	return strings.Join([]string{
		fmt.Sprint(j.Number), j.ID, oneLine(j.Name), oneLine(j.Source), oneLine(j.Dest), oneLine(j.Time),
		j.Scheduler, next, last, fmt.Sprint(j.Archives), Size(j.Bytes).String(),
	}, "\t")
}
