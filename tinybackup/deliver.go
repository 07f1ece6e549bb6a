package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tinybackup/internal/notify"
)

// An addressee is one who hears of a job.
type addressee struct {
	label string
	url   string
	ping  bool // it gets pings, not messages
}

// messaged are those who get messages.
func (o Options) messaged() (all []addressee) {
	var urls []ServiceURL
	for _, u := range o.Notify {
		for _, one := range notify.Apart(string(u)) {
			urls = append(urls, ServiceURL(one))
		}
	}
	for i, label := range labels(urls) {
		all = append(all, addressee{label: label, url: string(urls[i])})
	}
	return all
}

// addressees are all of them.
func (o Options) addressees() []addressee {
	all := o.messaged()
	if o.Ping != "" {
		all = append(all, addressee{label: notify.PingName, url: string(o.Ping), ping: true})
	}
	return all
}

// among are the letters for the addressee.
func (a addressee) among(letters []letter) (mine []letter) {
	for _, l := range letters {
		if slices.Contains(l.To, a.label) {
			mine = append(mine, l)
		}
	}
	return mine
}

// send delivers one letter.
func (a addressee) send(ctx context.Context, c notify.Client, l letter) error {
	if a.ping {
		return c.Ping(ctx, a.url, *l.Ping)
	}
	return c.Send(ctx, a.url, notify.Message{Title: l.Title, Text: l.Text})
}

// deliver puts the news into the job's outbox, and sends what is there: a process
// that is killed meanwhile loses none of it.
func (h *herald) deliver(ctx context.Context) {
	letters := h.letters()
	if _, err := os.Lstat(h.box); len(letters) == 0 && errors.Is(err, fs.ErrNotExist) {
		h.waitAside(ctx)
		return
	}
	box, done, err := h.openOutbox(ctx)
	defer done()
	if err != nil {
		// The disk of the state may be full or read-only: all the more to be told. But
		// that the job cannot run would be told at every start.
		h.log.Warn("messages cannot be kept: " + err.Error())
		if h.unable != "" && !h.onTime { // then nothing is sent aside, either
			return
		}
	}
	if box.torn {
		text := fmt.Sprintf("messages that waited are lost: %q is damaged", h.box)
		h.env.Log.Warn(text)
		h.log.Warn(text)
	}
	letters = append(h.ableAgain(&box), letters...)
	if h.unable != "" && box.Unable == h.unable {
		letters = nil // it was told
	}
	box.Unable = h.unable
	box.Waiting = append(box.Waiting, letters...)
	box.prune(h.env.Now(), labelsOf(h.o.addressees()))
	h.keep(&box, err)
	h.waitAside(ctx)
	h.sendAll(ctx, &box, letters)
	h.keep(&box, err)
}

// openOutbox takes the lock of the outbox and reads it; done gives the lock back.
func (h *herald) openOutbox(ctx context.Context) (box outbox, done func(), err error) {
	path := filepath.Join(filepath.Dir(h.box), "outbox.lock")
	lock, err := lockFile(ctx, path, "sending messages", heraldLimit)
	if err != nil {
		return box, func() {}, err
	}
	box, err = readOutbox(h.box)
	return box, func() {
		if err := lock.Unlock(); err != nil {
			h.log.Warn("messages: " + err.Error())
		}
	}, err
}

func labelsOf(all []addressee) (names []string) {
	for _, a := range all {
		names = append(names, a.label)
	}
	return names
}

// keep writes the outbox, if it could be read.
func (h *herald) keep(box *outbox, opened error) {
	if opened != nil {
		return
	}
	if err := box.write(h.box); err != nil {
		h.log.Warn("messages cannot be kept: " + err.Error())
	}
}

// letters are the news of this run.
func (h *herald) letters() (all []letter) {
	for _, n := range h.news {
		all = append(all, h.letter(n.Message))
	}
	if h.final != nil {
		all = append(all, letter{At: h.env.Now(), To: []string{notify.PingName}, Ping: h.final})
	}
	return all
}

