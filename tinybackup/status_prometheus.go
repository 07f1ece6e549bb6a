package tinybackup

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"time"
)

// A metric is one kind of number about jobs.
type metric struct {
	name, help string
	value      func(JobStatus) (float64, bool) // false: the job has none
}

// seconds is a time as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// jobMetrics are those that each job has once. All are gauges: they are read off
// what is there, and may go down.
var jobMetrics = []metric{
	{"tinybackup_job_ok", "Whether nothing is wrong with the job.", func(j JobStatus) (float64, bool) {
		if j.OK {
			return 1, true
		}
		return 0, true
	}},
	{"tinybackup_job_failures", "Failed runs since the last success.", func(j JobStatus) (float64, bool) { return float64(j.Failures), true }},
	{"tinybackup_last_success_timestamp_seconds", "When the last run that stored an archive began.", func(j JobStatus) (float64, bool) {
		if j.LastGood == nil {
			return 0, false
		}
		return seconds(j.LastGood.Start), true
	}},
	{"tinybackup_last_run_timestamp_seconds", "When the last run began.", func(j JobStatus) (float64, bool) {
		if j.Last == nil {
			return 0, false
		}
		return seconds(j.Last.Start), true
	}},
	{"tinybackup_last_run_duration_seconds", "How long the last run took.", func(j JobStatus) (float64, bool) {
		if j.Last == nil {
			return 0, false
		}
		return j.Last.End.Sub(j.Last.Start).Seconds(), true
	}},
	{"tinybackup_next_run_timestamp_seconds", "When the next run is planned.", func(j JobStatus) (float64, bool) {
		return seconds(j.Next), !j.Next.IsZero()
	}},
	{"tinybackup_archives", "Archives of the job in its destination.", func(j JobStatus) (float64, bool) { return float64(j.Archives), j.Unasked == "" }},
	{"tinybackup_archives_bytes", "The sum of their sizes.", func(j JobStatus) (float64, bool) { return float64(j.Bytes), j.Unasked == "" }},
	{"tinybackup_destination_free_bytes", "What is free in the destination.", func(j JobStatus) (float64, bool) { return float64(j.Free), j.Free >= 0 }},
}

// printMetrics prints the status in the text format of Prometheus, version 0.0.4:
// one HELP and one TYPE for each metric, and all its lines together.
func (s Status) printMetrics(w io.Writer) error {
	out := bufio.NewWriter(w)
	headOf(out, "tinybackup_job_state", "The state that the job is in has 1, all others have 0.")
	for _, j := range s.Jobs {
		for _, state := range states {
			value := 0.0
			if j.State == state {
				value = 1
			}
			out.WriteString(sample("tinybackup_job_state", value, "job", j.ID, "name", j.Name, "state", string(state)))
		}
	}
	for _, m := range jobMetrics {
		headOf(out, m.name, m.help)
		for _, j := range s.Jobs {
			if value, has := m.value(j); has {
				out.WriteString(sample(m.name, value, "job", j.ID, "name", j.Name))
			}
		}
	}
	headOf(out, "tinybackup_problems", "What is wrong and of no single job.")
	out.WriteString(sample("tinybackup_problems", float64(len(s.Problems))))
	return out.Flush()
}

// headOf are the lines before those of a metric.
func headOf(out *bufio.Writer, name, help string) {
	out.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " gauge\n")
}

// sample is one line: labels are names and values in turn.
func sample(name string, value float64, labels ...string) string {
	var b strings.Builder
	b.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		if i == 0 {
			b.WriteByte('{')
		} else {
			b.WriteByte(',')
		}
		b.WriteString(labels[i] + `="` + escapeLabel(labels[i+1]) + `"`)
	}
	if len(labels) > 0 {
		b.WriteByte('}')
	}
	b.WriteString(" " + strconv.FormatFloat(value, 'f', -1, 64) + "\n")
	return b.String()
}

// escapeLabel writes a value as the format wants it: UTF-8, with backslashes,
// quotes and line feeds escaped.
func escapeLabel(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(text, "\uFFFD"))
}
