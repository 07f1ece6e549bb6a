package notify_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"tinybackup/internal/notify"
	"tinybackup/internal/notify/notifytest"
)

func TestHook(t *testing.T) {
	t.Parallel()
	web := notifytest.NewWeb(t, nil)
	c, _ := quick(nil)
	whole := message.Title + "\n\n" + message.Text
	for _, h := range []struct {
		url    string // after the scheme; ADDR is the server
		method string
		path   string
		query  string
		header string // name=value
		body   string // of plain text
		json   map[string]string
	}{
		{url: "generic+http://ADDR/a/b?x=1&y=%26", path: "/a/b", query: "x=1&y=%26", header: "Content-Type=text/plain; charset=utf-8", body: whole},
		{url: "generic://ADDR/?disabletls=1&method=PUT&contenttype=text/x-y", method: "PUT", path: "/", header: "Content-Type=text/x-y", body: whole},
		{url: "Generic+HTTP://ADDR?title=Backup&template=json", header: "Content-Type=application/json", json: map[string]string{"title": "Backup", "message": whole}},
		{url: "generic+http://ADDR/?template=JSON&titlekey=t&messagekey=m&$env=pi&$t=mine", path: "/", header: "Accept=application/json",
			json: map[string]string{"t": "mine", "m": message.Text, "env": "pi", "title": "", "message": ""}},
		// The names of the server's own, and those that only look like ours.
		{url: "generic+http://ADDR/?__title=1&Template=json&__method=x&$=2&@=3&$k=v", path: "/", query: "%24=2&%40=3&Template=json&method=x&title=1", body: whole},
		{url: "generic+http://ADDR/?@contentType=a/b", path: "/", header: "Content-Type=a/b", body: whole},
		{url: "generic+http://ADDR/?@X-API-Key=k1", path: "/", header: "X-Api-Key=k1", body: whole},
		{url: "generic+http://ADDR/?@XAuthToken=k2", path: "/", header: "X-Auth-Token=k2", body: whole},
		{url: "generic+http://ADDR/?@x-token=k%203", path: "/", header: "X-Token=k 3", body: whole},
		{url: "generic+http://anna:pw@ADDR/", path: "/", header: "Authorization=Basic YW5uYTpwdw==", body: whole},
		{url: "generic+http://ADDR/", path: "/", header: "User-Agent=tinybackup", body: whole},
	} {
		call := send(t, c, web, strings.Replace(h.url, "ADDR", web.Addr(), 1))
		if h.method == "" {
			h.method = http.MethodPost
		}
		if h.path == "" {
			h.path = "/"
		}
		name, value, _ := strings.Cut(h.header, "=")
		if call.Method != h.method || call.Path != h.path || call.Query.Encode() != h.query || call.Header.Get(name) != value {
			t.Errorf("%s: got %+v", h.url, call)
		}
		if h.json == nil && call.Body != h.body {
			t.Errorf("%s: got %q", h.url, call.Body)
		}
		for key, want := range h.json {
			if got := call.JSON(key); got != want {
				t.Errorf("%s: %s is %q, want %q", h.url, key, got, want)
			}
		}
	}
}

// An address without a scheme of its own is one with TLS.
func TestHookTLS(t *testing.T) {
	t.Parallel()
	far := notifytest.NewFar(t, "hooks.example.org", nil)
	c, _ := quick(toward(t, far))
	for _, to := range []string{"generic://hooks.example.org/x", "generic+https://hooks.example.org/x?disabletls=yes"} {
		if call := send(t, c, far.Web, to); call.Host != "hooks.example.org" || call.Path != "/x" || len(call.Query) != 0 {
			t.Errorf("%s: got %+v", to, call)
		}
	}
}

func TestHookOptions(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"?template=mine":      "template=mine is none of json",
		"?disabletls=perhaps": "disabletls=*** is neither yes nor no",
		"?method=a%20b":       "method=a b cannot be called",
		"?@X%20Y=1":           `"X Y" is no name of a header field`,
		"?@X-Key=a%0Db":       "the header field X-Key has a character that cannot be sent",
	} {
		if err := notify.Check("generic://example.org/" + options); err == nil || err.Error() != "generic: "+want {
			t.Errorf("%s: got %v, want %q", options, err, want)
		}
	}
	check(t, notify.Check("generic+ftp://example.org/"), "generic: ftp is neither http nor https", false)
}

// A message that is sent on elsewhere is none that has got there, and no other server
// hears of it, nor of its key.
func TestSentOn(t *testing.T) {
	t.Parallel()
	other := notifytest.NewWeb(t, nil)
	for _, status := range []int{301, 302, 303, 307, 308} {
		web := notifytest.NewWeb(t, func(notifytest.Call) notifytest.Answer {
			return notifytest.Answer{Status: status, Header: http.Header{"Location": {other.URL + "/" + gotifyToken}}}
		})
		c, pauses := quick(nil)
		for _, to := range []string{
			"generic+" + web.URL + "/hook?@X-Key=" + gotifyToken,
			"gotify://" + web.Addr() + "/" + gotifyToken + "?disabletls=yes",
			"ntfy://" + web.Addr() + "/alerts?scheme=http",
		} {
			err := c.Send(t.Context(), to, message)
			want := notify.Name(to) + ": " + strconv.Itoa(status) + " " + http.StatusText(status) + ": it is at " + other.URL + " now"
			check(t, err, want, false)
		}
		if len(*pauses) != 0 {
			t.Errorf("%d: pauses %v", status, *pauses)
		}
	}
	if n := len(other.Calls()); n != 0 {
		t.Errorf("the other got %d calls", n)
	}
	// A ping is in its address, and follows it.
	web := notifytest.NewWeb(t, func(c notifytest.Call) notifytest.Answer {
		return notifytest.Answer{Status: 301, Header: http.Header{"Location": {other.URL + c.Path}}}
	})
	c, _ := quick(nil)
	if err := c.Ping(t.Context(), web.URL+"/"+checkID, notify.Ping{Signal: "1"}); err != nil || len(other.Calls()) != 1 || other.Calls()[0].Path != "/"+checkID+"/1" {
		t.Errorf("ping: got %v, %+v", err, other.Calls())
	}
}
