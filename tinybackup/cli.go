package tinybackup

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
)

// A commandLine holds the options of every command; parseArgs fills in those of
// the one that was typed.
type commandLine struct {
	Common commonOptions

	Run       runCommand
	Install   installCommand
	Uninstall uninstallCommand
	Statusof  statusofCommand
	Edit      editCommand
	Repair    repairCommand
	Explain   explainCommand
	List      listCommand
	Restore   restoreCommand
	Verify    verifyCommand
	Notify    notifyCommand
	Start     startCommand
	Stop      stopCommand
	Version   struct{}
}

// commonOptions may stand before and behind every command.
type commonOptions struct {
	Quiet    bool   `long:"quiet" description:"print errors and what was asked for, nothing else"`
	Debug    bool   `long:"debug" description:"print and log every step"`
	LogLevel string `long:"log-level" value-name:"LEVEL" choice:"debug" choice:"info" choice:"warn" choice:"error" default:"info" description:"what goes into the log of a job: debug, info (the default), warn or error"`
}

// progressOption is of the commands that take long.
type progressOption struct {
	Progress string `long:"progress" value-name:"WHEN" choice:"auto" choice:"always" choice:"never" default:"auto" description:"show how far it is: auto (on a terminal), always or never"`
}

// pairArgs are the arguments of run and install.
type pairArgs struct {
	Source string `positional-arg-name:"SOURCE"`
	Dest   string `positional-arg-name:"DEST"`
}

// A command is one of the words that may follow tinybackup.
type command struct {
	name, short, long string
	usage             []string // what may follow the name; help shows one line for each
	aliases           []string
	data              any // pointer to the struct of its options
	run               func(context.Context, Env) error
}

// commands are all there are, in the order of a person's life with tinybackup.
// inv is read when one of them runs.
func (l *commandLine) commands(inv *invocation) []command {
	return []command{
		{name: "run", short: "back up now", data: &l.Run,
			usage: []string{" [options] SOURCE DEST", " [--now | --check] [options] --job ID"},
			long:  "Back up SOURCE, a file, a directory or a block device, into a new archive in DEST; then remove the archives that the --keep options do not cover. DEST is a directory, or a place on another machine: s3://ENDPOINT/BUCKET/PREFIX, sftp://USER@HOST/PATH or rclone:REMOTE:PATH. With --job, do what a job says.",
			run:   func(ctx context.Context, env Env) error { return l.Run.execute(ctx, env, inv) }},
		{name: "install", aliases: []string{"create"}, short: "schedule a backup", data: &l.Install,
			usage: []string{" --time SPEC [options] SOURCE DEST", " --from FILE [options] DEST"},
			long:  "Make a job that backs up SOURCE to DEST at the times of SPEC: five fields of cron ('30 2 * * *'), @hourly, @daily, @weekly, @monthly or @yearly; or what at(1) takes, such as 2:00am, 'monday 9:00' or '+6 hours'. A bare time repeats daily, a weekday weekly, a date yearly, and +N UNIT every N units.",
			run:   func(ctx context.Context, env Env) error { return l.Install.execute(ctx, env, inv) }},
		{name: "uninstall", aliases: []string{"delete"}, short: "take a backup off the schedule", data: &l.Uninstall,
			usage: []string{" SOURCE DEST [--time SPEC]", " ID…", " --all", " --orphans"},
			long:  "Remove jobs: those of SOURCE and DEST, of these the one at SPEC, those with an id or a number of statusof, or all. Archives, history and log stay. With --orphans, remove lines whose job is gone, and no job.",
			run:   l.Uninstall.execute},
		{name: "statusof", aliases: []string{"status"}, short: "show jobs: their next run, their last, what is wrong", data: &l.Statusof,
			usage: []string{" [--watch | --json | --prometheus]", " [options] SOURCE DEST [--time SPEC]", " [options] ID…", " [--host NAME] [--json | --prometheus] DEST"},
			long:  "Show all jobs, how each is, what is wrong with it and what mends that; or those of SOURCE and DEST, of these the one at SPEC, or those with an id or a number: a single one in detail. With DEST alone, show every host and job that ever backed up there, or below it. The exit status is 5 if something is not well.",
			run:   func(ctx context.Context, env Env) error { return l.Statusof.execute(ctx, env, inv) }},
		{name: "edit", short: "change a job in an editor", data: &l.Edit,
			usage: []string{" ID", " SOURCE DEST"},
			long:  "Open the file of a job in $VISUAL, $EDITOR or vi. What comes of it is checked before it takes the place of the file, and the scheduler gets what it then should have.",
			run:   l.Edit.execute},
		{name: "repair", short: "put right what schedulers lack", data: &l.Repair,
			usage: []string{" [options] [SOURCE DEST]", " [options] ID…"},
			long:  "Give the schedulers the entries that they should have, for all jobs or some: a line that is missing, there twice or changed, a chain of at that is broken, a program that has moved or is another version. Then try whether each job could run. The exit status is 1 if one cannot.",
			run:   l.Repair.execute},
		{name: "explain", short: "say what a time means", data: &l.Explain,
			usage: []string{" [--once] TIME"},
			long:  "Say what a time, as install takes it, means: in words, in its next runs, what is to be known about it, and how each scheduler would run it, or why it cannot.",
			run:   l.Explain.execute},
		{name: "list", aliases: []string{"backups"}, short: "show the archives of a destination", data: &l.List,
			usage: []string{" [--name NAME] DEST", " --files [--at TIME] [--name NAME] DEST", " --files ARCHIVE"},
			long:  "Show the archives in DEST, and which of them rotation keeps, and why. With --files, show what is in ARCHIVE, or in the newest one in DEST.",
			run:   func(ctx context.Context, env Env) error { return l.List.execute(ctx, env, inv) }},
		{name: "restore", short: "get a backup back", data: &l.Restore,
			usage: []string{" [options] DEST TARGET [PATH…]", " [options] ARCHIVE TARGET [PATH…]"},
			long:  "Make TARGET what the source was: from the newest archive in DEST, from the newest one up to --at, or from one ARCHIVE. With PATHs, restore only those. What is there already stays as it is, unless --overwrite is given. If TARGET is a block device, the image is written onto it, and what was on it is lost.",
			run:   func(ctx context.Context, env Env) error { return l.Restore.execute(ctx, env, inv) }},
		{name: "verify", short: "read archives back and compare", data: &l.Verify,
			usage: []string{" [--name NAME] DEST", " ARCHIVE"},
			long:  "Read every archive in DEST, or one ARCHIVE, decode it, and compare it with its checksums. The exit status is 5 if something is damaged or missing.",
			run:   func(ctx context.Context, env Env) error { return l.Verify.execute(ctx, env, inv) }},
		{name: "notify", short: "test the messages of a job", data: &l.Notify,
			usage: []string{" --test ID…", " --test SOURCE DEST"},
			long:  "Send a test message to every service that a job tells, and a ping, and say for each whether it got there. The exit status is 1 if one did not.",
			run:   l.Notify.execute},
		{name: "start", short: "start the built-in scheduler", data: &l.Start,
			usage: []string{" [--foreground]"},
			long:  "Start the service, which runs the jobs of --scheduler service at their times. It takes up new and changed jobs by itself.",
			run:   l.Start.execute},
		{name: "stop", short: "stop the built-in scheduler", data: &l.Stop,
			usage: []string{" [--now]"},
			long:  "Stop the service. A backup that is going on is finished first; with --now it is ended, and nothing of it is left.",
			run:   l.Stop.execute},
		{name: "version", short: "show the version", data: &l.Version,
			usage: []string{""},
			long:  "Show the version of tinybackup, and of the Go that built it.",
			run: func(_ context.Context, env Env) error {
				_, err := fmt.Fprintln(env.Stdout, versionText())
				return err
			}},
	}
}

