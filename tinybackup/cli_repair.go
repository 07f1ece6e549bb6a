package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// repairCommand are the options of repair.
type repairCommand struct {
	Scheduler string     `long:"scheduler" value-name:"WHICH" choice:"auto" choice:"at" choice:"cron" choice:"systemd" choice:"launchd" choice:"service" description:"who takes the jobs of a scheduler that does not work here any more: one by its name, or auto: the first that works"`
	DryRun    bool       `long:"dry-run" description:"say what would be done, and do nothing"`
	Noop      bool       `long:"noop" description:"the same as --dry-run"`
	JSON      bool       `long:"json" description:"print one JSON object"`
	Args      selectArgs `positional-args:"yes"`
}

// repairOutput is the output of repair --json.
type repairOutput struct {
	DryRun bool          `json:"dry_run"`
	Jobs   []RepairedJob `json:"jobs"`
	OK     bool          `json:"ok"` // no job is broken
}

func (c *repairCommand) execute(ctx context.Context, env Env) error {
	which, err := c.Args.selection("")
	if err != nil {
		return err
	}
	o := RepairOptions{Which: which, Scheduler: c.Scheduler, DryRun: c.DryRun || c.Noop}
	jobs, err := Repair(ctx, env, o)
	if err != nil && len(jobs) == 0 {
		return err
	}
	if c.JSON {
		if jobs == nil {
			jobs = []RepairedJob{}
		}
		err = errors.Join(err, printJSON(env, repairOutput{DryRun: o.DryRun, Jobs: jobs, OK: allMended(jobs)}))
	} else {
		for _, r := range jobs {
			env.say("%s", wrap(r.line(o.DryRun), helpWidth-len(wrapIndent), wrapIndent))
			if r.Hint != "" {
				env.say("  hint: %s", oneLine(r.Hint))
			}
		}
		if len(jobs) == 0 {
			env.say("there are no jobs")
		}
	}
	if err == nil && !allMended(jobs) {
		err = brokenJobs(jobs)
	}
	return err
}

// line is how a person sees what became of a job.
func (r RepairedJob) line(dry bool) string {
	text := "job " + r.ID
	if r.Name != "" {
		text += " (" + r.Name + ")"
	}
	mended := ": mended: "
	if dry {
		mended = ": would be mended: "
	}
	mended += strings.Join(r.Found, "; ")
	switch {
	case r.Result == RepairFine:
		text += ": fine"
	case r.Result == RepairMended:
		text += mended
	case len(r.Found) > 0:
		text += mended + "; but " + r.Why
	default:
		text += ": cannot be mended: " + r.Why
	}
	return oneLine(text)
}

// brokenJobs is the error for the jobs that are not well.
func brokenJobs(jobs []RepairedJob) error {
	n := 0
	for _, r := range jobs {
		if r.Result == RepairBroken {
			n++
		}
	}
	return fmt.Errorf("%d of %d jobs cannot run", n, len(jobs))
}
