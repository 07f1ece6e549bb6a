package tinybackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/sched"
	"tinybackup/internal/store"
)

// TestYear lets a hundred random jobs live through a year, each on a machine of
// its own with the habits of a real one: it is off, or asleep, for minutes and for
// weeks, its clock is set, its disk goes and comes, runs fail and are killed. The
// schedulers are models of the real ones; what a run does about its slots is the
// program itself. At the end every slot was served once, or told of.
func TestYear(t *testing.T) {
	t.Parallel()
	jobs, days := 100, 365
	if withRace {
		jobs, days = 16, 60
	}
	for n := range jobs {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			newWorld(t, uint64(n), days).live()
		})
	}
}

var yearZones = []string{
	"Atlantic/Azores", "America/Santiago", "Australia/Lord_Howe", "Europe/Berlin",
	"America/New_York", "Asia/Kathmandu", "America/Havana", "UTC",
}

// A world is one machine with one job.
type world struct {
	t      *testing.T
	random *rand.Rand
	zone   *time.Location
	now    time.Time // what the clock shows
	end    time.Time

	env     Env
	job     Job
	spec    *sched.Spec
	slots   []time.Time // all there are, found without the program
	drivers []driver

	trouble  time.Time // when there is some next
	diskBack time.Time // when the disk is there again, if it is not
	pending  int       // starts that come at once with the one that has just begun
	depth    int       // runs that are begun, one within the other
	byHand   bool
	off      time.Duration // the machine went off during a run, for so long
	lastAsk  time.Time     // the latest time that the job was started at
	backups  map[time.Time]int
	covered  time.Time // all slots up to then were served by hand
	setBacks []setBack
	quiet    time.Time // nothing is owed before
	history  []HistoryEntry
	untaken  int // entries that may not be in history
	story    []string
}

// A setBack is a clock that was put back by more than three hours, from the latest
// time it had shown.
type setBack struct{ from, to time.Time }

// crash ends a run in its middle.
type crash struct{}

func newWorld(t *testing.T, seed uint64, days int) *world {
	t.Helper()
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 77)), backups: make(map[time.Time]int)}
	if seed%20 == 0 {
		days = min(days, 60) // many slots
	}
	var err error
	if w.zone, err = time.LoadLocation(yearZones[seed%uint64(len(yearZones))]); err != nil {
		t.Fatal(err)
	}
	anchor := time.Date(2026, 1+time.Month(w.random.IntN(12)), 1+w.random.IntN(28), w.random.IntN(24), w.random.IntN(60), 0, 0, w.zone)
	w.now, w.end = anchor.Add(time.Duration(w.random.IntN(50))*time.Second), anchor.AddDate(0, 0, days)
	w.makeJob(anchor, int(seed))
	w.trouble = w.now.Add(w.soon(30 * 24 * time.Hour))
	return w
}

// soon is a random time up to most, often much shorter.
func (w *world) soon(most time.Duration) time.Duration {
	d := time.Duration(w.random.Int64N(int64(most)))
	for w.random.IntN(2) == 0 && d > time.Minute {
		d /= 8
	}
	return max(d, time.Second)
}

