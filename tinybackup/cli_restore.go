package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tinybackup/internal/rotate"
)

// restoreCommand are the options of restore.
type restoreCommand struct {
	At           string `long:"at" value-name:"TIME" description:"the newest archive up to this time, such as 2026-11-21 or '2026-11-21 14:30'"`
	Name         string `long:"name" value-name:"NAME" description:"of the archives called NAME, if DEST has others too"`
	Overwrite    bool   `long:"overwrite" description:"replace files that are there already"`
	NumericOwner bool   `long:"numeric-owner" description:"give files to the numbers of their owners, not to the names"`
	Yes          bool   `long:"yes" description:"overwrite a device without asking"`
	JSON         bool   `long:"json" description:"print one JSON object"`
	identityOption
	Access
	progressOption
	Args struct {
		From   string   `positional-arg-name:"DEST | ARCHIVE"`
		Target string   `positional-arg-name:"TARGET"`
		Paths  []string `positional-arg-name:"PATH"`
	} `positional-args:"yes"`
}

func (c *restoreCommand) execute(ctx context.Context, env Env, inv *invocation) (err error) {
	if c.Args.From == "" || c.Args.Target == "" {
		return &UsageError{Msg: "restore wants a destination or an archive, and a target", Hint: "tinybackup restore DEST TARGET"}
	}
	if c.Access, err = env.accessTo(c.Args.From, c.Access, inv.given); err != nil {
		return err
	}
	o := RestoreOptions{
		From: c.Args.From, Target: c.Args.Target, Paths: c.Args.Paths,
		Name: c.Name, Identity: env.identityFiles(c.Identity), Access: c.Access, Overwrite: c.Overwrite, NumericOwner: c.NumericOwner, Yes: c.Yes,
	}
	if c.At != "" {
		if o.At, err = parseMoment(c.At, env.Now().Location()); err != nil {
			return err
		}
	}
	env, done := c.watch(env)
	defer done()
	if env.terminal && isTerminal(env.Stdin) {
		o.Confirm = func(ctx context.Context, over Overwrite) error {
			done() // the question stands where the bar was
			return env.ask(ctx, over)
		}
	}
	report, err := Restore(ctx, env, o)
	done()
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(env, report)
	} else {
		report.print(env)
	}
	if err == nil && (report.WarningCount > 0 || report.Kept > 0) {
		return errWarnings
	}
	return err
}

// print says in one line what was restored.
func (r RestoreReport) print(env Env) {
	if r.Compared {
		env.say("%s: restored %s onto %s in %s, read back and compared", oneLine(r.Archive), Size(r.Bytes), r.Target, took(r.End.Sub(r.Start)))
		for _, note := range r.Notes {
			env.say("%s", wrap("note: "+oneLine(note), helpWidth, "  "))
		}
		return
	}
	kept := ""
	if r.Kept > 0 {
		kept = fmt.Sprintf("; %s there already and kept (--overwrite replaces them)", plural(int64(r.Kept), "file was", "files were"))
	}
	env.say("%s: %s, %s, restored to %s in %s%s", oneLine(r.Archive), plural(r.Entries, "entry", "entries"),
		Size(r.Bytes), oneLine(r.Target), took(r.End.Sub(r.Start)), kept)
}

// momentForms are the ways to write a time of restore --at, and how long the time
// is that each stands for: its end counts, so that a day means all of its archives.
var momentForms = []struct {
	layout string
	span   time.Duration
	days   int
}{
	{layout: "2006-01-02 15:04:05"},
	{layout: "2006-01-02T15:04:05"},
	{layout: time.RFC3339},
	{layout: "20060102T150405Z"}, // as in an archive's name: UTC
	{layout: "2006-01-02 15:04", span: time.Minute},
	{layout: "2006-01-02T15:04", span: time.Minute},
	{layout: "2006-01-02", days: 1},
}

