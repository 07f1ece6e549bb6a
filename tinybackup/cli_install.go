package tinybackup

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// installCommand are the options of install.
type installCommand struct {
	Time      string `long:"time" value-name:"SPEC" description:"when to run"`
	Once      bool   `long:"once" description:"run it a single time"`
	Scheduler string `long:"scheduler" value-name:"WHICH" choice:"auto" choice:"at" choice:"cron" choice:"systemd" choice:"launchd" choice:"service" choice:"external" default:"auto" description:"who starts it: cron, at, systemd (or launchd on macOS), service, auto: the first of these that works here, or external: somebody else"`
	RunNow    bool   `long:"run" description:"take a first backup now"`
	From      string `long:"from" value-name:"FILE" description:"make a job of each line PATH;HH:MM;NAME of FILE"`
	JSON      bool   `long:"json" description:"print one JSON object"`
	Print     string `long:"print" value-name:"WHAT" choice:"cron" choice:"systemd" choice:"kubernetes" choice:"job" description:"install nothing: print the file of cron.d, the units of systemd or the objects of kubernetes that start it, or its job file"`
	Image     string `long:"image" value-name:"IMAGE" description:"with --print kubernetes: the image that has tinybackup in its PATH"`
	progressOption
	Options Options  `group:"Options of the backup"`
	Args    pairArgs `positional-args:"yes"`
}

// installOutput is the output of install --json.
type installOutput struct {
	DryRun bool           `json:"dry_run"`
	Jobs   []InstalledJob `json:"jobs"`
}

func (c *installCommand) execute(ctx context.Context, env Env, inv *invocation) error {
	o := InstallOptions{Scheduler: c.Scheduler, DryRun: c.Options.DryRun || c.Options.Noop}
	if o.DryRun && c.RunNow {
		return &UsageError{Msg: "--run and --dry-run exclude each other", Hint: "tinybackup run --dry-run shows what a run would do"}
	}
	if c.Options.Yes && !c.RunNow {
		return &UsageError{Msg: "--yes is for a run, and needs --run here", Hint: "a job asks each time that rotation would remove unusually many archives"}
	}
	where := make(origins)
	for key := range inv.given {
		where[key] = nil
	}
	// The scheduler has another environment: what is in this one is the job's.
	if err := c.Options.fromEnvironment(env.getenv, where); err != nil {
		return err
	}
	if err := keepsSomething(c.Options, where); err != nil {
		return err
	}
	c.Options.DryRun, c.Options.Noop = false, false
	var err error
	if o.Jobs, err = c.newJobs(inv); err != nil {
		return err
	}
	for i := range o.Jobs {
		o.Jobs[i].given = where
	}
	if c.Print != "" || c.Image != "" {
		return c.print(env, inv, o.Jobs)
	}
	done, err := Install(ctx, env, o)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(env, installOutput{DryRun: o.DryRun, Jobs: done}); err != nil {
			return err
		}
	} else {
		printJobs(env, done, o.DryRun)
	}
	if !c.RunNow {
		return nil
	}
	run := runCommand{progressOption: c.progressOption, quietOutput: c.JSON, firstRun: true, Now: true}
	run.Options.Yes = c.Options.Yes
	var errs error
	for _, job := range done {
		run.Job = job.Path
		err := run.execute(ctx, env, &invocation{given: map[string]bool{"job": true}})
		if err != nil && len(done) > 1 {
			err = at("first backup of "+job.Name, err)
		}
		errs = firstOf(errs, err)
	}
	return errs
}

// firstOf is the graver of two errors, so that one exit status can tell: a
// failure comes before warnings, and among equals the first.
func firstOf(a, b error) error {
	if a == nil || (errors.Is(a, errWarnings) && b != nil) {
		return b
	}
	return a
}

// newJobs are the jobs that the command line asks for.
func (c *installCommand) newJobs(inv *invocation) ([]NewJob, error) {
	if c.From != "" {
		return c.listedJobs(inv)
	}
	switch {
	case c.Args.Source == "" || c.Args.Dest == "":
		return nil, &UsageError{Msg: "install wants a source and a destination", Hint: "tinybackup install --time 2:00am SOURCE DEST"}
	case !inv.given["time"]:
		return nil, &UsageError{Msg: "install wants a time", Hint: "tinybackup install --time 2:00am SOURCE DEST"}
	}
	o := c.Options
	o.Source, o.Dest = c.Args.Source, c.Args.Dest
	return []NewJob{{Options: o, Time: c.Time, Once: c.Once}}, nil
}

// listedJobs are the jobs of --from. All bad lines would be a flood; the first
// one is named.
func (c *installCommand) listedJobs(inv *invocation) ([]NewJob, error) {
	for _, other := range []string{"time", "name"} {
		if inv.given[other] {
			return nil, &UsageError{Msg: "--from and --" + other + " exclude each other", Hint: "each line of the file has its own: PATH;HH:MM;NAME"}
		}
	}
	if c.Args.Source == "" || c.Args.Dest != "" {
		return nil, &UsageError{Msg: "install --from wants one argument, the destination", Hint: "tinybackup install --from " + shellQuote(c.From) + " DEST"}
	}
	dest := c.Args.Source
	f, err := os.Open(c.From)
	if err != nil {
		return nil, &HintError{Err: fmt.Errorf("list %q: %w", c.From, cause(err)), Hint: "give a file with lines PATH;HH:MM;NAME"}
	}
	defer f.Close()
	var jobs []NewJob
	lines := bufio.NewScanner(f)
	for number := 1; lines.Scan(); number++ {
		where := fmt.Sprintf("%s:%d", c.From, number)
		n, found, err := parseListLine(lines.Text())
		if err != nil {
			return nil, at(where, err)
		}
		if !found {
			continue
		}
		o := c.Options
		o.Source, o.Dest, o.Name = n.Options.Source, dest, n.Options.Name
		jobs = append(jobs, NewJob{Options: o, Time: n.Time, Once: c.Once, Where: where})
	}
	if err := lines.Err(); err != nil {
		return nil, &HintError{Err: fmt.Errorf("list %q: %w", c.From, cause(err)), Hint: "give a file with lines PATH;HH:MM;NAME"}
	}
	if len(jobs) == 0 {
		return nil, &UsageError{Msg: fmt.Sprintf("list %q has no jobs", c.From), Hint: "give a file with lines PATH;HH:MM;NAME"}
	}
	return jobs, nil
}

