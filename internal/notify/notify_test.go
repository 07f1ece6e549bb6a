package notify_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/notify"
	"tinybackup/internal/notify/notifytest"
)

// The keys of the tests: none of them, nor a part of one, may come back in an error.
const (
	botToken    = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
	slackKey    = "T00000000-B00000000-XXXXYYYYZZZZXXXXYYYYZZZZ"
	gotifyToken = "AzyoeNS.D4iJLVa"
	password    = "s3cr:et/p@ss"
	checkID     = "f0a1b2c3-1111-2222-3333-444455556666"
)

// quick is a client that does not wait between tries, and notes how long it should.
func quick(transport http.RoundTripper) (notify.Client, *[]time.Duration) {
	var pauses []time.Duration
	return notify.Client{Transport: transport, Sleep: func(_ context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		return nil
	}}, &pauses
}

// toward is a transport that goes by a Far's proxy, and trusts its certificate.
func toward(t *testing.T, f *notifytest.Far) http.RoundTripper {
	t.Helper()
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	proxy, err := url.Parse(f.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

var message = notify.Message{Title: "Backup failed: Nötes on pi", Text: "source \"/a<b>\" is gone\nWhat to do: mount it\n"}

// send sends the message and gives the one call that came of it.
func send(t *testing.T, c notify.Client, web *notifytest.Web, rawURL string) notifytest.Call {
	t.Helper()
	if err := c.Send(t.Context(), rawURL, message); err != nil {
		t.Fatalf("%s: %v", notify.Name(rawURL), err)
	}
	calls := web.Calls()
	if len(calls) == 0 {
		t.Fatalf("%s: no call", notify.Name(rawURL))
	}
	return calls[len(calls)-1]
}

// has complains of parts that a text lacks.
func has(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: got %q, which lacks %q", what, text, part)
		}
	}
}

func TestSendTelegram(t *testing.T) {
	t.Parallel()
	far := notifytest.NewFar(t, "api.telegram.org", notifytest.Telegram(botToken))
	c, _ := quick(toward(t, far))
	call := send(t, c, far.Web, "telegram://"+botToken+"@telegram?chats=@ops,-100123")
	if n := len(far.Calls()); n != 2 {
		t.Errorf("calls: got %d, want one for each chat", n)
	}
	if call.Host != "api.telegram.org" || call.JSON("chat_id") != "-100123" {
		t.Errorf("call: %+v", call)
	}
	has(t, "text", call.JSON("text"), "<b>Backup failed: Nötes on pi</b>", "/a&lt;b&gt;", "mount it")
	// What is told is plain text, whatever the URL says of it.
	for _, mode := range []string{"HTML", "Markdown", "MarkdownV2"} {
		call = send(t, c, far.Web, "telegram://"+botToken+"@telegram?chats=@ops&parsemode="+mode)
		if call.JSON("parse_mode") != "HTML" || !strings.Contains(call.JSON("text"), "/a&lt;b&gt;") {
			t.Errorf("%s: %+v", mode, call)
		}
	}
}

// The library calls it a success when Telegram gives no answer that it understands.
func TestSendTelegramFails(t *testing.T) {
	t.Parallel()
	far := notifytest.NewFar(t, "api.telegram.org", notifytest.Telegram("110201543:BBHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"))
	c, pauses := quick(toward(t, far))
	to := "telegram://" + botToken + "@telegram?chats=@ops"
	check(t, c.Send(t.Context(), to, message), "telegram: 401 Unauthorized: Unauthorized", false)
	if len(*pauses) != 0 {
		t.Errorf("401 was tried %d times", len(*pauses)+1)
	}
	far.Respond(func(notifytest.Call) notifytest.Answer {
		return notifytest.Answer{Status: 502, Type: "text/html", Body: "<h1>" + botToken + "</h1>"}
	})
	check(t, c.Send(t.Context(), to, message), "telegram: 502 Bad Gateway", true)
	if want := []time.Duration{time.Second, 2 * time.Second}; !slices.Equal(*pauses, want) {
		t.Errorf("pauses: got %v, want %v", *pauses, want)
	}
	far.Web.Close()
	err := c.Send(t.Context(), to, message)
	var e *notify.Error
	if !errors.As(err, &e) || !e.Passing {
		t.Errorf("no server: got %v, want an error that may pass", err)
	}
}

