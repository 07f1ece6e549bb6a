package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/courtesy"
	"tinybackup/internal/seal"
	"tinybackup/internal/source"
	"tinybackup/internal/source/snapshot"
	"tinybackup/internal/store"
)

// Run backs up o.Source to o.Dest once, and rotates. jobID is the job's, empty
// for a run by hand. The report is also good after an error: it tells how far
// the run came.
//
// The error is a *UsageError, a *HintError or a *BusyError where a person can do
// something about it; then, as after any error, nothing new is stored and the
// archives that were there are as they were. A run that stored an archive, and
// has something to tell of it, returns no error, but a WarningCount.
//
// A run without progress, or one that takes too long, is ended, see
// Options.StallTimeout and Timeout. If it hangs in a call that nothing can interrupt,
// a disk or a server being gone, Run returns all the same; what hangs stores nothing
// any more, and lets go of the lock of its archives when it comes back.
//
// Without a job, those whom o names are told of it before Run returns.
func Run(ctx context.Context, env Env, o Options, jobID string) (Report, error) {
	if h := heraldByHand(env, o, jobID); h != nil {
		return h.around(ctx, o)
	}
	return backUp(ctx, env, o, jobID)
}

// backUp is Run, and tells nobody.
func backUp(ctx context.Context, env Env, o Options, jobID string) (Report, error) {
	r := newRun(env, o, jobID)
	r.Progress = r.pulse.watch(env.Progress)
	start, dog := env.Now(), newWatchdog(o, r.pulse)
	r.start = start
	hangs, err := dog.guard(ctx, r.do)
	if hangs {
		if env.Exit != nil {
			status, limit := exitStatus(ctx, err), lastWords*dog.grace
			if o.After != "" {
				limit += o.hookLimit()
			}
			time.AfterFunc(limit, func() { env.Exit(status) })
		}
		return r.giveUp(ctx, o, Report{Job: jobID, Name: o.Name, Source: o.Source, Dest: o.Dest, Start: start}, err)
	}
	if err != nil {
		r.leaveRecord(ctx, nil, err)
	}
	r.report.End = env.Now()
	r.warn.into(&r.report)
	return r.report, err
}

func newRun(env Env, o Options, jobID string) *run {
	return &run{Env: env, Options: o, job: jobID, host: env.hostName(), warn: &warnings{env: env}, pulse: &pulse{step: "looking at " + o.Source + " and " + o.Dest}}
}

// giveUp leaves a run of o alone that hangs for a reason, and tells how far it came.
// All else of r is still the hanging goroutine's.
func (r *run) giveUp(ctx context.Context, o Options, report Report, why error) (Report, error) {
	err := hanging(why)
	if stored := r.pulse.giveUp(why); stored != nil {
		report = *stored
		r.warn.addf("%v", err)
		err = nil
	}
	tidy := newRun(r.Env, o, r.job)
	tidy.warn, tidy.pulse, tidy.report = r.warn, r.pulse, report
	tidy.afterHook(ctx, err)
	report.End = r.Now()
	r.warn.into(&report)
	return report, err
}

// run is one run on its way.
type run struct {
	Env
	Options
	job, host string
	start     time.Time
	recorded  bool // word of it was left at its destination, or that was tried
	warn      *warnings
	pulse     *pulse
	reading   *courtesy.Limiter // of the source; nil: as fast as can be
	writing   *courtesy.Limiter // to the destination, and reading back
	report    Report

	readers  *seal.Recipients // who can read the new archive; nil: everybody
	store    store.Store
	unit     int64              // see store.Store.ShareUnit
	planned  *snapshot.Plan     // how a snapshot of the source is made; nil: none is
	view     *snapshot.Snapshot // what is read instead of the source; nil: nothing else
	source   *source.Source
	before   []stored // the archives of the series when it began
	after    []stored // and when rotation had removed what it removes; nil: not known
	last     *archive.Manifest
	manifest *archive.Manifest // of the new archive
	secret   *archive.Manifest // all of it, if manifest is only the public part
	known    *archive.Manifest // last, or what is remembered of it if that is only the public part; nil: it does not serve
	blocks   *archive.BlockMap // of the new archive's image, if it is wanted
}

