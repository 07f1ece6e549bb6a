package tinybackup

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// detail adds what is told of a job only if it alone was asked for.
func (l *look) detail(ctx context.Context, js *JobStatus, n numbered) {
	if n.broken != nil {
		return
	}
	spec, err := n.job.Spec()
	if err != nil {
		return // job has told
	}
	after := l.now
	if !js.Next.IsZero() && js.Next.After(after) {
		js.Upcoming, after = append(js.Upcoming, js.Next), js.Next
	}
	for len(js.Upcoming) < upcomingRuns {
		slot, more := spec.Next(after)
		if !more {
			break
		}
		js.Upcoming, after = append(js.Upcoming, slot), slot
	}
	d := l.dests[js.Dest]
	if d.err != nil {
		return // dest has told
	}
	ctx, cancel := patience(ctx, js.Dest)
	defer cancel()
	all, err := listStored(ctx, d.store, js.Name)
	if err != nil {
		if isRemote(js.Dest) {
			js.unasked(err)
		} else {
			js.problem(StateBroken, "ls -ld "+shellQuote(js.Dest), "its archives cannot be listed: %v", err)
		}
		js.settle(js.State, js.Why)
		return
	}
	decision := decide(all, n.job.Options, l.now.In(n.job.Installed.Location()))
	js.Stored, js.Unrotated = verdicts(all, decision), decision.Refused
}

// printDetail shows one job, and all that is known of it.
func (j JobStatus) printDetail(env Env) error {
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			writeColumns(&b, label, 9, text)
		}
	}
	fmt.Fprintln(&b, j.headline())
	b.WriteString(j.problems())
	if j.Name != "" {
		where := ""
		if j.Where != "" && j.Where != j.Path {
			where = " (" + j.Where + ")"
		}
		line("source", oneLine(j.Source))
		line("to", oneLine(j.Dest))
		line("runs", fmt.Sprintf("%s, %s, by %s%s", j.Schedule, j.Zone, j.Scheduler, where))
		var next []string
		for _, t := range j.Upcoming {
			next = append(next, t.Format(clockFormat))
		}
		line("next", strings.Join(next, ", "))
		line("archives", j.archives())
		for _, c := range j.copyTo {
			line("copied to", oneLine(j.copied(c)))
		}
	}
	for _, a := range j.Messages {
		line("tells", oneLine(a.text()))
	}
	if j.LogLine != "" {
		line("logged", oneLine(j.LogLine))
	}
	line("job", oneLine(j.Path))
	line("log", oneLine(j.Log))
	line("history", oneLine(j.History))
	if _, err := fmt.Fprint(env.Stdout, b.String()); err != nil {
		return err
	}
	if len(j.Recent) > 0 {
		fmt.Fprintln(env.Stdout)
		if err := printRuns(env, j.Recent); err != nil {
			return err
		}
	}
	if len(j.Stored) > 0 {
		fmt.Fprintln(env.Stdout)
		if err := printVerdicts(env, j.Stored); err != nil {
			return err
		}
	}
	if j.Unrotated != "" {
		fmt.Fprintln(env.Stdout, wrap("rotation would remove nothing: "+oneLine(j.Unrotated), helpWidth, ""))
	}
	return nil
}

// archives says how many there are, and how their sizes went.
func (j JobStatus) archives() string {
	if j.Unasked != "" {
		return "not known"
	}
	text := fmt.Sprintf("%s, %s", plural(int64(j.Archives), "archive", "archives"), Size(j.Bytes))
	if j.Free >= 0 {
		text += fmt.Sprintf(", %s free", Size(j.Free))
	}
	if len(j.Stored) > 1 {
		var sizes []int64
		for _, v := range slices.Backward(j.Stored) {
			sizes = append(sizes, v.Size)
		}
		text += ", sizes " + sparkline(sizes[max(0, len(sizes)-sparkWidth):])
	}
	return text
}

// runColumns are those of the table of runs.
var runColumns = []column{
	{head: "STARTED"}, {head: "TOOK", right: true}, {head: "READ", right: true}, {head: "WRITTEN", right: true}, {head: "REUSED", right: true}, {head: "RESULT"},
}

// printRuns shows runs, the newest last.
func printRuns(env Env, all []HistoryEntry) error {
	var rows [][]string
	for _, e := range all {
		row := []string{e.Start.Format(clockFormat), took(e.End.Sub(e.Start)), "-", "-", "-", e.Result}
		if e.Stored() {
			row[2], row[3], row[4] = Size(e.Read).String(), Size(e.Written).String(), Size(e.Reused).String()
		}
		if e.Result == ResultMissed {
			row[1] = "-"
		}
		rows = append(rows, row)
	}
	return printTable(env.Stdout, runColumns, rows)
}

// sparkWidth is how many sizes a sparkline shows.
const sparkWidth = 24

// sparkline draws sizes as bars from nothing to the largest.
func sparkline(sizes []int64) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	most := slices.Max(append([]int64{1}, sizes...))
	var b strings.Builder
	for _, size := range sizes {
		b.WriteRune(bars[min(int64(len(bars))-1, size*int64(len(bars))/most)])
	}
	return b.String()
}

// headline says in one sentence how the job is.
func (j JobStatus) headline() string {
	text := j.ID
	if j.Name != "" {
		text = oneLine(j.Name) + " (" + j.ID + ")"
	}
	text += " is " + string(j.State)
	if j.OK && j.Why != "" {
		text += ": " + oneLine(j.Why)
	}
	return wrap(text, helpWidth-len(wrapIndent), wrapIndent)
}

// problems are sentences about what is wrong, each with what mends it.
func (j JobStatus) problems() string {
	var b strings.Builder
	for _, p := range j.Problems {
		b.WriteString(p.text())
	}
	if j.Unasked != "" && j.Failures == 0 {
		b.WriteString("  " + wrap("its destination could not be asked: "+oneLine(j.Unasked), helpWidth-len(wrapIndent), wrapIndent) + "\n")
	}
	return b.String()
}

// text is a problem for a person, in lines of their own: a command stays whole, to
// be pasted. What else could mend it has a line of its own, too.
func (p Problem) text() string {
	text := "  " + wrap(oneLine(p.Why), helpWidth-len(wrapIndent), wrapIndent) + "\n"
	if p.Mend != "" {
		text += wrapIndent + "mend it: " + strings.ReplaceAll(oneLine(p.Mend), "; if ", ";\n"+wrapIndent+"  if ") + "\n"
	}
	return text
}
