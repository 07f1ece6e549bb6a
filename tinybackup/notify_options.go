package tinybackup

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"tinybackup/internal/notify"
)

// A ServiceURL is where messages or pings go. All of it is a secret: printed, it is
// the name of the service. Only MarshalFlag, for a job's file, has the URL itself.
type ServiceURL string

// UnmarshalFlag reads a URL from the command line or a job's file. Whether it is
// one is checked with the other options.
func (u *ServiceURL) UnmarshalFlag(text string) error {
	*u = ServiceURL(strings.TrimSpace(text))
	return nil
}

// MarshalFlag is the URL itself.
func (u ServiceURL) MarshalFlag() (string, error) { return string(u), nil }

// String is the name of the service.
func (u ServiceURL) String() string { return notify.Name(string(u)) }

// MarshalText is String: a program that prints its options as JSON tells nothing.
func (u ServiceURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// Events are what messages are sent of.
type Events uint

// The kinds of events.
const (
	EventFailure  Events = 1 << iota // nothing was stored, or no run began
	EventWarning                     // a backup is stored, with warnings that are new
	EventRecovery                    // all is well again after failures
	EventSuccess                     // a backup is stored
	EventStart                       // a backup begins
)

// defaultEvents are those of no --notify-on.
const defaultEvents = EventFailure | EventWarning | EventRecovery

// eventNames are the words of --notify-on, in the order of the constants.
var eventNames = []string{"failure", "warning", "recovery", "success", "start"}

// UnmarshalFlag reads words with commas between them.
func (e *Events) UnmarshalFlag(text string) error {
	var found Events
	for _, word := range strings.Split(text, ",") {
		one := Events(0)
		for i, name := range eventNames {
			if strings.TrimSpace(word) == name {
				one = 1 << i
			}
		}
		if one == 0 {
			return fmt.Errorf("%q is none of %s", word, strings.Join(eventNames, ", "))
		}
		found |= one
	}
	*e = found
	return nil
}

// MarshalFlag writes what UnmarshalFlag reads.
func (e Events) MarshalFlag() (string, error) {
	var words []string
	for i, name := range eventNames {
		if e&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, ","), nil
}

// String is MarshalFlag's text.
func (e Events) String() string {
	text, _ := e.MarshalFlag() // never fails
	return text
}

// wants says whether messages of an event are to be sent.
func (o Options) wants(event Events) bool {
	on := o.NotifyOn
	if on == 0 {
		on = defaultEvents
	}
	if o.NotifyProgress > 0 { // who hears how far it is also hears that it began and ended
		on |= EventStart | EventSuccess
	}
	return on&event != 0
}

// checkNotify refuses what no message or ping could be sent to. The service is
// named, its URL is not.
func (o Options) checkNotify() error {
	for _, u := range o.Notify {
		if err := notify.Check(string(u)); err != nil {
			return notifyError("--notify", err)
		}
	}
	if o.Ping != "" {
		if err := notify.CheckPing(string(o.Ping)); err != nil {
			return &UsageError{Msg: "--" + err.Error(), Hint: "give the URL of a check, such as --ping https://hc-ping.com/UUID"}
		}
	}
	if o.NotifyProgress < 0 || o.NotifyProgress > 50 {
		return &UsageError{
			Msg:  fmt.Sprintf("--notify-progress %d is not between 1 and 50", o.NotifyProgress),
			Hint: "give a number of per cent such as 10, or leave it out",
		}
	}
	return nil
}

// notifyError makes a *UsageError of one of package notify.
func notifyError(option string, err error) error {
	e := &UsageError{Msg: option + ": " + err.Error(), Hint: "the man page has a URL of each service, in NOTIFICATIONS"}
	var unknown *notify.UnknownError
	if errors.As(err, &unknown) {
		e.Hint = "such as telegram://TOKEN@telegram?chats=CHAT; the man page has more, in NOTIFICATIONS"
		if near := nearest(unknown.Name, notify.Services()); near != "" {
			e.Hint = "did you mean " + near + "://?"
		}
	}
	return e
}

// onlyUsable leaves out the URLs that Check would refuse.
func (o *Options) onlyUsable() {
	o.Notify = slices.DeleteFunc(o.Notify, func(u ServiceURL) bool { return notify.Check(string(u)) != nil })
	if o.Ping != "" && notify.CheckPing(string(o.Ping)) != nil {
		o.Ping = ""
	}
}