// parseListLine reads one line PATH;HH:MM;NAME of a list of jobs; found is false
// for an empty line and a comment. A path may have semicolons: the time and the
// name, which are behind the last two, have none.
func parseListLine(line string) (job NewJob, found bool, err error) {
	const hint = "a line is PATH;HH:MM;NAME, such as /home/anna/notes;02:30;notes"
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return NewJob{}, false, nil
	}
	fields := strings.Split(line, ";")
	if len(fields) < 3 {
		return NewJob{}, false, &UsageError{Msg: fmt.Sprintf("%q has %d fields instead of 3", line, len(fields)), Hint: hint}
	}
	last := len(fields) - 1
	name := strings.TrimSpace(fields[last])
	clock := strings.TrimSpace(fields[last-1])
	path := strings.TrimSpace(strings.Join(fields[:last-1], ";"))
	switch {
	case path == "":
		return NewJob{}, false, &UsageError{Msg: "the path is empty", Hint: hint}
	case !filepath.IsAbs(path):
		return NewJob{}, false, &UsageError{Msg: fmt.Sprintf("path %q is not absolute", path), Hint: hint}
	case name == "":
		return NewJob{}, false, &UsageError{Msg: "the name is empty", Hint: hint}
	case !utf8.ValidString(name):
		return NewJob{}, false, &UsageError{Msg: fmt.Sprintf("name %q is not UTF-8", name), Hint: hint}
	}
	t, err := time.Parse("15:04", clock)
	if err != nil || strings.Contains(clock, " ") {
		return NewJob{}, false, &UsageError{Msg: fmt.Sprintf("time %q is not HH:MM", clock), Hint: hint}
	}
	return NewJob{
		Options: Options{Source: path, Name: name},
		Time:    t.Format("15:04"),
	}, true, nil
}

// keepsSomething refuses --keep 0 on its own: a rule that keeps nothing is no
// rule, and no rule keeps everything, which is not what it looks like.
func keepsSomething(o Options, where origins) error {
	if places, given := where["keep"]; given && o.Policy().IsZero() {
		err := &UsageError{Msg: "--keep 0 would keep no archive", Hint: "--keep all keeps every archive"}
		if len(places) > 0 {
			return at(places[0], err)
		}
		return err
	}
	return nil
}

// printJobs says what was installed and when it will run.
func printJobs(env Env, jobs []InstalledJob, dry bool) {
	for i, j := range jobs {
		if i > 0 {
			env.say("")
		}
		what := fmt.Sprintf("%q: %s -> %s", j.Name, oneLine(j.Source), oneLine(j.Dest))
		switch {
		case dry && j.Updated:
			env.say("would update job %s %s", j.ID, what)
		case dry:
			env.say("would install job %s", what)
		case j.Updated:
			env.say("updated job %s %s", j.ID, what)
		default:
			env.say("job %s %s", j.ID, what)
		}
		if j.Updated && len(j.Changes) == 0 {
			env.say("  changed    nothing")
		}
		for _, change := range j.Changes {
			env.sayFact("changed", change)
		}
		for _, c := range j.job.Options.CopyTo {
			env.sayFact("copied to", oneLine(c.String()))
		}
		env.sayFact("time", j.Schedule+parenthesis(j.Zone))
		env.sayFact("scheduler", j.Scheduler+parenthesis(j.Why))
		env.sayFact("next runs", formatTimes(j.Next))
		if dry {
			env.say("  line       %s", strings.ReplaceAll(j.Line, "\n", "\n             "))
		}
		for _, note := range j.Notes {
			env.sayFact("note", note)
		}
	}
	if dry {
		env.say("nothing is changed: --dry-run; the id of a new job is drawn at the real install")
		return
	}
	for _, j := range jobs {
		if j.Scheduler == "service" && !serviceRuns(env.Dirs) {
			env.say("the service is not running; type this now, and have it typed at every boot:")
			env.say("  tinybackup start")
			break
		}
	}
	for _, j := range jobs {
		if j.Scheduler == scheduledElsewhere {
			env.say("somebody else has to start job %s: see tinybackup install --print, or have this started at its times:", j.ID)
			env.say("  %s --retry", j.Line)
		}
	}
}

// parenthesis is " (text)", or nothing.
func parenthesis(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// clockFormat is how a person sees a time.
const clockFormat = "Mon 2006-01-02 15:04"

// timeFormat is clockFormat, with the zone's name where it is needed to tell times
// apart in the hour that is there twice.
func timeFormat(times []time.Time) string {
	seen := make(map[string]bool)
	for _, t := range times {
		if seen[t.Format(clockFormat)] {
			return clockFormat + " MST"
		}
		seen[t.Format(clockFormat)] = true
	}
	return clockFormat
}

// formatTimes lists times.
func formatTimes(times []time.Time) string {
	var texts []string
	for _, t := range times {
		texts = append(texts, t.Format(timeFormat(times)))
	}
	return strings.Join(texts, ", ")
}

// printJSON prints one JSON value, indented.
func printJSON(env Env, v any) error {
	enc := json.NewEncoder(env.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
