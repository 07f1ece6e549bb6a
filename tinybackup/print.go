package tinybackup

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"tinybackup/internal/sched"
)

// PrintOptions say what to make for an engine that somebody else looks after.
type PrintOptions struct {
	Job   NewJob
	What  string // "cron", "systemd", "kubernetes" or "job", the file that the others start
	Image string // of "kubernetes": where tinybackup is
}

// A Printed is what Print has made.
type Printed struct {
	Text     string
	Warnings []string // what keeps the job from running on this machine
	Notes    []string // what to know about it, in sentences
	Steps    []string // what to do with it, and what to type for that
}

// Print makes the files with which an engine starts a job, and changes nothing.
// The same job has the same id each time: what is printed for several engines goes
// with one job file. If it is installed here already, its id is that one's.
//
// For kubernetes, paths are those of a node, and this machine is not looked at.
func Print(env Env, o PrintOptions) (Printed, error) {
	anchor := env.Now().In(env.zone()).Truncate(time.Minute)
	here, resolve := o.What != "kubernetes", (*Options).Resolve
	if !here {
		resolve = (*Options).resolveElsewhere
	}
	p, err := wordsPlan(env, o.Job, anchor, resolve)
	if err != nil {
		return Printed{}, err
	}
	if !here {
		env.Dirs = rootDirs
	}
	if err := p.place(env, here); err != nil {
		return Printed{}, err
	}
	if err := p.standsStill(); err != nil {
		return Printed{}, err
	}
	p.job.Scheduler = scheduledElsewhere
	p.inOneFile()
	p.describe(env)
	printed := Printed{Notes: p.Notes}
	if !here {
		err := p.printKubernetes(o.Image, &printed)
		return printed, err
	}
	if err := p.job.Options.usable(); err != nil {
		printed.Warnings = append(printed.Warnings, err.Error())
	}
	if p.old != nil && p.old.Scheduler != scheduledElsewhere {
		printed.Warnings = append(printed.Warnings, fmt.Sprintf("job %s is started by %s here already: tinybackup install --scheduler external leaves it to others", p.ID, p.old.Scheduler))
	}
	switch o.What {
	case "job":
		err := p.printJob(env, &printed)
		return printed, err
	case "cron":
		err = p.printCron(env, &printed)
	default:
		err = p.printSystemd(env, &printed)
	}
	if p.old == nil {
		printed.Notes = append(printed.Notes, "Its job file, "+p.Path+", is what the same command prints with --print job.")
	}
	return printed, err
}

// place gives the job its id and its places. With here, those of a job that is here.
func (p *InstalledJob) place(env Env, here bool) error {
	var jobs []Job
	if here {
		var err error
		if jobs, _, err = Jobs(env.Dirs); err != nil {
			return err
		}
		if err := p.settle(env, jobs); err != nil {
			return err
		}
	}
	if p.old == nil {
		o := p.job.Options
		sum := sha256.Sum256([]byte(o.Source + "\x00" + o.Dest + "\x00" + o.Name))
		p.job.ID = hex.EncodeToString(sum[:4])
		p.job.Path = filepath.Join(env.Dirs.Jobs, p.job.ID+".ini")
		p.job.StateDir, p.job.LogFile = jobDefaults(env.Dirs, p.job.ID, o.Name)
	}
	for _, other := range jobs {
		if p.old != nil && other.ID == p.job.ID {
			continue
		}
		if other.ID == p.job.ID {
			return fmt.Errorf("job file %q is another job's", other.Path)
		}
		if err := p.refuseNamesake(other); err != nil {
			return err
		}
	}
	return nil
}