// check compares an error of the package.
func check(t *testing.T, err error, want string, passing bool) {
	t.Helper()
	var e *notify.Error
	if !errors.As(err, &e) || err.Error() != want || e.Passing != passing {
		t.Errorf("got %v, want %q, passing %v", err, want, passing)
	}
}

func TestSendToServers(t *testing.T) {
	t.Parallel()
	web := notifytest.NewWeb(t, nil)
	c, _ := quick(nil)
	addr := web.Addr()

	call := send(t, c, web, "ntfy://anna:"+url.QueryEscape(password)+"@"+addr+"/alerts?scheme=http&priority=high")
	user, pass, _ := (&http.Request{Header: call.Header}).BasicAuth()
	if call.Path != "/alerts" || user != "anna" || pass != password || call.Header.Get("Priority") != "High" {
		t.Errorf("ntfy: %+v, %q, %q", call, user, pass)
	}
	has(t, "ntfy", call.Header.Get("Title")+call.Body, message.Title, message.Text)

	call = send(t, c, web, "gotify://"+addr+"/"+gotifyToken+"?disabletls=yes")
	if call.Path != "/message" || call.Query.Get("token") != gotifyToken || call.JSON("title") != message.Title || call.JSON("message") != message.Text {
		t.Errorf("gotify: %+v", call)
	}

	call = send(t, c, web, "generic://"+addr+"/hook?disabletls=yes&key=v")
	if call.Path != "/hook" || call.Query.Get("key") != "v" || call.Body != message.Title+"\n\n"+message.Text {
		t.Errorf("generic: %+v", call)
	}
	call = send(t, c, web, "generic+http://"+addr+"/hook?template=json&@X-Key=abcdef")
	if call.Header.Get("X-Key") != "abcdef" || call.JSON("title") != message.Title || call.JSON("message") != message.Text {
		t.Errorf("generic with JSON: %+v", call)
	}

	call = send(t, c, web, "matrix://:"+url.QueryEscape(password)+"@"+addr+"/?rooms=!abc:example.org&disableTLS=yes")
	if call.Header.Get("Authorization") != "Bearer "+password {
		t.Errorf("matrix: %+v", call)
	}
	has(t, "matrix", call.JSON("body"), message.Title, "mount it")
}

// Discord and Slack are known by their hosts.
func TestSendFarAway(t *testing.T) {
	t.Parallel()
	far := notifytest.NewFar(t, "discord.com", func(notifytest.Call) notifytest.Answer { return notifytest.Answer{Status: 204} })
	c, _ := quick(toward(t, far))
	call := send(t, c, far.Web, "discord://tokentokentoken@123456789")
	if n := len(far.Calls()); n != 1 || call.Path != "/api/webhooks/123456789/tokentokentoken" {
		t.Errorf("discord: %d calls, %+v", n, call)
	}
	has(t, "discord", call.Body, message.Title, "mount it")

	far = notifytest.NewFar(t, "hooks.slack.com", func(notifytest.Call) notifytest.Answer {
		return notifytest.Answer{Type: "text/plain", Body: "ok"}
	})
	c, _ = quick(toward(t, far))
	call = send(t, c, far.Web, "slack://hook:"+slackKey+"@webhook")
	if want := "/services/" + strings.ReplaceAll(slackKey, "-", "/"); call.Path != want {
		t.Errorf("slack: %+v", call)
	}
	has(t, "slack", call.Body, "Backup failed", "mount it", `/a\u0026lt;b\u0026gt;`)
}

