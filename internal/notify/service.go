package notify

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/googlechat"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/lark"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/matrix"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/mattermost"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/rocketchat"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/signal"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/slack"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/teams"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/telegram"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/zulip"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/email/smtp"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/incident/opsgenie"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/incident/pagerduty"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/bark"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/gotify"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/ifttt"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/join"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/ntfy"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/pushbullet"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/pushover"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/sms/twilio"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/specialized/generic"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// This file is the only one that knows shoutrrr.

// A kind is a service that messages can go to.
type kind struct {
	make     func() types.Service
	untitled bool // it has no title: that becomes the first line
}

// kinds are the services by the scheme of their URLs. The router of the library
// would link a few more: MQTT, which needs a client of its own, and a logger.
var kinds = map[string]kind{
	"bark":       {make: func() types.Service { return &bark.Service{} }},
	"discord":    {make: func() types.Service { return &discord.Service{} }},
	"generic":    {make: func() types.Service { return &generic.Service{} }},
	"googlechat": {make: func() types.Service { return &googlechat.Service{} }, untitled: true},
	"gotify":     {make: func() types.Service { return &gotify.Service{} }},
	"hangouts":   {make: func() types.Service { return &googlechat.Service{} }, untitled: true},
	"ifttt":      {make: func() types.Service { return &ifttt.Service{} }},
	"join":       {make: func() types.Service { return &join.Service{} }},
	"lark":       {make: func() types.Service { return &lark.Service{} }},
	"matrix":     {make: func() types.Service { return &matrix.Service{} }},
	"mattermost": {make: func() types.Service { return &mattermost.Service{} }},
	"ntfy":       {make: func() types.Service { return &ntfy.Service{} }},
	"opsgenie":   {make: func() types.Service { return &opsgenie.Service{} }},
	"pagerduty":  {make: func() types.Service { return &pagerduty.Service{} }, untitled: true},
	"pushbullet": {make: func() types.Service { return &pushbullet.Service{} }},
	"pushover":   {make: func() types.Service { return &pushover.Service{} }},
	"rocketchat": {make: func() types.Service { return &rocketchat.Service{} }, untitled: true},
	"signal":     {make: func() types.Service { return &signal.Service{} }, untitled: true},
	"slack":      {make: func() types.Service { return &slack.Service{} }},
	"smtp":       {make: func() types.Service { return &smtp.Service{} }},
	"teams":      {make: func() types.Service { return &teams.Service{} }},
	"telegram":   {make: func() types.Service { return &telegram.Service{} }},
	"twilio":     {make: func() types.Service { return &twilio.Service{} }},
	"zulip":      {make: func() types.Service { return &zulip.Service{} }},
}

// Services are the names of all of them, sorted.
func Services() []string { return slices.Sorted(maps.Keys(kinds)) }

// An UnknownError is a URL of no service.
type UnknownError struct{ Name string } // the scheme; empty: there is none

func (e *UnknownError) Error() string {
	if e.Name == "" {
		return "this is no URL of a service"
	}
	return fmt.Sprintf("%q is no service that messages can be sent to", e.Name)
}

// scheme is the word that a URL begins with, without what follows a plus sign, in
// lower case; "" if there is none.
func scheme(rawURL string) string {
	word, _, found := strings.Cut(rawURL, "://")
	word, _, _ = strings.Cut(strings.ToLower(word), "+")
	if !found || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") != "" {
		return ""
	}
	return word
}

// Name is what may be shown of a URL: the name of its service; of an ordinary web
// address, as pings have it, the host.
func Name(rawURL string) string {
	name := scheme(rawURL)
	if _, known := kinds[name]; known {
		return name
	}
	if u, err := url.Parse(rawURL); err == nil && (name == "http" || name == "https") {
		return u.Hostname()
	}
	return "an unknown service"
}

// Check refuses what no message could be sent to, and asks no server. The error is
// an *UnknownError or an *Error, without a secret.
func Check(rawURL string) error {
	asked := false
	_, err := open(rawURL, &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		asked = true // Matrix logs in before it has anything to send
		return nil, errors.New("not now")
	})})
	if asked {
		return nil
	}
	return err
}