// do is a run, phase by phase.
func (r *run) do(ctx context.Context) (err error) {
	if err := r.Resolve(); err != nil {
		return err
	}
	r.report = Report{Job: r.job, Name: r.Name, Source: r.Source, Dest: r.Dest, DryRun: r.DryRun, Start: r.Now()}
	if r.DryRun {
		r.report.Before, r.report.After = r.Before, r.After
	}
	if err := r.Check(); err != nil {
		return err
	}
	if r.readers, err = r.recipients(); err != nil {
		return err
	}
	if r.store, err = openStore(ctx, r.Env, r.Dest, r.Access); err != nil {
		return err
	}
	defer func() { err = r.afterwards(err, r.store.Close()) }()
	r.beKind(ctx)
	r.store.Watch(r.pulse.beat, r.pulse.name)
	if r.Before == "" {
		if err := r.planSnapshot(ctx); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, r.closeSource()) }()
	if r.Before == "" && r.store.Unlocked(ctx, r.Name) {
		// The lock makes .tinybackup: a source that is refused is to leave nothing behind.
		if err := r.firstSource(); err != nil {
			return err
		}
	}
	if !r.DryRun {
		unlock, lockErr := r.lock(ctx)
		if lockErr != nil {
			return lockErr
		}
		defer func() { err = r.afterwards(err, unlock()) }()
		defer func() { r.leaveRecord(ctx, r.store, err) }()
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	if !r.DryRun {
		r.pulse.owed.Store(true)
		// While the lock is held, and after the source is closed: it may unmount that.
		defer func() {
			err = errors.Join(err, r.closeSource())
			r.afterHook(ctx, err)
		}()
		if err := r.beforeHook(ctx); err != nil {
			return err
		}
	}
	if r.unfinished != "" {
		return r.copyOnly(ctx)
	}
	if err := r.takeSnapshot(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.releaseView(ctx)) }()
	if r.source == nil {
		// Not before the lock: while another run has a device open, it is in use.
		if r.source, err = r.openSource(); err != nil {
			return err
		}
	}
	r.report.Kind, r.report.Encrypted = string(r.source.Kind), r.readers != nil
	r.report.Parts = partsOf(r.source)
	r.warnUnencrypted()
	if r.DryRun {
		return r.plan(ctx)
	}
	r.Log.Info("backup begins", "source", r.Source, "dest", r.Dest, "name", r.Name)
	for _, p := range r.report.Parts {
		r.Log.Info(p.String())
	}
	if err := r.makeArchive(ctx); err != nil {
		return err
	}
	r.rotate(ctx)
	if len(r.CopyTo) > 0 {
		// All that follows needs neither, and may take long.
		if err := errors.Join(r.closeSource(), r.releaseView(ctx)); err != nil {
			r.warn.addf("%s", inOneLine(err))
		}
		if r.noteStored != nil && ctx.Err() == nil {
			report := r.report
			r.warn.into(&report)
			r.noteStored(report)
		}
		r.copyAll(ctx)
	}
	return nil
}

// afterwards adds what goes wrong at the end to the error of a run. With an archive that is
// stored it is a warning: a connection that breaks by then takes nothing back.
func (r *run) afterwards(err, late error) error {
	if late != nil && err == nil && r.report.Archive != "" && !r.DryRun {
		r.warn.addf("%s", inOneLine(late))
		return nil
	}
	return errors.Join(err, late)
}

// beKind leaves to others what the options say. What the system does not allow is a
// warning: the backup counts more.
func (r *run) beKind(ctx context.Context) {
	if r.BWLimit > 0 {
		r.reading = courtesy.NewLimiter(ctx, int64(r.BWLimit), r.pulse.beat)
		r.writing = courtesy.NewLimiter(ctx, int64(r.BWLimit), r.pulse.beat)
	}
	if r.Nice > 0 {
		if err := courtesy.SetNice(r.Nice); err != nil {
			r.warn.addf("--nice %d could not be set: %v", r.Nice, err)
		}
	}
	if io, err := courtesy.ParseIO(r.IONice); err == nil { // Check has seen it
		if err := courtesy.SetIO(io); err != nil {
			r.warn.addf("--ionice %s could not be set: %v", r.IONice, err)
		}
	}
}

// lock takes the lock of the series.
func (r *run) lock(ctx context.Context) (func() error, error) {
	r.pulse.begin("taking the lock of " + r.Name + " in " + r.Dest)
	me := store.Holder{PID: os.Getpid(), Host: r.host, Job: r.job, Since: r.Now()}
	unlock, err := r.store.Lock(ctx, r.Name, me, time.Duration(r.LockWait))
	var locked *store.LockedError
	if errors.As(err, &locked) {
		return nil, &BusyError{Msg: fmt.Sprintf("%s: %v", r.Name, locked), Hint: lockHint(r.LockWait)}
	}
	return unlock, err
}

// lockHint is what to do when another run has the lock, after waiting so long.
func lockHint(waited Duration) string {
	if waited > 0 {
		return "wait for it to end, or give more time than --lock-wait " + waited.String()
	}
	return "wait for it to end, or give --lock-wait TIME"
}