// parseMoment reads a time of the past: the last second of what was written.
func parseMoment(text string, zone *time.Location) (time.Time, error) {
	for _, form := range momentForms {
		in := zone
		if strings.HasSuffix(form.layout, "Z") {
			in = time.UTC
		}
		t, err := time.ParseInLocation(form.layout, text, in)
		if err != nil {
			continue
		}
		if form.span > 0 || form.days > 0 {
			t = t.AddDate(0, 0, form.days).Add(form.span - time.Second)
		}
		return t, nil
	}
	if name, ok := rotate.ParseName(text); ok {
		return name.Time, nil
	}
	return time.Time{}, &UsageError{
		Msg:  fmt.Sprintf("time %q is not one such as 2026-11-21, '2026-11-21 14:30' or 20261121T143000Z", text),
		Hint: "tinybackup list DEST shows the times of the archives",
	}
}

// verifyCommand are the options of verify.
type verifyCommand struct {
	Name string `long:"name" value-name:"NAME" description:"only the archives called NAME"`
	JSON bool   `long:"json" description:"print one JSON object"`
	identityOption
	Access
	progressOption
	Args struct {
		From string `positional-arg-name:"DEST | ARCHIVE"`
	} `positional-args:"yes"`
}

func (c *verifyCommand) execute(ctx context.Context, env Env, inv *invocation) (err error) {
	if c.Args.From == "" {
		return &UsageError{Msg: "verify wants a destination or an archive", Hint: "tinybackup verify DEST"}
	}
	if c.Access, err = env.accessTo(c.Args.From, c.Access, inv.given); err != nil {
		return err
	}
	env, done := c.watch(env)
	defer done()
	report, err := Verify(ctx, env, VerifyOptions{From: c.Args.From, Name: c.Name, Identity: env.identityFiles(c.Identity), Access: c.Access})
	done()
	if err != nil {
		if report.Bad() > 0 && !c.JSON { // what is found is found
			err = errors.Join(err, report.print(env))
		}
		return err
	}
	if c.JSON {
		err = printJSON(env, report)
	} else {
		err = report.print(env)
	}
	if err == nil && report.Bad() > 0 {
		return &ProblemError{Msg: plural(int64(report.Bad()), "archive is damaged or missing", "archives are damaged or missing")}
	}
	if n := int64(report.Closed()); err == nil && n > 0 {
		return &ProblemError{Msg: "nobody looked into " + plural(n, "archive", "archives") + ": the identities do not open what is encrypted"}
	}
	return err
}

// print shows the archives, each in a line, and what is wrong with them.
func (v VerifyReport) print(env Env) error {
	var rows [][]string
	for _, a := range v.Archives {
		switch {
		case a.Problem != "":
			rows = append(rows, []string{"DAMAGED", oneLine(a.Archive), oneLine(a.Problem)})
		case a.closed:
			rows = append(rows, []string{"CLOSED", oneLine(a.Archive), oneLine(a.Unopened) + "; its bytes are as they were written"})
		case !env.quiet:
			rows = append(rows, []string{"good", oneLine(a.Archive), a.summary()})
		}
	}
	for _, name := range v.Missing {
		rows = append(rows, []string{"MISSING", oneLine(name), "SHA256SUMS has it"})
	}
	if len(rows) == 0 {
		return nil
	}
	return printTable(env.Stdout, []column{{head: "IS"}, {head: "ARCHIVE"}, {head: "WHAT", wraps: true}}, rows)
}

// summary is what was read, in a few words: what it was compared with is in --json.
func (v Verified) summary() string {
	if v.Unopened != "" {
		return Size(v.Size).String() + "; " + v.Unopened
	}
	text := Size(v.Raw).String()
	if v.Entries > 0 {
		text += ", " + plural(v.Entries, "entry", "entries")
	}
	if v.alone {
		text += "; it could be read, and that is all: it has neither a manifest nor a line in SHA256SUMS"
	}
	return text
}
