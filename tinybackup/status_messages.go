package tinybackup

import (
	"fmt"
	"time"
)

// An Addressee is one who hears of a job, and whether messages got there. Of its
// URL only the name of the service is told.
type Addressee struct {
	Service string    `json:"service"`        // such as "telegram", or "ping"
	OK      bool      `json:"ok"`             // the last message got there, or there was none
	Since   time.Time `json:"since,omitzero"` // since when they do not
	Why     string    `json:"why,omitempty"`  // they do not
	Next    time.Time `json:"next,omitzero"`  // when it is tried again, at a start of the job
	Waiting int       `json:"waiting"`        // messages that wait for that
}

// heard is who hears of the job, and how that went the last time.
func (j Job) heard() []Addressee {
	all := j.Options.addressees()
	if len(all) == 0 {
		return nil
	}
	box, err := readOutbox(j.outboxPath())
	if err != nil {
		box = outbox{} // a state that cannot be read is a problem of its own
	}
	found := make([]Addressee, len(all))
	for i, a := range all {
		s, silent := box.Silent[a.label]
		found[i] = Addressee{Service: a.label, OK: !silent, Waiting: box.waitingFor(a.label)}
		if silent {
			found[i].Since, found[i].Next, found[i].Why = s.Since.In(j.Installed.Location()), s.Next.In(j.Installed.Location()), s.Why
		}
	}
	return found
}

// text is an addressee for a person.
func (a Addressee) text() string {
	if a.OK {
		return a.Service
	}
	text := fmt.Sprintf("%s: fails since %s: %s", a.Service, a.Since.Format(clockFormat), a.Why)
	if a.Waiting > 0 {
		text += "; " + plural(int64(a.Waiting), "message waits", "messages wait")
	}
	return text
}
