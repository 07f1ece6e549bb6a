package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// runCommand are the options of run.
type runCommand struct {
	Job   string `long:"job" value-name:"ID" description:"do what a job says, by its id or the path of its file"`
	Now   bool   `long:"now" description:"with --job: back up now, even if its last planned run is done"`
	Retry bool   `long:"retry" description:"with --job: try a run that failed again at once, and exit with 1 until it succeeds"`
	Check bool   `long:"check" description:"with --job: say whether the job could run now, and store nothing"`
	JSON  bool   `long:"json" description:"print one JSON object"`
	progressOption
	Options Options  `group:"Options of the backup"`
	Args    pairArgs `positional-args:"yes"`

	quietOutput bool // somebody else has printed the one JSON object
	firstRun    bool // of install --run: somebody waits for it
}

// jobRunOptions are the options that may go with --job: the others are in the
// job's file, and one that contradicts it would be a surprise at the next run.
var jobRunOptions = []string{"job", "now", "retry", "check", "json", "progress", "dry-run", "noop", "yes", "verify", "reread", "quiet", "debug", "log-level"}

func (c *runCommand) execute(ctx context.Context, env Env, inv *invocation) (err error) {
	goOnUnread()
	env, done := c.watch(env)
	defer done()
	var report Report
	if c.Check {
		return c.checkJob(ctx, env, inv)
	}
	if c.Job == "" {
		if c.Now || c.Retry {
			option := "--now"
			if !c.Now {
				option = "--retry"
			}
			return &UsageError{Msg: option + " goes with --job", Hint: "tinybackup run SOURCE DEST always backs up now"}
		}
		if c.Args.Source == "" || c.Args.Dest == "" {
			return &UsageError{Msg: "run wants a source and a destination", Hint: "tinybackup run SOURCE DEST, or tinybackup run --job ID"}
		}
		var o Options
		if o, err = c.options(env, inv); err != nil {
			return err
		}
		report, err = Run(ctx, env, o, "")
	} else {
		report, err = c.runJob(ctx, env, inv)
	}
	done()
	if err != nil {
		// A job that goes on failing was told of, and cron would mail it every night.
		if c.Job != "" && !c.Now && !env.terminal && report.Told {
			return &toldError{err}
		}
		return err
	}
	switch {
	case c.JSON:
		err = printJSON(env, report)
	case report.Nothing != "":
		if env.terminal && !env.quiet {
			fmt.Fprintln(env.Stdout, wrap(oneLine(report.Nothing), helpWidth, ""))
		}
	// What a scheduler started is silent when all is well: cron mails what it prints.
	case !c.quietOutput && (c.Job == "" || c.firstRun || env.terminal || report.DryRun):
		err = report.print(env)
	// That it failed was mailed, so that this has to be as well.
	case !c.quietOutput && report.Change == ChangeRecovered:
		fmt.Fprintf(env.Stdout, "%s: backups succeed again\n", report.Name)
	}
	if errors.Is(err, syscall.EPIPE) {
		err = nil // the archive is stored, whoever reads of it
	}
	if err == nil && report.WarningCount > 0 && !report.DryRun {
		return errWarnings
	}
	return err
}

// options are those of a run without a job.
func (c *runCommand) options(env Env, inv *invocation) (Options, error) {
	o, where, err := env.layered(c.Options, inv.given)
	if err != nil {
		return o, err
	}
	if err := keepsSomething(o, where); err != nil {
		return o, err
	}
	o.Source, o.Dest = c.Args.Source, c.Args.Dest
	if err := o.Resolve(); err != nil {
		return o, err
	}
	return o, where.blame(o, o.checkWords())
}

// checkJob is run --check.
func (c *runCommand) checkJob(ctx context.Context, env Env, inv *invocation) error {
	if c.Job == "" {
		return &UsageError{Msg: "--check is for a job", Hint: "tinybackup run --check --job ID, or tinybackup run --dry-run SOURCE DEST"}
	}
	if c.JSON {
		return &UsageError{Msg: "--check and --json exclude each other", Hint: "the exit status tells: 0 if the job could run"}
	}
	if err := c.refuseWithJob(inv); err != nil {
		return err
	}
	job, err := LoadJob(env.Dirs, c.Job)
	if err != nil {
		return err
	}
	if err := CheckJob(ctx, env, job); err != nil {
		return err
	}
	if env.terminal { // a scheduler is told by the exit status
		env.say("job %s (%s) could run now", job.ID, oneLine(job.Options.Name))
	}
	return nil
}

// refuseWithJob refuses what does not go with --job.
func (c *runCommand) refuseWithJob(inv *invocation) error {
	if c.Args.Source != "" {
		return &UsageError{Msg: "run wants either --job or a source and a destination", Hint: "tinybackup run --job " + shellQuote(c.Job)}
	}
	for name := range inv.given {
		if !slices.Contains(jobRunOptions, name) {
			return &UsageError{Msg: "--job and --" + name + " exclude each other", Hint: "a job's options are in its file; tinybackup statusof --json tells where that is"}
		}
	}
	return nil
}

func (c *runCommand) runJob(ctx context.Context, env Env, inv *invocation) (Report, error) {
	if err := c.refuseWithJob(inv); err != nil {
		return Report{}, err
	}
	job, err := LoadJob(env.Dirs, c.Job)
	if err != nil {
		if !c.Now && !env.terminal { // else the one who asks reads it
			tellUnable(ctx, env, c.Job, err)
		}
		return Report{}, err
	}
	o := c.Options
	return RunJob(ctx, env, job, RunOnce{Now: c.Now, Retry: c.Retry, DryRun: o.DryRun || o.Noop, Yes: o.Yes, Verify: o.Verify, Reread: o.Reread})
}

// watch gives env a progress line, if one is wanted, and what takes it away again.
func (p progressOption) watch(env Env) (Env, func()) {
	auto := env.terminal && !env.quiet && p.Progress != "never"
	if !auto && p.Progress != "always" {
		return env, func() {}
	}
	line := &progressLine{screen: env.screen}
	env.Progress = line.Show
	return env, line.Close
}