// Main does what a command line says and returns the exit status. It is the
// program without its process: signals come in by ctx, whose cause then is a
// *SignalError.
func Main(ctx context.Context, env Env, args []string) int {
	out := &screen{w: env.Stderr}
	switch {
	case len(args) == 1 && args[0] == "--version":
		args = []string{"version"}
	case len(args) > 0 && args[0] == "help":
		args = append(slices.Clone(args[1:]), "--help")
	}
	var line commandLine
	var inv invocation
	commands := line.commands(&inv)
	inv, err := parseArgs(args, &line.Common, commands)
	if err != nil {
		return finish(ctx, out, err)
	}
	if inv.help != "" {
		_, err := fmt.Fprintln(env.Stdout, inv.help)
		return finish(ctx, out, err)
	}
	env.terminal = isTerminal(env.Stderr)
	env.screen = out
	env.Stderr = out
	env.Log = slog.New(screenHandler{w: out, level: line.Common.screenLevel()})
	env.LogLevel = line.Common.fileLevel()
	env.quiet = line.Common.Quiet
	if in, ok := env.Stdin.(*os.File); ok && env.terminal && isTerminal(in) {
		env.Passphrase = func(ctx context.Context, file string) ([]byte, error) { return env.askPassphrase(ctx, in, file) }
	}
	for _, c := range commands {
		if c.name == inv.command {
			err = c.run(ctx, env)
		}
	}
	return finish(ctx, out, err)
}

// screenLevel is the least level that a person sees at once.
func (c commonOptions) screenLevel() slog.Level {
	switch {
	case c.Debug:
		return slog.LevelDebug
	case c.Quiet:
		return slog.LevelError
	}
	return slog.LevelWarn
}

// fileLevel is the least level that goes into a job's log.
func (c commonOptions) fileLevel() slog.Level {
	if c.Debug {
		return slog.LevelDebug
	}
	return logLevels[c.LogLevel]
}

// say prints a line about what was done, unless --quiet.
func (e Env) say(format string, args ...any) {
	if !e.quiet {
		fmt.Fprintf(e.Stdout, format+"\n", args...)
	}
}
