package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tinybackup/internal/notify"
)

// notifyCommand are the options of notify.
type notifyCommand struct {
	Test bool       `long:"test" description:"send a test message to each service, and a ping"`
	JSON bool       `long:"json" description:"print one JSON object"`
	Args selectArgs `positional-args:"yes"`
}

// A TestedJob is how a test of a job's messages went, and one element of "jobs" in
// the output of notify --test --json.
type TestedJob struct {
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Services []TestedService `json:"services"`
}

// A TestedService is how one service took it.
type TestedService struct {
	Service string `json:"service"` // such as "telegram", or "ping"
	OK      bool   `json:"ok"`
	Why     string `json:"why,omitempty"` // it failed
}

// testOutput is the output of notify --test --json.
type testOutput struct {
	Jobs []TestedJob `json:"jobs"`
	OK   bool        `json:"ok"`
}

func (c *notifyCommand) execute(ctx context.Context, env Env) error {
	if !c.Test {
		return &UsageError{Msg: "notify wants --test", Hint: "tinybackup notify --test ID sends a test message"}
	}
	which, err := c.Args.selection("")
	if err != nil {
		return err
	}
	if which.isZero() {
		return &UsageError{Msg: "notify --test wants a job", Hint: "tinybackup notify --test ID; tinybackup statusof shows the ids"}
	}
	tested, err := TestMessages(ctx, env, which)
	if err != nil {
		return err
	}
	out := testOutput{Jobs: tested, OK: true}
	for _, job := range tested {
		for _, s := range job.Services {
			out.OK = out.OK && s.OK
		}
	}
	if c.JSON {
		err = printJSON(env, out)
	} else {
		err = printTested(env, tested)
	}
	if err == nil && !out.OK {
		err = errors.New("not everybody could be told")
	}
	return err
}

// testLimit bounds the test of all services together.
const testLimit = time.Minute

// TestMessages sends a test message to each service of the selected jobs, and pings
// those that have a check: as a success, which it then takes for one. It waits for
// all of them, a minute at most. An error of a service is in the result.
func TestMessages(ctx context.Context, env Env, which Selection) ([]TestedJob, error) {
	all, err := allJobs(env.Dirs)
	if err != nil {
		return nil, err
	}
	picked, err := which.pick(all)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, testLimit)
	defer cancel()
	var tested []TestedJob
	for _, n := range picked {
		if n.broken != nil {
			return nil, n.broken.Err
		}
		if len(n.job.Options.addressees()) == 0 {
			return nil, &UsageError{
				Msg:  fmt.Sprintf("job %s (%s) tells nobody", n.job.ID, n.job.Options.Name),
				Hint: "put a line notify = URL or ping = URL below [options] in " + shellQuote(n.job.Path),
			}
		}
		tested = append(tested, n.job.testMessages(ctx, env))
	}
	return tested, nil
}

// testMessages tests all services of one job at the same time.
func (j Job) testMessages(ctx context.Context, env Env) TestedJob {
	h := newHerald(env, j.Options, &j)
	m := h.tale.plain("Test", "This is a test of tinybackup: messages about this backup get here.", "")
	test := letter{Title: m.Title, Text: m.Text, Ping: &notify.Ping{Body: m.Text}}
	to := j.Options.addressees()
	tested := TestedJob{ID: j.ID, Name: j.Options.Name, Services: make([]TestedService, len(to))}
	var all sync.WaitGroup
	for i, a := range to {
		all.Go(func() {
			s := &tested.Services[i]
			s.Service = a.label
			err := a.send(ctx, env.notify, test)
			s.OK = err == nil
			if err != nil {
				s.Why = reason(err)
			}
		})
	}
	all.Wait()
	return tested
}

// testColumns are those of printTested.
var testColumns = []column{{head: "JOB"}, {head: "SERVICE"}, {head: "RESULT", wraps: true}}

func printTested(env Env, tested []TestedJob) error {
	var rows [][]string
	for _, job := range tested {
		for _, s := range job.Services {
			result := "ok"
			if !s.OK {
				result = "failed: " + oneLine(s.Why)
			}
			rows = append(rows, []string{oneLine(job.Name), s.Service, result})
		}
	}
	return printTable(env.Stdout, testColumns, rows)
}