// makeJob makes a random job, and the schedulers that start it.
func (w *world) makeJob(anchor time.Time, n int) {
	w.t.Helper()
	dir, err := os.MkdirTemp(fastDir(), "year")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.RemoveAll(dir) })
	text, cron := w.randomTime(anchor, n)
	var first driver
	name := []string{"cron", "at", "service", "systemd"}[w.random.IntN(4)]
	if name == "cron" && !cron {
		name = "at"
	}
	w.job = Job{ID: fmt.Sprintf("%08x", n), Path: filepath.Join(dir, fmt.Sprintf("%08x.ini", n)), Time: text, Scheduler: name, Installed: anchor,
		StateDir: filepath.Join(dir, "state"), LogFile: filepath.Join(dir, "log")}
	o := &w.job.Options
	o.Name, o.Source, o.Dest, o.LockWait = "a", "/", filepath.Join(dir, "dest"), -1
	switch w.random.IntN(6) {
	case 0:
		o.CatchUp = "none"
	case 1, 2:
		o.Grace = Duration(w.soon(24 * time.Hour))
	}
	if w.random.IntN(4) == 0 {
		o.Jitter = Duration(w.soon(time.Hour))
	}
	for _, path := range []string{filepath.Join(o.Dest, store.SideDir), w.job.StateDir} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.WriteFile(w.job.Path, nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.env = Env{
		Dirs: Dirs{Jobs: dir, State: dir, Log: dir}, Now: func() time.Time { return w.now }, Binary: "/bin/true",
		Stdout: io.Discard, Stderr: io.Discard, Log: slog.New(slog.DiscardHandler), backup: w.backup,
		sleep: func(_ context.Context, d time.Duration) error { w.advance(d); return nil },
	}
	if w.spec, err = w.job.Spec(); err != nil {
		w.t.Fatal(err)
	}
	first = w.newDriver(name)
	w.drivers = []driver{first}
	if w.random.IntN(4) == 0 { // a line or a timer that somebody has forgotten
		second := []string{"cron", "service", "systemd"}[w.random.IntN(3)]
		if second != name && (second != "cron" || cron) {
			w.drivers = append(w.drivers, w.newDriver(second))
			w.env.schedulers = w.env.schedulers[:1]
			name += " and " + second
		}
	}
	w.tell("%s on %s in %s, catch up %q, grace %v, jitter %v", text, name, w.zone, o.CatchUp, time.Duration(o.Grace), time.Duration(o.Jitter))
	for _, d := range w.drivers {
		d.jumped(w, true)
	}
}

// fastDir is where syncing a file costs nothing.
func fastDir() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

func (w *world) newDriver(name string) driver {
	first, _ := w.spec.Next(w.now)
	switch name {
	case "at":
		d := &atDriver{remembered{name: name, next: first}}
		w.env.schedulers = append(w.env.schedulers, d)
		return d
	case "systemd":
		d := &systemdDriver{remembered: remembered{name: name}, last: w.now}
		w.env.schedulers = append(w.env.schedulers, d)
		return d
	case "service":
		w.env.schedulers = append(w.env.schedulers, &remembered{name: name})
		return &serviceDriver{}
	}
	w.env.schedulers = append(w.env.schedulers, &remembered{name: name})
	text, err := (&sched.Cron{}).Line(w.job.entry(w.env.Dirs, "/bin/true", w.spec, first))
	if err != nil {
		w.t.Fatal(err)
	}
	d := &cronDriver{}
	for line := range strings.Lines(text) {
		l := newCronLine(line)
		l.asks = len(d.lines) > 0
		d.lines = append(d.lines, l)
	}
	return d
}

// randomTime is a schedule, whether cron can express it, and its slots, found by
// watching the clock on the wall.
func (w *world) randomTime(anchor time.Time, n int) (text string, cron bool) {
	r := w.random
	minute, hour := r.IntN(60), r.IntN(24)
	if r.IntN(2) == 0 {
		hour = r.IntN(4) // in the night, when clocks change
	}
	fields := ""
	switch kind := r.IntN(12); {
	case n%20 == 0:
		fields = []string{"*/20 * * * *", "7,37 * * * *", "*/45 8-18 * * 1-5", "0,50 * * * *", "15 * * * *"}[n/20%5]
	case kind < 4:
		fields = fmt.Sprintf("%d %d * * *", minute, hour)
		text = fmt.Sprintf("%d:%02d", hour, minute)
	case kind < 6:
		weekday := r.IntN(7)
		fields = fmt.Sprintf("%d %d * * %d", minute, hour, weekday)
		text = fmt.Sprintf("%d:%02d %s", hour, minute, strings.ToLower(time.Weekday(weekday).String()))
	case kind == 6:
		fields = fmt.Sprintf("%d %d,%d * * *", minute, hour/2, hour/2+6+r.IntN(6))
	case kind == 7:
		fields = fmt.Sprintf("%d */%d * * *", minute, 2+r.IntN(5))
	case kind == 8:
		fields = fmt.Sprintf("%d %d %d,%d * *", minute, hour, 1+r.IntN(14), 15+r.IntN(14))
	case kind == 9:
		step := time.Duration(100+r.IntN(3000)) * time.Minute
		for s := anchor.Add(step); s.Before(w.end.AddDate(0, 3, 0)); s = s.Add(step) {
			w.slots = append(w.slots, s)
		}
		return fmt.Sprintf("+ %d minutes", step/time.Minute), false
	default:
		days := 2 + r.IntN(9)
		w.slots = wallSlots(anchor, w.end, false, func(wall int64) bool {
			base := wallMinute(anchor)
			return wall > base && (wall-base)%int64(days*24*60) == 0
		})
		return fmt.Sprintf("+ %d days", days), false
	}
	if text == "" || r.IntN(2) == 0 {
		text = fields
	}
	line := newCronLine(fields)
	w.slots = wallSlots(anchor, w.end, strings.Fields(fields)[1] == "*", line.due)
	return text, true
}

