package tinybackup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"tinybackup/internal/notify"
)

// An outbox is what a job has to tell, and could not yet: outbox.json in its state
// directory, read and written under outbox.lock. It has the names of services, and
// nothing else of their URLs.
type outbox struct {
	Waiting []letter `json:"waiting,omitempty"` // oldest first
	// Silent are the services that the last message did not get to.
	Silent map[string]silence `json:"silent,omitempty"`
	// Unable is why the job could not even be started, as was told; none once it
	// could.
	Unable string `json:"unable,omitempty"`

	kept string // the text of its file
	torn bool   // which could not be read as one of ours
}

// A letter is a message, or the ping of a run's end, and who has not got it yet.
type letter struct {
	At    time.Time    `json:"at"`
	To    []string     `json:"to"` // labels
	Title string       `json:"title,omitempty"`
	Text  string       `json:"text,omitempty"`
	Ping  *notify.Ping `json:"ping,omitempty"`
}

// name is what a letter is called: by its title.
func (l letter) name() string {
	if l.Ping != nil {
		return "the end of a run"
	}
	return strconv.Quote(l.Title)
}

// A silence is what is known of a service that cannot be told anything.
type silence struct {
	Since time.Time `json:"since"`
	Tries int       `json:"tries"`
	Next  time.Time `json:"next"` // not before, unless there is something new
	Why   string    `json:"why"`
}

// rests says whether a service is left alone at now. A clock that was set back does not
// make that longer.
func (s silence) rests(now time.Time) bool {
	return now.Before(s.Next) && !now.Add(outboxMaxPause).Before(s.Next)
}

const (
	// outboxLetters and outboxAge bound what waits: the oldest go first. A night's
	// failure is no news after a week.
	outboxLetters = 20
	outboxAge     = 7 * 24 * time.Hour
	// pingAge is when the end of a run is no sign of life any more.
	pingAge = 24 * time.Hour
	// outboxPause is how long a service that did not answer is left alone, then
	// twice as long each time up to outboxMaxPause.
	outboxPause    = 5 * time.Minute
	outboxMaxPause = 6 * time.Hour
)

func (j Job) outboxPath() string { return filepath.Join(j.StateDir, "outbox.json") }

// labels are what the services of URLs are called: by their names, and of several
// of one kind the second and so on by a number as well.
func labels(urls []ServiceURL) []string {
	names := make([]string, len(urls))
	seen := make(map[string]int)
	for i, u := range urls {
		names[i] = u.String()
		if seen[names[i]]++; seen[names[i]] > 1 {
			names[i] = fmt.Sprintf("%s %d", u, seen[u.String()])
		}
	}
	return names
}

// readOutbox reads the outbox of a job. None, and one that is torn, is empty: what
// waited there is lost, and nothing else.
func readOutbox(path string) (outbox, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return outbox{}, err
	}
	var box outbox
	if json.Unmarshal(text, &box) != nil {
		box = outbox{torn: len(text) > 0}
	}
	box.kept = string(text)
	return box, nil
}

// write keeps the outbox, if it is not as its file has it; an empty one is no file.
func (b *outbox) write(path string) error {
	if b.empty() {
		b.kept = ""
		return ignoreMissing(os.Remove(path))
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil || string(text)+"\n" == b.kept {
		return err
	}
	b.kept = string(text) + "\n"
	return writeWhole(path, []byte(b.kept))
}

func (b outbox) empty() bool { return len(b.Waiting) == 0 && len(b.Silent) == 0 && b.Unable == "" }

// prune drops what is too old, too much, or for services that the job does not
// name any more.
func (b *outbox) prune(now time.Time, to []string) {
	kept := b.Waiting[:0]
	for _, l := range b.Waiting {
		l.To = slices.DeleteFunc(l.To, func(label string) bool {
			return !slices.Contains(to, label) || (label == notify.PingName) != (l.Ping != nil)
		})
		age := outboxAge
		if l.Ping != nil {
			age = pingAge
		}
		if len(l.To) > 0 && now.Sub(l.At) <= age {
			kept = append(kept, l)
		}
	}
	b.Waiting = kept[max(0, len(kept)-outboxLetters):]
	for label := range b.Silent {
		if !slices.Contains(to, label) {
			delete(b.Silent, label)
		}
	}
}

// waitingFor is how many letters a service has not got yet.
func (b outbox) waitingFor(label string) (n int) {
	for _, l := range b.Waiting {
		if slices.Contains(l.To, label) {
			n++
		}
	}
	return n
}

// delivered notes which of the letters that waited for a service need not any more.
func (b *outbox) delivered(label string, done []bool) {
	n := 0
	for i := range b.Waiting {
		l := &b.Waiting[i]
		if !slices.Contains(l.To, label) {
			continue
		}
		if n < len(done) && done[n] {
			l.To = slices.DeleteFunc(slices.Clone(l.To), func(s string) bool { return s == label })
		}
		n++
	}
	b.Waiting = slices.DeleteFunc(b.Waiting, func(l letter) bool { return len(l.To) == 0 })
}

// failed notes that a service could not be told, and says whether that is new.
func (b *outbox) failed(label, why string, now time.Time) (first bool) {
	s, silent := b.Silent[label]
	if !silent {
		s.Since = now
	}
	pause := min(outboxPause<<min(s.Tries, 10), outboxMaxPause)
	s.Tries++
	s.Next, s.Why = now.Add(pause), why
	if b.Silent == nil {
		b.Silent = make(map[string]silence)
	}
	b.Silent[label] = s
	return !silent
}