func (h *herald) letter(m notify.Message) letter {
	return letter{At: h.env.Now(), To: labelsOf(h.o.messaged()), Title: m.Title, Text: m.Text}
}

// sendAll sends what waits: to all at the same time, to each in its order. One that
// did not answer lately is left alone, unless there is something new for it.
func (h *herald) sendAll(ctx context.Context, box *outbox, letters []letter) {
	to, now := h.o.addressees(), h.env.Now()
	results := make([]*sent, len(to))
	var all sync.WaitGroup
	for i, a := range to {
		mine := a.among(box.Waiting)
		s, silent := box.Silent[a.label]
		if len(mine) == 0 || silent && len(a.among(letters)) == 0 && s.rests(now) {
			continue
		}
		all.Go(func() { results[i] = h.sendTo(ctx, a, mine) })
	}
	all.Wait()
	for i, r := range results {
		if r != nil {
			box.delivered(to[i].label, r.done)
			for _, lost := range r.refused {
				h.env.Log.Warn(to[i].label + " does not take a message, which is given up: " + lost)
				h.log.Warn(to[i].label + " does not take a message, which is given up: " + lost)
			}
			h.outcome(box, to[i].label, r.err)
		}
	}
}

// sent is how it went with letters to one.
type sent struct {
	done    []bool   // of each letter: it need not wait any more
	refused []string // letters that were given up, and why
	err     error    // why the others wait
}

// sendTo sends letters to one until it fails. If the oldest is refused for good and the
// newest is taken, it is the letter: that is given up, as all others would wait for it.
func (h *herald) sendTo(ctx context.Context, a addressee, letters []letter) *sent {
	r := &sent{done: make([]bool, len(letters))}
	last := len(letters) - 1
	for i, l := range letters {
		if r.done[i] {
			continue
		}
		err := a.send(ctx, h.env.notify, l)
		var why *notify.Error
		if errors.As(err, &why) && !why.Passing && i < last {
			if r.done[last] || a.send(ctx, h.env.notify, letters[last]) == nil {
				r.done[last], err = true, nil
				r.refused = append(r.refused, fmt.Sprintf("%s: %s", l.name(), why.Why))
			}
		}
		if err != nil {
			r.err = err
			break
		}
		r.done[i] = true
	}
	return r
}

// outcome notes and logs how it went with one. That it fails is on the screen, and
// so in cron's mail, when that begins, and not every night.
func (h *herald) outcome(box *outbox, label string, err error) {
	if err == nil {
		if s, silent := box.Silent[label]; silent {
			h.log.Info(fmt.Sprintf("%s is told again, after %d tries since %s", label, s.Tries, s.Since.Format(time.RFC3339)))
			delete(box.Silent, label)
		}
		return
	}
	why := reason(err)
	if box.failed(label, why, h.env.Now()) {
		h.env.Log.Warn(fmt.Sprintf("%s could not be told: %s", label, why))
	}
	h.log.Warn(fmt.Sprintf("%s could not be told: %s", label, why), "waiting", box.waitingFor(label))
}

// reason is an error of package notify without the name of the service.
func reason(err error) string {
	var e *notify.Error
	if errors.As(err, &e) {
		return e.Why
	}
	return err.Error()
}

// lateLog writes to a job's log while no run has it open, or another one: whole
// lines at its end, and it never makes an old log of it.
func (j Job) lateLog(env Env) slog.Handler {
	text := slog.NewTextHandler(appender(j.LogFile), &slog.HandlerOptions{Level: env.LogLevel})
	return clockHandler{now: env.Now, Handler: text.WithAttrs([]slog.Attr{slog.String("job", j.Options.Name)})}
}

// An appender is the path of a file that each Write opens, adds to, and closes.
type appender string

func (path appender) Write(p []byte) (n int, err error) {
	if err := os.MkdirAll(filepath.Dir(string(path)), 0o700); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(string(path), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	n, err = f.Write(p)
	return n, errors.Join(err, f.Close())
}