func TestSendMail(t *testing.T) {
	t.Parallel()
	mail := notifytest.NewMail(t, "anna", password)
	c, pauses := quick(nil)
	to := "smtp://anna:" + url.QueryEscape(password) + "@" + mail.Addr + "/?from=pi@example.org&to=ops@example.org,anna@example.org"
	if err := c.Send(t.Context(), to, message); err != nil {
		t.Fatal(err)
	}
	letters := mail.Letters()
	if len(letters) != 2 || letters[0].From != "pi@example.org" || !slices.Equal(letters[1].To, []string{"anna@example.org"}) {
		t.Fatalf("letters: %+v", letters)
	}
	has(t, "mail", letters[0].Data, "Subject: =?UTF-8?q?Backup_failed:_N=C3=B6tes_on_pi?=\n", "\n\n"+message.Text)

	// Once more for 4xx, not for 5xx.
	mail.Refuse(func(command string) string {
		if command == "MAIL" && mail.Count("MAIL") == 3 {
			return "451 4.3.0 try again"
		}
		return ""
	})
	if err := c.Send(t.Context(), to, message); err == nil && len(*pauses) != 1 {
		t.Errorf("451: tried %d times", len(*pauses)+1)
	}
	*pauses = nil
	err := c.Send(t.Context(), strings.Replace(to, "anna:", "anna:no", 1), message)
	check(t, err, "smtp: the server said 535 5.7.8 bad credentials", false)
	if len(*pauses) != 0 {
		t.Errorf("535 was tried %d times", len(*pauses)+1)
	}
}

// What never answers is left behind.
func TestSendHangs(t *testing.T) {
	t.Parallel()
	web := notifytest.NewWeb(t, func(notifytest.Call) notifytest.Answer { return notifytest.Answer{Hang: true} })
	mail := notifytest.NewMail(t, "", "")
	mail.Refuse(func(string) string { return "hang" })
	for _, to := range []string{
		"generic://" + web.Addr() + "/hook?disabletls=yes",
		"smtp://" + mail.Addr + "/?from=a@b.c&to=d@e.f",
	} {
		c, pauses := quick(nil)
		c.Timeout = 30 * time.Millisecond
		err := c.Send(t.Context(), to, message)
		var e *notify.Error
		if !errors.As(err, &e) || !e.Passing || !strings.Contains(e.Why, "no answer") || len(*pauses) != 2 {
			t.Errorf("%s: got %v after %d tries, want no answer after 3", notify.Name(to), err, len(*pauses)+1)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Send(ctx, to, message); err == nil || len(*pauses) != 2 {
			t.Errorf("%s, cancelled: got %v after %d more tries", notify.Name(to), err, len(*pauses)-1)
		}
	}
}

func TestSendAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		answers []notifytest.Answer // the last one counts from then on
		calls   int
		pauses  []time.Duration
		err     string
	}{
		{name: "at once", answers: []notifytest.Answer{{}}, calls: 1},
		{name: "overloaded once", answers: []notifytest.Answer{{Status: 503}, {}}, calls: 2, pauses: []time.Duration{time.Second}},
		{name: "too many", answers: []notifytest.Answer{{Status: 429, Header: http.Header{"Retry-After": {"7"}}}, {}}, calls: 2, pauses: []time.Duration{7 * time.Second}},
		{name: "for long", answers: []notifytest.Answer{{Status: 429, Header: http.Header{"Retry-After": {"3600"}}}}, calls: 1, err: "generic: 429 Too Many Requests"},
		{name: "down", answers: []notifytest.Answer{{Status: 500, Body: `{"error":"out of\nspace"}`}}, calls: 3, pauses: []time.Duration{time.Second, 2 * time.Second}, err: "generic: 500 Internal Server Error: out of space"},
		{name: "gone", answers: []notifytest.Answer{{Status: 404, Type: "text/plain", Body: "no such hook"}}, calls: 1, err: "generic: 404 Not Found: no such hook"},
	} {
		n := 0
		web := notifytest.NewWeb(t, func(notifytest.Call) notifytest.Answer {
			n++
			return c.answers[min(n, len(c.answers))-1]
		})
		client, pauses := quick(nil)
		err := client.Send(t.Context(), "generic+"+web.URL+"/hook", message)
		if got := len(web.Calls()); got != c.calls || !slices.Equal(*pauses, c.pauses) {
			t.Errorf("%s: got %d calls and pauses %v, want %d and %v", c.name, got, *pauses, c.calls, c.pauses)
		}
		if got := ""; err != nil {
			got = err.Error()
			if got != c.err {
				t.Errorf("%s: got %q, want %q", c.name, got, c.err)
			}
		} else if c.err != "" {
			t.Errorf("%s: got no error, want %q", c.name, c.err)
		}
	}
}