// wallMinute is what the clock on the wall shows at t, in minutes.
func wallMinute(t time.Time) int64 {
	_, offset := t.Zone()
	return (t.Unix() + int64(offset)) / 60
}

// wallSlots watches the clock from after from until a while after to. A time that it
// jumps over is due when it has; one that it shows twice the first time, but for
// schedules of every hour, which go by what it shows.
func wallSlots(from, to time.Time, everyHour bool, due func(wall int64) bool) (slots []time.Time) {
	t := from.Add(-48 * time.Hour)
	shown := wallMinute(t)
	for ; t.Before(to.AddDate(0, 3, 0)); t = t.Add(time.Minute) {
		wall, hit := wallMinute(t), false
		if everyHour {
			hit = due(wall)
		}
		for ; shown < wall; shown++ {
			hit = hit || !everyHour && due(shown+1)
		}
		if hit && t.After(from) {
			slots = append(slots, t)
		}
	}
	return slots
}

func (w *world) wall() int64 { return wallMinute(w.now.In(w.zone)) }

// slotAfter is the first of the true slots after t.
func (w *world) slotAfter(t time.Time) (time.Time, bool) {
	i, found := slices.BinarySearchFunc(w.slots, t, time.Time.Compare)
	if found {
		i++
	}
	if i == len(w.slots) {
		return time.Time{}, false
	}
	return w.slots[i], true
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, w.now.In(w.zone).Format("2006-01-02 15:04:05 MST ")+fmt.Sprintf(format, args...))
}

func (w *world) bad(format string, args ...any) {
	w.t.Helper()
	if w.t.Failed() {
		return // the first is enough
	}
	w.tell("BAD: "+format, args...)
	w.t.Errorf("%s: %s\n%s", w.story[0], fmt.Sprintf(format, args...), strings.Join(w.story[max(0, len(w.story)-12):], "\n"))
}

// live is the year.
func (w *world) live() {
	for w.now.Before(w.end) && !w.t.Failed() {
		w.advance(time.Minute)
		if w.off > 0 {
			w.jump(w.off, true)
			w.off = 0
		}
		if w.random.IntN(20*24*60) == 0 {
			w.byHand = true
			w.start()
			w.byHand = false
		}
	}
	w.check()
}

// advance lets time pass on a machine that is on.
func (w *world) advance(d time.Duration) {
	for d > 0 {
		step := min(d, time.Minute)
		w.now, d = w.now.Add(step), d-step
		if w.now.After(w.trouble) {
			w.trouble = w.now.Add(w.soon(30 * 24 * time.Hour))
			w.happen()
		}
		if !w.diskBack.IsZero() && w.now.After(w.diskBack) {
			w.moveDisk(".away", "")
			w.diskBack = time.Time{}
		}
		for _, driver := range w.drivers {
			driver.tick(w)
		}
	}
}

