package tinybackup

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// dest is the one argument of statusof that is a destination, and no job.
func (c *statusofCommand) dest() (string, bool) {
	if len(c.Args.Jobs) != 1 {
		return "", false
	}
	arg := c.Args.Jobs[0]
	if isRemote(arg) || strings.Contains(arg, "/") || arg == "." || arg == ".." {
		return arg, true
	}
	if isJobID(arg) || isNumber(arg) {
		return "", false
	}
	info, err := os.Stat(arg)
	return arg, err == nil && info.IsDir()
}

// fleet is statusof of a destination.
func (c *statusofCommand) fleet(ctx context.Context, env Env, inv *invocation, dest string) (err error) {
	if c.Watch || c.Time != "" {
		return &UsageError{Msg: "--watch and --time are for the jobs of this machine", Hint: "tinybackup statusof " + shellQuote(dest)}
	}
	if c.Access, err = env.accessTo(dest, c.Access, inv.given); err != nil {
		return err
	}
	f, err := FleetOf(ctx, env, FleetOptions{Dest: dest, Host: c.Host, Access: c.Access})
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		err = printJSON(env, f)
	case c.Prometheus:
		err = f.printMetrics(env)
	default:
		err = f.print(env, c.Host)
	}
	if err == nil && !f.OK {
		return &ProblemError{}
	}
	return err
}

// fleetColumns are those of the table of a fleet.
var fleetColumns = []column{
	{head: "HOST", least: 6}, {head: "NAME", least: 6}, {head: "TIME", least: 6}, {head: "STATE"},
	{head: "NEXT"}, {head: "LAST"}, {head: "KEPT", right: true}, {head: "SIZE", right: true},
}

// print shows the jobs as a table, by host, and below it what is wrong with them: all
// that is known of one that is the only one, or of each job of a host that was asked for.
func (f Fleet) print(env Env, host string) error {
	var b strings.Builder
	switch {
	case len(f.Jobs) == 0: // that is a problem
	case len(f.Jobs) == 1 || host != "":
		for i, j := range f.Jobs {
			if i > 0 {
				b.WriteString("\n")
			}
			b.WriteString(j.detail(env.Now().Location()))
		}
	default:
		var rows [][]string
		for i, j := range f.Jobs {
			row := j.row(env.Now())
			if i > 0 && f.Jobs[i-1].Host == j.Host {
				row[0] = ""
			}
			if f.ambiguous(j) {
				row[1] += " in " + oneLine(cmp.Or(strings.TrimPrefix(strings.TrimPrefix(j.Dest, f.Dest), "/"), "."))
			}
			rows = append(rows, row)
		}
		if err := printTable(&b, fleetColumns, rows); err != nil {
			return err
		}
		for _, j := range f.Jobs {
			if text := j.problems(); text != "" {
				b.WriteString("\n" + j.headline() + "\n")
				if f.ambiguous(j) {
					b.WriteString("  in " + oneLine(j.Dest) + "\n")
				}
				b.WriteString(text)
			}
		}
		b.WriteString(f.clocks())
	}
	if len(f.Problems) > 0 && len(f.Jobs) > 0 {
		b.WriteString("\n")
	}
	for _, p := range f.Problems {
		b.WriteString(strings.TrimPrefix(p.text(), "  "))
	}
	_, err := fmt.Fprint(env.Stdout, b.String())
	return err
}

// ambiguous says whether another job has the name and host of j, which stands next to it.
func (f Fleet) ambiguous(j FleetJob) bool {
	same := 0
	i, _ := slices.BinarySearchFunc(f.Jobs, j, func(a, b FleetJob) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Name, b.Name))
	})
	for ; i < len(f.Jobs) && f.Jobs[i].Host == j.Host && f.Jobs[i].Name == j.Name && same < 2; i++ {
		same++
	}
	return same > 1
}

// clocks says of each host whose clock is wrong that it is: by its first job.
func (f Fleet) clocks() string {
	var b strings.Builder
	told := map[string]bool{}
	for _, j := range f.Jobs {
		if note := j.clockNote(); note != "" && !told[j.Host] {
			if len(told) == 0 {
				b.WriteString("\n")
			}
			told[j.Host] = true
			fmt.Fprintf(&b, "the clock of %s is %s\n", oneLine(j.Host), note)
		}
	}
	return b.String()
}

// row is the job's line of the table.
func (j FleetJob) row(now time.Time) []string {
	host, schedule, next, last := j.Host, j.Time, "-", "never"
	if host == "" {
		host = "?"
	}
	switch {
	case j.Last == nil:
		schedule = "?"
	case schedule == "":
		schedule = "by hand"
	case !j.Next.IsZero():
		next = near(j.Next.In(now.Location()), now)
	}
	switch {
	case j.LastGood != nil:
		last = near(j.LastGood.Start.In(now.Location()), now)
	case !j.Newest.IsZero():
		last = near(j.Newest.In(now.Location()), now)
	}
	return []string{oneLine(host), oneLine(j.Name), oneLine(schedule), string(j.State), next, last, grouped(int64(j.Archives)), Size(j.Bytes).String()}
}

