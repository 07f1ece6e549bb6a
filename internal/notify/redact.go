package notify

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
)

// hidden stands for what is not shown.
const hidden = "***"

// servers are the services whose host is that of a server: it may be shown, and
// helps. That of others is a key, or part of one.
var servers = map[string]bool{
	"bark": true, "generic": true, "gotify": true, "matrix": true, "mattermost": true, "mqtt": true, "mqtts": true,
	"ntfy": true, "opsgenie": true, "rocketchat": true, "signal": true, "smtp": true, "zulip": true,
	"http": true, "https": true,
}

const (
	leastPart  = 6 // a part of a path or a value shorter than this is no secret: "hook", "yes", "25"
	leastName  = 4 // the same of a user's name
	leastPiece = 6 // the same of a piece of a key, between its punctuation
)

// A veil is what a text must not show, the longest first.
type veil []string

// secrets are those of a URL: all of it, and of its parts everything that could be
// one, as it stands there, decoded and encoded.
func secrets(rawURL string) veil {
	found := veil{rawURL}
	add := func(text string, least int) {
		for _, form := range []string{text, url.QueryEscape(text), url.PathEscape(text)} {
			if len(text) >= least && form != "" {
				found = append(found, form)
			}
		}
		// A key may come back with other punctuation: Slack's has slashes in the
		// request, and dashes here.
		for _, piece := range strings.FieldsFunc(text, func(r rune) bool { return !isWordRune(r) }) {
			if len(piece) >= leastPiece {
				found = append(found, piece)
			}
		}
	}
	_, rest, _ := strings.Cut(rawURL, "://")
	found = append(found, rest)
	u, err := url.Parse(rawURL)
	if err != nil {
		// Then nothing is known of its parts.
		add(rest, 1)
		return found.sorted()
	}
	if u.User != nil {
		password, _ := u.User.Password()
		add(u.User.Username(), leastName)
		add(password, 1)
		add(u.User.String(), 1)
		// As they are sent: by HTTP, and by mail's PLAIN, LOGIN and XOAUTH2.
		user := u.User.Username()
		for _, sent := range []string{user + ":" + password, "\x00" + user + "\x00" + password, password, xoauth2(user, password)} {
			add(base64.StdEncoding.EncodeToString([]byte(sent)), leastPart)
		}
	}
	service := Name(rawURL)
	if !servers[service] && !strings.EqualFold(u.Hostname(), service) {
		add(u.Hostname(), leastPart)
	}
	for _, part := range strings.Split(strings.Trim(u.Path, "/"), "/") {
		add(part, leastPart)
	}
	if service != "smtp" { // which has addresses there, and they help
		for _, values := range u.Query() {
			for _, value := range values {
				add(value, leastPart)
			}
		}
	}
	add(u.Fragment, leastPart)
	return found.sorted()
}

func isWordRune(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= 0x80
}

// sorted is the veil with the longest first, so that what is left of one that has
// another in it is not seen.
func (v veil) sorted() veil {
	v = slices.DeleteFunc(v, func(s string) bool { return s == "" })
	slices.SortFunc(v, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(v)
}

// in is text with nothing of the veil's in it.
func (v veil) in(text string) string {
	for _, secret := range v {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	return text
}

// maxWhy is how long an error may be.
const maxWhy = 300

// over is what an error says: one line, with nothing of the veil's in it. It is cut
// last, as half a secret is not seen for one.
func (v veil) over(text string) string { return oneLine(v.in(text), maxWhy) }
