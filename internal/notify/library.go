package notify

import (
	"errors"
	"net/http"
	"net/url"
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
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// This file is the only one that knows shoutrrr. Not taken from it are its mail and
// its webhooks, which are mail.go and hook.go here: they alone call text/template,
// and a program with that in it must keep every exported method of every type, two
// megabytes of them (see the test of it beside main.go). Nor its router, which
// links all of it, and a client of MQTT.

// A kind is a service of the library.
type kind struct {
	make     func() types.Service
	untitled bool // it has no title: that becomes the first line
	most     int  // how many bytes of text it takes, if that is less than MaxText; it refuses more
}

// kinds are the services of the library by the scheme of their URLs.
var kinds = map[string]kind{
	"bark":       {make: func() types.Service { return &bark.Service{} }},
	"discord":    {make: func() types.Service { return &discord.Service{} }},
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
	"pushover":   {make: func() types.Service { return &pushover.Service{} }, most: 1024},
	"rocketchat": {make: func() types.Service { return &rocketchat.Service{} }, untitled: true},
	"signal":     {make: func() types.Service { return &signal.Service{} }, untitled: true},
	"slack":      {make: func() types.Service { return &slack.Service{} }},
	"teams":      {make: func() types.Service { return &teams.Service{} }},
	"telegram":   {make: func() types.Service { return &telegram.Service{} }},
	"twilio":     {make: func() types.Service { return &twilio.Service{} }, most: 1300},
	"zulip":      {make: func() types.Service { return &zulip.Service{} }},
}

// A librarian sends by a service of the library.
type librarian struct {
	kind
	url *url.URL
}

// openKind finds out whether the library takes a URL, and asks no server.
func openKind(k kind, u *url.URL) (sender, error) {
	l := librarian{kind: k, url: u}
	asked := false
	_, err := l.service(&http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		asked = true // Matrix logs in before it has anything to send
		return nil, errors.New("not now")
	})})
	if err != nil && !asked {
		return nil, err
	}
	return l, nil
}

// A roundTripper is an http.RoundTripper that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// service makes the service, which will make its requests by client.
func (l librarian) service(client *http.Client) (types.Service, error) {
	s := l.make()
	// Before, as some make requests at once; and after, as some make a client then.
	setter, can := s.(types.HTTPClientSetter)
	if can {
		setter.SetHTTPClient(client)
	}
	if err := s.Initialize(l.url, nil); err != nil {
		return nil, err
	}
	if can {
		setter.SetHTTPClient(client)
	}
	return s, nil
}

// slackText writes what Slack would take for a link or a call to everybody, such as
// <!channel>, as docs.slack.dev/messaging/formatting-message-text has it.
var slackText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func (l librarian) send(o *observer, m Message) error {
	s, err := l.service(o.client())
	if err != nil {
		return err
	}
	if l.most > 0 {
		m = m.cut(l.most)
	}
	if l.url.Scheme == "slack" {
		m = Message{Title: slackText.Replace(m.Title), Text: slackText.Replace(m.Text)}
	}
	text, params := m.Text, types.Params{}
	if l.untitled {
		text = m.whole()
	} else {
		params[types.TitleKey] = m.Title
	}
	if l.url.Scheme == "telegram" {
		params["parsemode"] = "None" // else what looks like markup is refused
	}
	if l.url.Scheme == "discord" && query(l.url, "splitlines") == "" {
		params["splitlines"] = "No" // else each line is a box of its own
	}
	return s.Send(text, &params)
}