// A roundTripper is an http.RoundTripper that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// open makes the service of a URL, which will make its requests by client.
func open(rawURL string, client *http.Client) (types.Service, error) {
	name := scheme(rawURL)
	k, known := kinds[name]
	if !known {
		return nil, &UnknownError{Name: name}
	}
	fail := func(err error) error { return &Error{Service: name, Why: secrets(rawURL).in(err.Error())} }
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, &Error{Service: name, Why: "its URL cannot be read: a character such as % / : or @ in a password is written %25 %2F %3A %40"}
	}
	s := k.make()
	if strings.Contains(u.Scheme, "+") {
		custom, can := s.(types.CustomURLService)
		if !can {
			return nil, &Error{Service: name, Why: "it takes no web address in its URL"}
		}
		if u, err = custom.GetServiceURLFromCustom(u); err != nil {
			return nil, fail(err)
		}
	}
	if servers[name] && u.Hostname() == "" {
		return nil, &Error{Service: name, Why: "its URL has no server"}
	}
	// Before, as some make requests at once; and after, as some make a client then.
	setter, can := s.(types.HTTPClientSetter)
	if can {
		setter.SetHTTPClient(client)
	}
	if err := s.Initialize(u, nil); err != nil {
		return nil, fail(err)
	}
	if can {
		setter.SetHTTPClient(client)
	}
	return s, nil
}

// send is one try to deliver a message.
func send(o *observer, rawURL string, m Message) error {
	if wantsAnyCertificate(rawURL) {
		o.anyCertificate()
	}
	s, err := open(rawURL, &http.Client{Transport: o})
	if err == nil {
		text, params := compose(rawURL, m)
		err = s.Send(text, &params)
	}
	hide := secrets(rawURL)
	if e := o.failure(); e != nil {
		e.Why = hide.in(e.Why)
		return e
	}
	if err == nil {
		return nil
	}
	why, passing := explain(err)
	return &Error{Why: oneLine(hide.in(why), 300), Passing: passing && !o.answered()}
}

// compose is a message in the form of its service.
func compose(rawURL string, m Message) (text string, params types.Params) {
	text, params = m.Text, types.Params{}
	if len(text) > MaxText {
		text = strings.ToValidUTF8(text[:MaxText], "") + "…"
	}
	title, name := oneLine(m.Title, 200), scheme(rawURL)
	switch {
	case kinds[name].untitled, name == "generic" && query(rawURL, "template") == "":
		return title + "\n\n" + text, params
	case name == "discord" && query(rawURL, "splitlines") == "":
		params["splitlines"] = "No" // else each line is a box of its own
	}
	params[types.TitleKey] = title
	return text, params
}

// query is the value of a key of a URL, in upper or lower case.
func query(rawURL, key string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	for name, values := range u.Query() {
		if strings.EqualFold(name, key) {
			return values[0]
		}
	}
	return ""
}

// wantsAnyCertificate says whether a URL asks to trust any server: the library
// would do so with a client of its own.
func wantsAnyCertificate(rawURL string) bool {
	for _, key := range []string{"disabletlsverification", "insecureskipverify", "skiptlsverify"} {
		switch strings.ToLower(query(rawURL, key)) {
		case "yes", "true", "1":
			return true
		}
	}
	return false
}

// anyCertificate makes the observer's own transport trust any server.
func (o *observer) anyCertificate() {
	if t, own := o.base.(*http.Transport); own {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
}

// explain is why something that speaks no HTTP has failed, and whether that may
// pass.
func explain(err error) (why string, passing bool) {
	var reply *textproto.Error // of a mail server: 4xx may pass, RFC 5321, 4.2.1
	if errors.As(err, &reply) {
		return fmt.Sprintf("the server said %d %s", reply.Code, reply.Msg), reply.Code/100 == 4
	}
	var network *net.OpError
	if errors.As(err, &network) {
		return netCause(network), true
	}
	return netCause(err), true
}