// standsStill refuses a schedule that is another one each time it is printed, unless
// the job is there: an engine and the job's file would not mean the same.
func (p *InstalledJob) standsStill() error {
	if p.old != nil && p.spec.Anchor.Equal(p.old.Installed) {
		return nil
	}
	later := p.anchor.Add(25*time.Hour + 61*time.Minute)
	other, err := newSpec(p.Time, p.job.Once, later)
	if err != nil {
		return nil // over by then: a day that is named
	}
	from := later
	for _, s := range []*sched.Spec{p.spec, other} {
		if first, more := s.Next(s.Anchor); more && first.After(from) {
			from = first
		}
	}
	from = from.Add(-time.Minute)
	const slots = 40
	for range slots {
		a, moreA := p.spec.Next(from)
		b, moreB := other.Next(from)
		if moreA != moreB || !a.Equal(b) {
			return &UsageError{
				Msg:  fmt.Sprintf("time %q counts from now, and would be another one each time that it is printed", p.Time),
				Hint: "give times of the clock, such as '0 */6 * * *' or 2:00am",
			}
		}
		if !moreA {
			break
		}
		from = a
	}
	return nil
}

// inOneFile makes the shared options the job's own: where it runs there may be no
// such file, or another one.
func (p *InstalledJob) inOneFile() {
	p.job.inherited = nil
	if p.job.Options.Config != sharedNone {
		p.job.Options.Config = ""
	}
}

// printJob makes the job's file.
func (p *InstalledJob) printJob(env Env, out *Printed) error {
	text, err := p.job.textFrom(env.Dirs, nil)
	out.Text = string(text)
	out.Steps = []string{"put it in its place, for its owner alone: … | " + asRootIf(env.Dirs == rootDirs, "install -D -m 600 /dev/stdin "+shellQuote(p.Path))}
	return err
}

// printCron makes a file for /etc/cron.d.
func (p *InstalledJob) printCron(env Env, out *Printed) error {
	e, err := p.printedEntry(env)
	if err != nil {
		return err
	}
	lines, err := sched.CronFile(e, nameOf(os.Geteuid()))
	if err != nil {
		return p.cannot("cron", err)
	}
	out.Text = "# " + p.headline() + "\n# Its job file is " + oneLine(p.Path) + ".\n"
	if strings.Count(lines, "\n") > 1 {
		out.Text += "# The second line asks whether a run was missed, or failed and is to be tried again.\n"
	}
	out.Text += lines
	out.Notes = append(out.Notes, "cron goes by the clock of its machine, which has to be in the zone "+p.Zone+".")
	out.Steps = []string{"put it in its place: … | " + asRoot("install -m 644 /dev/stdin /etc/cron.d/"+p.base())}
	return nil
}

// printSystemd makes a service and a timer, one after the other, each under its path.
func (p *InstalledJob) printSystemd(env Env, out *Printed) error {
	e, err := p.printedEntry(env)
	if err != nil {
		return err
	}
	units := sched.Units{Name: p.base(), What: p.headline(), Retry: p.retryAfter()}
	own := newSystemd(os.Geteuid(), homeOf(os.Geteuid()))
	manager := "systemctl"
	if own.User == "" {
		units.Settings = p.job.confined(env.Dirs)
	} else {
		manager += " --user"
	}
	service, timer, err := units.Of(e)
	if err != nil {
		return p.cannot("systemd", err)
	}
	path := filepath.Join(own.UnitDir, units.Name)
	out.Text = fmt.Sprintf("# %s.service\n%s\n# %s.timer\n%s", path, service, path, timer)
	if note := own.Note(); note != "" {
		out.Notes = append(out.Notes, note+".")
	}
	if own.User != "" {
		out.Steps = []string{"make their directory: mkdir -p " + shellQuote(own.UnitDir)}
	}
	split := `awk '/^# \/.*\.(service|timer)$/ { f = substr($0, 3) } { print > f }'`
	out.Steps = append(out.Steps,
		"make two files of it: … | "+asRootIf(own.User == "", split),
		"start the timer: "+asRootIf(own.User == "", manager+" enable --now "+units.Name+".timer"))
	return nil
}