// A server that tells everything it was told, in every way that it was told.
func TestErrorsHaveNoSecrets(t *testing.T) {
	t.Parallel()
	tattle := func(c notifytest.Call) notifytest.Answer {
		secret, _ := url.QueryUnescape(c.Path + "?" + c.Query.Encode())
		return notifytest.Answer{Status: 400, Type: "text/plain", Body: "bad: " + c.Path + " " + c.Query.Encode() + " " + secret + " " + strings.Join(c.Header["Authorization"], "") + strings.Join(c.Header["X-Key"], "")}
	}
	web := notifytest.NewWeb(t, tattle)
	mail := notifytest.NewMail(t, "", "")
	mail.Refuse(func(command string) string {
		if command == "AUTH" {
			return "535 no " + password + " " + url.QueryEscape(password) + " " + sentAs("\x00anna\x00"+password)
		}
		return ""
	})
	far := notifytest.NewFar(t, "api.telegram.org", tattle)
	slack := notifytest.NewFar(t, "hooks.slack.com", tattle)
	dead := notifytest.NewWeb(t, nil)
	dead.Close()
	escaped := url.QueryEscape(password)
	for _, c := range []struct {
		url     string
		through http.RoundTripper
	}{
		{"telegram://" + botToken + "@telegram?chats=@ops", toward(t, far)},
		{"telegram://" + botToken + "@telegram", nil},                // no chat
		{"telegram://" + botToken + "x%zz@telegram?chats=@ops", nil}, // no URL
		{"telegram://" + slackKey + "@telegram?chats=@ops", nil},     // no token
		{"slack://hook:" + slackKey + "@webhook", toward(t, slack)},
		{"slack://hook:" + slackKey + "toolong@webhook?color=" + escaped, nil},
		{"ntfy://anna:" + escaped + "@" + web.Addr() + "/secrettopic?scheme=http", nil},
		{"gotify://" + web.Addr() + "/" + gotifyToken + "?disabletls=yes", nil},
		{"gotify://" + web.Addr() + "/" + gotifyToken + "toolong?disabletls=yes", nil},
		{"gotify://" + dead.Addr() + "/" + gotifyToken + "?disabletls=yes", nil},
		{"generic://" + web.Addr() + "/" + gotifyToken + "?disabletls=yes&token=" + slackKey + "&@X-Key=" + slackKey, nil},
		{"generic+http://" + dead.Addr() + "/" + gotifyToken, nil},
		{"matrix://anna:" + escaped + "@" + web.Addr() + "/?disableTLS=yes", nil},
		{"smtp://anna:" + escaped + "@" + mail.Addr + "/?from=a@b.c&to=d@e.f", nil},
		{"pushover://shoutrrr:" + gotifyToken + "@", nil},
		{"discord://" + slackKey + "@123456789/" + gotifyToken, nil},
		{"nosuch://" + gotifyToken, nil},
		{gotifyToken, nil},
	} {
		client, _ := quick(c.through)
		err := client.Send(t.Context(), c.url, message)
		if err == nil {
			t.Errorf("%s: no error", c.url)
			continue
		}
		hidden(t, c.url, err.Error())
		if err := notify.Check(c.url); err != nil {
			hidden(t, c.url, err.Error())
		}
		hidden(t, c.url, notify.Name(c.url))
	}
	client, _ := quick(nil)
	for _, base := range []string{web.URL, dead.URL, "http://" + web.Addr() + "/%zz", "ftp://x"} {
		err := client.Ping(t.Context(), base+"/"+checkID, notify.Ping{RID: notify.NewRID()})
		if err == nil {
			t.Errorf("%s: no error", base)
			continue
		}
		hidden(t, base, err.Error())
	}
}

