package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strings"
	"time"

	"tinybackup/internal/rotate"
	"tinybackup/internal/sched"
	"tinybackup/internal/store"
)

// scheduler tells whether somebody will start the job.
func (l *look) scheduler(js *JobStatus, n numbered, spec *sched.Spec) {
	s, err := l.env.scheduler(js.Scheduler)
	if err != nil {
		js.problem(StateBroken, "", "%v", err)
		return
	}
	if err := l.trouble[js.Scheduler]; err != nil {
		l.refused(js, err)
		return
	}
	if js.Scheduler == scheduledElsewhere {
		return // whether it is started shows in its runs
	}
	if js.Scheduler == "service" {
		js.Where = js.Path
		if err := l.check[js.Scheduler]; err != nil {
			l.refused(js, err)
		}
		return
	}
	own := l.entriesOf(js.Scheduler, n)
	if len(own) == 0 {
		js.Next = time.Time{}
	}
	for i, e := range own {
		if i == 0 {
			js.Where = e.Where
		}
		if !e.Next.IsZero() && !e.Running {
			js.Next = e.Next.In(spec.Anchor.Location())
		}
	}
	want, err := n.job.expected(l.env, spec, l.now)
	if err != nil {
		js.problem(StateBroken, "", "%v", err)
		return
	}
	repair := "tinybackup repair " + js.ID
	if len(own) > 0 {
		if l.other[own[0].Binary] {
			js.problem(StateBroken, repair, "%s", otherProgram(own[0]))
		}
		want.Binary = own[0].Binary // that is compared
	}
	for _, f := range faults(s, want, own) {
		if !f.harmless || f.kind == faultOther {
			js.problem(StateBroken, repair, "%s", f.text)
		}
	}
	if err := l.check[js.Scheduler]; err != nil {
		l.refused(js, err)
	}
}

// refused tells why a scheduler starts nothing.
func (l *look) refused(js *JobStatus, err error) {
	switch name := js.Scheduler; {
	case errors.Is(err, sched.ErrNotRunning) && (name == "cron" || name == "at" || name == "service"):
		js.problem(StateBroken, daemonStart(name), "%s is not running: nobody starts it", daemonOf(name))
	case errors.Is(err, sched.ErrNotAllowed):
		js.problem(StateBroken, allowCommand("/etc", name, userName()), "%s may not use %s: %v", userName(), name, err)
	default:
		js.problem(StateBroken, hintOf(err), "%s does not start it: %v", name, err)
	}
}

// daemonOf is who starts the jobs of a scheduler.
func daemonOf(scheduler string) string {
	switch scheduler {
	case "at":
		return "atd"
	case "service":
		return "the service"
	}
	return scheduler
}

// daemonStart is what to type when the daemon of a scheduler is not running.
func daemonStart(scheduler string) string {
	if scheduler == "service" {
		return "tinybackup start"
	}
	return asRoot("service " + daemonOf(scheduler) + " start")
}

// allowCommand is what to type, as root, to allow a user a scheduler: the lists of
// crontab(1) and at(1) are in etc. If there is one of those who may, it alone
// counts; else that of those who may not.
func allowCommand(etc, scheduler, user string) string {
	allow, deny := etc+"/"+scheduler+".allow", etc+"/"+scheduler+".deny"
	if _, err := os.Lstat(allow); err == nil {
		return fmt.Sprintf("echo %s | %s", shellQuote(user), asRoot("tee -a "+allow))
	}
	return asRoot(fmt.Sprintf("sed -i '/^%s$/d' %s", user, deny))
}

// asRoot is a command as who asks has to type it.
func asRoot(command string) string {
	if os.Geteuid() == 0 {
		return command
	}
	return "sudo " + command
}

// userName is who asks.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprint(os.Geteuid())
}

// source tells whether there is something to back up, and what.
func (l *look) source(js *JobStatus) fs.FileInfo {
	info, err := os.Stat(js.Source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		js.problem(StateBroken, mountOr(js.Source, "if it is gone for good: tinybackup uninstall "+js.ID), "its source %s is not there", shellQuote(js.Source))
	case err != nil:
		js.problem(StateBroken, "ls -ld "+shellQuote(js.Source), "its source %s cannot be looked at: %v", shellQuote(js.Source), cause(err))
	default:
		return info
	}
	return nil
}