// confined are the settings under which a job runs that starts nothing but itself:
// it writes to its destination and to its own places, and reads everything. Commands
// of the user may do whatever they do, rclone keeps its configuration, and a snapshot
// changes volumes.
func (j Job) confined(dirs Dirs) []string {
	o := j.Options
	if o.Before != "" || o.After != "" || o.Snapshot != "" && o.Snapshot != "none" || slices.ContainsFunc(o.dests(), byRclone) {
		return nil
	}
	lines := []string{"NoNewPrivileges=yes", "ProtectKernelTunables=yes", "ProtectControlGroups=yes", "LockPersonality=yes"}
	// Its own places may not be there yet, and only the default ones does systemd make.
	// No word of a unit has a line break.
	if dirs != rootDirs || strings.ContainsFunc(strings.Join(o.dests(), ""), unicode.IsControl) {
		return lines
	}
	lines = append(lines, "ProtectSystem=strict")
	for _, dest := range o.dests() {
		if !isRemote(dest) { // the dash: without its disk, the run is to fail, which is told
			lines = append(lines, "ReadWritePaths="+sched.UnitWord("-"+dest))
		}
	}
	return append(lines, "StateDirectory=tinybackup", "StateDirectoryMode=0700", "LogsDirectory=tinybackup", "LogsDirectoryMode=0700")
}

// byRclone says whether a destination is reached by running rclone(1).
func byRclone(dest string) bool { return strings.HasPrefix(dest, "rclone:") }

// printedEntry is what the engine starts.
func (p *InstalledJob) printedEntry(env Env) (sched.Entry, error) {
	binary, err := env.binary()
	if err != nil {
		return sched.Entry{}, err
	}
	return p.job.entry(env.Dirs, binary, p.spec, p.Next[0]), nil
}

// cannot says that an engine cannot start the job as it is to be, and who can.
func (p *InstalledJob) cannot(engine string, err error) error {
	others := []string{}
	if _, err := p.spec.Cron(); err == nil {
		others = append(others, "cron", "kubernetes")
	}
	if _, err := p.spec.OnCalendar(); err == nil {
		others = append(others, "systemd")
	}
	hint := "tinybackup install --scheduler service can"
	for _, other := range others {
		if other != engine {
			hint = "use --print " + other + ", or tinybackup install without --print"
		}
	}
	if !errors.As(err, new(*sched.Error)) { // no word of the time
		return &UsageError{Msg: withName(engine, err), Hint: cmp.Or(hintOf(err), hint)}
	}
	text := strings.ReplaceAll(withName(engine, err), "cron cannot", engine+" cannot")
	return &UsageError{Msg: fmt.Sprintf("time %q: %s", p.Time, text), Hint: hint}
}

// headline is what is backed up, in one line.
func (p *InstalledJob) headline() string {
	o := p.job.Options
	return oneLine(fmt.Sprintf("Backup %q by tinybackup: %s -> %s, %s (%s)", o.Name, o.Source, o.Dest, p.Schedule, p.Zone))
}

// maxSlug leaves room for what a CronJob of Kubernetes adds to its name.
const maxSlug = 30

// base is what files and objects of the job are called: plain enough for cron.d,
// systemd and Kubernetes (RFC 1123), and another one for each job.
func (p *InstalledJob) base() string {
	var slug strings.Builder
	for _, c := range strings.ToLower(p.job.Options.Name) {
		if c < 'a' && (c < '0' || c > '9') || c > 'z' {
			c = '-'
		}
		if slug.Len() < maxSlug && (c != '-' || !strings.HasSuffix("-"+slug.String(), "-")) {
			slug.WriteRune(c)
		}
	}
	return "tinybackup-" + strings.Trim(cmp.Or(strings.Trim(slug.String(), "-"), "backup"), "-") + "-" + p.job.ID
}

// gap is the shortest time from one of the next runs to the one after it; zero if
// there is but one.
func (p *InstalledJob) gap() (gap time.Duration) {
	runs := nextRuns(p.spec, p.anchor, jitterLooks)
	for i := 1; i < len(runs); i++ {
		if d := runs[i].Sub(runs[i-1]); gap == 0 || d < gap {
			gap = d
		}
	}
	return gap
}

// retryAfter is how long an engine waits that waits the same time after each
// failure: within the bounds of our own waiting, and some twenty times from run to
// run.
func (p *InstalledJob) retryAfter() time.Duration {
	return min(max(p.gap()/24, sched.Backoff(1)), sched.Backoff(100)).Truncate(time.Minute)
}

// asRootIf is a command as who asks has to type it, if it takes root.
func asRootIf(root bool, command string) string {
	if !root {
		return command
	}
	return asRoot(command)
}
