package tinybackup

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tinybackup/internal/notify"
)

// A herald tells those who want to hear what becomes of a run: by messages, when
// something has changed, and by pings, at its beginning and its end. It listens
// while the run goes on, and speaks when its locks are given back, but for what is
// of that moment only: the ping of the start, and how far it is.
//
// Whatever goes wrong with that is logged, and shown by statusof; the run is none
// the better or worse for it. A nil *herald is one to whom nobody listens.
type herald struct {
	env  Env
	o    Options
	box  string // the path of the job's outbox; empty: a run by hand, which nobody comes back to
	tale storyteller

	log   *slog.Logger // of what could not be sent, each time; of a job, its file alone
	tail  *lockedTail  // the end of the run's log
	rid   string       // of its pings; empty: it has sent none
	news  []news
	final *notify.Ping   // the one of its end
	aside sync.WaitGroup // what is sent while the run goes on

	unable string // why the job could not even be started
	onTime bool   // with that: it is the moment of its slot
}

// newHerald is the herald of a run with these options, for a job or, if that is
// nil, by hand. Nil: nobody wants to hear.
func newHerald(env Env, o Options, job *Job) *herald {
	if len(o.Notify) == 0 && o.Ping == "" {
		return nil
	}
	h := &herald{env: env, o: o, log: env.Log, tail: &lockedTail{tail: tail{max: notify.MaxBody}}}
	h.tale = storyteller{host: env.hostName(), name: o.Name, source: o.Source, dest: o.Dest}
	if job != nil {
		h.tale.job, h.tale.log = job.ID, job.LogFile
		h.box = job.outboxPath()
		h.log = slog.New(job.lateLog(env))
	}
	return h
}

// heraldByHand is the herald of a run that is no job's; nil: nobody wants to hear.
func heraldByHand(env Env, o Options, jobID string) *herald {
	if jobID != "" || o.DryRun || o.Noop || o.Resolve() != nil || o.checkNotify() != nil {
		return nil // what is wrong with them, the run will say
	}
	return newHerald(env, o, nil)
}

// around runs a backup that is no job's, and tells of it.
func (h *herald) around(ctx context.Context, o Options) (Report, error) {
	h.begins()
	env := h.watch(h.env)
	env.Log = slog.New(h.listen(env.Log.Handler()))
	report, err := backUp(ctx, env, o, "")
	graded := err
	if err == nil && report.WarningCount > 0 {
		graded = errWarnings
	}
	h.ends(report, err, exitStatus(ctx, graded), h.tale.newsOf(report, err, HistoryEntry{}, "", h.tail.String()))
	h.speak(ctx)
	return report, err
}

// A lockedTail is a tail that many goroutines may write to.
type lockedTail struct {
	mu sync.Mutex
	tail
}

func (t *lockedTail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tail.Write(p)
}

func (t *lockedTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tail.String()
}

// listen gives a log that the herald hears as well.
func (h *herald) listen(log slog.Handler) slog.Handler {
	if h == nil {
		return log
	}
	text := slog.NewTextHandler(h.tail, &slog.HandlerOptions{Level: slog.LevelInfo})
	return teeHandler{log, clockHandler{now: h.env.Now, Handler: text}}
}

// begins tells that a backup begins. It does not wait for anybody to hear it.
func (h *herald) begins() {
	if h == nil {
		return
	}
	if h.o.Ping != "" {
		h.rid = notify.NewRID()
		h.beside(func(ctx context.Context) {
			h.complain(notify.PingName, h.env.notify.Ping(ctx, string(h.o.Ping), notify.Ping{Signal: notify.PingStart, RID: h.rid}))
		})
	}
	h.passing(EventStart, titleStarted, "The backup begins.")
}

// passing sends a message that is of no interest later on.
func (h *herald) passing(event Events, title, sentence string) {
	if !h.o.wants(event) {
		return
	}
	m := h.tale.plain(title, sentence, "")
	for _, a := range h.o.messaged() {
		h.beside(func(ctx context.Context) {
			h.complain(a.label, h.env.notify.Send(ctx, a.url, m))
		})
	}
}