// dest tells whether archives can be put where they belong, and whether those are
// there that were.
func (l *look) dest(ctx context.Context, js *JobStatus, book slotBook, source fs.FileInfo) {
	d := l.dests[js.Dest]
	s := d.series[js.Name]
	js.Archives, js.Bytes, js.Free = s.count, s.bytes, d.free
	dest := shellQuote(js.Dest)
	lost := book.Archive != "" && book.Dest == js.Dest
	switch {
	case d.err != nil && isRemote(js.Dest):
		js.unasked(d.err)
	case errors.Is(d.err, fs.ErrNotExist):
		js.problem(StateBroken, mountOr(js.Dest, "if it is gone for good: mkdir -p "+dest), "its destination %s is not there", dest)
	case d.err != nil:
		js.problem(StateBroken, "ls -ld "+dest, "its destination %s cannot be read: %v", dest, cause(d.err))
	case lost && !d.side && s.count == 0:
		js.problem(StateBroken, backOr(js.Dest, "if its archives are gone for good: "+rerun(js.ID)),
			"its destination %s is not what it was: its archives are not there, and no %s", dest, store.SideDir)
	case lost && s.count == 0 && ofSeries(book.Archive, js.Name): // not just called otherwise since
		js.problem(StateBroken, rerun(js.ID), "its destination %s has none of its archives any more", dest)
	case s.count > 0:
		l.newest(ctx, js, d, s, book, source)
	}
	if d.err == nil && !js.Running {
		l.space(js, d, s)
	}
}

// unasked notes why a destination on another machine could not be asked. By itself that
// says nothing of the backups: the network may be down here and now. But if they fail,
// it says why.
func (s *JobStatus) unasked(why error) {
	s.Unasked = why.Error()
	if s.Failures > 0 {
		s.problem(StateFailed, "tinybackup list "+shellQuote(s.Dest), "its destination %s cannot be asked: %v", shellQuote(s.Dest), why)
	}
}

// backOr is what to type when a destination is not what it was.
func backOr(dest, other string) string {
	if isRemote(dest) {
		return "see whether it is the right server, and the right place there; " + other
	}
	return mountOr(dest, other)
}

// newest looks at the newest archive, without reading it.
func (l *look) newest(ctx context.Context, js *JobStatus, d *destination, s series, book slotBook, source fs.FileInfo) {
	a := s.newest
	ctx, cancel := patience(ctx, js.Dest)
	defer cancel()
	m, doubt := readHead(ctx, d.store, a.Object)
	if unreachable(d.store, doubt) {
		js.unasked(doubt)
		return
	}
	good := js.LastGood
	switch {
	case doubt != nil:
		js.problem(StateBroken, rerun(js.ID), "its newest archive %s is damaged, or its manifest is: %s", a.Name, strings.TrimPrefix(doubt.Error(), "manifest: "))
	case good != nil && good.Archive == a.Name && good.Written != a.Size:
		js.problem(StateBroken, rerun(js.ID), "its newest archive %s is damaged: it has %d bytes, and was stored with %d", a.Name, a.Size, good.Written)
	case book.Dest == js.Dest && newer(book.Archive, a.name):
		js.problem(StateBroken, rerun(js.ID), "its newest archive, %s, is gone from %s", book.Archive, shellQuote(js.Dest))
	}
	if source == nil || m == nil || m.Empty() || !m.OwnedBy(m.Host, js.Source) {
		return
	}
	if empty, err := nothingIn(js.Source, source); err == nil && empty {
		js.problem(StateBroken, mountOr(js.Source, "if it is meant to be empty: "+rerun(js.ID)+" --yes"),
			"its source %s is empty, and was not in the last backup%s", shellQuote(js.Source), howMuch(m))
	}
}

// ofSeries says whether an archive is one of those called name.
func ofSeries(archive, name string) bool {
	n, ok := rotate.ParseName(archive)
	return ok && n.Series == name
}

// newer says whether an archive is of the same series as another one, and newer.
func newer(archive string, than rotate.Name) bool {
	name, ok := rotate.ParseName(archive)
	return ok && name.Series == than.Series && name.Time.After(than.Time)
}

// nothingIn says whether a source has nothing in it.
func nothingIn(path string, info fs.FileInfo) (bool, error) {
	if !info.IsDir() {
		return info.Mode().IsRegular() && info.Size() == 0, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// roomFor is for how many archives as large as the newest ones a destination
// should have room: the next one is there before the oldest goes.
const roomFor = 2

// space tells whether the destination will soon be full.
func (l *look) space(js *JobStatus, d *destination, s series) {
	if d.free < 0 || s.most == 0 || d.free >= roomFor*s.most {
		return
	}
	js.problem(StateBroken, "make room there, or keep fewer: "+editor(js.Path),
		"its destination %s is almost full: %s are free, and its archives have up to %s", shellQuote(js.Dest), Size(d.free), Size(s.most))
}

// editor is what to type to change a job.
func editor(path string) string { return "${EDITOR:-vi} " + shellQuote(path) }