// Nor is half of one seen where an answer is too long to be told.
func TestErrorsHaveNoHalfSecrets(t *testing.T) {
	t.Parallel()
	before := 0
	web := notifytest.NewWeb(t, func(notifytest.Call) notifytest.Answer {
		return notifytest.Answer{Status: 400, Type: "text/plain", Body: strings.Repeat("x", before) + " " + gotifyToken + " " + gotifyToken}
	})
	c, _ := quick(nil)
	for before = range 320 {
		for _, err := range []error{
			c.Send(t.Context(), "generic+"+web.URL+"/"+gotifyToken, message),
			c.Ping(t.Context(), web.URL+"/"+gotifyToken, notify.Ping{}),
		} {
			if err == nil || strings.Contains(err.Error(), gotifyToken[:2]) || len(err.Error()) > 320 {
				t.Fatalf("after %d bytes: got %v", before, err)
			}
		}
	}
}

// sentAs is how a secret is sent.
func sentAs(secret string) string { return base64.StdEncoding.EncodeToString([]byte(secret)) }

// hidden complains of secrets of the tests in a text.
func hidden(t *testing.T, what, text string) {
	t.Helper()
	number, key, _ := strings.Cut(botToken, ":")
	for _, secret := range append([]string{number, key, password, url.QueryEscape(password), gotifyToken, checkID, "secrettopic", sentAs("anna:" + password), sentAs("\x00anna\x00" + password)}, strings.Split(slackKey, "-")...) {
		if strings.Contains(text, secret) {
			t.Errorf("%s: %q shows %q", what, text, secret)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"telegram://" + botToken + "@telegram?chats=@ops",
		"smtp://anna:pw@mail.example.org:587/?from=a@b.c&to=d@e.f",
		"ntfy://ntfy.sh/topic",
		"discord://token@123",
		"slack://hook:" + slackKey + "@webhook",
		"matrix://anna:pw@matrix.example.org/?rooms=ops", // it would log in
		"gotify://gotify.example.org/" + gotifyToken,
		"generic://example.org/hook",
		"generic+https://example.org/hook?template=json",
		"Telegram://" + botToken + "@telegram?chats=@ops",
	} {
		if err := notify.Check(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, c := range []struct{ url, err string }{
		{"", "this is no URL of a service"},
		{"anna@example.org", "this is no URL of a service"},
		{"1234:abc://x", "this is no URL of a service"},
		{"telegrm://x", `"telegrm" is no service that messages can be sent to`},
		{"logger://", `"logger" is no service that messages can be sent to`},
		{"https://example.org/hook", `"https" is no service that messages can be sent to`},
		{"telegram://" + botToken + "@telegram", "telegram: no channels defined in config URL"},
		{"telegram://110201543@telegram?chats=x", "telegram: invalid telegram token: ***:"},
		{"smtp://anna:a/b@mail.example.org/?from=a@b.c&to=d@e.f", "smtp: its URL cannot be read: a character such as % / : or @ in a password is written %25 %2F %3A %40"},
		{"smtp://mail.example.org/?from=a@b.c", "smtp: toAddress missing from config URL"},
		{"generic:///hook", "generic: its URL has no server"},
		{"ntfy+https://ntfy.sh/topic", "ntfy: it takes no web address in its URL"},
	} {
		if err := notify.Check(c.url); err == nil || err.Error() != c.err {
			t.Errorf("%s: got %v, want %q", c.url, err, c.err)
		}
	}
	var unknown *notify.UnknownError
	if err := notify.Check("telegrm://x"); !errors.As(err, &unknown) || unknown.Name != "telegrm" {
		t.Errorf("unknown service: got %v", err)
	}
	if got := notify.Services(); len(got) < 20 || !slices.Contains(got, "telegram") || !slices.IsSorted(got) {
		t.Errorf("services: %q", got)
	}
}

func TestApart(t *testing.T) {
	t.Parallel()
	for rawURL, want := range map[string][]string{
		"smtp://anna:a%2Fb@h:587/?from=a%2Bb@c.d&To=e@f,%20g,&auth=plain": {
			"smtp://anna:a%2Fb@h:587/?To=e%40f&auth=plain&from=a%2Bb%40c.d", "smtp://anna:a%2Fb@h:587/?To=+g&auth=plain&from=a%2Bb%40c.d",
		},
		"telegram://1:x@telegram?chats=@a,-1:2&title=x": {"telegram://1:x@telegram?chats=%40a&title=x", "telegram://1:x@telegram?chats=-1%3A2&title=x"},
		"telegram://1:x@telegram?channels=@a":           nil,
		"smtp://h/?from=a&to=b,c&toaddresses=d":         nil,
		"smtp://h/?from=a&to=b,c#d":                     nil,
		"smtp://h/?from=a&to=b,%zz":                     nil,
		"generic://h/?to=b,c":                           nil,
		"b,c":                                           nil,
	} {
		if want == nil {
			want = []string{rawURL}
		}
		if got := notify.Apart(rawURL); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", rawURL, got, want)
		}
	}
}

func TestName(t *testing.T) {
	t.Parallel()
	for rawURL, want := range map[string]string{
		"telegram://" + botToken + "@telegram": "telegram", "generic+https://example.org/x": "generic", "SMTP://a:b@c": "smtp",
		"https://hc-ping.com/" + checkID: "hc-ping.com", "nosuch://" + gotifyToken: "an unknown service", gotifyToken: "an unknown service",
	} {
		if got := notify.Name(rawURL); got != want {
			t.Errorf("%s: got %q, want %q", rawURL, got, want)
		}
	}
}

// What is too long for Telegram is cut.
func TestSendLong(t *testing.T) {
	t.Parallel()
	web := notifytest.NewWeb(t, nil)
	c, _ := quick(nil)
	m := notify.Message{Title: "two\nlines", Text: strings.Repeat("ä", notify.MaxText)}
	if err := c.Send(t.Context(), "generic+"+web.URL+"/?template=json", m); err != nil {
		t.Fatal(err)
	}
	call := web.Calls()[0]
	if got := call.JSON("message"); len(got) > notify.MaxText || len(got) < notify.MaxText-3 || !strings.HasSuffix(got, "ä…") || call.JSON("title") != "two lines" {
		t.Errorf("got %d bytes, title %q", len(got), call.JSON("title"))
	}

	// Some take even less, and refuse what is longer.
	for host, r := range map[string]struct {
		to, key string
		most    int
	}{
		"api.pushover.net": {"pushover://shoutrrr:" + gotifyToken + "@anna/", "message", 1024},
		"api.twilio.com":   {"twilio://AC123:" + gotifyToken + "@+15550001/+15550002", "Body", 1600},
	} {
		far := notifytest.NewFar(t, host, func(notifytest.Call) notifytest.Answer {
			return notifytest.Answer{Status: http.StatusCreated, Body: `{"status":1}`}
		})
		c, _ := quick(toward(t, far))
		if err := c.Send(t.Context(), r.to, m); err != nil && !strings.Contains(err.Error(), "201") {
			t.Fatal(err)
		}
		form, err := url.ParseQuery(far.Calls()[0].Body)
		if got := form.Get(r.key); err != nil || len(got) > r.most || len(got) < r.most/2 || !strings.HasSuffix(got, "ä…") {
			t.Errorf("%s: got %d bytes, %v", host, len(got), err)
		}
	}
}