// beside does something while the run goes on.
func (h *herald) beside(do func(context.Context)) {
	h.aside.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), heraldLimit)
		defer cancel()
		do(ctx)
	})
}

// complain logs what could not be sent.
func (h *herald) complain(who string, err error) {
	if err != nil {
		h.log.Warn(fmt.Sprintf("%s was not told: %v", who, err))
	}
}

// watch has env tell the herald how far the run is.
func (h *herald) watch(env Env) Env {
	if h == nil || h.o.NotifyProgress == 0 || len(h.o.Notify) == 0 {
		return env
	}
	next, every := env.Progress, int64(h.o.NotifyProgress)
	phase, told := "", int64(0)
	env.Progress = func(p Progress) {
		if next != nil {
			next(p)
		}
		if p.Phase != phase {
			phase, told = p.Phase, 0
		}
		if p.Phase != phaseReading || p.Total <= 0 {
			return
		}
		if step := p.Done * 100 / p.Total / every * every; step > told && step < 100 {
			told = step
			h.passing(EventStart, fmt.Sprintf("%d %%", step), fmt.Sprintf("%s of %s are read.", Size(p.Done), Size(p.Total)))
		}
	}
	return env
}

// ends takes note of how a run has ended, in news and in a ping.
func (h *herald) ends(report Report, err error, exit int, all []news) {
	if h == nil {
		return
	}
	for _, n := range all {
		h.tell(n)
	}
	// One that was put off has not ended: its check waits for the next try.
	if h.rid != "" && !isNotNow(err) {
		h.ping(exit, outcomeText(report, err))
	}
}

// tell has a piece of news sent, if it is of what is to be told.
func (h *herald) tell(n news) {
	if h != nil && h.o.wants(n.event) && len(h.o.Notify) > 0 {
		h.news = append(h.news, n)
	}
}

// missed tells of planned runs that will not come any more.
func (h *herald) missed(text string) {
	if h != nil {
		h.tell(news{EventFailure, h.tale.plain(titleMissed, text, "tinybackup statusof "+h.tale.job+" shows how the job is")})
	}
}

// ping has the end of a run pinged: a backup that is stored is a success, with
// warnings or without.
func (h *herald) ping(exit int, summary string) {
	if h.o.Ping == "" {
		return
	}
	h.final = &notify.Ping{RID: h.rid, Body: h.tail.String() + summary + "\n"}
	if exit != exitOK && exit != exitWarnings {
		h.final.Signal = fmt.Sprint(exit)
	}
}

const (
	// heraldLimit bounds all that is sent after a run.
	heraldLimit = time.Minute
	// heraldHurry is the same after a signal: the machine may be going off. What is
	// not sent by then waits for the next start of the job.
	heraldHurry = 15 * time.Second
)

// speak sends what there is to tell, and what waits from earlier times. Call it
// when the run has given back its locks.
func (h *herald) speak(ctx context.Context) {
	if h == nil {
		return
	}
	limit := heraldLimit
	if ctx.Err() != nil {
		limit = heraldHurry
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if h.box == "" {
		h.waitAside(ctx)
		h.speakOnce(ctx)
		return
	}
	h.deliver(ctx)
}

// waitAside waits for what is sent beside the run: the ping of a start must not
// come after that of its end.
func (h *herald) waitAside(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		h.aside.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// speakOnce sends without a second chance.
func (h *herald) speakOnce(ctx context.Context) {
	var all sync.WaitGroup
	for _, a := range h.o.messaged() {
		all.Go(func() {
			for _, n := range h.news {
				if err := h.env.notify.Send(ctx, a.url, n.Message); err != nil {
					h.complain(a.label, err)
					return
				}
			}
		})
	}
	if h.final != nil {
		all.Go(func() { h.complain(notify.PingName, h.env.notify.Ping(ctx, string(h.o.Ping), *h.final)) })
	}
	all.Wait()
}
