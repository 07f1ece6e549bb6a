package tinybackup

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// statusofCommand are the options of statusof.
type statusofCommand struct {
	Time       string `long:"time" value-name:"SPEC" description:"of the jobs of SOURCE and DEST, only the one at this time"`
	JSON       bool   `long:"json" description:"print one JSON object"`
	Prometheus bool   `long:"prometheus" description:"print metrics for Prometheus, as a textfile collector takes them"`
	Host       string `long:"host" value-name:"NAME" description:"of a destination, only the jobs of this host, in detail"`
	Watch      bool   `long:"watch" description:"show it anew every two seconds, until Ctrl-C"`
	Access
	Args struct {
		Jobs []string `positional-arg-name:"SOURCE DEST | ID | DEST"`
	} `positional-args:"yes"`
}

func (c *statusofCommand) execute(ctx context.Context, env Env, inv *invocation) error {
	chosen := 0
	for _, is := range []bool{c.JSON, c.Prometheus, c.Watch} {
		if is {
			chosen++
		}
	}
	if chosen > 1 {
		return &UsageError{Msg: "statusof takes one of --json, --prometheus and --watch", Hint: "tinybackup statusof --help"}
	}
	if dest, is := c.dest(); is {
		return c.fleet(ctx, env, inv, dest)
	}
	which, err := selectArgs(c.Args).selection(c.Time)
	switch {
	case err != nil:
		return err
	case c.Time != "" && which.Source == "":
		return &UsageError{Msg: "--time needs a source and a destination", Hint: "give SOURCE DEST --time SPEC, or just an id"}
	case c.Host != "" || c.Access != (Access{}):
		return &UsageError{Msg: "--host, and what lets us into a destination, are for statusof DEST", Hint: "tinybackup statusof --help"}
	}
	if c.Watch {
		return watchStatus(ctx, env, which)
	}
	// Over at once, so that collecting is half of the work, and for nothing.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	s, err := StatusOf(ctx, env, which)
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		err = printJSON(env, s)
	case c.Prometheus:
		err = s.printMetrics(env.Stdout)
	case len(s.Jobs) == 1 && !which.isZero():
		err = s.Jobs[0].printDetail(env)
	default:
		err = s.print(env)
	}
	if err == nil && !s.OK {
		return &ProblemError{}
	}
	return err
}

// statusColumns are those of the table of jobs.
var statusColumns = []column{
	{head: "#", right: true}, {head: "ID"}, {head: "NAME", least: 6}, {head: "TIME", least: 6}, {head: "STATE"},
	{head: "NEXT"}, {head: "LAST"}, {head: "KEPT", right: true}, {head: "SIZE", right: true},
}

// print shows the jobs as a table, and below it what is wrong with them.
func (s Status) print(env Env) error {
	if len(s.Jobs) == 0 {
		fmt.Fprintln(env.Stdout, "there are no jobs: tinybackup install --time 2:00am SOURCE DEST makes one")
	} else {
		var rows [][]string
		for _, j := range s.Jobs {
			rows = append(rows, j.row(env.Now()))
		}
		if err := printTable(env.Stdout, statusColumns, rows); err != nil {
			return err
		}
	}
	var b strings.Builder
	for _, j := range s.Jobs {
		if !j.OK || j.State == StateRunning || j.Unasked != "" {
			b.WriteString("\n" + j.headline() + "\n" + j.problems())
		}
	}
	if len(s.Problems) > 0 {
		b.WriteString("\n")
	}
	for _, p := range s.Problems {
		b.WriteString(strings.TrimPrefix(p.text(), "  "))
	}
	_, err := fmt.Fprint(env.Stdout, b.String())
	return err
}

// row is the job's line of the table.
func (j JobStatus) row(now time.Time) []string {
	row := []string{fmt.Sprint(j.Number), j.ID, "?", "?", string(j.State), "?", "?", "?", "?"}
	if j.Name == "" { // its file cannot be used
		return row
	}
	row[2], row[3] = oneLine(j.Name), oneLine(j.Time)
	row[5], row[6] = "-", "never"
	switch {
	case j.Done:
		row[5] = "done"
	case !j.Next.IsZero():
		row[5] = near(j.Next, now)
	}
	if j.LastGood != nil {
		row[6] = near(j.LastGood.Start, now)
	}
	if j.Unasked != "" {
		return row
	}
	row[7], row[8] = grouped(int64(j.Archives)), Size(j.Bytes).String()
	return row
}

// near is a time for a table: the weekday is enough within six days, the date for
// what is farther away.
func near(t, now time.Time) string {
	if d := t.Sub(now); d > -6*24*time.Hour && d < 6*24*time.Hour {
		return t.Format("Mon 15:04")
	}
	return t.Format("2006-01-02")
}