// happen is something that machines and their owners do.
func (w *world) happen() {
	switch w.random.IntN(9) {
	case 0, 1:
		d := w.soon(20 * 24 * time.Hour)
		w.tell("off for %v", d)
		if w.depth > 0 {
			w.off = d
			panic(crash{})
		}
		w.jump(d, true)
	case 2, 3:
		d := w.soon(5 * 24 * time.Hour)
		w.tell("asleep for %v", d)
		w.jump(d, false)
	case 4:
		d := w.soon(12 * time.Hour)
		w.tell("clock put forward by %v", d)
		w.jump(d, false)
	case 5:
		d := w.soon(12 * time.Hour)
		w.tell("clock put back by %v", d)
		w.jump(-d, false)
	case 6:
		if w.depth > 0 {
			w.tell("killed")
			panic(crash{})
		}
	default:
		w.moveDisk("", ".away")
		w.diskBack = w.now.Add(w.soon(5 * 24 * time.Hour))
		w.tell("disk gone for %v", w.diskBack.Sub(w.now))
	}
}

// moveDisk takes the destination away, or brings it back. It may be so already.
func (w *world) moveDisk(from, to string) {
	dest := w.job.Options.Dest
	if err := os.Rename(dest+from, dest+to); err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
}

func (w *world) jump(d time.Duration, boot bool) {
	was := w.now
	w.now, w.quiet = w.now.Add(d), time.Time{}
	if d < 0 {
		w.setBacks = append(w.setBacks, setBack{was, w.now})
	}
	for _, driver := range w.drivers {
		driver.jumped(w, boot)
	}
}

// idle says whether a start may be left out, as nothing is owed: it would be one of
// very many that find nothing to do. Some are made all the same.
func (w *world) idle(asks bool) bool {
	if !asks || w.random.IntN(500) == 0 {
		return false
	}
	if w.now.Before(w.quiet) {
		return true
	}
	book, err := w.job.slots()
	if err != nil {
		w.t.Fatal(err)
	}
	v := w.job.owed(w.spec, book, w.now)
	if !v.Slot.IsZero() || !v.Settled.Equal(book.Settled) {
		return false
	}
	if !v.Next.IsZero() {
		w.quiet = v.Next.Add(-time.Minute)
	}
	return true
}

// trigger starts the job, as often as there are schedulers and lines to do so at once.
func (w *world) trigger(n int) {
	w.pending += n
	for w.pending > 0 {
		w.pending--
		w.start()
	}
}

// start starts the job.
func (w *world) start() {
	w.depth++
	defer func() {
		w.depth--
		w.quiet = time.Time{}
		if p := recover(); p != nil && p != any(crash{}) {
			panic(p)
		}
	}()
	if w.depth == 1 && w.now.After(w.lastAsk) {
		w.lastAsk = w.now
	}
	began := w.now
	report, err := RunJob(context.Background(), w.env, w.job, RunOnce{Now: w.byHand})
	var busy *BusyError
	if w.byHand && err == nil {
		w.covered = began
	}
	if err != nil && !errors.As(err, &busy) && !errors.Is(err, errBadDay) && !strings.Contains(err.Error(), "destination") {
		w.bad("run: %v", err)
	}
	if report.Nothing == "" {
		w.tell("run of %v: %v", began.In(w.zone).Format("15:04"), err)
	}
	if w.untaken += 3; w.untaken > 900 { // the file forgets old ones
		w.takeHistory()
	}
}

// takeHistory adds what the file has and history has not.
func (w *world) takeHistory() {
	runs, err := w.job.History().Last(-1)
	if err != nil {
		w.t.Fatal(err)
	}
	same := func(a, b HistoryEntry) bool {
		return a.Start.Equal(b.Start) && a.End.Equal(b.End) && a.Slot.Equal(b.Slot) && a.Result == b.Result
	}
	from := 0
	if n := len(w.history); n > 0 {
		for i, run := range runs {
			if same(run, w.history[n-1]) {
				from = i + 1
			}
		}
	}
	w.history, w.untaken = append(w.history, runs[from:]...), 0
}

var errBadDay = errors.New("a bad day")