// headline says in one sentence how the job is.
func (j FleetJob) headline() string {
	text := oneLine(j.Name)
	if j.ID != "" {
		text += " (" + j.ID + ")"
	}
	if j.Host != "" {
		text += " on " + oneLine(j.Host)
	}
	switch {
	case j.State == StateNoRecord:
		text += " has no record"
	default:
		text += " is " + string(j.State)
	}
	if j.OK && j.Why != "" {
		text += ": " + oneLine(j.Why)
	}
	return wrap(text, helpWidth-len(wrapIndent), wrapIndent)
}

// problems are sentences about what is wrong, with what mends it.
func (j FleetJob) problems() string {
	if j.OK {
		return ""
	}
	return Problem{State: j.State, Why: j.Why, Mend: j.Mend}.text()
}

// detail is all that is known of a job, with times of a zone.
func (j FleetJob) detail(zone *time.Location) string {
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			writeColumns(&b, label, 9, oneLine(text))
		}
	}
	fmt.Fprintln(&b, j.headline())
	b.WriteString(j.problems())
	line("clock", j.clockNote())
	line("source", j.Source)
	line("in", j.Dest)
	if j.Schedule != "" {
		line("runs", fmt.Sprintf("%s, %s, by %s", j.Schedule, j.Zone, j.Scheduler))
	}
	if !j.Next.IsZero() {
		line("next", j.Next.In(zone).Format(clockFormat))
	}
	for _, run := range []struct {
		label string
		entry *HistoryEntry
	}{{"last", j.Last}, {"last good", j.LastGood}} {
		if e := run.entry; e != nil && (e == j.Last || !e.Start.Equal(j.Last.Start)) {
			text := fmt.Sprintf("%s, %s", e.Start.In(zone).Format(clockFormat), e.Result)
			if e.Stored() {
				text += fmt.Sprintf(" after %s: %s, %s", took(max(0, e.End.Sub(e.Start))), e.Archive, Size(e.Written))
			}
			line(run.label, text)
		}
	}
	line("archives", fmt.Sprintf("%s, %s", plural(int64(j.Archives), "archive", "archives"), Size(j.Bytes)))
	if j.Record != "" {
		line("heard", fmt.Sprintf("%s; %s", j.Heard.Format(clockFormat), j.Tool))
		line("record", j.Record)
	}
	return b.String()
}

// fleetMetrics are those that each job has once.
var fleetMetrics = []struct {
	name, help string
	value      func(FleetJob) (float64, bool) // false: the job has none
}{
	{"tinybackup_job_ok", "Whether nothing is wrong with the job.", func(j FleetJob) (float64, bool) {
		if j.OK {
			return 1, true
		}
		return 0, true
	}},
	{"tinybackup_job_failures", "Failed runs since the last success.", func(j FleetJob) (float64, bool) { return float64(j.Failures), j.Last != nil }},
	{"tinybackup_last_success_timestamp_seconds", "When the last run that stored an archive began.", func(j FleetJob) (float64, bool) {
		if j.LastGood == nil {
			return 0, false
		}
		return seconds(j.LastGood.Start), true
	}},
	{"tinybackup_last_run_timestamp_seconds", "When the last run began.", func(j FleetJob) (float64, bool) {
		if j.Last == nil {
			return 0, false
		}
		return seconds(j.Last.Start), true
	}},
	{"tinybackup_last_run_duration_seconds", "How long the last run took.", func(j FleetJob) (float64, bool) {
		if j.Last == nil {
			return 0, false
		}
		return j.Last.End.Sub(j.Last.Start).Seconds(), true
	}},
	{"tinybackup_next_run_timestamp_seconds", "When the next run is planned.", func(j FleetJob) (float64, bool) {
		return seconds(j.Next), !j.Next.IsZero()
	}},
	{"tinybackup_archives", "Archives of the job in its destination.", func(j FleetJob) (float64, bool) { return float64(j.Archives), true }},
	{"tinybackup_archives_bytes", "The sum of their sizes.", func(j FleetJob) (float64, bool) { return float64(j.Bytes), true }},
	{"tinybackup_heard_timestamp_seconds", "When the job was last heard of, by the clock of the destination.", func(j FleetJob) (float64, bool) {
		return seconds(j.Heard), !j.Heard.IsZero()
	}},
	{"tinybackup_clock_ahead_seconds", "How far the clock of the host is ahead of that of the destination.", func(j FleetJob) (float64, bool) {
		return float64(j.ClockAhead), j.Last != nil
	}},
}

// printMetrics prints the fleet as Status.printMetrics does.
func (f Fleet) printMetrics(env Env) error {
	out := bufio.NewWriter(env.Stdout)
	labels := func(j FleetJob) []string {
		return []string{"host", j.Host, "job", j.ID, "name", j.Name, "dest", j.Dest}
	}
	headOf(out, "tinybackup_job_state", "The state that the job is in has 1, all others have 0.")
	for _, j := range f.Jobs {
		for _, state := range fleetStates {
			value := 0.0
			if j.State == state {
				value = 1
			}
			out.WriteString(sample("tinybackup_job_state", value, append(labels(j), "state", string(state))...))
		}
	}
	for _, m := range fleetMetrics {
		headOf(out, m.name, m.help)
		for _, j := range f.Jobs {
			if value, has := m.value(j); has {
				out.WriteString(sample(m.name, value, labels(j)...))
			}
		}
	}
	headOf(out, "tinybackup_problems", "What is wrong and of no single job.")
	out.WriteString(sample("tinybackup_problems", float64(len(f.Problems))))
	return out.Flush()
}
