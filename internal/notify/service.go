package notify

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// A sender knows a service and an address there.
type sender interface {
	// send is one try to deliver a message. What it asks by HTTP goes through the
	// observer, whose word about it counts more than the error.
	send(*observer, Message) error
}

// own are the services that are not the library's, by the scheme of their URLs.
var own = map[string]func(*url.URL) (sender, error){
	"generic": openHook,
	"smtp":    openMail,
}

// Services are the names of all of them, sorted.
func Services() []string {
	var names []string
	for name := range own {
		names = append(names, name)
	}
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

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
	if own[name] != nil || kinds[name].make != nil {
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
	_, err := open(rawURL)
	return err
}

// open gives the sender to a URL, and asks no server. Its errors are Check's.
func open(rawURL string) (sender, error) {
	name := scheme(rawURL)
	openOwn, k := own[name], kinds[name]
	if openOwn == nil && k.make == nil {
		return nil, &UnknownError{Name: name}
	}
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, &Error{Service: name, Why: "its URL cannot be read: a character such as % / : or @ in a password is written %25 %2F %3A %40"}
	case name != "generic" && strings.Contains(u.Scheme, "+"):
		return nil, &Error{Service: name, Why: "it takes no web address in its URL"}
	case servers[name] && u.Hostname() == "":
		return nil, &Error{Service: name, Why: "its URL has no server"}
	}
	var s sender
	if openOwn != nil {
		s, err = openOwn(u)
	} else {
		s, err = openKind(k, u)
	}
	if err != nil {
		return nil, &Error{Service: name, Why: secrets(rawURL).in(err.Error())}
	}
	return s, nil
}

// attempt is one try to deliver a message. Its error is an *Error without a secret.
func attempt(o *observer, s sender, rawURL string, m Message) error {
	if wantsAnyCertificate(rawURL) {
		o.anyCertificate()
	}
	err := s.send(o, m)
	hide := secrets(rawURL)
	if e := o.failure(); e != nil {
		e.Why = hide.over(e.Why)
		return e
	}
	if err == nil {
		return nil
	}
	why, passing := explain(err)
	return &Error{Why: hide.over(why), Passing: passing && !o.answered()}
}

// severals are the keys, by the scheme, of those of whom one URL may name several.
var severals = map[string][]string{"smtp": {"toaddresses", "to"}, "telegram": {"channels", "chats"}}

// Apart gives a URL for each of those whom one of mail or of Telegram names, as they
// stand there: one who cannot be told is then nothing to the others. Any other URL
// stays alone.
func Apart(rawURL string) (urls []string) {
	base, rest, _ := strings.Cut(rawURL, "?")
	values, err := url.ParseQuery(rest)
	var found []string
	for key := range values {
		if slices.Contains(severals[scheme(rawURL)], strings.ToLower(key)) {
			found = append(found, key)
		}
	}
	if err != nil || len(found) != 1 || strings.Contains(rest, "#") {
		return []string{rawURL}
	}
	for _, one := range strings.Split(values.Get(found[0]), ",") {
		if strings.TrimSpace(one) != "" {
			values.Set(found[0], one)
			urls = append(urls, base+"?"+values.Encode())
		}
	}
	if len(urls) < 2 {
		return []string{rawURL}
	}
	return urls
}

// query is the value of a key of a URL, in upper or lower case.
func query(u *url.URL, key string) string {
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
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	for _, key := range []string{"disabletlsverification", "insecureskipverify", "skiptlsverify"} {
		if yes, _ := yesOrNo(query(u, key)); yes {
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
	var told *Error
	if errors.As(err, &told) {
		return told.Why, told.Passing
	}
	var reply *textproto.Error // of a mail server: 4xx may pass, RFC 5321, 4.2.1
	if errors.As(err, &reply) {
		return fmt.Sprintf("the server said %d %s", reply.Code, reply.Msg), reply.Code/100 == 4
	}
	var unknown *tls.CertificateVerificationError
	if errors.As(err, &unknown) {
		return fmt.Sprintf("%v; skiptlsverify=yes in the URL trusts it all the same", err), false
	}
	var network *net.OpError
	if errors.As(err, &network) {
		return netCause(network), true
	}
	return netCause(err), true
}