// backup stands for the backup itself: it takes its time, and may fail.
func (w *world) backup(context.Context, Env, Options, string) (Report, error) {
	book, err := w.job.slots()
	if err != nil {
		w.t.Fatal(err)
	}
	byHand := w.byHand
	if w.byHand = false; !byHand {
		w.allowed(book)
	}
	w.trigger(0) // what has begun at the same time
	minutes := 1 + w.random.IntN(10)
	switch w.random.IntN(20) {
	case 0:
		minutes = w.random.IntN(600)
	case 1, 2:
		minutes = w.random.IntN(180)
	}
	w.advance(time.Duration(minutes) * time.Minute)
	if w.random.IntN(12) == 0 {
		return Report{}, errBadDay
	}
	if _, err := os.Stat(w.job.Options.Dest); err != nil {
		return Report{}, errors.New("destination is gone")
	}
	if !byHand {
		w.backups[book.Slot.UTC()]++
	}
	return Report{Archive: "a"}, nil
}

// allowed says whether the run that has begun may begin.
func (w *world) allowed(book slotBook) {
	slot, began := book.Slot, book.Tried
	i, isSlot := slices.BinarySearchFunc(w.slots, slot, time.Time.Compare)
	if !isSlot {
		w.bad("a run for %v, which is no slot", slot)
		return
	}
	if slot.After(began.Add(30 * time.Second)) {
		w.bad("a run for %v, which is to come", slot)
	}
	late, o := began.Sub(slot), w.job.Options
	if late <= sched.OnTime && book.Tries <= 1 {
		return
	}
	if o.CatchUp == "none" && book.Tries <= 1 {
		w.bad("%v is made up for", slot)
	}
	if o.Grace > 0 && late > time.Duration(o.Grace) {
		w.bad("%v is made up for after %v", slot, late)
	}
	if next := w.slots[i+1]; next.Sub(began) < min(sched.Guard, next.Sub(slot)/2) {
		w.bad("a run for %v is in the way of %v", slot, next)
	}
	if most := 6 + int(w.slots[i+1].Sub(slot)/time.Hour); book.Tries > most {
		w.bad("%v was tried %d times", slot, book.Tries)
	}
}

// check compares the history with the true slots.
func (w *world) check() {
	w.takeHistory()
	served, missed, failed := make([]int, len(w.slots)), make([]int, len(w.slots)), make([]int, len(w.slots))
	change := ""
	for _, run := range w.history {
		if !run.Slot.IsZero() {
			i, isSlot := slices.BinarySearchFunc(w.slots, run.Slot, time.Time.Compare)
			if !isSlot {
				w.bad("the history has %v, which is no slot", run.Slot)
				continue
			}
			switch run.Result {
			case ResultOK, ResultWarnings:
				served[i]++
			case ResultFailed:
				failed[i]++
			case ResultMissed:
				for k := range run.Missed {
					missed[i-k]++
				}
			}
		}
		if run.Change != "" {
			if bad := (change == "" || change == ChangeRecovered) != (run.Change == ChangeFailed); bad {
				w.bad("told %q after %q", run.Change, change)
			}
			change = run.Change
		}
	}
	counts := make(map[string]int)
	for i, slot := range w.slots {
		most := 1
		for _, b := range w.setBacks { // within three hours nothing is repeated
			if !slot.After(b.from.Add(time.Minute)) && slot.After(b.to.Add(-sched.OnTime)) && w.farBack(b) {
				most++
			}
		}
		n := served[i] + missed[i]
		switch {
		case n > most:
			w.bad("%v was served %d times and missed %d times", slot, served[i], missed[i])
		case n == 0 && failed[i] == 0 && w.slots[min(i+1, len(w.slots)-1)].Before(w.lastAsk) && slot.After(w.covered):
			w.bad("%v is lost", slot)
		case served[i] > 0:
			counts["served"]++
		case missed[i] > 0:
			counts["missed"]++
		case failed[i] > 0:
			counts["failed"]++
		}
	}
	w.t.Logf("%s: %v", w.story[0], counts)
}

// farBack says whether the clock was then three hours behind the latest time that it
// had shown until then.
func (w *world) farBack(b setBack) bool {
	latest := b.from
	for _, other := range w.setBacks {
		if other == b {
			break
		}
		if other.from.After(latest) {
			latest = other.from
		}
	}
	return latest.Sub(b.to) > 3*time.Hour-sched.OnTime
}
