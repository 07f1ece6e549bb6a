package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// A hook posts messages to any web address. Its URL is that address with generic:
// for https:, or with generic+ before it. Of its query these are taken out, and the
// rest is for the server:
//
//	template=json           a JSON object of title and message, not plain text
//	titlekey= messagekey=   other names of these two
//	$NAME=VALUE             one more field of the object
//	@NAME=VALUE             a header field of the request
//	title=                  a title of one's own: ours becomes the first line
//	method=                 other than POST
//	contenttype=            other than that of plain text, or of JSON
//	disabletls=yes          http: for https:
type hook struct {
	method, target       string
	header               http.Header
	json                 bool
	title                string            // of one's own, or ""
	titleKey, messageKey string            // of the object
	extra                map[string]string // its other fields
}

// openHook reads the URL of a hook.
func openHook(u *url.URL) (sender, error) {
	o := options{Values: u.Query()}
	h := hook{header: http.Header{}, extra: map[string]string{}}
	h.takeNamed(o.Values)
	h.method = o.or(http.MethodPost, "method")
	h.title = o.text("title")
	h.titleKey = o.or("title", "titlekey")
	h.messageKey = o.or("message", "messagekey")
	kind := "text/plain; charset=utf-8"
	if h.json = o.word("template", "json") != ""; h.json {
		kind = "application/json"
	}
	kind = o.or(kind, "contenttype")
	plain, _ := o.yes("disabletls")

	target := *u
	_, given, _ := strings.Cut(u.Scheme, "+")
	switch given {
	case "http", "https":
		target.Scheme = given
	case "":
		target.Scheme = "https"
		if plain {
			target.Scheme = "http"
		}
	default:
		return nil, fmt.Errorf("%s is neither http nor https", given)
	}
	target.RawQuery = o.Encode()
	h.target = target.String()
	for _, name := range []string{"Content-Type", "Accept"} {
		if h.header.Get(name) == "" {
			h.header.Set(name, kind)
		}
	}
	if h.header.Get("User-Agent") == "" {
		h.header.Set("User-Agent", "tinybackup")
	}
	if o.err != nil {
		return nil, o.err
	}
	return h, h.check()
}

// takeNamed takes header fields and fields of the object out of a query.
func (h hook) takeNamed(query url.Values) {
	for key, values := range query {
		switch name := key[min(1, len(key)):]; {
		case name == "":
			continue
		case key[0] == '@':
			h.header.Set(headerName(name), values[0])
		case key[0] == '$':
			h.extra[name] = values[0]
		default:
			continue
		}
		query.Del(key)
	}
}

// headerName is the name of a header field that may be written without its dashes:
// before a capital letter that begins a word there is one.
func headerName(key string) string {
	var name strings.Builder
	runes := []rune(key)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) ||
			unicode.IsUpper(runes[i-1]) && i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			name.WriteByte('-')
		}
		name.WriteRune(r)
	}
	return name.String()
}

// check refuses what no request can be made of.
func (h hook) check() error {
	if _, err := http.NewRequest(h.method, h.target, nil); err != nil {
		return fmt.Errorf("method=%s cannot be called", h.method)
	}
	for name, values := range h.header {
		if strings.Trim(name, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
			return fmt.Errorf("%q is no name of a header field", name)
		}
		if strings.ContainsFunc(values[0], unicode.IsControl) {
			return errors.New("the header field " + name + " has a character that cannot be sent")
		}
	}
	return nil
}

func (h hook) send(o *observer, m Message) error {
	m = m.titled(h.title)
	body := m.whole()
	if h.json {
		fields := map[string]string{h.titleKey: m.Title, h.messageKey: m.Text}
		for name, value := range h.extra {
			fields[name] = value
		}
		encoded, err := json.Marshal(fields)
		if err != nil {
			return err
		}
		body = string(encoded)
	}
	req, err := http.NewRequestWithContext(o.ctx, h.method, h.target, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = h.header.Clone()
	resp, err := o.client().Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxSaid)) // an answer that breaks off is one
	return resp.Body.Close()
}