// look lists what is there, and puts right what a killed run left.
func (r *run) look(ctx context.Context) (err error) {
	r.pulse.begin("looking at " + r.Dest)
	l, err := listDest(ctx, r.store)
	if err != nil {
		return err
	}
	if r.before, err = l.stored(ctx, r.store, r.Name); err != nil {
		return err
	}
	for _, a := range r.before {
		if a.doubt != nil {
			r.Log.Info("manifest is not used", "archive", a.Name, "why", a.doubt.Error())
		}
	}
	if err := checkOwner(r.before, r.Options, r.job, r.host, r.asked); err != nil {
		return err
	}
	r.last = newestKnown(r.before)
	if r.DryRun {
		return nil
	}
	swept, err := mend(ctx, r.store, r.Name, l, r.before)
	for _, name := range swept {
		r.Log.Info("removed what a killed run left", "file", name)
	}
	return err
}

// firstSource opens what is backed up for the first time, and refuses what is
// empty.
func (r *run) firstSource() (err error) {
	if r.source, err = r.openSource(); err != nil {
		return err
	}
	empty, err := r.source.Empty()
	if err == nil && empty && !r.Yes {
		err = r.emptyError()
	}
	if err == nil && r.planned != nil {
		err = r.closeSource() // it was only looked at
	}
	return err
}

// closeSource closes the source, if it is open.
func (r *run) closeSource() error {
	if r.source == nil {
		return nil
	}
	source := r.source
	r.source = nil
	return source.Close()
}

// openSource opens what is backed up. Our own files in it are left out.
func (r *run) openSource() (*source.Source, error) {
	r.pulse.begin("opening " + r.Source)
	excludes, err := r.excludes()
	if err != nil {
		return nil, err
	}
	var skip []source.ID
	if local, ok := r.store.(*store.Local); ok {
		dev, ino := local.ID()
		skip = append(skip, source.ID{Dev: dev, Ino: ino})
	}
	skip = append(skip, r.copyIDs()...)
	if path := r.logFile(); path != "" {
		var st syscall.Stat_t
		if syscall.Stat(path, &st) == nil {
			skip = append(skip, source.ID{Dev: uint64(st.Dev), Ino: st.Ino})
		}
	}
	opt := source.Options{
		Excludes: excludes, ExcludeCaches: r.ExcludeCaches, OneFileSystem: r.OneFileSystem,
		Skip: skip, PieceSize: r.frameSize(), Live: r.Live, AllBlocks: r.AllBlocks, Warn: r.warn.add, Pace: r.reading.Wait, Alive: r.pulse.beat,
		IsSnapshot: snapshot.IsSnapshot,
	}
	switch {
	case r.view != nil:
		opt.View, opt.Instead = r.view.Path, r.view.Instead
	case r.planned != nil:
		// It is only looked at: a device may be in use.
		opt.Live, opt.Warn = true, func(source.Warning) {}
	}
	src, err := source.Open(r.Source, opt)
	var used *source.InUseError
	if errors.As(err, &used) {
		if r.report.Snapshot != nil {
			err = fmt.Errorf("%w; %s", err, r.report.Snapshot)
		}
		return nil, &HintError{Err: err, Hint: inUseHint(used)}
	}
	if err != nil && r.DryRun && r.Before != "" {
		return nil, &HintError{Err: fmt.Errorf("source %q: %w", r.Source, cause(err)), Hint: "if --before makes it: --dry-run does not run that"}
	}
	if err != nil {
		return nil, sourceError(r.Source, err)
	}
	return src, nil
}

// inUseHint is what can be done about a device that is in use.
func inUseHint(used *source.InUseError) string {
	remount := "read-only"
	for _, m := range used.Mounts {
		if !m.ReadOnly {
			remount = asRoot("mount -o remount,ro " + shellQuote(m.Point))
		}
	}
	return "back up its files, as a directory; or image a snapshot of it (--snapshot lvm, of a logical volume), or it mounted read-only (" + remount + "), or as it changes (--live)"
}

// frameSize is the size of the pieces, in bytes.
func (r *run) frameSize() int64 {
	if r.BlockSize != 0 {
		return int64(r.BlockSize)
	}
	size, err := archive.FrameSize(r.Compress.Codec, r.Compress.Level)
	if err != nil {
		return int64(DefaultBlockSize) // Check has seen the codec: this is never asked
	}
	return size
}

// total is how many bytes the source will be, as far as that can be known.
func (r *run) total() int64 {
	switch {
	case r.source.Size >= 0:
		return r.source.Size
	case r.last != nil && r.last.Sealed == nil:
		return r.last.Raw
	}
	return -1
}
